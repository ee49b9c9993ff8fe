//! What can be asked of a running daemon, by psutil's names.

#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

/// Defines the enum, its names and the list of all, which must be in the order of the names.
macro_rules! fields {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal,)+) => {
        /// Something that can be asked of a running daemon by
        /// [`Daemon::status_of`](crate::Daemon::status_of) or `status --fields`.
        ///
        /// Names, shapes and units are those of the Python library psutil, and of the original. A
        /// tuple of psutil is a [`Value::List`](crate::Value::List) with the items named here. All is
        /// told of the daemon itself; only [`CpuPercent`](Self::CpuPercent),
        /// [`MemoryPercent`](Self::MemoryPercent) and [`GroupNumProcs`](Self::GroupNumProcs) are of
        /// its process group. What the caller may not read is [`Value::Null`](crate::Value::Null);
        /// "owner only" is for who may trace it (ptrace(2)): root, and the daemon's user unless it has
        /// become that user in the course of its start.
        ///
        /// ```
        /// use daemonocle::Field;
        /// let field: Field = "num_fds".parse()?;
        /// assert_eq!(field, Field::NumFds);
        /// assert_eq!(field.to_string(), "num_fds");
        /// assert!(Field::ALL.is_sorted_by_key(|field| field.name()));
        ///
        /// let error = "num_fsd".parse::<Field>().unwrap_err().to_string();
        /// assert!(error.starts_with(r#"unknown field "num_fsd"; known are cmdline, connections, "#));
        /// # Ok::<(), daemonocle::UnknownField>(())
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Field {
            $($(#[$doc])+ $variant,)+
        }

        impl Field {
            /// All of them, in the order of their names.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name, as [`Display`](fmt::Display) shows it and [`FromStr`] wants it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

fields! {
    /// `cmdline`: a list of its arguments, the program's name included.
    Cmdline = "cmdline",
    /// `connections`: psutil's older name for [`NetConnections`](Self::NetConnections).
    Connections = "connections",
    /// `cpu_affinity`: a list of the processors that it may run on, sched_getaffinity(2).
    CpuAffinity = "cpu_affinity",
    /// `cpu_num`: the processor that it ran on last.
    CpuNum = "cpu_num",
    /// `cpu_percent`: the use of processors by its process group over a tenth of a second, to three
    /// decimals; 100 is one processor. The only field that takes time.
    CpuPercent = "cpu_percent",
    /// `cpu_times`: seconds of processor time, `[user, system, children_user, children_system,
    /// iowait]`.
    CpuTimes = "cpu_times",
    /// `create_time`: when it was started, in seconds since 1970 by the clock as it is set now.
    CreateTime = "create_time",
    /// `cwd`: its working directory. Owner only.
    Cwd = "cwd",
    /// `environ`: a map of the variables that it was started with. Owner only.
    Environ = "environ",
    /// `exe`: the path of its program. Owner only.
    Exe = "exe",
    /// `gids`: `[real, effective, saved]`.
    Gids = "gids",
    /// `group_num_procs`: how many living processes its group has, itself included.
    GroupNumProcs = "group_num_procs",
    /// `io_counters`: `[read_count, write_count, read_bytes, write_bytes, read_chars,
    /// write_chars]`. Owner only.
    IoCounters = "io_counters",
    /// `ionice`: `[class, value]` of ioprio_get(2).
    Ionice = "ionice",
    /// `memory_full_info`: what [`MemoryInfo`](Self::MemoryInfo) has, followed by `uss, pss, swap`.
    /// Owner only.
    MemoryFullInfo = "memory_full_info",
    /// `memory_info`: bytes, `[rss, vms, shared, text, lib, data, dirty]`.
    MemoryInfo = "memory_info",
    /// `memory_maps`: a list with bytes for each file that is mapped, `[path, rss, size, pss,
    /// shared_clean, shared_dirty, private_clean, private_dirty, referenced, anonymous, swap]`.
    /// Owner only.
    MemoryMaps = "memory_maps",
    /// `memory_percent`: the memory of its process group in percent of the machine's, to three
    /// decimals, as [`Status::memory_percent`](crate::Status::memory_percent) has it.
    MemoryPercent = "memory_percent",
    /// `name`: the daemon's, from its definition.
    Name = "name",
    /// `net_connections`: a list of its sockets of TCP and UDP, `[fd, family, type, laddr, raddr,
    /// status]`. Family and type are numbers, the addresses `[ip, port]` or empty, the status
    /// `LISTEN`, `ESTABLISHED`, … or `NONE`. Owner only.
    NetConnections = "net_connections",
    /// `nice`: getpriority(2).
    Nice = "nice",
    /// `num_ctx_switches`: `[voluntary, involuntary]`.
    NumCtxSwitches = "num_ctx_switches",
    /// `num_fds`: how many descriptors are open. Owner only.
    NumFds = "num_fds",
    /// `num_threads`: how many threads it has, the library's own included.
    NumThreads = "num_threads",
    /// `open_files`: a list of its regular files, `[path, fd, position, mode, flags]`. The mode is
    /// one of fopen(3), the flags are those of open(2). Owner only.
    OpenFiles = "open_files",
    /// `pid`: its PID.
    Pid = "pid",
    /// `ppid`: the PID of its parent; 0 if that is outside of the PID namespace.
    Ppid = "ppid",
    /// `status`: what its main thread is doing, in the words of
    /// [`Status::state`](crate::Status::state).
    Status = "status",
    /// `terminal`: the path of its controlling terminal; null if it has none.
    Terminal = "terminal",
    /// `threads`: a list with the seconds of processor time of each thread, `[id, user, system]`.
    Threads = "threads",
    /// `uids`: `[real, effective, saved]`.
    Uids = "uids",
    /// `uptime`: how long it has been there, in seconds to three decimals.
    Uptime = "uptime",
    /// `username`: the name of its real user, or the number where there is no name.
    Username = "username",
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Field {
    type Err = UnknownField;

    fn from_str(text: &str) -> Result<Self, UnknownField> {
        let mut all = Self::ALL.iter();
        all.find(|field| field.name() == text).copied().ok_or_else(|| UnknownField(text.to_owned()))
    }
}

/// No [`Field`] has this name. The message names it, and all those that there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownField(String);

impl fmt::Display for UnknownField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown field {:?}; known are ", self.0)?;
        for (index, field) in Field::ALL.iter().enumerate() {
            write!(f, "{}{field}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownField {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_in_the_order_of_their_names() {
        // Details are sorted by field, and JSON by name.
        assert!(Field::ALL.is_sorted());
        assert!(Field::ALL.iter().map(|field| field.name()).is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn every_field_is_found_by_its_name() {
        for field in Field::ALL {
            assert_eq!(field.to_string().parse(), Ok(*field));
        }
        for bad in ["", "PID", " pid", "pid,status"] {
            assert_eq!(bad.parse::<Field>(), Err(UnknownField(bad.to_owned())));
        }
    }
}
