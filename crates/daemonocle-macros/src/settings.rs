//! What can be set: the settings of the builder by their names, and who means which.
//!
//! Plain data: the tests read this file, and compare it with the builder.

/// The settings that take a value, in the order of the builder's documentation.
pub(crate) const VALUES: &[&str] = &[
    "about",
    "pid_file",
    "layout",
    "detach",
    "work_dir",
    "stdout_file",
    "stderr_file",
    "chroot_dir",
    "user",
    "group",
    "umask",
    "stop_timeout",
    "start_timeout",
    "ready_timeout",
    "end_on",
    "on_start",
    "on_shutdown",
];

/// The settings that take none.
pub(crate) const FLAGS: &[&str] = &["close_open_files", "allow_core_dumps", "reload_on_hup"];

/// Those that are made by a call, as often as one likes: `action("name", "About it.", function)`.
pub(crate) const CALLS: &[&str] = &["action", "action_with"];

/// The builder's constructor, how many workers there are, and the path of the library itself.
pub(crate) const OWN: &[&str] = &["name", "multi", "crate"];

/// What the builder takes for a worker, which is the function here.
pub(crate) const WORKERS: &[&str] = &["worker", "async_worker", "exec"];

/// What others call some of them: the Python library and its versions, above all.
const ALIASES: &[(&str, &str)] = &[
    ("chroot", "chroot_dir"),
    ("cwd", "work_dir"),
    ("gid", "group"),
    ("help", "about"),
    ("log_file", "stdout_file"),
    ("num_workers", "multi"),
    ("prefix", "layout"),
    ("prog", "name"),
    ("shutdown_callback", "on_shutdown"),
    ("signals", "end_on"),
    ("timeout", "stop_timeout"),
    ("uid", "user"),
    ("workers", "multi"),
];

/// All names that are understood.
pub(crate) fn all() -> impl Iterator<Item = &'static str> {
    OWN.iter().chain(VALUES).chain(FLAGS).chain(CALLS).copied()
}

/// What somebody may have meant who wrote this unknown name.
pub(crate) fn nearest(unknown: &str) -> Option<&'static str> {
    if let Some((_, setting)) = ALIASES.iter().find(|(alias, _)| *alias == unknown) {
        return Some(setting);
    }
    let distances = all().map(|known| (distance(unknown, known), known));
    let (distance, known) = distances.min()?;
    (distance <= known.len() / 3).then_some(known)
}

/// How many letters have to be put in, left out or changed (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    // The distances from what has been read of `from` to each beginning of `to`.
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, letter) in from.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, wanted) in row.iter_mut().skip(1).zip(&to) {
            let above = *cell;
            left = (diagonal + usize::from(letter != *wanted)).min(above + 1).min(left + 1);
            diagonal = above;
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}
