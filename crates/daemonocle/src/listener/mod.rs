//! Listening sockets that outlive the process which has made them: a daemon that reloads hands them to
//! its successor, and whoever runs a program (systemd) to that, both in the same way.
//!
//! They are what this process has, whoever it is of all its threads that asks: one list, as of its
//! descriptors. The worker owns what it has taken; here is only known which socket that is, so that one
//! that it has closed is closed.

#![forbid(unsafe_code)]

mod address;
mod environment;
mod file;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Kind, reason};
use crate::sys::fd::Guarded;
use crate::sys::fs::{Inode, Meta};
use crate::sys::process::{Pid, SingleThreaded};
use crate::sys::program::take_variable;
use crate::sys::rerun::FIRST;
use crate::sys::socket::{adopt_socket, another, listening};

pub use address::Address;
pub(crate) use address::sealed::Sealed;
pub(crate) use environment::{LISTEN_FDNAMES, LISTEN_FDS, LISTEN_PID};

use address::Place;
use environment::{Variables, is_name};
use file::SocketFile;

/// All sockets that this process has by name.
static SOCKETS: Mutex<Vec<Socket>> = Mutex::new(Vec::new());

fn sockets() -> MutexGuard<'static, Vec<Socket>> {
    SOCKETS.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Socket {
    name: String,
    origin: Origin,
    held: Held,
    /// The file that is to go when the daemon ends.
    file: Option<SocketFile>,
}

/// Where a socket comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// From whoever runs the program, who decides where it listens.
    Given,
    /// From a predecessor that is the daemon still.
    Predecessor,
    /// From this daemon itself, in this process or one that it was before.
    Own,
}

enum Held {
    /// Nobody has asked for it yet.
    Waiting(Guarded),
    /// It is the worker's, under this number to begin with.
    Taken { number: RawFd, inode: Inode },
}

impl Socket {
    /// A descriptor of it for somebody else; `None`: the worker has closed it.
    fn duplicate(&self) -> Option<OwnedFd> {
        match &self.held {
            Held::Waiting(socket) => socket.get().ok()?.try_clone_to_owned().ok(),
            Held::Taken { number, inode } => another(*number, *inode),
        }
    }

    fn is_waiting(&self) -> bool {
        matches!(self.held, Held::Waiting(_))
    }
}

/// What a predecessor says of the sockets that it passes.
pub(crate) struct Bequest {
    /// How many of them are from outside: the first ones.
    pub(crate) given: usize,
    /// Files that some have left: which socket, the directory, and what else there is to be known.
    pub(crate) files: Vec<(usize, OwnedFd, String)>,
}

/// Makes those ours that were passed to this program, by a predecessor or from outside, and the variables
/// that say so disappear.
pub(crate) fn adopt(bequest: Option<Bequest>, proof: SingleThreaded) -> Result<(), Error> {
    let look = |name: &str| std::env::var_os(name);
    let (pid, fds, names) = (look(LISTEN_PID), look(LISTEN_FDS), look(LISTEN_FDNAMES));
    let variables = Variables { pid: pid.as_deref(), fds: fds.as_deref(), names: names.as_deref() };
    let cannot = |why: String| {
        Error::new(Kind::System, format!("cannot make sense of the sockets handed over: {why}"))
    };
    let names = variables.names(Pid::current()).map_err(cannot)?;
    if names.is_empty() {
        return Ok(());
    }
    let from_outside = Bequest { given: usize::MAX, files: Vec::new() };
    let Bequest { given, files } = bequest.unwrap_or(from_outside);
    let mut adopted = Vec::new();
    for (index, (name, number)) in names.into_iter().zip(FIRST..).enumerate() {
        let origin = if index < given { Origin::Given } else { Origin::Predecessor };
        let socket = adopt_socket(number);
        let socket =
            socket.map_err(|error| cannot(format!("number {number}: {}", reason(&error))))?;
        let held = Guarded::new(socket).map(Held::Waiting);
        let held = held.map_err(|error| cannot(format!("number {number}: {}", reason(&error))))?;
        adopted.push(Socket { name, origin, held, file: None });
    }
    for (index, dir, word) in files {
        let file = SocketFile::inherited(dir, &word);
        let file = file.map_err(|error| cannot(format!("file {word}: {}", reason(&error))))?;
        if let Some(socket) = adopted.get_mut(index) {
            socket.file = Some(file);
        }
    }
    sockets().append(&mut adopted);
    for name in [LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES] {
        take_variable(name, proof);
    }
    Ok(())
}

/// The socket of this name that was handed over and is waiting, or a new one.
pub(crate) fn listen(name: &str, address: &impl Sealed) -> io::Result<OwnedFd> {
    let result = address.place().and_then(|place| obtain(name, &place));
    result.map_err(|error| {
        let text = format!("cannot listen on {} as {name:?}: {}", address.text(), reason(&error));
        io::Error::new(error.kind(), text)
    })
}

