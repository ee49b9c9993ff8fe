//! Programs that are a daemon and know nothing of its PID file. Their keeper, the process that ran
//! them, has the locks, and one more lock that tells whom it keeps: a byte for every PID.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::RangeInclusive;

use crate::sys::lock::{self, Byte, Holder};
use crate::sys::proc;
use crate::sys::proc::files::OpenFile;
use crate::sys::process::{Pid, PidFd};

/// The byte of the PID that there is not, 0.
const PROGRAMS: i64 = 1 << 32;

/// There are no more PIDs than this (`PID_MAX_LIMIT`, proc(5)).
pub(super) const MOST_PIDS: i64 = 1 << 22;

pub(super) const ALL: RangeInclusive<Byte> = Byte(PROGRAMS)..=Byte(PROGRAMS + MOST_PIDS);

/// A program that is a daemon.
pub(crate) struct Program {
    pub(crate) pid: Pid,
    /// Refers to it and to nobody else; an error where the kernel offers no such thing.
    pub(crate) handle: io::Result<PidFd>,
    /// Whether it has ended, and its keeper has not buried it yet.
    pub(super) is_dead: bool,
}

pub(super) fn byte_of(pid: Pid) -> Byte {
    Byte(PROGRAMS + i64::from(pid.get()))
}

fn named_by(Byte(byte): Byte) -> Option<Pid> {
    Pid::new(i32::try_from(byte - PROGRAMS).ok()?)
}

/// The program that the process `keeper` keeps, if it keeps one.
pub(super) fn find(file: &File, keeper: Pid) -> io::Result<Option<Program>> {
    open(keeper, || match lock::holder_among(file, ALL)? {
        Some((Holder::Process(holder), byte)) if holder == keeper => Ok(named_by(byte)),
        _ => Ok(None),
    })
}

/// As [`find`], for a PID file that is only open in its keeper.
pub(super) fn find_by(
    keeper: Pid,
    look: impl Fn() -> io::Result<Option<OpenFile>>,
) -> io::Result<Option<Program>> {
    open(keeper, || Ok(look()?.and_then(|file| file.locked_among(&ALL)).and_then(named_by)))
}

/// The keeper lets go of the byte before it buries the program, so that the number is the program's
/// for as long as the lock is there: if it is before and after the pidfd was opened, that means it. And
/// whatever a keeper says, it has a say about its own children only.
fn open(keeper: Pid, named: impl Fn() -> io::Result<Option<Pid>>) -> io::Result<Option<Program>> {
    let Some(pid) = named()? else {
        return Ok(None);
    };
    let handle = PidFd::open(pid);
    if named()? != Some(pid) {
        return Ok(None);
    }
    match proc::stat(pid) {
        Ok(Some(stat)) if stat.parent == keeper.get() => {
            Ok(Some(Program { pid, handle, is_dead: stat.is_dead() }))
        }
        Ok(_) => Ok(None),
        // Nobody can tell, and nobody is signalled.
        Err(error) => Ok(Some(Program { pid, handle: Err(error), is_dead: false })),
    }
}
