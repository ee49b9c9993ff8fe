//! When which daemon has lived.

use std::fs;
use std::path::Path;

use daemonocle_tests::Pid;
use rustix::time::{ClockId, clock_gettime};

/// A moment, in nanoseconds of `CLOCK_MONOTONIC`.
pub(crate) type Moment = i64;

pub(crate) fn now() -> Moment {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// A daemon that has got as far as its worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    pub(crate) pid: Pid,
    /// Its parent when its worker began.
    parent: Pid,
    /// Which of them that was, if it is what a daemon has become by a reload.
    pub(crate) predecessor: Option<usize>,
    /// From here on it has certainly lived…
    pub(crate) first: Moment,
    /// …until here.
    pub(crate) last: Moment,
    /// Until here it was certainly the daemon: not after there was one that it may have handed over to, nor
    /// if it is one itself, which may not have come to be the daemon.
    pub(crate) reigned: Option<Moment>,
}

/// Those of one worker, in the order of their births.
pub(crate) fn read(beats: &Path, worker: usize) -> Vec<Life> {
    let mut lives: Vec<Life> = fs::read_dir(beats)
        .unwrap()
        .filter_map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let numbers: Vec<i64> = name.split('-').map(|number| number.parse().unwrap()).collect();
            let [first, pid, parent, its] = numbers[..] else { panic!("{name:?}") };
            if its != worker as i64 {
                return None;
            }
            let text = fs::read(entry.path()).unwrap();
            // Killed before its first beat.
            let last = text.try_into().map_or(first, i64::from_ne_bytes);
            Some(Life {
                pid: pid as Pid,
                parent: parent as Pid,
                predecessor: None,
                first,
                last,
                reigned: None,
            })
        })
        .collect();
    lives.sort_by_key(|life| life.first);
    for index in 0..lives.len() {
        // Before one that was started, nobody was there any more: a number from before that time is
        // somebody else's.
        let since = lives[..index].iter().rposition(|life| life.predecessor.is_none());
        let parent = lives[index].parent;
        let recent = since.unwrap_or(0)..index;
        lives[index].predecessor = recent.rev().find(|other| lives[*other].pid == parent);
        match lives[index].predecessor {
            None => lives[index].reigned = Some(lives[index].last),
            Some(other) => {
                let first = lives[index].first;
                let reigned = &mut lives[other].reigned;
                *reigned = reigned.map(|moment| moment.min(first));
            }
        }
    }
    lives
}
