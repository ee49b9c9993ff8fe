//! The daemon's own side of a start: from the last fork to the worker.

#![forbid(unsafe_code)]

use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, OnceLock};

use crate::config::Config;
use crate::context::Context;
use crate::environment::{self, Streams};
use crate::error::{Error, Result as WorkerResult, chain};
use crate::listener;
use crate::pid_file::PidFile;
use crate::shutdown::{End, Hook, Lifecycle};
use crate::startup::{Newborn, Report};
use crate::sys::fd::Guarded;
use crate::sys::hooks::{close_in_forked_children, on_exit};
use crate::sys::process::{self, Pid, exit_now};
use crate::sys::signal::arrival::Signals;
use crate::sys::signal::{self, Signal};
use crate::sys::thread;
use crate::worker::Worker;

use super::coming::Coming;
use super::keeper::{Kept, PASSED_ON};
use super::reloader::{Origin, Reloader};
use super::sentry::{Link, Sentry};
use super::{cannot, complain};

/// The callbacks of a definition.
pub(crate) struct Hooks {
    pub(crate) start: Option<Box<dyn FnOnce() -> WorkerResult + Send>>,
    pub(crate) shutdown: Option<Hook>,
}

/// All that a new daemon gets from the process that made it.
pub(crate) struct Birth {
    pub(crate) config: Arc<Config>,
    pub(crate) worker: Worker,
    pub(crate) hooks: Hooks,
    pub(crate) pid_file: Option<Arc<PidFile>>,
    pub(crate) newborn: Newborn,
    pub(crate) place: Place,
}

/// Where a daemon lives.
pub(crate) enum Place {
    /// In a session without a terminal.
    Background { null: OwnedFd, errors: Option<ErrorPipe> },
    /// Beside this parent, which passes signals on.
    Foreground { parent: Pid },
    /// In that of a daemon which reloads; in the foreground with its parent, and the channel to that.
    Inherited { parent: Option<(Pid, Newborn)> },
}

impl Place {
    fn streams(&self) -> Streams<'_> {
        match self {
            Self::Foreground { .. } | Self::Inherited { .. } => Streams::Kept,
            Self::Background { null, errors } => {
                Streams::Redirected { null, errors: errors.as_ref().map(|pipe| &pipe.write) }
            }
        }
    }
}

/// What takes the standard error of a daemon while its start is watched. Both ends: after the
/// start the daemon itself reads what its children still write to it.
pub(crate) struct ErrorPipe {
    pub(crate) read: OwnedFd,
    pub(crate) write: OwnedFd,
}

impl Birth {
    /// Becomes the daemon, runs the worker and ends the process.
    pub(crate) fn live(self) -> ! {
        // Nothing of the caller's, above this on the stack, may ever run in this process.
        let _ = catch_unwind(AssertUnwindSafe(|| self.run()));
        exit_now(101)
    }

