//! Whether all that was said, and all that has happened, can be true.
//!
//! The lives of the daemons are known, so the order that makes all answers true need not be looked for: an
//! answer is possible if what it claims was so at some moment between the question and the answer.

use daemonocle_tests::{DEADLINE, Fixture, Pid, Sandbox, within};

use crate::answer::{Claim, claims};
use crate::client::{Crew, Deed, What};
use crate::lives::{Dynasty, Life, Moment, dynasties};

/// All that is wrong with what was told of one daemon.
pub(crate) fn all(deeds: &[Deed], lives: &[Life]) -> Vec<String> {
    let dynasties = dynasties(lives);
    let mut wrong = two_at_once(lives, &dynasties);
    let history = History { deeds, lives, dynasties: &dynasties };
    let mut started = Vec::new();
    for deed in deeds {
        let What::Command(words, Some(answer)) = &deed.what else { continue };
        let Some(claims) = claims(words, answer) else {
            wrong.push(format!("{words:?}: nobody says so: {answer:?}"));
            continue;
        };
        for claim in claims {
            if claim == Claim::Started {
                started.push(deed);
            } else if !history.is_possible(deed, claim) {
                wrong.push(format!(
                    "{words:?}, from {} to {}: {claim:?} was not so: {answer:?}",
                    deed.begin, deed.end
                ));
            }
        }
    }
    wrong.extend(history.unmade(started));
    wrong
}

/// Commands for many whose exit code is not what they have said of each.
pub(crate) fn exit_codes(deeds: &[Deed], crew: Crew) -> Vec<String> {
    let mut wrong = Vec::new();
    for deed in deeds.iter().filter(|deed| deed.worker.is_none()) {
        let What::Command(words, Some(answer)) = &deed.what else { continue };
        let parts = (0..crew.count()).map(|worker| answer.about(&crew.name(worker), false));
        // Nobody to reload is a failure of the whole only where nobody at all was.
        let is_told = parts.into_iter().all(|part| part.is_success());
        if words[0] != "reload" && is_told != answer.is_success() {
            wrong.push(format!("{words:?}: the exit code is another one: {answer:?}"));
        }
    }
    wrong
}

/// Those who have started while somebody else certainly was the daemon.
fn two_at_once(lives: &[Life], dynasties: &[Dynasty]) -> Vec<String> {
    let mut wrong = Vec::new();
    for dynasty in dynasties {
        let founder = lives[dynasty.founder];
        let others = lives
            .iter()
            .enumerate()
            .filter(|(index, life)| life.predecessor.is_none() && *index != dynasty.founder);
        for (_, other) in others {
            if (dynasty.begin..dynasty.end).contains(&other.first) {
                wrong.push(format!("two at once: {other:?} and what comes of {founder:?}"));
            }
        }
    }
    wrong
}

struct History<'a> {
    deeds: &'a [Deed],
    lives: &'a [Life],
    dynasties: &'a [Dynasty],
}

impl History<'_> {
    fn is_possible(&self, deed: &Deed, claim: Claim) -> bool {
        match claim {
            Claim::Started | Claim::Nothing => true,
            Claim::Reloaded => self
                .lives
                .iter()
                .any(|life| is_within(life.first, deed) && life.predecessor.is_some()),
            Claim::Running(pid) => self.may_have_run(pid, deed),
            Claim::Nobody => !self.somebody_all_the_time(deed),
            Claim::Ended => self.somebody_may_have_ended(deed),
        }
    }

    /// Whether a daemon of this number may have lived at a moment of this deed.
    fn may_have_run(&self, pid: Pid, deed: &Deed) -> bool {
        let its = self.lives.iter().enumerate().filter(|(_, life)| life.pid == pid);
        let mut is_known = false;
        for (index, life) in its {
            is_known = true;
            // It exists for a moment before its worker runs, and somebody is starting it then.
            let has_begun = life.first <= deed.end || self.somebody_starts(deed);
            if has_begun && self.latest_reign(index) >= deed.begin {
                return true;
            }
        }
        // It has not got as far as its worker.
        !is_known && self.somebody_starts(deed)
    }

    /// The moment from which on it is certainly dead, or no daemon any more.
    fn latest_reign(&self, index: usize) -> Moment {
        let heirs = self.lives.iter().filter(|life| life.predecessor == Some(index));
        let taken_over = heirs.filter_map(|life| life.reign).map(|(begin, _)| begin).min();
        taken_over.map_or(self.latest(index), |moment| moment.min(self.latest(index)))
    }

    /// The moment from which on it is certainly dead.
    fn latest(&self, index: usize) -> Moment {
        let life = &self.lives[index];
        // One that is no successor is started when nobody is there any more.
        let next = (index + 1..self.lives.len())
            .find(|next| self.lives[*next].predecessor.is_none())
            .map(|next| self.lives[next].first);
        next.unwrap_or(Moment::MAX).max(life.last)
    }

    /// Whether there was certainly a daemon from the question to the answer, be it one after the other.
    fn somebody_all_the_time(&self, deed: &Deed) -> bool {
        let is_it = |it: &Dynasty| it.begin <= deed.begin && it.end >= deed.end;
        self.dynasties.iter().any(is_it)
    }

    /// Whether anybody who may have lived when it was asked is dead when it is answered.
    fn somebody_may_have_ended(&self, deed: &Deed) -> bool {
        let mut lives = self.lives.iter().enumerate();
        let ended = lives.any(|(index, life)| {
            life.first <= deed.end && life.last <= deed.end && self.latest(index) >= deed.begin
        });
        // Or it has not got as far as its worker.
        ended || self.somebody_starts(deed)
    }

    /// Whether somebody else was about to make a daemon meanwhile.
    fn somebody_starts(&self, deed: &Deed) -> bool {
        self.deeds.iter().any(|other| {
            let makes =
                matches!(other.what, What::Command(["start" | "restart" | "reload", ..], _));
            makes
                && !std::ptr::eq(other, deed)
                && other.begin <= deed.end
                && other.end >= deed.begin
        })
    }

    /// Starts that have succeeded, they say, and there is no daemon of theirs. Each has made one by itself.
    fn unmade(&self, mut started: Vec<&Deed>) -> Vec<String> {
        let fresh = |index: &usize| self.lives[*index].predecessor.is_none();
        let mut fresh: Vec<usize> = (0..self.lives.len()).filter(fresh).collect();
        let mut wrong = Vec::new();
        // Whose answer came first has the least choice.
        started.sort_by_key(|deed| deed.end);
        for deed in started {
            let its = fresh.iter().position(|index| is_within(self.lives[*index].first, deed));
            match its {
                Some(place) => drop(fresh.remove(place)),
                None => wrong.push(format!(
                    "a start from {} to {} has made nobody: {:?}",
                    deed.begin, deed.end, deed.what
                )),
            }
        }
        wrong
    }
}

