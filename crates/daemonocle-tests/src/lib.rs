//! Black-box tests of daemonocle: a harness that runs real daemons, and what to ask about them.
//!
//! A test makes a [`Sandbox`], describes a daemon with [`Sandbox::fixture`], runs its command line
//! and looks at exit code, both output streams, the file system and `/proc`. The daemons are
//! `src/bin/fixture`, whose definition and behaviour come from the environment.
//!
//! Rules: nothing sleeps to synchronise ([`eventually`] and [`within`] are the only place that polls); a dead
//! process may stay a zombie for as long as PID 1 likes, and is dead ([`is_alive`]); nothing but
//! what a sandbox has started is ever signalled ([`Sandbox::signal`]), and a sandbox leaves nothing
//! behind, whether its test passes or fails.

mod fixture;
mod lock;
mod machine;
mod parity;
mod privilege;
mod process;
mod programs;
mod pty;
mod reloads;
mod run;
mod sandbox;
mod serving;
mod stranger;
mod trace;
mod wait;

pub use fixture::{Fixture, NOT_START, copy_program, program};
pub use lock::{ALL, CLAIM, LIFE, Lock, PROGRAMS, STARTUP, STAYING, holder, places, put_up_sign};
pub use machine::Machine;
pub use parity::{Answer, Side, both};
pub use privilege::{is_root, skip, skip_unless_root, skip_unless_there_is};
pub use process::{Pid, RECYCLE, Stat, access, descriptors, is_alive, limit, stat, status_field};
pub use programs::{exec, listening, started_and_kept};
pub use pty::Terminal;
pub use reloads::{expect_one_left, reloading, reloading_on_hup, tell};
pub use run::{Output, Run, Running};
pub use sandbox::Sandbox;
pub use serving::{address, ask, reloaded, serving};
pub use stranger::{Stranger, hold_locks};
pub use trace::{Calls, attach, detach};
pub use wait::{DEADLINE, eventually, takes_less_than, within};
