//! What /proc tells about processes, proc(5). The parsers are pure and total.

pub(crate) mod entry;
pub(crate) mod files;
pub(crate) mod locks;
pub(crate) mod memory;
#[cfg(test)]
pub(in crate::sys) mod model;

use std::fs;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, RawDir};

use super::process::{self, Pid, group_of};
use super::{check, is_shortage, machine, retry};
use crate::error::reason;

/// The fields of /proc/PID/stat that are used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) pid: Pid,
    /// The state letter of its main thread: `R`, `S`, `D`, `Z`, `T`, …
    pub(crate) state: u8,
    /// 0 when the parent is outside the PID namespace.
    pub(crate) parent: i32,
    /// 0 when the leader was outside the PID namespace.
    pub(crate) group: i32,
    /// `PF_…` of the kernel's `linux/sched.h`.
    flags: u32,
    pub(crate) threads: u32,
    /// Clock ticks from boot to the start of the process.
    pub(crate) start: u64,
}

impl Stat {
    /// A zombie has ended, and so has what is about to vanish; not one whose main thread alone has.
    pub(crate) fn is_dead(&self) -> bool {
        self.has_ended() && self.threads <= 1
    }

    /// Whether the thread has that this is about.
    fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }

    /// Whether that is on its way out, or out: no code will run there any more.
    fn is_exiting(&self) -> bool {
        const PF_EXITING: u32 = 4;
        self.has_ended() || self.flags & PF_EXITING != 0
    }

    /// Whether no code of the process will run any more, though it may not have closed its files yet.
    pub(crate) fn is_on_its_way_out(&self) -> bool {
        // In doubt it is not.
        let is_last = || living_thread(self.pid).is_ok_and(|thread| thread.is_none());
        self.is_exiting() && (self.threads <= 1 || is_last())
    }
}