    fn run(self) {
        let Self { config, mut worker, mut hooks, pid_file, newborn, place } = self;
        let link = Arc::new(Link::new(newborn));
        let forwarder = match &place {
            Place::Foreground { parent } | Place::Inherited { parent: Some((parent, _)) } => {
                Some(*parent)
            }
            Place::Background { .. } | Place::Inherited { parent: None } => None,
        };
        let is_successor = matches!(place, Place::Inherited { .. });
        let origin = Origin::here();
        let kept = match &worker {
            Worker::Function(_) => None,
            Worker::Program(_) => Some(Arc::new(Kept::new(forwarder))),
        };
        let shutdown_hook = hooks.shutdown.take();
        let setup = || -> Result<Arc<Reloader>, Error> {
            shed(&config, &place, pid_file.as_deref(), &link)?;
            match (&pid_file, config.settings().on_hup(), &kept) {
                (Some(pid_file), _, Some(_)) => pid_file.expect_program(),
                // A program gets HUP itself.
                (Some(pid_file), Some(_), None) => pid_file.offer_reloads(),
                _ => {}
            }
            if let Some(pid_file) = pid_file.as_ref().filter(|_| !is_successor) {
                // After descriptors were closed, for closing one of this file would undo it, and
                // before privileges are given up.
                pid_file.begin_life()?;
            }
            if let Worker::Program(exec) = &mut worker {
                exec.resolve(config.chroot_dir().is_some())?;
            }
            match is_successor {
                true => environment::resume(&config)?,
                false => environment::enter(&config, &place.streams())?,
            }
            let fate = Fate { hook: shutdown_hook, kept: kept.clone(), origin };
            let reloader = begin(&config, fate, pid_file.clone(), &link, place)?;
            if let Some(pid_file) = &pid_file {
                pid_file.accept_reloads();
            }
            if let Some(hook) = hooks.start.take().filter(|_| !is_successor) {
                hook().map_err(|error| {
                    Error::definition(format!("start hook: {}", chain(error.as_ref())))
                })?;
            }
            Ok(reloader)
        };
        let reloader = match catch_unwind(AssertUnwindSafe(setup)) {
            Ok(Ok(reloader)) => reloader,
            Ok(Err(error)) => abandon(&link, pid_file.as_deref(), error.to_string(), 1),
            Err(panic) => {
                let end = End::of_panic(panic.as_ref());
                abandon(&link, pid_file.as_deref(), format!("start hook: {end}"), 101)
            }
        };
        // In the background the set-up of a program is over when it runs, as its keeper will tell.
        let lifecycle = Arc::clone(&reloader.lifecycle);
        if kept.is_none() || forwarder.is_some() {
            link.insist(&Report::SetUp, &lifecycle);
        }
        if forwarder.is_some() && !is_successor {
            link.wait_for_go();
        }
        let end = match (worker, kept) {
            (Worker::Program(exec), Some(kept)) => {
                kept.run(&exec, pid_file.as_deref(), &link, &lifecycle)
            }
            (Worker::Program(_), None) => End::of_message("nobody keeps the program"),
            (Worker::Function(worker), _) => {
                let ending = Arc::clone(&lifecycle);
                let ready = Box::new(move || link.ready(&ending));
                let reload = Box::new(move |rerun| reloader.reload(rerun));
                let context = Context::new(config, Arc::clone(&lifecycle), ready, reload);
                match catch_unwind(AssertUnwindSafe(|| worker(&context))) {
                    Ok(result) => lifecycle.end_of(result),
                    Err(panic) => End::of_panic(panic.as_ref()),
                }
            }
        };
        lifecycle.finish(&end)
    }
}

/// The set-up has failed: says so, and leaves nothing.
fn abandon(link: &Link, pid_file: Option<&PidFile>, why: String, code: u8) -> ! {
    if !link.tell(&Report::Failed(code, why.clone())) {
        // The start, which learns no more than the exit code, shows it where standard error is no file.
        complain(&why);
    }
    if let Some(pid_file) = pid_file {
        // If this fails, the process that waits for us tries again, with its own privileges.
        let _ = pid_file.remove();
    }
    exit_now(code.into())
}

fn shed(
    config: &Config,
    place: &Place,
    pid_file: Option<&PidFile>,
    link: &Link,
) -> Result<(), Error> {
    let newborn = link.newborn();
    let mut kept: Vec<_> = newborn.iter().map(|newborn| newborn.as_fd()).collect();
    kept.extend(pid_file.iter().flat_map(|pid_file| pid_file.descriptors()));
    match place {
        Place::Background { null, errors } => {
            process::new_group()
                .map_err(|error| Error::system("cannot make a process group", error))?;
            kept.push(null.as_fd());
            kept.extend(errors.iter().flat_map(|pipe| [pipe.read.as_fd(), pipe.write.as_fd()]));
        }
        // In the background the guardian has done it, before the fork.
        Place::Foreground { .. } | Place::Inherited { .. } => {
            if let Place::Inherited { parent: Some((_, channel)) } = place {
                kept.push(channel.as_fd());
            }
            signal::reset().map_err(|error| Error::system("cannot reset signals", error))?;
        }
    }
    listener::with_waiting(&kept, |kept| environment::shed(config, kept))
}

/// What becomes of a daemon.
struct Fate {
    /// Called at its end.
    hook: Option<Hook>,
    /// The program that it keeps.
    kept: Option<Arc<Kept>>,
    /// From where it reloads.
    origin: Origin,
}