fn obtain(name: &str, place: &Place) -> io::Result<OwnedFd> {
    if !is_name(name) {
        let why = "its name must be at most 255 characters of printable ASCII without a colon";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let mut sockets = sockets();
    let (socket, origin, file) = match take_waiting(&mut sockets, name, place)? {
        Some(Socket { held: Held::Waiting(socket), origin, file, .. }) => {
            (socket.get()?.try_clone_to_owned()?, origin, file)
        }
        _ => {
            let (socket, file) = place.bind()?;
            (socket, Origin::Own, file)
        }
    };
    let held = Held::Taken { number: socket.as_raw_fd(), inode: Meta::of(&socket)?.inode };
    sockets.push(Socket { name: name.to_owned(), origin, held, file });
    Ok(socket)
}

/// Of a predecessor's sockets one that listens at the place; of those from outside that or the first one
/// of the name, since whoever gives a socket decides where it listens.
fn take_waiting(
    sockets: &mut Vec<Socket>,
    name: &str,
    place: &Place,
) -> io::Result<Option<Socket>> {
    let candidates: Vec<(usize, OwnedFd)> = sockets
        .iter()
        .enumerate()
        .filter(|(_, socket)| socket.is_waiting() && socket.name == name)
        .filter_map(|(index, socket)| Some((index, socket.duplicate()?)))
        .collect();
    let is_there = |(index, fd): &&(usize, OwnedFd)| place.is_of(fd, sockets[*index].file.as_ref());
    let is_given = |(index, _): &&(usize, OwnedFd)| sockets[*index].origin == Origin::Given;
    let mut all = candidates.iter();
    match all.clone().find(is_there).or_else(|| all.find(is_given)) {
        None => Ok(None),
        Some((index, fd)) if listening(fd.as_fd()) == Some(place.family()) => {
            Ok(Some(sockets.remove(*index)))
        }
        Some(_) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the socket of this name that was handed over is of another kind, or does not listen",
        )),
    }
}

/// Does something with these descriptors and those of the sockets that nobody has asked for yet.
pub(crate) fn with_waiting<T>(
    others: &[BorrowedFd<'_>],
    f: impl FnOnce(&[BorrowedFd<'_>]) -> T,
) -> T {
    let sockets = sockets();
    let waiting = sockets.iter().filter_map(|socket| match &socket.held {
        Held::Waiting(socket) => Some(socket.as_fd()),
        Held::Taken { .. } => None,
    });
    let all: Vec<_> = others.iter().map(AsFd::as_fd).chain(waiting).collect();
    f(&all)
}

/// There is no predecessor any more: makes what comes from it ours, and closes those that nobody has asked
/// for by now, or whoever connects would wait for ever.
pub(crate) fn inherit() {
    sockets().retain_mut(|socket| {
        if socket.origin != Origin::Predecessor {
            return true;
        }
        socket.origin = Origin::Own;
        if let (true, Some(file)) = (socket.is_waiting(), &socket.file) {
            let _ = file.remove();
        }
        !socket.is_waiting()
    });
}

/// What a successor is to get.
pub(crate) struct Passed {
    /// Those from outside first.
    pub(crate) names: Vec<String>,
    pub(crate) sockets: Vec<OwnedFd>,
    /// See [`Bequest`].
    pub(crate) given: usize,
    pub(crate) files: Vec<(usize, OwnedFd, String)>,
}

/// All that are open still.
pub(crate) fn pass() -> Passed {
    let (mut names, mut duplicates, mut given) = (Vec::new(), Vec::new(), 0);
    let mut files = Vec::new();
    let sockets = sockets();
    for is_given in [true, false] {
        let is_its_turn = |socket: &&Socket| (socket.origin == Origin::Given) == is_given;
        for socket in sockets.iter().filter(is_its_turn) {
            if let Some(duplicate) = socket.duplicate() {
                // A successor that is not told of the file binds another socket there, or says why not.
                let file = socket.file.as_ref().and_then(|file| file.pass().ok());
                files.extend(file.map(|(dir, word)| (names.len(), dir, word)));
                names.push(socket.name.clone());
                duplicates.push(duplicate);
                given += usize::from(is_given);
            }
        }
    }
    Passed { names, sockets: duplicates, given, files }
}

/// Whether the files are this process's to remove, at its end: not while a successor may have them.
static FILES_ARE_OURS: Mutex<bool> = Mutex::new(true);

fn files_are_ours() -> MutexGuard<'static, bool> {
    FILES_ARE_OURS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Leaves the files alone from now on, whatever ends this process: a successor takes them. `false`: too late,
/// this process is ending, and they are removed already.
pub(crate) fn let_go() -> bool {
    std::mem::replace(&mut *files_are_ours(), false)
}

/// There is no successor after all.
pub(crate) fn take_back() {
    *files_are_ours() = true;
}

/// A successor has them all, and their files are its.
pub(crate) fn leave() {
    for socket in sockets().iter_mut() {
        // Nothing is closed here: it is the worker's, or may be that of other code of the program, which
        // has read the variables before us.
        socket.file = None;
    }
}

/// At the end of the daemon.
pub(crate) fn remove_files() {
    // Held to the end: a successor must not take what is about to be removed.
    let mut are_ours = files_are_ours();
    if !std::mem::replace(&mut *are_ours, false) {
        return;
    }
    for socket in sockets().iter() {
        if let (Origin::Own, Some(file)) = (socket.origin, &socket.file) {
            // What stays is removed by the next daemon that listens there.
            let _ = file.remove();
        }
    }
}
