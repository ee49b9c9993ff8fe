//! What /proc tells about processes, proc(5). The parsers are pure and total.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::fs::Inode;
use super::lock::Byte;
use super::process::Pid;
use super::{check, retry};

/// The fields of /proc/PID/stat that are used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) pid: Pid,
    /// The state letter: `R`, `S`, `D`, `Z`, `T`, …
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
    /// A zombie has ended, and so has what is about to vanish.
    pub(crate) fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }

    /// Whether it is on its way out: no code of its own will run any more, but it may not have
    /// closed its files yet.
    pub(crate) fn is_exiting(&self) -> bool {
        const PF_EXITING: u32 = 4;
        !self.is_dead() && self.flags & PF_EXITING != 0
    }
}

/// Parses /proc/PID/stat. The command name, in parentheses, may itself contain anything.
pub(crate) fn parse_stat(text: &[u8]) -> Option<Stat> {
    let open = text.iter().position(|&b| b == b'(')?;
    let close = text.iter().rposition(|&b| b == b')')?;
    let pid = Pid::new(std::str::from_utf8(text.get(..open)?).ok()?.trim().parse().ok()?)?;
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

/// Reads /proc/PID/stat; `None` when there is no such process.
pub(crate) fn stat(pid: Pid) -> io::Result<Option<Stat>> {
    match read(format!("/proc/{pid}/stat")) {
        Ok(text) => match parse_stat(text.as_bytes()) {
            Some(stat) => Ok(Some(stat)),
            None => Err(io::Error::other(format!("cannot make sense of /proc/{pid}/stat"))),
        },
        Err(error) if is_gone(&error) && fs::exists("/proc/self/stat")? => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a file of /proc, in pieces as large as the kernel gives them: each is consistent in itself.
fn read(path: impl AsRef<Path>) -> io::Result<String> {
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

fn is_gone(error: &io::Error) -> bool {
    // ESRCH: it ended between open(2) and read(2).
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// The calling process's own; `None` without /proc.
pub(crate) fn own_stat() -> Option<Stat> {
    parse_stat(read("/proc/self/stat").ok()?.as_bytes())
}

/// Every process of the group that this PID namespace shows.
pub(crate) fn group(group: i32) -> io::Result<Vec<Stat>> {
    let mut members = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::new);
        if let Some(pid) = pid
            && let Ok(Some(stat)) = stat(pid)
            && stat.group == group
        {
            members.push(stat);
        }
    }
    Ok(members)
}

/// Whether a process descends from `ancestor`, as far as the parents can be followed.
pub(crate) fn is_descendant(process: &Stat, ancestor: Pid) -> io::Result<bool> {
    let mut parent = process.parent;
    while let Some(pid) = Pid::new(parent) {
        if pid == ancestor {
            return Ok(true);
        }
        match stat(pid)? {
            Some(stat) => parent = stat.parent,
            None => break,
        }
    }
    Ok(false)
}

/// The user a process acts as: `None` when it has ended.
pub(crate) fn user(pid: Pid) -> io::Result<Option<u32>> {
    match read(format!("/proc/{pid}/status")) {
        Ok(text) => Ok(parse_effective_user(&text)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn parse_effective_user(status: &str) -> Option<u32> {
    // "Uid:" real, effective, saved, file system.
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The two kinds of byte-range locks, as /proc names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockKind {
    /// Of a process.
    Record,
    /// Of an open file description.
    Shared,
}

/// Whether `pid` itself holds a write lock of this kind on this byte of this very file: it has a
/// descriptor of the file, and the kernel shows the lock there (/proc/PID/fdinfo, proc(5)), which
/// it does only for a holder. An error where it may not be asked.
pub(crate) fn holds_lock(pid: Pid, inode: Inode, kind: LockKind, byte: Byte) -> io::Result<bool> {
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let link = entry?.path();
        // A descriptor may be closed while the list is read.
        let Ok(meta) = fs::metadata(&link) else {
            continue;
        };
        if Inode::from(&meta) != inode {
            continue;
        }
        let number = link.file_name().unwrap_or_default().to_string_lossy();
        if let Ok(text) = read(format!("/proc/{pid}/fdinfo/{number}"))
            && shows_lock(&text, kind, byte)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn shows_lock(fdinfo: &str, kind: LockKind, byte: Byte) -> bool {
    let wanted = match kind {
        LockKind::Record => "POSIX",
        LockKind::Shared => "OFDLCK",
    };
    fdinfo.lines().filter_map(|line| line.strip_prefix("lock:")).any(|line| {
        // "lock:	1: OFDLCK ADVISORY  WRITE -1 fe:00:1234 1073741824 1073741825"
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words[..] {
            [_, name, _, "WRITE", _, _, start, end] => name == wanted && covers(start, end, byte),
            _ => false,
        }
    })
}

/// Neighbouring locks of one holder are shown as one.
fn covers(start: &str, end: &str, Byte(byte): Byte) -> bool {
    let is_after = |start: i64| start <= byte;
    let is_before = |end: i64| byte <= end;
    start.parse().is_ok_and(is_after) && (end == "EOF" || end.parse().is_ok_and(is_before))
}

/// Who holds a record lock for writing that starts at this byte of some file: the process, and the
/// inode number of the file (/proc/locks, proc(5)). Empty where /proc does not tell.
pub(crate) fn lock_holders(byte: Byte) -> io::Result<Vec<(Pid, u64)>> {
    /// What the kernel gives out in one piece. A longer list may change between two pieces, and
    /// then lack what was there all the time.
    const PIECE: usize = 4000;
    /// So many times is a longer list read.
    const READINGS: usize = 4;
    let mut holders = Vec::new();
    for _ in 0..READINGS {
        let text = match read("/proc/locks") {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        };
        for holder in text.lines().filter_map(|line| parse_lock(line, byte)) {
            if !holders.contains(&holder) {
                holders.push(holder);
            }
        }
        if text.len() < PIECE {
            break;
        }
    }
    Ok(holders)
}

fn parse_lock(line: &str, byte: Byte) -> Option<(Pid, u64)> {
    // "1: POSIX  ADVISORY  WRITE 1234 fe:00:5678 1073741826 1073741826"; who waits has a "->".
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    match words[..] {
        [_, "POSIX", _, "WRITE", pid, place, start, _] if start.parse() == Ok(byte.0) => {
            Some((Pid::new(pid.parse().ok()?)?, place.rsplit(':').next()?.parse().ok()?))
        }
        _ => None,
    }
}

/// A file that a process has open and that has no name any more.
pub(crate) struct DeletedFile {
    /// The path that it had.
    pub(crate) path: PathBuf,
    pub(crate) inode: Inode,
    /// Its owner.
    pub(crate) uid: u32,
    pub(crate) is_empty: bool,
}

/// The deleted files that a process has open; only its owner and root may ask.
pub(crate) fn deleted_files(pid: Pid) -> io::Result<Vec<DeletedFile>> {
    const MARK: &[u8] = b" (deleted)";
    let mut files = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let link = entry?.path();
        // A descriptor may be closed while the list is read.
        let (Ok(target), Ok(meta)) = (fs::read_link(&link), fs::metadata(&link)) else {
            continue;
        };
        if let Some(path) = target.as_os_str().as_bytes().strip_suffix(MARK)
            && meta.nlink() == 0
        {
            let path = PathBuf::from(OsStr::from_bytes(path));
            let is_empty = meta.len() == 0;
            files.push(DeletedFile { path, inode: Inode::from(&meta), uid: meta.uid(), is_empty });
        }
    }
    Ok(files)
}

/// How long the process with this start time has been there, suspends of the machine included.
/// No change of the wall clock can touch it.
pub(crate) fn age(start: u64) -> Duration {
    let ticks = rustix::param::clock_ticks_per_second().max(1);
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let now = Duration::try_from(now).unwrap_or_default();
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

/// The memory of a process in bytes: its proportional share (PSS), or, where only its owner may
/// know that, its resident set, in which shared pages count in full.
pub(crate) fn memory(pid: Pid) -> io::Result<u64> {
    match read(format!("/proc/{pid}/smaps_rollup")) {
        Ok(text) => {
            if let Some(kib) = parse_kib(&text, "Pss:") {
                return Ok(kib * 1024);
            }
        }
        Err(error) if is_gone(&error) => return Err(error),
        Err(_) => {}
    }
    let text = read(format!("/proc/{pid}/statm"))?;
    let pages = text.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    Ok(pages.unwrap_or(0) * rustix::param::page_size() as u64)
}

/// The memory of the machine in bytes.
pub(crate) fn total_memory() -> io::Result<u64> {
    let text = read("/proc/meminfo")?;
    let kib = parse_kib(&text, "MemTotal:");
    kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other("no MemTotal in /proc/meminfo"))
}

fn parse_kib(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Whether PID 1 of this PID namespace belongs to a container.
///
/// Besides the control group names that the original looks for, which a container with control
/// group namespaces no longer shows, these are the marks that Docker, Podman and systemd-nspawn
/// leave.
pub(crate) fn is_in_container() -> bool {
    const MARKS: [&str; 3] = ["/.dockerenv", "/run/.containerenv", "/run/systemd/container"];
    const NAMES: [&str; 5] = ["docker", "docker-ce", "ecs", "kubepods", "lxc"];
    MARKS.iter().any(|mark| fs::exists(mark).unwrap_or(false))
        || fs::read_to_string("/proc/1/cgroup").is_ok_and(|text| {
            text.lines()
                .filter_map(|line| line.splitn(3, ':').nth(2))
                .flat_map(|path| path.split('/'))
                .any(|part| NAMES.contains(&part))
        })
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
    fn only_holders_of_the_byte_for_writing_are_listed() {
        let lock = |line| parse_lock(line, Byte(77)).map(|(pid, inode)| (pid.get(), inode));
        assert_eq!(lock("1: POSIX  ADVISORY  WRITE 12 fe:00:34 77 77"), Some((12, 34)));
        assert_eq!(lock("1: POSIX  ADVISORY  READ 12 fe:00:34 77 77"), None);
        assert_eq!(lock("1: POSIX  ADVISORY  WRITE 12 fe:00:34 78 78"), None);
        assert_eq!(lock("1: -> POSIX  ADVISORY  WRITE 12 fe:00:34 77 77"), None);
        assert_eq!(lock("1: OFDLCK ADVISORY  WRITE -1 fe:00:34 77 77"), None);
        assert_eq!(lock("1: POSIX  ADVISORY  WRITE 0 fe:00:34 77 EOF"), None);
        assert_eq!(lock(""), None);
    }

    #[test]
    fn the_lock_line_is_told_from_its_neighbours() {
        let line = "pos:\t0\nlock:\t1: OFDLCK  ADVISORY  WRITE -1 fe:00:1234 10 11\n";
        let shared = |line: &str, byte| shows_lock(line, LockKind::Shared, Byte(byte));
        assert!(shared(line, 10));
        assert!(shared(line, 11));
        assert!(!shared(line, 9));
        assert!(!shared(line, 12));
        assert!(!shows_lock(line, LockKind::Record, Byte(10)));
        assert!(!shared(&line.replace("WRITE", "READ"), 10));
        assert!(!shared(&line.replace("OFDLCK", "FLOCK"), 10));
        assert!(!shared(&line.replace("11\n", "\n"), 10));
        let line = line.replace("OFDLCK", "POSIX").replace("11\n", "EOF\n");
        assert!(shows_lock(&line, LockKind::Record, Byte(99)));
    }
}
