//! The channel between the command `start` and the daemon it has made, while that comes up.
//!
//! The daemon reports, the starter replies. End of file says that the other side is dead: to the
//! starter, that there will be no daemon; to the daemon, that nobody will ever know of it.

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::sys::fd::{
    Guarded, is_socket, peer, receive, receive_short, send, shut_down_sending, socket_pair,
};
use crate::sys::process::Pid;

/// What the daemon tells, each at most once and in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// It exists, under this number; its guardian says so.
    Born(Pid),
    /// The daemon is this program, which the process that reports keeps.
    Program(Pid),
    /// Everything is set up; the worker is about to run.
    SetUp,
    /// The worker has called `ready()`.
    Ready,
    /// A step of the set-up failed: the exit code that tells it, and the error.
    Failed(u8, String),
    /// The daemon is ending, with this intended exit code and these words of the worker's. It may
    /// take a while yet, for the shutdown hook.
    Ending(u8, String),
    /// It has taken the PID file over from the daemon that has reloaded.
    Taken,
    /// The daemon has reloaded, and is this process now.
    Successor(Pid),
    /// The daemon has died like this; its guardian says so.
    Died(ExitStatus),
}

/// What the starter answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// Run the worker; or reload, whoever has asked for that listens.
    Go,
    /// The start is complete and has been, or is being, told.
    Accepted,
}

impl Reply {
    const fn encode(self) -> &'static [u8] {
        match self {
            Self::Go => b"G",
            Self::Accepted => b"A",
        }
    }

    fn decode(message: &[u8]) -> Option<Self> {
        match message {
            b"G" => Some(Self::Go),
            b"A" => Some(Self::Accepted),
            _ => None,
        }
    }
}

/// The longest text that is reported; a longer one is cut.
const LONGEST: usize = 16 * 1024;

