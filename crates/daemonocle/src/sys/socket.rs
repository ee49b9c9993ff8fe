//! Listening sockets that somebody else has made.

use std::io;
use std::iter;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt,
};

use super::fd::{adopt, is_socket};
use super::fs::{Inode, Meta};
use super::rerun::FIRST;
use super::{check, proc};

/// What can be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// TCP, tcp(7).
    Inet,
    /// A path, or a name of Linux's own, unix(7).
    Unix,
}

/// What a socket is that waits for connections; `None`: it does not, or they are of another kind.
pub(crate) fn listening(socket: BorrowedFd<'_>) -> Option<Family> {
    let is_stream = sockopt::socket_type(socket).ok()? == SocketType::STREAM;
    if !is_stream || !sockopt::socket_acceptconn(socket).ok()? {
        return None;
    }
    match sockopt::socket_domain(socket).ok()? {
        AddressFamily::INET | AddressFamily::INET6 => Some(Family::Inet),
        AddressFamily::UNIX => Some(Family::Unix),
        _ => None,
    }
}

/// Takes over the socket under this number, which was passed to this program by whoever has run it.
pub(crate) fn adopt_socket(number: RawFd) -> io::Result<OwnedFd> {
    let socket = adopt(number)?;
    match is_socket(socket.as_fd()) {
        true => Ok(socket),
        false => Err(io::Error::other("it is no socket")),
    }
}

/// Another descriptor of an open file of this process, which had the number `first` when it was seen last;
/// `None`: it is not open any more.
pub(crate) fn another(first: RawFd, inode: Inode) -> Option<OwnedFd> {
    let all = || proc::numbers("/proc/self/fd").unwrap_or_default();
    // Looked at before it is duplicated, for what is duplicated is closed again, and with the PID file of
    // this process that must not be done.
    let number = iter::once(first).chain(all()).find(|number| inode_of(*number) == Some(inode))?;
    // SAFETY: takes numbers.
    let fd = check(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, FIRST) }).ok()?;
    // SAFETY: it has just been made, and nobody else knows it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    Meta::of(&fd).is_ok_and(|meta| meta.inode == inode).then_some(fd)
}

/// Which file a number means, if it means one: whoever has it may be closing it.
fn inode_of(number: RawFd) -> Option<Inode> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the number is only looked at, and `stat` is a valid place for the answer.
    check(unsafe { libc::fstat(number, stat.as_mut_ptr()) }).ok()?;
    // SAFETY: the call has succeeded, and so has filled it in.
    let stat = unsafe { stat.assume_init() };
    Some(Inode { device: stat.st_dev, number: stat.st_ino })
}

/// Whether the file of a Unix socket at this path belongs to no socket any more: a file that somebody has left.
///
/// Asked with a socket of another type, it is nobody's connection, and no listener has to take it: while there
/// is a socket, also one that is bound and does not listen yet, the kernel refuses the type (`EPROTOTYPE`,
/// unix(7)), and where there is none, the connection.
pub(crate) fn is_abandoned(path: &Path) -> io::Result<bool> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    match connect(&socket, &SocketAddrUnix::new(path)?) {
        Err(rustix::io::Errno::CONNREFUSED) => Ok(true),
        Ok(()) | Err(rustix::io::Errno::PROTOTYPE) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
