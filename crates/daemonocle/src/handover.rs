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
    /// What the PID file is held by: the file, its directory, and its signs.
    pub(crate) pid_file: Vec<Fd>,
    /// In the foreground, the process that waits there, and the channel to it.
    pub(crate) parent: Option<(Pid, Fd)>,
    /// Which one of many workers it is.
    pub(crate) worker: Option<u32>,
    /// Files of listening sockets: which one, its directory, and a word of what else there is to be known.
    pub(crate) files: Vec<(usize, Fd, String)>,
}

impl Handover<BorrowedFd<'_>> {
    /// The value of the variable for a successor that gets this many listening sockets, and then the
    /// [`descriptors`](Self::descriptors).
    pub(crate) fn encode(&self, sockets: usize) -> OsString {
        let first = FIRST.unsigned_abs() as usize + sockets;
        let mut numbers = (first..).map(|number| number.to_string());
        let mut next = || numbers.next().unwrap_or_default();
        let mut text = format!("given={} channel={}", self.given, next());
        if !self.pid_file.is_empty() {
            let numbers: Vec<_> = self.pid_file.iter().map(|_| next()).collect();
            text += &format!(" pid_file={}", numbers.join(","));
        }
        if let Some((pid, _)) = &self.parent {
            text += &format!(" parent={pid} to_parent={}", next());
        }
        if let Some(worker) = self.worker {
            text += &format!(" worker={worker}");
        }
        for (socket, _, word) in &self.files {
            text += &format!(" unix={socket},{},{word}", next());
        }
        text.into()
    }

    /// All descriptors, in this order.
    pub(crate) fn descriptors(&self) -> Vec<RawFd> {
        let parent = self.parent.iter().map(|(_, channel)| channel);
        let files = self.files.iter().map(|(_, dir, _)| dir);
        let all = [&self.channel].into_iter().chain(&self.pid_file).chain(parent).chain(files);
        all.map(AsRawFd::as_raw_fd).collect()
    }
}

impl Handover<RawFd> {
    fn decode(text: &str) -> Option<Self> {
        let (mut given, mut channel) = (None, None);
        let (mut parent, mut to_parent) = (None, None);
        let (mut pid_file, mut worker, mut files) = (Vec::new(), None, Vec::new());
        for word in text.split(' ') {
            let (name, value) = word.split_once('=')?;
            if name == "worker" && worker.is_none() {
                worker = Some(value.parse().ok()?);
                continue;
            }
            if name == "unix" {
                let (socket, rest) = value.split_once(',')?;
                let (dir, word) = rest.split_once(',')?;
                files.push((socket.parse().ok()?, dir.parse().ok()?, word.to_owned()));
                continue;
            }
            let numbers: Vec<RawFd> =
                value.split(',').map(|number| number.parse().ok()).collect::<Option<_>>()?;
            let place = match (name, &numbers[..]) {
                ("pid_file", [_, _, ..]) if pid_file.is_empty() => {
                    pid_file = numbers;
                    continue;
                }
                ("given", [_]) => &mut given,
                ("channel", [_]) => &mut channel,
                ("parent", [_]) => &mut parent,
                ("to_parent", [_]) => &mut to_parent,
                _ => return None,
            };
            if place.replace(*numbers.first()?).is_some() {
                return None;
            }
        }
        let dirs = files.iter().map(|(_, dir, _)| *dir);
        let descriptors = [channel, to_parent].into_iter().flatten();
        let descriptors: Vec<RawFd> =
            descriptors.chain(pid_file.iter().copied()).chain(dirs).collect();
        let is_known = |index: usize| descriptors[..index].contains(&descriptors[index]);
        if descriptors.iter().any(|number| *number < FIRST) || (0..descriptors.len()).any(is_known)
        {
            return None;
        }
        let parent = match (parent, to_parent) {
            (Some(pid), Some(channel)) => Some((Pid::new(pid)?, channel)),
            (None, None) => None,
            _ => return None,
        };
        let given = usize::try_from(given?).ok()?;
        Some(Self { given, channel: channel?, pid_file, parent, worker, files })
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
        pid_file: numbers.pid_file.into_iter().map(adopt).collect::<io::Result<_>>()?,
        parent: match numbers.parent {
            Some((pid, channel)) => Some((pid, adopt(channel)?)),
            None => None,
        },
        worker: numbers.worker,
        files: numbers
            .files
            .into_iter()
            .map(|(socket, dir, word)| Ok((socket, adopt(dir)?, word)))
            .collect::<io::Result<_>>()?,
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
        for (given, pid_file, parent, worker, text) in [
            (0, vec![], None, None, "given=0 channel=3".to_owned()),
            (2, vec![fd, fd], None, Some(0), "given=2 channel=5 pid_file=6,7 worker=0".to_owned()),
            (
                0,
                vec![fd; 4],
                Some((me, fd)),
                Some(u32::MAX),
                format!(
                    "given=0 channel=3 pid_file=4,5,6,7 parent={me} to_parent=8 worker=4294967295"
                ),
            ),
        ] {
            let files = Vec::new();
            let sent = Handover { given, channel: fd, pid_file, parent, worker, files };
            assert_eq!(sent.encode(given), OsString::from(&text));
            let read = Handover::decode(&text).ok_or(io::ErrorKind::InvalidData)?;
            assert_eq!((read.given, read.pid_file.len()), (given, sent.pid_file.len()));
            assert_eq!(read.parent.map(|(pid, _)| pid), parent.map(|(pid, _)| pid));
            assert_eq!(read.worker, worker);
            let all = sent.descriptors().len();
            assert_eq!(all, 1 + sent.pid_file.len() + usize::from(parent.is_some()));
        }
        Ok(())
    }

