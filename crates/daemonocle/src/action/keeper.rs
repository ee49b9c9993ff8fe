//! The keeper of a daemon that is another program: runs it, holds its PID file's locks, passes on what
//! it is to get, and ends as it has ended.

#![forbid(unsafe_code)]

use std::sync::{Mutex, PoisonError};

use crate::pid_file::PidFile;
use crate::shutdown::{End, Lifecycle};
use crate::startup::Report;
use crate::sys::process::{self, Children, Pid, forbid_core_dumps, kill_child, send_to_child};
use crate::sys::program::Group;
use crate::sys::signal::Signal;
use crate::sys::signal::arrival::{Arrival, Sender};
use crate::worker::Exec;

use super::sentry::Link;
use super::{complain, unsent};

/// What a keeper passes on to its program, or must not itself die or stop of.
pub(super) const PASSED_ON: [Signal; 8] = [
    Signal::INT,
    Signal::QUIT,
    Signal::TERM,
    Signal::HUP,
    Signal::USR1,
    Signal::USR2,
    Signal::TSTP,
    Signal::CONT,
];

/// The program that is kept, and the signals for it.
pub(super) struct Kept {
    /// Who passes signals on, in the foreground.
    forwarder: Option<Pid>,
    state: Mutex<State>,
}

struct State {
    /// `None` before it runs, and when it has ended.
    program: Option<Pid>,
    /// The signal that asked for the end by way of the keeper.
    asked: Option<Signal>,
    /// How often each signal came from the terminal, less how often it was passed on after that.
    from_terminal: [u8; 65],
}

impl Kept {
    pub(super) fn new(forwarder: Option<Pid>) -> Self {
        let state = State { program: None, asked: None, from_terminal: [0; 65] };
        Self { forwarder, state: Mutex::new(state) }
    }

    /// Runs the program, and returns when it has ended.
    pub(super) fn run(
        &self,
        exec: &Exec,
        pid_file: Option<&PidFile>,
        link: &Link,
        lifecycle: &Lifecycle,
    ) -> End {
        // On a terminal it stays in the group of the job.
        let group = if self.forwarder.is_none() { Group::Own } else { Group::Ours };
        let program = match exec.run(group) {
            Ok(program) => program,
            Err(error) => return End::of_worker(Err(exec.failure(&error).into()), None),
        };
        let named = pid_file.map_or(Ok(()), |pid_file| pid_file.begin_keeping(program));
        if named.is_err() {
            kill_child(program, Signal::KILL);
        }
        self.with(|state| state.program = Some(program));
        // If it ends there, the kernel kills the program for it.
        link.insist(&Report::Program(program), lifecycle);
        if self.forwarder.is_none() {
            link.insist(&Report::SetUp, lifecycle);
        }
        process::wait_for_death(program);
        // Before it is buried, and its number may become somebody else's.
        let asked = self.with(|state| {
            state.program = None;
            state.asked
        });
        if let Some(pid_file) = pid_file {
            pid_file.end_keeping(program);
        }
        let status = process::wait(Children::One(program));
        match (named, status) {
            (Err(error), _) => End::of_message(&error.to_string()),
            (Ok(()), Ok(Some((_, status)))) => {
                // Should we die of the same signal: its core dump is the one that tells something.
                let _ = forbid_core_dumps();
                End::of_status(status, asked)
            }
            (Ok(()), Ok(None) | Err(_)) => End::of_message("nobody saw how the program ended"),
        }
    }

    /// Gives the program what is meant for it; whether there is a program. What comes from the
    /// terminal it gets itself; what anybody else sends to the keeper (a system that shuts down, say,
    /// and sends the same to all) means nothing.
    pub(super) fn take(&self, arrival: Arrival, pid_file: Option<&PidFile>) -> bool {
        let Arrival { signal, sender, .. } = arrival;
        // The program has it already.
        let is_typed = arrival.is_typed();
        self.with(|state| {
            let Some(program) = state.program else {
                return false;
            };
            let from_terminal = usize::try_from(signal.number())
                .ok()
                .and_then(|number| state.from_terminal.get_mut(number));
            match (sender, from_terminal) {
                _ if is_typed => {}
                (Sender::Kernel, Some(count)) => *count = count.saturating_add(1),
                (Sender::Process(Some(sender)), count) if Some(sender) == self.forwarder => {
                    match count {
                        // That a terminal hangs up comes from it and from our parent, and is one thing.
                        Some(count) if *count > 0 => *count -= 1,
                        _ => {
                            if let Err(error) = send_to_child(program, signal) {
                                complain(&unsent(signal, program, &error));
                            }
                        }
                    }
                }
                // Repeated, it asks for no more than before.
                (Sender::Polite, _) if state.asked.is_some() => {}
                (Sender::Polite, _) => {
                    // If that fails, it may be asked again.
                    state.asked = send_to_child(program, signal).is_ok().then_some(signal);
                    if let (Some(_), Some(pid_file)) = (state.asked, pid_file) {
                        pid_file.begin_end();
                    }
                }
                _ => {}
            }
            true
        })
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