impl Report {
    fn encode(&self) -> Vec<u8> {
        let (tag, body) = match self {
            Self::Born(pid) => (b'B', pid.to_string()),
            Self::Program(pid) => (b'P', pid.to_string()),
            Self::SetUp => (b'S', String::new()),
            Self::Ready => (b'R', String::new()),
            Self::Taken => (b'T', String::new()),
            Self::Successor(pid) => (b'N', pid.to_string()),
            Self::Failed(code, text) => (b'F', format!("{code} {}", cut(text))),
            Self::Ending(code, text) => (b'E', format!("{code} {}", cut(text))),
            Self::Died(status) => (b'D', status.into_raw().to_string()),
        };
        let mut bytes = vec![tag];
        bytes.extend_from_slice(body.as_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (tag, body) = bytes.split_first()?;
        let text = String::from_utf8_lossy(body);
        Some(match tag {
            b'B' => Self::Born(Pid::new(text.parse().ok()?)?),
            b'T' if body.is_empty() => Self::Taken,
            b'N' => Self::Successor(Pid::new(text.parse().ok()?)?),
            b'P' => Self::Program(Pid::new(text.parse().ok()?)?),
            b'S' if body.is_empty() => Self::SetUp,
            b'R' if body.is_empty() => Self::Ready,
            b'F' | b'E' => {
                let (code, words) = text.split_once(' ')?;
                let (code, words) = (code.parse().ok()?, words.to_owned());
                match tag {
                    b'F' => Self::Failed(code, words),
                    _ => Self::Ending(code, words),
                }
            }
            b'D' => Self::Died(ExitStatus::from_raw(text.parse().ok()?)),
            _ => return None,
        })
    }
}

fn cut(text: &str) -> String {
    let end = (0..=LONGEST.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    text[..end.unwrap_or(0)].to_owned()
}

/// The end of the channel that the command `start` has.
pub(crate) struct Starter(OwnedFd);

/// The end of the channel that the daemon has.
pub(crate) struct Newborn(Guarded);

/// Makes the channel. Its descriptors close on exec, so that no program which the worker runs can
/// keep it open.
pub(crate) fn channel() -> io::Result<(Starter, Newborn)> {
    let (starter, newborn) = socket_pair()?;
    Ok((Starter(starter), Newborn(Guarded::new(newborn)?)))
}

impl Starter {
    /// This end of a channel that the other side has made.
    pub(crate) fn of(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// The next report; `None`: there will be none.
    pub(crate) fn receive(&self) -> io::Result<Option<Report>> {
        let message = receive(self.0.as_fd())?;
        if message.is_empty() {
            return Ok(None);
        }
        Report::decode(&message).map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    pub(crate) fn reply(&self, reply: Reply) -> io::Result<()> {
        send(self.0.as_fd(), reply.encode())
    }
}

impl Starter {
    /// Makes the daemon see the end of the channel, and goes on listening to it.
    pub(crate) fn hang_up(&self) {
        // It fails only if the other side has hung up before.
        let _ = shut_down_sending(self.0.as_fd());
    }
}

impl AsFd for Starter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Newborn {
    /// The channel of a daemon that has been handed over, if it is one.
    pub(crate) fn inherited(socket: OwnedFd) -> io::Result<Self> {
        match is_socket(socket.as_fd()) {
            true => Ok(Self(Guarded::new(socket)?)),
            false => Err(io::Error::other("it is no socket")),
        }
    }

    /// Whether the other end was made by this process.
    pub(crate) fn is_from(&self, pid: Pid) -> bool {
        self.0.get().is_ok_and(|socket| peer(socket).is_ok_and(|(its, _)| its == Some(pid)))
    }

    pub(crate) fn report(&self, report: &Report) -> io::Result<()> {
        send(self.0.get()?, &report.encode())
    }

    /// Whether the descriptor is still the channel's.
    pub(crate) fn is_intact(&self) -> bool {
        self.0.get().is_ok()
    }

    /// The next reply; `None`: the starter is dead.
    pub(crate) fn receive(&self) -> io::Result<Option<Reply>> {
        // One byte more than the longest: what is cut is none of them. No memory, for want of which a daemon would
        // die that has just been told as running.
        let mut buffer = [0; 2];
        let message = receive_short(self.0.get()?, &mut buffer)?;
        if message.is_empty() {
            return Ok(None);
        }
        Reply::decode(message).map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

impl AsFd for Newborn {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_arrive_as_they_were_sent() {
        for report in [
            Report::Born(Pid::current()),
            Report::Program(Pid::current()),
            Report::Taken,
            Report::Successor(Pid::current()),
            Report::SetUp,
            Report::Ready,
            Report::Failed(101, "a\nb".into()),
            Report::Ending(3, String::new()),
            Report::Ending(255, "a b".into()),
            Report::Died(ExitStatus::from_raw(9)),
        ] {
            assert_eq!(Report::decode(&report.encode()), Some(report));
        }
    }

    #[test]
    fn nonsense_is_no_report() {
        for bad in [
            &b""[..],
            b"B",
            b"B0",
            b"B-1",
            b"Bx",
            b"D",
            b"Dx",
            b"E",
            b"E1",
            b"Fx y",
            b"E256 ",
            b"Sx",
            b"?",
            b"\xff",
        ] {
            assert_eq!(Report::decode(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let report = Report::Ending(1, "é".repeat(LONGEST)).encode();
        assert!(report.len() <= LONGEST + 16);
        assert!(std::str::from_utf8(&report).is_ok());
    }

    #[test]
    fn a_reply_is_heard_although_a_report_was_left_unread() -> io::Result<()> {
        let (starter, newborn) = channel()?;
        newborn.report(&Report::Ready)?;
        starter.reply(Reply::Accepted)?;
        drop(starter);
        assert_eq!(newborn.receive()?, Some(Reply::Accepted));
        assert_eq!(newborn.receive()?, None);
        Ok(())
    }

    #[test]
    fn death_of_a_side_is_the_end_of_the_other_ones_reading() -> io::Result<()> {
        let (starter, newborn) = channel()?;
        newborn.report(&Report::Ready)?;
        drop(newborn);
        assert_eq!(starter.receive()?, Some(Report::Ready));
        assert_eq!(starter.receive()?, None);
        let (starter, newborn) = channel()?;
        newborn.report(&Report::Ready)?;
        drop(starter);
        assert_eq!(newborn.receive()?, None, "unread reports reset nothing");
        Ok(())
    }

    #[test]
    fn fuzz_replies() {
        crate::fuzz::hold("reply", |bytes| {
            let all = [(b'G', Reply::Go), (b'A', Reply::Accepted)];
            let expected = all.into_iter().find(|(letter, _)| bytes == [*letter]);
            assert_eq!(Reply::decode(bytes), expected.map(|(_, reply)| reply));
            assert!(expected.is_none_or(|(_, reply)| reply.encode() == bytes));
        });
    }

    #[test]
    fn fuzz_reports() {
        crate::fuzz::hold("report", |bytes| {
            if let Some(report) = Report::decode(bytes) {
                assert_eq!(Report::decode(&report.encode()).as_ref(), Some(&report));
            }
        });
    }
}