    #[test]
    fn files_come_last() -> io::Result<()> {
        let null = std::fs::File::open("/dev/null")?;
        let fd = null.as_fd();
        let files = vec![(0, fd, "1.2.61".to_owned()), (1, fd, "x".to_owned())];
        let (pid_file, parent, worker) = (vec![fd, fd], None, Some(7));
        let sent = Handover { given: 0, channel: fd, pid_file, parent, worker, files };
        let text = "given=0 channel=5 pid_file=6,7 worker=7 unix=0,8,1.2.61 unix=1,9,x";
        assert_eq!(sent.encode(2), OsString::from(text));
        assert_eq!(sent.descriptors().len(), 5);
        let read = Handover::decode(text).ok_or(io::ErrorKind::InvalidData)?;
        assert_eq!(read.files, [(0, 8, "1.2.61".to_owned()), (1, 9, "x".to_owned())]);
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
            "given=0 pid_file=3,4",
            "given=0 channel=3 channel=4",
            "given=0 channel=3,4",
            "given=0 channel=3 pid_file=4",
            "given=0 channel=3 pid_file=",
            "given=0 channel=3 pid_file=4,",
            "given=0 channel=3 pid_file=4,2",
            "given=0 channel=3 pid_file=4,5 pid_file=6,7",
            "given=0 channel=3 parent=4",
            "given=0 channel=3 to_parent=4",
            "given=0 channel=3 other=4",
            "given=0 channel=3 worker=-1",
            "given=0 channel=3 unix=0",
            "given=0 channel=3 unix=0,4",
            "given=0 channel=3 unix=0,3,x",
            "given=0 channel=3 unix=-1,4,x",
            "given=0 channel=3 worker=4294967296",
            "given=0 channel=3 worker=4 worker=4",
            "given=0 channel=3  pid_file=4,5",
            "given=0 channel=3 pid_file=4,4",
            "given=0 channel=3 pid_file=3,4",
        ] {
            assert!(Handover::decode(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn fuzz_handovers() {
        crate::fuzz::hold_text("handover", |text| {
            let Some(read) = Handover::decode(text) else { return };
            let parent = read.parent.map(|(_, channel)| channel);
            let dirs = read.files.iter().map(|(_, dir, _)| *dir);
            let all: Vec<_> =
                [read.channel].into_iter().chain(read.pid_file).chain(parent).chain(dirs).collect();
            let known: std::collections::BTreeSet<_> = all.iter().collect();
            assert_eq!(known.len(), all.len(), "nothing is adopted twice");
            assert!(all.iter().all(|number| *number >= FIRST), "nor a standard stream");
        });
    }
}
