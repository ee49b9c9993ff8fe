//! What a daemon that reloads hands to its successor: descriptors, whose numbers stand in a variable of
//! the environment. Listening sockets come before them, by the convention for those (`listener`).

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use crate::sys::fd::adopt;
use crate::sys::process::{Pid, SingleThreaded};
use crate::sys::program::take_variable;
use crate::sys::rerun::FIRST;

/// The variable.
pub(crate) const VARIABLE: &str = "DAEMONOCLE_RELOAD";

/// What is handed over.
pub(crate) struct Handover<Fd> {
    /// How many of the listening sockets the old daemon had from outside.
    pub(crate) given: usize,
    /// To the old daemon, as to a command `start`.
    pub(crate) channel: Fd,
    /// The PID file, and its directory.
    pub(crate) pid_file: Option<(Fd, Fd)>,
    /// In the foreground, the process that waits there, and the channel to it.
    pub(crate) parent: Option<(Pid, Fd)>,
}

impl Handover<BorrowedFd<'_>> {
    /// The value of the variable for a successor that gets this many listening sockets, and then the
    /// [`descriptors`](Self::descriptors).
    pub(crate) fn encode(&self, sockets: usize) -> OsString {
        let first = FIRST.unsigned_abs() as usize + sockets;
        let mut numbers = first..;
        let mut next = || numbers.next().unwrap_or(first);
        let mut text = format!("given={} channel={}", self.given, next());
        if self.pid_file.is_some() {
            text += &format!(" file={} dir={}", next(), next());
        }
        if let Some((pid, _)) = &self.parent {
            text += &format!(" parent={pid} to_parent={}", next());
        }
        text.into()
    }

    /// All descriptors, in this order.
    pub(crate) fn descriptors(&self) -> Vec<RawFd> {
        let pid_file = self.pid_file.iter().flat_map(|(file, dir)| [file, dir]);
        let parent = self.parent.iter().map(|(_, channel)| channel);
        [&self.channel].into_iter().chain(pid_file).chain(parent).map(AsRawFd::as_raw_fd).collect()
    }
}

impl Handover<RawFd> {
    fn decode(text: &str) -> Option<Self> {
        let (mut given, mut channel) = (None, None);
        let (mut file, mut dir) = (None, None);
        let (mut parent, mut to_parent) = (None, None);
        for word in text.split(' ') {
            let (name, number) = word.split_once('=')?;
            let least = if name == "given" { 0 } else { FIRST };
            let number: RawFd = number.parse().ok().filter(|number| *number >= least)?;
            let place = match name {
                "given" => &mut given,
                "channel" => &mut channel,
                "file" => &mut file,
                "dir" => &mut dir,
                "parent" => &mut parent,
                "to_parent" => &mut to_parent,
                _ => return None,
            };
            if place.replace(number).is_some() {
                return None;
            }
        }
        let both = |a: Option<RawFd>, b: Option<RawFd>| match (a, b) {
            (Some(a), Some(b)) => Some(Some((a, b))),
            (None, None) => Some(None),
            _ => None,
        };
        let numbers: Vec<_> = [channel, file, dir, to_parent].into_iter().flatten().collect();
        if numbers.iter().enumerate().any(|(index, number)| numbers[..index].contains(number)) {
            return None;
        }
        let parent = match both(parent, to_parent)? {
            Some((pid, channel)) => Some((Pid::new(pid)?, channel)),
            None => None,
        };
        let given = usize::try_from(given?).ok()?;
        Some(Self { given, channel: channel?, pid_file: both(file, dir)?, parent })
    }
}

/// Whether this process is to succeed a daemon that reloads.
pub(crate) fn is_waiting() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// Takes what was handed over, and the variable out of the environment; `None`: nothing was.
pub(crate) fn take(proof: SingleThreaded) -> io::Result<Option<Handover<OwnedFd>>> {
    let Some(text) = take_variable(VARIABLE, proof) else {
        return Ok(None);
    };
    let wrong = || io::Error::new(io::ErrorKind::InvalidInput, "it makes no sense");
    let numbers = text.to_str().and_then(Handover::decode).ok_or_else(wrong)?;
    Ok(Some(Handover {
        given: numbers.given,
        channel: adopt(numbers.channel)?,
        pid_file: match numbers.pid_file {
            Some((file, dir)) => Some((adopt(file)?, adopt(dir)?)),
            None => None,
        },
        parent: match numbers.parent {
            Some((pid, channel)) => Some((pid, adopt(channel)?)),
            None => None,
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn it_arrives_as_it_was_sent() -> io::Result<()> {
        let null = std::fs::File::open("/dev/null")?;
        let (fd, me) = (null.as_fd(), Pid::current());
        for (given, pid_file, parent, text, numbers) in [
            (0, None, None, "given=0 channel=3".to_owned(), 1),
            (2, Some((fd, fd)), None, "given=2 channel=5 file=6 dir=7".to_owned(), 3),
            (
                0,
                Some((fd, fd)),
                Some((me, fd)),
                format!("given=0 channel=3 file=4 dir=5 parent={me} to_parent=6"),
                4,
            ),
        ] {
            let sent = Handover { given, channel: fd, pid_file, parent };
            assert_eq!(sent.encode(given), OsString::from(&text));
            assert_eq!(sent.descriptors().len(), numbers, "{text}");
            let read = Handover::decode(&text).ok_or(io::ErrorKind::InvalidData)?;
            assert_eq!((read.given, read.pid_file.is_some()), (given, pid_file.is_some()));
            assert_eq!(read.parent.map(|(pid, _)| pid), parent.map(|(pid, _)| pid));
        }
        Ok(())
    }

    #[test]
    fn nonsense_is_nothing() {
        for bad in [
            "",
            "channel=3",
            "given=0",
            "given=-1 channel=3",
            "given=0 channel",
            "given=0 channel=",
            "given=0 channel=2",
            "given=0 channel=-1",
            "given=0 channel=99999999999",
            "given=0 file=3 dir=4",
            "given=0 channel=3 channel=4",
            "given=0 channel=3 file=4",
            "given=0 channel=3 parent=4",
            "given=0 channel=3 to_parent=4",
            "given=0 channel=3 other=4",
            "given=0 channel=3  file=4 dir=5",
            "given=0 channel=3 file=4 dir=4",
        ] {
            assert!(Handover::decode(bad).is_none(), "{bad:?}");
        }
    }
}
