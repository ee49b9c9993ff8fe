//! The value of each field.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::io;

use crate::pid_file::Running;
use crate::sys::proc::entry::{Connection, Entry, Mapping, RegularFile};
use crate::sys::proc::{self, Stat};
use crate::sys::process::Pid;
use crate::sys::{schedule, user};

use super::group::{self, Groups};
use super::{Details, Field, Sight, Value, is_there, living, word};

/// `None`: the daemon has ended meanwhile.
pub(super) fn read(
    name: &str,
    running: &Running,
    Sight { stat: first, usage }: &Sight,
    fields: &[Field],
    groups: &Groups<'_>,
) -> io::Result<Option<Details>> {
    let is_wanted = |field| fields.contains(&field);
    let mut stat = *first;
    if usage.is_some() {
        match living(running)? {
            Some(now) => stat = now,
            // It has ended meanwhile.
            None => return Ok(None),
        }
    }
    let of_group = [Field::CpuPercent, Field::GroupNumProcs, Field::MemoryPercent];
    let members = match of_group.into_iter().any(is_wanted) {
        true => group::members(&stat, groups)?,
        false => Vec::new(),
    };
    let cpu_percent = usage.as_ref().map(|usage| usage.percent(&members));
    let subject = Subject { name, stat, entry: Entry::of(stat.pid)?, cpu_percent, members };
    let wanted: BTreeSet<Field> = fields.iter().copied().collect();
    let answers = wanted.into_iter().map(|field| Ok((field, known(subject.value(field))?)));
    let details = answers.collect::<io::Result<_>>()?;
    // Only now is it certain that all this was read of the daemon, and not of a process that was
    // given its number meanwhile. Where there is no handle, a start time has to do.
    match living(running)? {
        Some(now) if now.start == first.start && is_there(running)? => Ok(Some(Details(details))),
        _ => Ok(None),
    }
}

/// What may not be read, or what this kernel does not tell, is null.
fn known(result: io::Result<Value>) -> io::Result<Value> {
    match result {
        Err(error) if is_withheld(&error) => Ok(Value::Null),
        other => other,
    }
}

fn is_withheld(error: &io::Error) -> bool {
    // ESRCH: it is about to be found out that it has ended.
    let codes = [libc::EPERM, libc::EACCES, libc::ENOENT, libc::ENOSYS, libc::ESRCH];
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

struct Subject<'a> {
    name: &'a str,
    stat: Stat,
    entry: Entry,
    /// If it was asked for.
    cpu_percent: Option<f64>,
    /// Of its group, if anything of that was asked for.
    members: Vec<Pid>,
}

impl Subject<'_> {
    fn value(&self, field: Field) -> io::Result<Value> {
        let Self { entry, stat, .. } = self;
        Ok(match field {
            Field::Cmdline => Value::list(entry.command_line()?),
            Field::Connections | Field::NetConnections => Value::list(entry.connections()?),
            Field::CpuAffinity => Value::list(schedule::processors(stat.pid)?),
            Field::CpuNum => entry.processor()?.into(),
            Field::CpuPercent => self.cpu_percent.map_or(Value::Null, Value::rounded),
            Field::CpuTimes => Value::list(entry.cpu_times()?),
            Field::CreateTime => entry.create_time()?.into(),
            Field::Cwd => entry.working_directory()?.into(),
            Field::Environ => {
                let pairs = entry.environment()?.into_iter();
                Value::Map(pairs.map(|(name, value)| (name, value.into())).collect())
            }
            Field::Exe => entry.executable()?.into(),
            Field::Gids => Value::list(entry.groups()?),
            Field::GroupNumProcs => group::count(&self.members).into(),
            Field::IoCounters => Value::list(entry.io_counters()?),
            Field::Ionice => Value::list(<[i32; 2]>::from(schedule::io_priority(stat.pid)?)),
            Field::MemoryFullInfo => {
                Value::list(entry.memory()?.into_iter().chain(entry.shares()?))
            }
            Field::MemoryInfo => Value::list(entry.memory()?),
            Field::MemoryMaps => Value::list(entry.mappings()?),
            Field::MemoryPercent => Value::rounded(group::memory_percent(&self.members)?),
            Field::Name => self.name.into(),
            Field::Nice => schedule::nice(stat.pid)?.into(),
            Field::NumCtxSwitches => Value::list(entry.context_switches()?),
            Field::NumFds => entry.count_descriptors()?.into(),
            Field::NumThreads => stat.threads.into(),
            Field::OpenFiles => Value::list(entry.regular_files()?),
            Field::Pid => stat.pid.get().into(),
            Field::Ppid => stat.parent.into(),
            Field::Status => word(stat.state).into(),
            Field::Terminal => entry.terminal()?.map_or(Value::Null, Value::Text),
            Field::Threads => {
                Value::list(entry.threads()?.into_iter().map(|(id, user, system)| {
                    Value::List(vec![id.into(), user.into(), system.into()])
                }))
            }
            Field::Uids => Value::list(entry.users()?),
            Field::Uptime => Value::rounded(proc::age(stat.start).as_secs_f64()),
            Field::Username => {
                let [uid, ..] = entry.users()?;
                match user::by_id(uid)? {
                    Some(account) => account.name.into(),
                    None => uid.to_string().into(),
                }
            }
        })
    }
}

impl From<Connection> for Value {
    fn from(it: Connection) -> Self {
        let address = |address: Option<std::net::SocketAddr>| match address {
            Some(address) => {
                Self::List(vec![address.ip().to_string().into(), address.port().into()])
            }
            None => Self::List(Vec::new()),
        };
        let Connection { fd, family, kind, local, remote, state } = it;
        let (local, remote) = (address(local), address(remote));
        Self::List(vec![fd.into(), family.into(), kind.into(), local, remote, state.into()])
    }
}

impl From<Mapping> for Value {
    fn from(it: Mapping) -> Self {
        let mut items = vec![it.path.into()];
        items.extend(it.bytes.into_iter().map(Self::from));
        Self::List(items)
    }
}

impl From<RegularFile> for Value {
    fn from(it: RegularFile) -> Self {
        let mode = it.mode();
        let RegularFile { path, fd, position, flags } = it;
        Self::List(vec![path.into(), fd.into(), position.into(), mode.into(), flags.into()])
    }
}
