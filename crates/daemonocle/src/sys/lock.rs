//! Byte-range locks of fcntl(2), of both kinds.
//!
//! An *open file description* lock belongs to everyone who shares the description: it passes
//! through fork(2) without a gap and ends with the last copy of the descriptor. A *record* lock
//! belongs to one process, dies with exactly that process, and the kernel names its holder.
//!
//! All locks on files are write locks, and questions ask only about write locks: a write lock needs a
//! descriptor open for writing, so somebody who can merely read the file can neither pose as a
//! holder nor be taken for one. On directories, which nobody can open for writing, there are locks for
//! reading, which say something and keep nobody out.

use std::io;
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use super::fd::{deadline_in, has_passed, pipe, wait_readable, write_byte};
use super::process::{Assistant, Pid};
use super::{check, persist, retry};

/// One lockable byte. It lies far behind the contents of any PID file; locks need no data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Byte(pub(crate) i64);

/// The holder of a record lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A process of this PID namespace.
    Process(Pid),
    /// A process that cannot be seen from this PID namespace.
    Invisible,
}

fn flock(bytes: RangeInclusive<Byte>, kind: libc::c_int) -> libc::flock {
    let (Byte(first), Byte(last)) = bytes.into_inner();
    // SAFETY: `flock` is a plain C struct of integers, for which all zero is a valid value; OFD
    // locks require `l_pid` to be zero.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = first;
    lock.l_len = last - first + 1;
    lock
}

fn set(file: &impl AsFd, command: libc::c_int, byte: Byte, kind: libc::c_int) -> io::Result<()> {
    set_all(file, command, byte..=byte, kind)
}

fn set_all(
    file: &impl AsFd,
    command: libc::c_int,
    bytes: RangeInclusive<Byte>,
    kind: libc::c_int,
) -> io::Result<()> {
    let lock = flock(bytes, kind);
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open (borrowed), and `lock` is the struct that every lock command
    // of fcntl(2) reads.
    retry(|| check(unsafe { libc::fcntl(fd, command, &raw const lock) })).map(drop)
}

/// A lock that would be in the way of one of this kind.
fn get(
    file: &impl AsFd,
    command: libc::c_int,
    bytes: RangeInclusive<Byte>,
    kind: libc::c_int,
) -> io::Result<Option<libc::flock>> {
    let mut lock = flock(bytes, kind);
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open (borrowed), and `lock` is the struct that the two GETLK
    // commands read and write.
    retry(|| check(unsafe { libc::fcntl(fd, command, &raw mut lock) }))?;
    Ok((libc::c_int::from(lock.l_type) != libc::F_UNLCK).then_some(lock))
}

