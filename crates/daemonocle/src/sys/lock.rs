//! Byte-range locks of fcntl(2), of both kinds.
//!
//! An *open file description* lock belongs to everyone who shares the description: it passes
//! through fork(2) without a gap and ends with the last copy of the descriptor. A *record* lock
//! belongs to one process, dies with exactly that process, and the kernel names its holder.
//!
//! All locks here are write locks, and questions ask only about write locks: a write lock needs a
//! descriptor open for writing, so somebody who can merely read the file can neither pose as a
//! holder nor be taken for one.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Instant;

use super::process::Pid;
use super::{check, retry};

/// One lockable byte. It lies far behind the contents of any PID file; locks need no data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Byte(pub(crate) i64);

/// The holder of a record lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A process of this PID namespace.
    Process(Pid),
    /// A process that cannot be seen from this PID namespace.
    Invisible,
}

fn flock(byte: Byte, kind: libc::c_int) -> libc::flock {
    // SAFETY: `flock` is a plain C struct of integers, for which all zero is a valid value; OFD
    // locks require `l_pid` to be zero.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = byte.0;
    lock.l_len = 1;
    lock
}

fn set(file: &impl AsFd, command: libc::c_int, byte: Byte, kind: libc::c_int) -> io::Result<()> {
    let lock = flock(byte, kind);
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open (borrowed), and `lock` is the struct that every lock command
    // of fcntl(2) reads.
    retry(|| check(unsafe { libc::fcntl(fd, command, &raw const lock) })).map(drop)
}

/// The first lock that would be in the way of one of this kind.
fn get(
    file: &impl AsFd,
    command: libc::c_int,
    byte: Byte,
    kind: libc::c_int,
) -> io::Result<Option<libc::flock>> {
    let mut lock = flock(byte, kind);
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

/// Gives the description's lock up.
pub(crate) fn release_shared(file: &impl AsFd, byte: Byte) -> io::Result<()> {
    set(file, libc::F_OFD_SETLK, byte, libc::F_UNLCK)
}

/// Whether another description holds a write lock on it.
pub(crate) fn is_shared_held(file: &impl AsFd, byte: Byte) -> io::Result<bool> {
    Ok(get(file, libc::F_OFD_GETLK, byte, libc::F_RDLCK)?.is_some())
}

/// Waits for the description's lock until `deadline` (`None`: for ever); `false`: it passed.
///
/// fcntl(2) knows no time-out, so that a thread waits; it has ended before this returns `true`,
/// and one that is left behind gives back what it still may get.
pub(crate) fn wait_shared(
    file: &Arc<impl AsFd + Send + Sync + 'static>,
    byte: Byte,
    deadline: Option<Instant>,
) -> io::Result<bool> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let waiting = Arc::clone(file);
    let waiter = thread::Builder::new()
        .name("daemonocle-wait".into())
        .stack_size(64 * 1024)
        .spawn(move || {
            let result = set(&*waiting, libc::F_OFD_SETLKW, byte, libc::F_WRLCK);
            if sender.send(result).is_err() {
                let _ = release_shared(&*waiting, byte);
            }
        })?;
    let result = match deadline {
        None => receiver.recv().ok(),
        Some(deadline) => {
            let left = deadline.saturating_duration_since(Instant::now());
            receiver.recv_timeout(left).ok()
        }
    };
    match result {
        None => Ok(false),
        Some(result) => {
            // It has sent its only message; its end is at hand and cannot fail.
            let _ = waiter.join();
            result.map(|()| true)
        }
    }
}

/// Takes the calling process's own lock if nobody has it (`F_SETLK`).
///
/// It is lost as soon as this process closes *any* descriptor of the file.
pub(crate) fn try_own(file: &impl AsFd, byte: Byte) -> io::Result<bool> {
    taken(set(file, libc::F_SETLK, byte, libc::F_WRLCK))
}

/// Whether the calling process could take its own lock: asks, and takes nothing, so that nobody
/// can see it as the holder meanwhile.
pub(crate) fn could_own(file: &impl AsFd, byte: Byte) -> io::Result<bool> {
    Ok(get(file, libc::F_GETLK, byte, libc::F_WRLCK)?.is_none())
}

/// Who holds the record lock, on the kernel's word (`F_GETLK`). The caller's own does not count.
pub(crate) fn holder(file: &impl AsFd, byte: Byte) -> io::Result<Option<Holder>> {
    Ok(get(file, libc::F_GETLK, byte, libc::F_RDLCK)?
        .map(|lock| Pid::new(lock.l_pid).map_or(Holder::Invisible, Holder::Process)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::time::Duration;

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
        let b = Arc::new(b);
        let soon = Instant::now().checked_add(Duration::from_millis(20));
        assert!(!wait_shared(&b, Byte(1), soon)?);
        drop(a);
        assert!(wait_shared(&b, Byte(1), None)?);
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