/// Makes the process one that ends properly from now on, or reloads.
fn begin(
    config: &Arc<Config>,
    Fate { hook, kept, origin }: Fate,
    pid_file: Option<Arc<PidFile>>,
    link: &Arc<Link>,
    place: Place,
) -> Result<Arc<Reloader>, Error> {
    let is_successor = matches!(place, Place::Inherited { .. });
    let mut to_parent = None;
    let (errors, forwarder) = match place {
        Place::Foreground { parent } => (None, Some(parent)),
        Place::Inherited { parent: None } => (None, None),
        Place::Inherited { parent: Some((parent, channel)) } => {
            to_parent = Some(channel);
            (None, Some(parent))
        }
        Place::Background { null, errors: Some(pipe) } => {
            let guard =
                |fd| Guarded::new(fd).map_err(|error| cannot("examine a descriptor", error));
            (Some((guard(pipe.read)?, guard(null)?)), None)
        }
        Place::Background { errors: None, .. } => (None, None),
    };
    let mut private = Vec::new();
    private.extend(pid_file.iter().flat_map(|pid_file| pid_file.descriptors()));
    let newborn = link.newborn();
    private.extend(newborn.iter().map(|newborn| newborn.as_fd()));
    private.extend(errors.iter().map(|(read, _)| read.as_fd()));
    private.extend(to_parent.as_ref().map(AsFd::as_fd));
    close_in_forked_children(&private).map_err(|error| cannot("watch for forks", error))?;

    let teller = Arc::clone(link);
    let ending = pid_file.clone();
    let mark_ending = Box::new(move || {
        if let Some(pid_file) = &ending {
            pid_file.begin_end();
        }
    });
    let tell = Box::new(move |end: &End| {
        teller.tell(&Report::Ending(end.exit_code(), end.words().into()));
    });
    let [accepted, handed_over] = [(); 2].map(|()| pid_file.clone());
    let coming = Arc::new(Coming::new(forwarder.is_none()));
    let expected = Arc::clone(&coming);
    let clean_up = Box::new(move || {
        expected.end();
        listener::remove_files();
        if let Some(pid_file) = &pid_file {
            // The end comes all the same, and the lock, which counts, goes with the process.
            let _ = pid_file.remove();
        }
    });
    // The parent of a new process that is about to take over.
    let predecessor = if is_successor { process::parent() } else { None };
    let lifecycle = Lifecycle::new(hook, forwarder, predecessor, mark_ending, tell, clean_up)
        .map_err(|error| cannot("make the shutdown handle", error))?;
    let lifecycle = Arc::new(lifecycle);

    let exiting = Arc::clone(&lifecycle);
    // exit(3) passes on the lowest eight bits.
    on_exit(Box::new(move |code| exiting.finish_exiting(End::of_code((code & 0xff) as u8))))
        .map_err(|error| cannot("watch for exit", error))?;
    let reloader = Arc::new(Reloader {
        config: Arc::clone(config),
        lifecycle: Arc::clone(&lifecycle),
        link: Arc::clone(link),
        pid_file: handed_over,
        parent: forwarder,
        origin,
        turn: Mutex::new(()),
        asker: Mutex::new(None),
        unanswered: AtomicU32::new(0),
        coming,
        successor: OnceLock::new(),
        is_passed_on: AtomicBool::new(false),
    });
    let end_on = config.settings().end_on.clone();
    let on_hup = config.settings().on_hup();
    let mut handled = end_on.clone();
    let mut also = |more: &[Signal]| {
        handled.extend(more.iter().filter(|signal| !end_on.contains(signal)));
    };
    match (&kept, &on_hup) {
        (Some(_), _) => also(&PASSED_ON),
        (None, Some(_)) => also(&[Signal::HUP]),
        (None, None) => {}
    }
    let signals = Signals::register(&handled).map_err(|error| cannot("handle signals", error))?;
    let mut sentry = Sentry {
        lifecycle: Arc::clone(&lifecycle),
        signals,
        link: Arc::clone(link),
        pid_file: accepted,
        errors,
        foreground: forwarder.is_some(),
        is_successor,
        to_parent,
        kept,
        reloader: Arc::clone(&reloader),
        on_hup,
        end_on,
    };
    thread::spawn_plain(c"daemonocle", Box::new(move || sentry.watch()))
        .map_err(|error| cannot("start a thread", error))?;
    Ok(reloader)
}
