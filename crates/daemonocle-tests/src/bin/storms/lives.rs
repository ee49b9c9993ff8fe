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
    /// From when and until when it has certainly been the daemon; `None`: it has not lived for so long, or, come
    /// by a reload, has not taken over.
    pub(crate) reign: Option<(Moment, Moment)>,
}

#[cfg(test)]
impl Life {
    pub(crate) fn of(
        pid: Pid,
        predecessor: Option<usize>,
        (first, last): (Moment, Moment),
        reign: Option<(Moment, Moment)>,
    ) -> Self {
        Self { pid, parent: 1, predecessor, first, last, reign }
    }
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
            let bytes = fs::read(entry.path()).unwrap();
            let moments: Vec<Moment> =
                bytes.as_chunks().0.iter().map(|bytes| i64::from_ne_bytes(*bytes)).collect();
            let (last, reign) = match moments[..] {
                // Killed before its first beat.
                [] => (first, None),
                [last] => (last, None),
                [last, begin, end] => (last, Some((begin, end))),
                _ => panic!("{name}: {moments:?}"),
            };
            let (pid, parent) = (pid as Pid, parent as Pid);
            Some(Life { pid, parent, predecessor: None, first, last, reign })
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
    }
    lives
}

/// A daemon, and all that have taken over from it by reloads: one of them has been the daemon at every moment
/// from the beginning to the end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dynasty {
    /// Whose it is: one that was started, or has taken over from one that was dead.
    pub(crate) founder: usize,
    pub(crate) begin: Moment,
    pub(crate) end: Moment,
}

/// From whom one has taken over; nobody was there in between if he was dead by then.
fn predecessor_of(lives: &[Life], index: usize) -> Option<usize> {
    let Life { predecessor, reign, .. } = lives[index];
    let begin = reign.map(|(begin, _)| begin);
    predecessor.filter(|other| begin.is_some_and(|begin| begin <= lives[*other].last))
}

/// Those who have certainly been the daemon, in the order of their founders.
pub(crate) fn dynasties(lives: &[Life]) -> Vec<Dynasty> {
    let mut dynasties: Vec<Dynasty> = Vec::new();
    for (index, life) in lives.iter().enumerate() {
        let Some((begin, end)) = life.reign else { continue };
        let line = std::iter::successors(Some(index), |index| predecessor_of(lives, *index));
        let founder = line.last().unwrap_or(index);
        match dynasties.iter_mut().find(|dynasty| dynasty.founder == founder) {
            Some(dynasty) => {
                dynasty.begin = dynasty.begin.min(begin);
                dynasty.end = dynasty.end.max(end);
            }
            None => dynasties.push(Dynasty { founder, begin, end }),
        }
    }
    dynasties
}
