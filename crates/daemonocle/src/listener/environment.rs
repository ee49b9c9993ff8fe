//! How whoever runs a program says which sockets it passes: sd_listen_fds(3).

#![forbid(unsafe_code)]

use std::ffi::OsStr;

use crate::sys::process::Pid;

/// The process that they are for.
pub(crate) const LISTEN_PID: &str = "LISTEN_PID";
/// How many there are, from descriptor 3 on.
pub(crate) const LISTEN_FDS: &str = "LISTEN_FDS";
/// Their names, with colons between them.
pub(crate) const LISTEN_FDNAMES: &str = "LISTEN_FDNAMES";

/// What a socket is called that has been given no name.
const UNKNOWN: &str = "unknown";

/// What these variables say.
#[derive(Clone, Copy)]
pub(super) struct Variables<'a> {
    pub(super) pid: Option<&'a OsStr>,
    pub(super) fds: Option<&'a OsStr>,
    pub(super) names: Option<&'a OsStr>,
}

impl Variables<'_> {
    /// The names of the sockets that are for the process `own`: none, if they are for somebody else. An
    /// error is what makes no sense.
    pub(super) fn names(&self, own: Pid) -> Result<Vec<String>, String> {
        let (Some(pid), Some(fds)) = (self.pid, self.fds) else {
            return Ok(Vec::new());
        };
        if number::<i32>(pid) != Some(own.get()) {
            return Ok(Vec::new());
        }
        // There are fewer descriptors than that in any process.
        let count: u16 = number(fds).ok_or_else(|| format!("{LISTEN_FDS} is {fds:?}"))?;
        let Some(names) = self.names.filter(|_| count > 0) else {
            return Ok(vec![UNKNOWN.to_owned(); count.into()]);
        };
        let wrong = || format!("{LISTEN_FDNAMES} is {names:?}, and there are {count} sockets");
        let list: Vec<String> =
            names.to_str().ok_or_else(wrong)?.split(':').map(str::to_owned).collect();
        if list.len() == usize::from(count) { Ok(list) } else { Err(wrong()) }
    }
}

fn number<T: std::str::FromStr>(text: &OsStr) -> Option<T> {
    text.to_str()?.parse().ok()
}

/// Whether it can stand among others: printable ASCII without a colon, at most 255 of it, as
/// sd_pid_notify_with_fds(3) has it.
pub(super) fn is_name(name: &str) -> bool {
    name.len() <= 255 && name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pid: &str, fds: &str, names: Option<&str>) -> Result<Vec<String>, String> {
        let [pid, fds] = [pid, fds].map(|text| Some(OsStr::new(text)));
        let own = Pid::new(77).ok_or("no PID")?;
        Variables { pid, fds, names: names.map(OsStr::new) }.names(own)
    }

    #[test]
    fn names_are_those_of_our_own_sockets() {
        let is = |result: Result<Vec<String>, String>, list: &[&str]| {
            assert_eq!(
                result.as_deref(),
                Ok(&*list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
            );
        };
        is(names("77", "2", Some("http:ctl")), &["http", "ctl"]);
        is(names("77", "2", Some(":x")), &["", "x"]);
        is(names("77", "1", None), &["unknown"]);
        is(names("77", "0", Some("")), &[]);
        is(names("78", "2", Some("http:ctl")), &[]);
        is(names("", "nonsense", None), &[]);
        let none = Variables { pid: None, fds: Some(OsStr::new("1")), names: None };
        is(none.names(Pid::current()), &[]);
    }

    #[test]
    fn nonsense_is_named() {
        assert_eq!(names("77", "x", None), Err("LISTEN_FDS is \"x\"".into()));
        for fds in ["-1", "", "65536", "4000000000", "1 "] {
            assert!(names("77", fds, None).is_err(), "{fds:?}");
        }
        let text = "LISTEN_FDNAMES is \"a:b\", and there are 3 sockets";
        assert_eq!(names("77", "3", Some("a:b")), Err(text.into()));
        assert!(names("77", "1", Some("a:b")).is_err());
    }

    #[test]
    fn a_name_can_stand_among_others() {
        for name in ["http", "", "a b", "foo.socket", "~"] {
            assert!(is_name(name), "{name:?}");
        }
        for name in ["a:b", "größe", "a\n", "\u{7f}", &"x".repeat(256)] {
            assert!(!is_name(name), "{name:?}");
        }
    }

    #[test]
    fn fuzz_variables() {
        crate::fuzz::hold_text("words", |text| {
            for fds in ["1", "3", text] {
                if let Ok(list) = names("77", fds, Some(text)) {
                    assert_eq!(Some(list.len()), fds.parse().ok());
                }
            }
            assert!(!is_name(text) || text.is_ascii());
        });
    }
}
