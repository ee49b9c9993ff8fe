//! What the kernel says about a process, proc(5).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A process number.
pub type Pid = i32;

/// Some of `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The number of the process.
    pub pid: Pid,
    /// The state letter.
    pub state: char,
    /// Its parent.
    pub parent: Pid,
    /// Its process group.
    pub group: Pid,
    /// Its session.
    pub session: Pid,
    /// Its controlling terminal; 0: none.
    pub terminal: i32,
    /// The threads that it still has.
    pub threads: i32,
    /// Whether its main thread is on its way out.
    pub is_exiting: bool,
}

/// What the kernel says of `pid`; `None`: there is no such process.
#[must_use]
pub fn stat(pid: Pid) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may contain anything, parentheses and spaces included.
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<_> = rest.split(' ').collect();
    let number = |index: usize| fields.get(index)?.parse().ok();
    const PF_EXITING: u32 = 4;
    let flags: u32 = fields.get(6)?.parse().ok()?;
    Some(Stat {
        pid,
        state: fields.first()?.chars().next()?,
        parent: number(1)?,
        group: number(2)?,
        session: number(3)?,
        terminal: number(4)?,
        threads: number(17)?,
        is_exiting: flags & PF_EXITING != 0,
    })
}

/// Whether the process exists and is not dead. A zombie is dead, but only when its last thread is:
/// until then it has all its files and locks.
#[must_use]
pub fn is_alive(pid: Pid) -> bool {
    stat(pid).is_some_and(|stat| match stat.state {
        'X' | 'x' => false,
        'Z' => stat.threads > 1,
        _ => true,
    })
}

/// A line of `/proc/PID/status`, such as `Umask`.
///
/// # Panics
///
/// If there is no such process or line.
#[must_use]
#[track_caller]
pub fn status_field(pid: Pid, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in:\n{text}")).trim().to_owned()
}

/// The soft limit on `name` in `/proc/PID/limits`, such as `Max core file size`.
///
/// # Panics
///
/// If there is no such process or limit.
#[must_use]
#[track_caller]
pub fn limit(pid: Pid, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|line| line.split_whitespace().next());
    value.unwrap_or_else(|| panic!("no {name} in:\n{text}")).to_owned()
}

/// The open descriptors of a process and what they refer to.
///
/// # Panics
///
/// If there is no such process, or it may not be looked at.
#[must_use]
#[track_caller]
pub fn descriptors(pid: Pid) -> BTreeMap<i32, String> {
    let dir = format!("/proc/{pid}/fd");
    let entries = fs::read_dir(Path::new(&dir)).unwrap();
    entries
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            let target = fs::read_link(entry.path()).ok()?;
            Some((number, target.to_string_lossy().into_owned()))
        })
        .collect()
}

/// How a descriptor of a process was opened: `r`, `w`, `rw`, or `path` for what can be neither read nor
/// written. `None`: it is not open.
#[must_use]
pub fn access(pid: Pid, number: i32) -> Option<&'static str> {
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).ok()?;
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
    let flags = i32::from_str_radix(flags.trim(), 8).ok()?;
    Some(match flags & libc::O_ACCMODE {
        _ if flags & libc::O_PATH != 0 => "path",
        libc::O_RDONLY => "r",
        libc::O_WRONLY => "w",
        _ => "rw",
    })
}

/// For scripts in a PID namespace of their own: a function that gives the number `$pid` of a process that is gone to
/// another one, `$stranger`, and says so.
pub const RECYCLE: &str = "
recycle() {
    stranger=0
    while [ $stranger != $pid ]; do
        echo $((pid - 1)) > /proc/sys/kernel/ns_last_pid
        sleep 600 &
        stranger=$!
    done
    echo recycled
}
";
