//! An answer to a signal: whoever sends it waits on a socket, and the socket's address is short enough for
//! the signal to carry.

use std::io;
use std::num::NonZeroI32;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect,
    getsockname, listen, socket_with, sockopt,
};

use super::fd::peer;
use super::process::Pid;
use super::{retry, user};

/// The address of a socket that the kernel has named ("autobind", unix(7)): five hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(NonZeroI32);

impl Ticket {
    pub(crate) const fn new(number: i32) -> Option<Self> {
        match NonZeroI32::new(number) {
            Some(number) if number.get() > 0 && number.get() <= 1 << 20 => Some(Self(number)),
            _ => None,
        }
    }

    /// One more than what the digits say, which may be nothing.
    pub(crate) const fn number(self) -> i32 {
        self.0.get()
    }

    fn of_name(name: &[u8]) -> Option<Self> {
        let is_name = name.len() == 5 && name.iter().all(u8::is_ascii_hexdigit);
        let digits = str::from_utf8(name).ok().filter(|_| is_name)?;
        Self::new(i32::from_str_radix(digits, 16).ok()? + 1)
    }

    fn name(self) -> String {
        format!("{:05x}", self.number() - 1)
    }
}

fn new_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// Where answers are awaited. Anybody of this network namespace may connect, so each one has to be asked
/// who it is.
pub(crate) struct Awaited {
    socket: OwnedFd,
    pub(crate) ticket: Ticket,
    /// A descriptor for who connects: there must be one when it is too late to do without.
    reserve: Option<OwnedFd>,
}

impl Awaited {
    pub(crate) fn new() -> io::Result<Self> {
        /// Room for those whom nobody has asked.
        const BACKLOG: i32 = 128;
        let socket = new_socket()?;
        bind(&socket, &SocketAddrUnix::new_unnamed())?;
        listen(&socket, BACKLOG)?;
        let address = SocketAddrUnix::try_from(getsockname(&socket)?)?;
        let ticket = address.abstract_name().and_then(Ticket::of_name);
        let ticket =
            ticket.ok_or_else(|| io::Error::other("the kernel gives names of another kind"))?;
        let reserve = Some(socket.try_clone()?);
        Ok(Self { socket, ticket, reserve })
    }

    /// The next one who has connected, if it is this process, on the kernel's word (`SO_PEERCRED`).
    pub(crate) fn accept_from(&mut self, pid: Pid) -> io::Result<Option<OwnedFd>> {
        drop(self.reserve.take());
        let accepted = self.accept(pid)?;
        if accepted.is_none() {
            self.reserve = self.socket.try_clone().ok();
        }
        Ok(accepted)
    }

    fn accept(&self, pid: Pid) -> io::Result<Option<OwnedFd>> {
        let socket = match retry(|| Ok(accept_with(&self.socket, SocketFlags::CLOEXEC)?)) {
            // It has gone again.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => return Ok(None),
            other => other?,
        };
        let (peer, _) = peer(socket.as_fd())?;
        Ok((peer == Some(pid)).then_some(socket))
    }
}

impl AsFd for Awaited {
    /// Readable when somebody has connected.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Connects to whoever awaits an answer there, who must be root or ourselves.
pub(crate) fn answer(ticket: Ticket) -> io::Result<OwnedFd> {
    /// Strangers may crowd there.
    const PATIENCE: Duration = Duration::from_secs(5);
    let socket = new_socket()?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(PATIENCE))?;
    let address = SocketAddrUnix::new_abstract_name(ticket.name().as_bytes())?;
    retry(|| Ok(connect(&socket, &address)?))?;
    let (_, uid) = peer(socket.as_fd())?;
    match [0, user::effective(), user::real()].contains(&uid) {
        true => Ok(socket),
        false => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_a_name_of_the_kernels() {
        for (name, number) in [("00000", 1), ("0000f", 16), ("fffff", 1 << 20)] {
            let ticket = Ticket::of_name(name.as_bytes());
            assert_eq!(ticket.map(Ticket::number), Some(number));
            assert_eq!(ticket.map(Ticket::name).as_deref(), Some(name));
        }
        for name in ["", "0000", "000000", "0000g", "-0001", "+0001"] {
            assert_eq!(Ticket::of_name(name.as_bytes()), None, "{name:?}");
        }
        assert_eq!([0, -1, (1 << 20) + 1].map(Ticket::new), [None; 3]);
    }

    #[test]
    fn fuzz_tickets() {
        crate::fuzz::hold("ticket", |name| {
            let digit = |byte: &u8| b"0123456789abcdef".iter().position(|digit| digit == byte);
            let digits: Option<Vec<usize>> = name.to_ascii_lowercase().iter().map(digit).collect();
            let expected = digits
                .filter(|digits| digits.len() == 5)
                .map(|digits| digits.iter().fold(0, |number, digit| 16 * number + digit) + 1);
            let ticket = Ticket::of_name(name);
            assert_eq!(ticket.map(|ticket| ticket.number().unsigned_abs() as usize), expected);
            assert!(ticket.is_none_or(|it| it.name().as_bytes() == name.to_ascii_lowercase()));
            assert!(ticket.is_none_or(|ticket| Ticket::new(ticket.number()) == Some(ticket)));
        });
    }

    #[test]
    fn an_answer_comes_from_who_is_asked() -> io::Result<()> {
        let mut awaited = Awaited::new()?;
        let (first, second) = (answer(awaited.ticket)?, answer(awaited.ticket)?);
        let stranger = Pid::new(1).ok_or(io::ErrorKind::InvalidData)?;
        assert!(awaited.accept_from(stranger)?.is_none());
        assert!(awaited.accept_from(Pid::current())?.is_some());
        drop((first, second));
        Ok(())
    }
}