fn taken(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        // Both are allowed by POSIX for a lock that somebody else holds.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Takes the description's lock if nobody has it (`F_OFD_SETLK`).
pub(crate) fn try_shared(file: &impl AsFd, byte: Byte) -> io::Result<bool> {
    taken(set(file, libc::F_OFD_SETLK, byte, libc::F_WRLCK))
}

/// Takes a lock for reading, which others may have too: on a directory, where nobody can be in the way.
pub(crate) fn share(dir: &impl AsFd, byte: Byte) -> io::Result<()> {
    set(dir, libc::F_OFD_SETLK, byte, libc::F_RDLCK)
}

/// Whether another description or a process has a lock of whatever kind on it.
pub(crate) fn is_locked(file: &impl AsFd, byte: Byte) -> io::Result<bool> {
    Ok(get(file, libc::F_OFD_GETLK, byte..=byte, libc::F_WRLCK)?.is_some())
}

/// Gives the description's lock up.
pub(crate) fn release_shared(file: &impl AsFd, byte: Byte) -> io::Result<()> {
    persist(|| set(file, libc::F_OFD_SETLK, byte, libc::F_UNLCK))
}

/// Whether another description holds a write lock on it.
pub(crate) fn is_shared_held(file: &impl AsFd, byte: Byte) -> io::Result<bool> {
    Ok(get(file, libc::F_OFD_GETLK, byte..=byte, libc::F_RDLCK)?.is_some())
}

/// Waits for the description's lock until `deadline` (`None`: for ever); `false`: it passed. `true`
/// also when nobody holds it for writing any more, and somebody who may only read is in the way.
///
/// fcntl(2) knows no time-out, and a thread that waits there cannot be called back. So it is a child
/// that waits: the lock that it gets is the description's, and so is its parent's too.
pub(crate) fn wait_shared(
    file: &impl AsFd,
    byte: Byte,
    deadline: Option<Instant>,
) -> io::Result<bool> {
    /// How often it is looked whether only a reader is in the way, whom the kernel makes us wait for.
    const LOOK: Duration = Duration::from_millis(200);
    let next_look = || deadline_in(LOOK).into_iter().chain(deadline).min();
    loop {
        let (told, tell) = pipe()?;
        let waiter = Assistant::new(|| {
            let _ = set(file, libc::F_OFD_SETLKW, byte, libc::F_WRLCK);
            // Says that it has an answer, whatever it is: the question is put once more below.
            let _ = write_byte(tell.as_fd(), 1);
        })?;
        drop(tell);
        // Until there is an answer, also from a child that was killed, or none is needed.
        while !wait_readable([Some(told.as_fd())], next_look())?[0]
            && is_shared_held(file, byte)?
            && !has_passed(deadline)
        {}
        // From here on, nothing may be taken behind our back.
        drop(waiter);
        if try_shared(file, byte)? || !is_shared_held(file, byte)? {
            return Ok(true);
        }
        if has_passed(deadline) {
            return Ok(false);
        }
        // The child was killed, or is not allowed to wait (a seccomp filter): not at once again.
        wait_readable([None], next_look())?;
    }
}

/// Takes the calling process's own lock if nobody has it (`F_SETLK`).
///
/// It is lost as soon as this process closes *any* descriptor of the file.
pub(crate) fn try_own(file: &impl AsFd, byte: Byte) -> io::Result<bool> {
    taken(set(file, libc::F_SETLK, byte, libc::F_WRLCK))
}

/// The same, of all these bytes.
pub(crate) fn try_own_all(file: &impl AsFd, bytes: RangeInclusive<Byte>) -> io::Result<bool> {
    taken(set_all(file, libc::F_SETLK, bytes, libc::F_WRLCK))
}

/// Of the calling process's own locks on these bytes, keeps that on one of them.
pub(crate) fn release_own_but(
    file: &impl AsFd,
    bytes: RangeInclusive<Byte>,
    Byte(kept): Byte,
) -> io::Result<()> {
    let (first, last) = bytes.into_inner();
    for part in [first..=Byte(kept - 1), Byte(kept + 1)..=last] {
        if !part.is_empty() {
            persist(|| set_all(file, libc::F_SETLK, part.clone(), libc::F_UNLCK))?;
        }
    }
    Ok(())
}

/// Takes a lock for reading that is the calling process's own, as [`share`] does one of the description's.
pub(crate) fn mark(dir: &impl AsFd, byte: Byte) -> io::Result<()> {
    set(dir, libc::F_SETLK, byte, libc::F_RDLCK)
}

/// Who has made a [`mark`], on the kernel's word, which names one of them.
pub(crate) fn marker(dir: &impl AsFd, byte: Byte) -> io::Result<Option<Holder>> {
    let lock = get(dir, libc::F_GETLK, byte..=byte, libc::F_WRLCK)?;
    // -1: it is the lock of an open file description, which names nobody (fcntl(2)).
    let lock = lock.filter(|lock| lock.l_pid >= 0);
    Ok(lock.map(|lock| Pid::new(lock.l_pid).map_or(Holder::Invisible, Holder::Process)))
}

/// Gives the calling process's own lock up.
pub(crate) fn release_own(file: &impl AsFd, byte: Byte) -> io::Result<()> {
    persist(|| set(file, libc::F_SETLK, byte, libc::F_UNLCK))
}

/// Whether the calling process could take its own lock: asks, and takes nothing, so that nobody
/// can see it as the holder meanwhile.
pub(crate) fn could_own(file: &impl AsFd, byte: Byte) -> io::Result<bool> {
    Ok(get(file, libc::F_GETLK, byte..=byte, libc::F_WRLCK)?.is_none())
}

/// Who holds the record lock, on the kernel's word (`F_GETLK`). The caller's own does not count.
pub(crate) fn holder(file: &impl AsFd, byte: Byte) -> io::Result<Option<Holder>> {
    Ok(holder_among(file, byte..=byte)?.map(|(holder, _)| holder))
}

/// As [`holder`], of one of these bytes, and which it is.
pub(crate) fn holder_among(
    file: &impl AsFd,
    bytes: RangeInclusive<Byte>,
) -> io::Result<Option<(Holder, Byte)>> {
    Ok(get(file, libc::F_GETLK, bytes, libc::F_RDLCK)?.map(|lock| {
        let holder = Pid::new(lock.l_pid).map_or(Holder::Invisible, Holder::Process);
        (holder, Byte(lock.l_start))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    fn pair() -> io::Result<(tempfile::NamedTempFile, File, File)> {
        let file = tempfile::NamedTempFile::new()?;
        let (a, b) = (file.reopen()?, file.reopen()?);
        Ok((file, a, b))
    }

    #[test]
    fn a_shared_lock_excludes_other_descriptions_until_released() -> io::Result<()> {
        let (_file, a, b) = pair()?;
        assert!(try_shared(&a, Byte(7))?);
        assert!(try_shared(&a, Byte(7))?, "own locks do not conflict");
        assert!(is_shared_held(&b, Byte(7))?);
        assert!(!try_shared(&b, Byte(7))?);
        assert!(try_shared(&b, Byte(8))?, "bytes are independent");
        release_shared(&a, Byte(7))?;
        assert!(!is_shared_held(&b, Byte(7))?);
        Ok(())
    }

    #[test]
    fn waiting_ends_at_the_deadline_or_with_the_lock() -> io::Result<()> {
        let (_file, a, b) = pair()?;
        assert!(try_shared(&a, Byte(1))?);
        let soon = Instant::now().checked_add(Duration::from_millis(20));
        assert!(!wait_shared(&b, Byte(1), soon)?);
        drop(a);
        assert!(wait_shared(&b, Byte(1), None)?);
        Ok(())
    }

    #[test]
    fn a_directory_has_locks_too() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let open = || File::open(dir.path());
        let (a, b, c) = (open()?, open()?, open()?);
        share(&a, Byte(5))?;
        assert!(!is_locked(&a, Byte(5))?, "its own");
        share(&b, Byte(5))?;
        assert!(is_locked(&c, Byte(5))?);
        assert!(!is_locked(&c, Byte(6))?);
        drop(a);
        assert!(is_locked(&c, Byte(5))?);
        drop(b);
        assert!(!is_locked(&c, Byte(5))?);
        Ok(())
    }

    #[test]
    fn a_reader_is_not_taken_for_a_holder() -> io::Result<()> {
        let (file, a, _b) = pair()?;
        let reader = File::open(file.path())?;
        set(&reader, libc::F_OFD_SETLK, Byte(3), libc::F_RDLCK)?;
        assert!(!is_shared_held(&a, Byte(3))?);
        assert!(set(&reader, libc::F_OFD_SETLK, Byte(3), libc::F_WRLCK).is_err());
        Ok(())
    }
}
