//! What a daemon that reloads hands to its successor: descriptors, whose numbers stand in a variable of
//! the environment.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use crate::sys::fd::adopt;
use crate::sys::process::{Pid, SingleThreaded};
use crate::sys::program::take_variable;

/// The variable.
pub(crate) const VARIABLE: &str = "DAEMONOCLE_RELOAD";

/// What is handed over.
pub(crate) struct Handover<Fd> {
    /// To the old daemon, as to a command `start`.
    pub(crate) channel: Fd,
    /// The PID file, and its directory.
    pub(crate) pid_file: Option<(Fd, Fd)>,
    /// In the foreground, the process that waits there, and the channel to it.
    pub(crate) parent: Option<(Pid, Fd)>,
}

impl Handover<BorrowedFd<'_>> {
    /// The value of the variable.
    pub(crate) fn encode(&self) -> OsString {
        let mut text = format!("channel={}", self.channel.as_raw_fd());
        if let Some((file, dir)) = &self.pid_file {
            text += &format!(" file={} dir={}", file.as_raw_fd(), dir.as_raw_fd());
        }
        if let Some((pid, channel)) = &self.parent {
            text += &format!(" parent={pid} to_parent={}", channel.as_raw_fd());
        }
        text.into()
    }

    /// The descriptors that must pass through exec.
    pub(crate) fn descriptors(&self) -> Vec<RawFd> {
        let pid_file = self.pid_file.iter().flat_map(|(file, dir)| [file, dir]);
        let parent = self.parent.iter().map(|(_, channel)| channel);
        [&self.channel].into_iter().chain(pid_file).chain(parent).map(AsRawFd::as_raw_fd).collect()
    }
}

impl Handover<RawFd> {
    fn decode(text: &str) -> Option<Self> {
        let mut channel = None;
        let (mut file, mut dir) = (None, None);
        let (mut parent, mut to_parent) = (None, None);
        for word in text.split(' ') {
            let (name, number) = word.split_once('=')?;
            let number: RawFd = number.parse().ok().filter(|number| *number > 2)?;
            let place = match name {
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
        Some(Self { channel: channel?, pid_file: both(file, dir)?, parent })
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
        let open = || std::fs::File::open("/dev/null");
        let files = [open()?, open()?, open()?, open()?];
        let [channel, file, dir, to_parent] = files.each_ref().map(AsFd::as_fd);
        for (pid_file, parent) in [
            (None, None),
            (Some((file, dir)), None),
            (Some((file, dir)), Some((Pid::current(), to_parent))),
        ] {
            let sent = Handover { channel, pid_file, parent };
            let text = sent.encode();
            let read = text.to_str().and_then(Handover::decode);
            let read = read.ok_or(io::ErrorKind::InvalidData)?;
            assert_eq!(read.channel, channel.as_raw_fd());
            assert_eq!(read.pid_file.is_some(), pid_file.is_some());
            assert_eq!(read.parent.map(|(pid, _)| pid), parent.map(|(pid, _)| pid));
        }
        Ok(())
    }

    #[test]
    fn nonsense_is_nothing() {
        for bad in [
            "",
            "channel",
            "channel=",
            "channel=2",
            "channel=-1",
            "channel=99999999999",
            "file=3 dir=4",
            "channel=3 channel=4",
            "channel=3 file=4",
            "channel=3 parent=4",
            "channel=3 to_parent=4",
            "channel=3 other=4",
            "channel=3  file=4 dir=5",
            "channel=3 file=4 dir=4",
        ] {
            assert!(Handover::decode(bad).is_none(), "{bad:?}");
        }
    }
}