fn is_within(moment: Moment, deed: &Deed) -> bool {
    (deed.begin..=deed.end).contains(&moment)
}

/// What is wrong when all is quiet again.
pub(crate) fn aftermath(sandbox: &Sandbox, fixture: &Fixture<'_>, crew: Crew) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut expect = |is_so: bool, what: String| {
        if !is_so {
            wrong.push(format!("afterwards: {what}"));
        }
    };
    // A PID file may be the one that was deleted.
    fixture.stop();
    let start = fixture.start();
    expect(start.code() == Some(0), format!("{start:?}"));
    let alone = within(DEADLINE, || {
        let mut expected: Vec<_> =
            (0..crew.count()).filter_map(|worker| crew.pid(sandbox, worker)).collect();
        let mut survivors = sandbox.survivors();
        expected.sort_unstable();
        survivors.sort_unstable();
        (survivors == expected && survivors.len() == crew.count()).then_some(())
    });
    expect(alone.is_some(), format!("there are {:?}", sandbox.survivors()));
    let stop = fixture.stop();
    expect(stop.code() == Some(0), format!("{stop:?}"));
    let nobody = within(DEADLINE, || sandbox.survivors().is_empty().then_some(()));
    expect(nobody.is_some(), format!("there are {:?}", sandbox.survivors()));
    expect(!crew.has_pid_files(sandbox), "a PID file is still there".to_owned());
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Answer;

    /// Daemon 10 has lived from 100 on, and from 200 to 300 daemon 11, which has taken over from it.
    fn reloaded() -> Vec<Life> {
        let first = Life::of(10, None, (100, 210), Some((101, 190)));
        let second = Life::of(11, Some(0), (180, 300), Some((200, 299)));
        vec![first, second]
    }

    fn status(begin: Moment, end: Moment, stdout: &str) -> Deed {
        let code = i32::from(stdout.contains("not running"));
        let answer = Answer::new(code, stdout, "");
        Deed { begin, end, what: What::Command(&["status"], Some(answer)), worker: None }
    }

    #[track_caller]
    fn expect(lives: &[Life], deed: Deed, is_fine: bool) {
        let wrong = all(&[deed], lives);
        assert_eq!(wrong.is_empty(), is_fine, "{wrong:?}");
    }

    #[test]
    fn while_one_takes_over_from_the_other_somebody_runs() {
        let nobody = "example -- not running\n";
        expect(&reloaded(), status(150, 250, nobody), false);
        expect(&reloaded(), status(195, 205, nobody), false);
        expect(&reloaded(), status(50, 150, nobody), true);
        expect(&reloaded(), status(250, 350, nobody), true);
    }

    #[test]
    fn one_that_has_not_taken_over_is_no_daemon() {
        let mut lives = reloaded();
        lives[1].reign = None;
        expect(&lives, status(195, 205, "example -- not running\n"), true);
    }

    #[test]
    fn while_one_takes_over_from_a_dead_one_nobody_may_run() {
        let mut lives = reloaded();
        lives[0].last = 191;
        expect(&lives, status(195, 205, "example -- not running\n"), true);
        expect(&lives, status(210, 220, "example -- not running\n"), false);
    }

    #[test]
    fn who_has_handed_over_is_no_daemon_any_more() {
        expect(&reloaded(), status(150, 250, "example -- pid: 10, x\n"), true);
        expect(&reloaded(), status(205, 209, "example -- pid: 10, x\n"), false);
        expect(&reloaded(), status(205, 209, "example -- pid: 11, x\n"), true);
    }

    #[test]
    fn nobody_starts_while_an_heir_is_the_daemon() {
        let mut lives = reloaded();
        lives.push(Life::of(12, None, (290, 400), Some((291, 399))));
        let wrong = all(&[], &lives);
        assert!(wrong.iter().any(|what| what.contains("two at once")), "{wrong:?}");
        lives[2].first = 310;
        assert_eq!(all(&[], &lives), Vec::<String>::new());
    }
}
