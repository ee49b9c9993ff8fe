//! The sweep itself: what there is to fail, and the table.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use daemonocle_tests::within;

use crate::errors;
use crate::scenario::{ALL, Scenario};
use crate::sys;
use crate::tracer::{Call, Fault, Outcome, Point};

/// How often a fault is tried whose call was another one, and how often a complaint about one that was killed.
const TRIES: usize = 4;

pub(crate) fn main() -> ExitCode {
    // The daemons become our children, and we bury them.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    sys::block_child_signals().unwrap();
    let (mut every, mut offset, mut only) = (1, 0, None);
    let mut chosen = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match (&*argument, ALL.into_iter().find(|scenario| scenario.name() == argument)) {
            ("--every", _) => every = arguments.next().and_then(|text| text.parse().ok()).unwrap(),
            ("--offset", _) => {
                offset = arguments.next().and_then(|text| text.parse().ok()).unwrap();
            }
            ("--only", _) => only = arguments.next().map(|text| point(&text).unwrap()),
            (_, Some(scenario)) => chosen.push(scenario),
            _ => {
                let names = ALL.map(Scenario::name).join("|");
                eprintln!(
                    "usage: faults [{names}]... [--every N] [--offset K] [--only THREAD:CALL]"
                );
                return ExitCode::from(2);
            }
        }
    }
    if chosen.is_empty() {
        chosen = ALL.to_vec();
    }
    println!(
        "{:18}  {:>5}  {:>7}  {:>6}  {:>6}  {:>6}  {:>6}  broken",
        "", "calls", "threads", "failed", "killed", "held", "unmet"
    );
    let broken: usize =
        chosen.into_iter().map(|scenario| sweep(scenario, (every, offset), only)).sum();
    println!("{broken} promises broken");
    ExitCode::from(u8::from(broken > 0))
}

/// As in `5:10`, the thread and the call.
fn point(text: &str) -> Option<Point> {
    let (thread, place) = text.split_once(':')?;
    Some(Point { thread: thread.parse().ok()?, place: place.parse().ok()? })
}

/// Faults in one scenario, one in so many, beginning with this one, or those of one call; how many promises
/// were broken.
fn sweep(scenario: Scenario, (every, offset): (usize, usize), only: Option<Point>) -> usize {
    let mut calls = survey(scenario);
    let threads = calls.iter().map(|call| call.point.thread).max().unwrap_or(0) + 1;
    calls.retain(|call| only.is_none_or(|only| call.point == only));
    assert!(!calls.is_empty(), "{} has no such call: {only:?}", scenario.name());
    let plans: Vec<_> = calls.iter().flat_map(|call| faults(*call)).collect();
    let (mut failed, mut killed, mut held, mut unmet, mut broken) = (0, 0, 0, 0, 0);
    for (call, fault) in plans.into_iter().skip(offset).step_by(every) {
        let (outcome, complaints) = attempt(scenario, call, fault);
        // Who is killed dies a moment later, and until then what is said of him is true. That is so by chance only; a
        // lie is one each time that the fault meets its call.
        let is_certain = fault != Fault::Kill
            || complaints.is_empty()
            || (1..TRIES).all(|_| {
                let (outcome, complaints) = attempt(scenario, call, fault);
                outcome.met.is_none() || !complaints.is_empty()
            });
        let count = match fault {
            Fault::Error(_) => &mut failed,
            Fault::Kill => &mut killed,
            Fault::Hold => &mut held,
        };
        match outcome.met {
            Some(_) => *count += 1,
            None => unmet += 1,
        }
        for complaint in &complaints {
            let met = outcome.met.map_or("nothing", |call| errors::of(call.number).0);
            let fault = match fault {
                Fault::Error(error) => errors::name(error),
                other => format!("{other:?}"),
            };
            let Point { thread, place } = call.point;
            let verdict = if is_certain { "BROKEN" } else { "ONCE" };
            println!(
                "{verdict:6}  {}: thread {thread}, call {place}, {met}, {fault}: {complaint}",
                scenario.name()
            );
        }
        broken += usize::from(is_certain && !complaints.is_empty());
    }
    println!(
        "{:18}  {:5}  {threads:7}  {failed:6}  {killed:6}  {held:6}  {unmet:6}  {broken}",
        scenario.name(),
        calls.len(),
    );
    broken
}

/// Runs it with this fault, until that has met its call: threads do not always come in the same order.
fn attempt(scenario: Scenario, call: Call, fault: Fault) -> (Outcome, Vec<String>) {
    let mut tries = 1;
    loop {
        let (outcome, complaints) = scenario.run(Some((call, fault)));
        sys::bury();
        if outcome.met.is_some() || !complaints.is_empty() || tries == TRIES {
            return (outcome, complaints);
        }
        tries += 1;
    }
}

/// The calls of some runs without a fault, in which nothing must be wrong.
fn survey(scenario: Scenario) -> Vec<Call> {
    let mut seen = BTreeSet::new();
    let mut calls = Vec::new();
    for _ in 0..3 {
        let (outcome, complaints) = scenario.run(None);
        assert!(complaints.is_empty(), "{}: without any fault: {complaints:?}", scenario.name());
        // What runs the command is the sweep itself.
        let begin = Point { thread: outcome.command, place: 0 };
        seen.insert(begin);
        calls.extend(outcome.calls.into_iter().filter(|call| seen.insert(call.point)));
        sys::bury();
    }
    calls.sort_by_key(|call| call.point);
    calls
}

fn faults(call: Call) -> impl Iterator<Item = (Call, Fault)> {
    let errors = errors::of(call.number).1.iter().map(|error| Fault::Error(*error));
    errors.chain([Fault::Kill, Fault::Hold]).map(move |fault| (call, fault))
}

/// Whether it becomes so in good time.
pub(crate) fn patiently(mut is_so: impl FnMut() -> bool) -> bool {
    let so = within(Duration::from_secs(8), || {
        sys::bury();
        is_so().then_some(())
    });
    so.is_some()
}