/// Parses /proc/PID/stat. The command name, in parentheses, may itself contain anything.
pub(crate) fn parse_stat(text: &[u8]) -> Option<Stat> {
    let open = text.iter().position(|&b| b == b'(')?;
    let close = text.iter().rposition(|&b| b == b')')?;
    let pid = Pid::new(std::str::from_utf8(text.get(..open)?).ok()?.trim_ascii().parse().ok()?)?;
    let rest = std::str::from_utf8(text.get(close + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // Field n of proc(5) is number n - 3 here: the first one after the name is "(3) state".
    let field = |n: usize| fields.get(n - 3).copied();
    Some(Stat {
        pid,
        state: *field(3)?.as_bytes().first()?,
        parent: field(4)?.parse().ok()?,
        group: field(5)?.parse().ok()?,
        flags: field(9)?.parse().ok()?,
        threads: field(20)?.parse().ok()?,
        start: field(22)?.parse().ok()?,
    })
}

/// Whether /proc tells of the processes of our own PID namespace.
pub(crate) fn is_own() -> bool {
    require_own().is_ok()
}

/// Makes sure that the numbers in /proc are those of our own PID namespace. In one that was made
/// without mounting /proc anew they are not, and name other processes (pid_namespaces(7)).
fn require_own() -> io::Result<()> {
    let itself = fs::read_link("/proc/self")
        .map_err(|error| io::Error::other(format!("cannot read /proc: {}", reason(&error))))?;
    if itself.as_os_str() == Pid::current().to_string().as_str() {
        Ok(())
    } else {
        Err(io::Error::other("/proc is that of another PID namespace"))
    }
}

/// Reads /proc/PID/stat; `None` when there is no such process.
pub(crate) fn stat(pid: Pid) -> io::Result<Option<Stat>> {
    require_own()?;
    match read(&format!("/proc/{pid}/stat")) {
        Ok(text) => match parse_stat(text.as_bytes()) {
            Some(stat) => Ok(Some(stat)),
            None => Err(io::Error::other(format!("cannot make sense of /proc/{pid}/stat"))),
        },
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a file of /proc, in pieces as large as the kernel gives them: each is consistent in itself.
pub(super) fn read(path: &str) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match retry(|| file.read(&mut buffer))? {
            0 => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

fn open_dir(dir: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    retry(|| Ok(rustix::fs::open(dir, flags, Mode::empty())?))
}

/// The names in a directory of /proc that are numbers, of processes or descriptors.
pub(super) fn numbers(dir: &str) -> io::Result<Vec<i32>> {
    let dir = open_dir(dir)?;
    // Room for the longest name many times over.
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(dir, &mut buffer);
    let mut numbers = Vec::new();
    while let Some(entry) = entries.next() {
        numbers.extend(entry?.file_name().to_str().ok().and_then(|name| name.parse::<i32>().ok()));
    }
    Ok(numbers)
}

/// The same in their order, in which the kernel nearly always has them.
fn sorted_numbers(dir: &str) -> io::Result<Vec<i32>> {
    let mut sorted: Vec<i32> = Vec::new();
    for number in numbers(dir)? {
        let place = sorted.partition_point(|other| *other < number);
        sorted.insert(place, number);
    }
    Ok(sorted)
}

pub(crate) fn is_gone(error: &io::Error) -> bool {
    // ESRCH: it ended between open(2) and read(2).
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// The calling process's own; `None` without /proc.
pub(crate) fn own_stat() -> Option<Stat> {
    parse_stat(read("/proc/self/stat").ok()?.as_bytes())
}

/// Every process that this PID namespace shows, the dead ones included.
pub(crate) fn all() -> io::Result<impl Iterator<Item = Pid>> {
    require_own()?;
    Ok(numbers("/proc")?.into_iter().filter_map(Pid::new))
}

/// Every process of the group that this PID namespace shows, the dead ones included.
pub(crate) fn group(group: i32) -> io::Result<Vec<Pid>> {
    require_own()?;
    let mut members: Vec<Pid> = numbers("/proc")?.into_iter().filter_map(Pid::new).collect();
    members.retain(|pid| group_of(*pid).is_ok_and(|it| it == group));
    Ok(members)
}

/// Every process that this PID namespace shows, the dead ones included, with its group.
pub(crate) fn groups() -> io::Result<Vec<(i32, Pid)>> {
    Ok(all()?.filter_map(|pid| Some((group_of(pid).ok()?, pid))).collect())
}

/// Whether a process descends from `ancestor`, as far as the parents can be followed.
pub(crate) fn is_descendant(process: &Stat, ancestor: Pid) -> io::Result<bool> {
    Ok(ancestors(process)?.contains(&ancestor))
}

/// The parents of a process, as far as they can be followed.
pub(crate) fn ancestors(process: &Stat) -> io::Result<Vec<Pid>> {
    let mut ancestors = Vec::new();
    let mut parent = process.parent;
    // Parents may end while they are followed, and their numbers be given again, to a descendant.
    while let Some(pid) = Pid::new(parent)
        && !ancestors.contains(&pid)
    {
        ancestors.push(pid);
        match stat(pid)? {
            Some(stat) => parent = stat.parent,
            None => break,
        }
    }
    Ok(ancestors)
}

/// Whether a process runs a set-user-ID program other than our own, as far as that can be seen: whoever has
/// begun it decides what it has inherited, locks for instance, also where it has made itself another user's.
pub(crate) fn is_set_id(pid: Pid) -> bool {
    const SET_ID: u32 = 0o6000;
    let program = |path: &str| fs::metadata(path);
    let is_ours = |its: &fs::Metadata| {
        program("/proc/self/exe")
            .is_ok_and(|ours| (ours.dev(), ours.ino()) == (its.dev(), its.ino()))
    };
    let its = match program(&format!("/proc/{pid}/exe")) {
        // It has none any more, which another thread of it may have.
        Err(error) if is_gone(&error) => {
            spokesman(pid).and_then(|thread| program(&format!("/proc/{thread}/exe")))
        }
        its => its,
    };
    its.is_ok_and(|its| its.mode() & SET_ID != 0 && !is_ours(&its))
}

/// Whether a process runs the program that we are, or one that has taken its place since, as far as that can be
/// seen.
pub(crate) fn is_our_program(pid: Pid) -> bool {
    const MARK: &[u8] = b" (deleted)";
    let whom = spokesman(pid).unwrap_or(pid).to_string();
    let program = |who: &str| -> io::Result<_> {
        let link = format!("/proc/{who}/exe");
        let path = fs::read_link(&link)?.into_os_string().into_vec();
        let path = path.strip_suffix(MARK).unwrap_or(&path).to_vec();
        Ok((fs::metadata(&link).map(|meta| (meta.dev(), meta.ino()))?, path))
    };
    match (program(&whom), program("self")) {
        (Ok((its, its_path)), Ok((ours, our_path))) => its == ours || its_path == our_path,
        _ => false,
    }
}

/// The user a process acts as: `None` when it has ended.
pub(crate) fn user(pid: Pid) -> io::Result<Option<u32>> {
    require_own()?;
    match read(&format!("/proc/{pid}/status")) {
        Ok(text) => Ok(parse_effective_user(&text)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Real, effective, saved and file system user of a process: all the users that it has ever to do
/// with, of a set-user-ID program also the one who runs it. Empty when it has ended.
pub(crate) fn users(pid: Pid) -> io::Result<Vec<u32>> {
    require_own()?;
    match read(&format!("/proc/{pid}/status")) {
        Ok(text) => Ok(parse_users(&text)),
        Err(error) if is_gone(&error) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Whether a process sees the same mounted file systems as we do; only its owner and root may ask.
pub(crate) fn shares_mounts(pid: Pid) -> io::Result<bool> {
    let namespace = |who: &str| fs::read_link(format!("/proc/{who}/ns/mnt"));
    Ok(namespace(&spokesman(pid)?.to_string())? == namespace("self")?)
}

/// Whether it is on its way out, or killed and about to notice.
pub(crate) fn is_dying(pid: Pid) -> bool {
    match stat(pid) {
        Ok(Some(stat)) => {
            stat.is_on_its_way_out() || is_killed(&format!("/proc/{pid}")).unwrap_or(false)
        }
        // It may only be hidden from us (`hidepid`, proc(5)).
        Ok(None) => !process::exists(pid),
        Err(_) => false,
    }
}

/// Whether a SIGKILL is on its way to the process or thread, which has not noticed yet. Who ends his process
/// (`_exit`, execve(2)) sends one to all other threads.
fn is_killed(entry: &str) -> io::Result<bool> {
    Ok(parse_pending(&read(&format!("{entry}/status"))?) & (1 << (libc::SIGKILL - 1)) != 0)
}

/// A thread of a process whose main thread has ended that goes on (pthread_exit(3)).
fn living_thread(pid: Pid) -> io::Result<Option<Pid>> {
    let is_alive = |thread: Pid| -> io::Result<bool> {
        let entry = format!("/proc/{pid}/task/{thread}");
        let stat = parse_stat(read(&format!("{entry}/stat"))?.as_bytes());
        Ok(stat.is_some_and(|stat| !stat.is_exiting()) && !is_killed(&entry)?)
    };
    let threads = match numbers(&format!("/proc/{pid}/task")) {
        Err(error) if is_gone(&error) => return Ok(None),
        threads => threads?,
    };
    for thread in threads.into_iter().filter_map(Pid::new) {
        match is_alive(thread) {
            Ok(true) => return Ok(Some(thread)),
            Err(error) if is_shortage(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(None)
}

/// The thread that is to be asked about a process: the main thread, which has nothing to show any more when
/// it has ended before another one.
fn spokesman(pid: Pid) -> io::Result<Pid> {
    match stat(pid)? {
        Some(stat) if stat.is_exiting() => Ok(living_thread(pid)?.unwrap_or(pid)),
        _ => Ok(pid),
    }
}

/// Whether it has more threads than one, quickly: its threads are directories, of which each has a link (stat(2)).
fn has_threads(pid: Pid) -> bool {
    fs::metadata(format!("/proc/{pid}/task")).is_ok_and(|task| task.nlink() > 3)
}

/// Whether we may look at the files of a process, as far as that can be told quickly.
fn may_be_examined(pid: Pid) -> bool {
    match open_dir(&format!("/proc/{pid}/fd")) {
        Err(error) if is_denied(&error) => has_threads(pid),
        _ => true,
    }
}

fn is_denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

/// The descriptors of a process, and the thread to be asked for them.
pub(super) fn descriptors(pid: Pid) -> io::Result<(Pid, Vec<i32>)> {
    let of = |thread: Pid| Ok((thread, numbers(&format!("/proc/{thread}/fd"))?));
    match of(pid) {
        Ok((_, none)) if none.is_empty() => of(spokesman(pid)?),
        // Of a thread that has ended, nobody but root may ask any more.
        Err(error) if is_denied(&error) && has_threads(pid) => match spokesman(pid)? {
            other if other != pid => of(other),
            _ => Err(error),
        },
        result => result,
    }
}

/// The signals that are pending for the main thread or the process, a bit each.
fn parse_pending(status: &str) -> u64 {
    let lines = status
        .lines()
        .filter_map(|line| line.strip_prefix("SigPnd:").or_else(|| line.strip_prefix("ShdPnd:")));
    lines
        .filter_map(|mask| u64::from_str_radix(mask.trim_ascii(), 16).ok())
        .fold(0, |all, mask| all | mask)
}

fn parse_effective_user(status: &str) -> Option<u32> {
    parse_users(status).get(1).copied()
}

fn parse_users(status: &str) -> Vec<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    line.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect()
}

/// How long the process with this start time has been there, suspends of the machine included.
/// No change of the wall clock can touch it.
pub(crate) fn age(start: u64) -> Duration {
    let ticks = machine::ticks_per_second();
    let now = machine::now(libc::CLOCK_BOOTTIME);
    let seconds = start / ticks;
    let nanos = (start % ticks) * 1_000_000_000 / ticks;
    now.saturating_sub(Duration::from_secs(seconds) + Duration::from_nanos(nanos))
}

/// The processor time that a process, all its threads included, has used: clock_getcpuclockid(3).
pub(crate) fn cpu_time(pid: Pid) -> io::Result<Duration> {
    let mut clock: libc::clockid_t = 0;
    // SAFETY: `clock` is a valid place for a clock id for the whole call.
    match unsafe { libc::clock_getcpuclockid(pid.get(), &raw mut clock) } {
        0 => {}
        code => return Err(io::Error::from_raw_os_error(code)),
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for a timespec for the whole call.
    check(unsafe { libc::clock_gettime(clock, &raw mut time) })?;
    Ok(Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32))
}

/// Whether PID 1 of this PID namespace belongs to a container.
///
/// Besides the control group names that the original looks for, which a container with control
/// group namespaces no longer shows, these are the marks that Docker, Podman and systemd-nspawn
/// leave.
pub(crate) fn is_in_container() -> bool {
    const MARKS: [&str; 3] = ["/.dockerenv", "/run/.containerenv", "/run/systemd/container"];
    MARKS.iter().any(|mark| fs::exists(mark).unwrap_or(false))
        || read("/proc/1/cgroup").is_ok_and(|text| names_container(&text))
}

fn names_container(cgroup: &str) -> bool {
    const NAMES: [&str; 5] = ["docker", "docker-ce", "ecs", "kubepods", "lxc"];
    cgroup
        .lines()
        .filter_map(|line| line.splitn(3, ':').nth(2))
        .flat_map(|path| path.split('/'))
        .any(|part| NAMES.contains(&part))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &[u8] = b"42 (a) b (c) S 7 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 3 0 123456 1 2";

    #[test]
    fn a_command_name_with_parentheses_is_no_trap() {
        let stat = parse_stat(LINE);
        assert_eq!(
            stat,
            Some(Stat {
                pid: Pid::current(),
                state: b'S',
                parent: 7,
                group: 42,
                flags: 4_194_560,
                threads: 3,
                start: 123_456,
            })
            .map(|s| Stat { pid: Pid::new(42).unwrap_or(s.pid), ..s })
        );
    }

    #[test]
    fn every_prefix_of_a_stat_line_is_refused_or_parsed() {
        for end in 0..LINE.len() {
            let _ = parse_stat(&LINE[..end]);
        }
        assert_eq!(parse_stat(b""), None);
        assert_eq!(parse_stat(b")("), None);
    }

    #[test]
    fn pending_signals_are_those_of_the_thread_and_of_the_process() {
        let status =
            "Name:\tx\nSigPnd:\t0000000000000100\nShdPnd:\t0000000000000001\nSigBlk:\tff\n";
        assert_eq!(parse_pending(status), 0x101);
        assert_eq!(parse_pending("SigPnd:\tx\nShdPnd"), 0);
    }

    #[test]
    fn fuzz_stat() {
        let behind = ") S 1 22 22 0 -1 4194560 1 0 0 0 5 6 0 0 20 0 2 0 123456 2500000 200";
        crate::fuzz::hold("stat", |text| {
            let _ = parse_stat(text);
            // As the name of a command, it changes nothing.
            let whole = [b"1234 (", text, behind.as_bytes()].concat();
            let stat = parse_stat(&whole).unwrap();
            assert_eq!((stat.pid.get(), stat.parent, stat.group, stat.threads), (1234, 1, 22, 2));
            assert_eq!((stat.state, stat.start), (b'S', 123_456));
        });
    }

    #[test]
    fn fuzz_status() {
        crate::fuzz::hold_text("status", |text| {
            let _ = (parse_pending(text), parse_effective_user(text), parse_users(text));
        });
    }

    #[test]
    fn fuzz_control_groups() {
        let names: [&[u8]; 5] = [b"lxc", b"ecs", b"docker", b"docker-ce", b"kubepods"];
        crate::fuzz::hold_text("cgroup", |text| {
            let is_one = model::lines(text).into_iter().any(|line| {
                let mut colons = line.iter().enumerate().filter(|(_, byte)| **byte == b':');
                let Some((second, _)) = colons.nth(1) else { return false };
                let slashed = [b"/", &line[second + 1..], b"/"].concat();
                names.iter().any(|name| {
                    let part = [b"/", *name, b"/"].concat();
                    slashed.windows(part.len()).any(|window| window == part)
                })
            });
            assert_eq!(names_container(text), is_one);
        });
    }
}
