//! Whose files and directories can be relied on.

use super::Meta;
use super::acl::Writer;
use crate::sys::{proc, user};

const OTHERS_WRITE: u32 = 0o002;

/// Users whose files and directories are as good as our own: root, ourselves, and the user that
/// the daemon is going to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trusted {
    us: u32,
    daemon: u32,
    our_group: u32,
    daemon_group: u32,
}

impl Trusted {
    pub(crate) fn new(daemon: Option<(u32, u32)>) -> Self {
        let (us, our_group) = (user::effective(), user::effective_group());
        let (daemon, daemon_group) = daemon.unwrap_or((us, our_group));
        Self { us, daemon, our_group, daemon_group }
    }

    /// Whether a file or a process of this user is as good as our own.
    pub(crate) fn includes(&self, uid: u32) -> bool {
        [0, self.us, self.daemon].contains(&uid)
    }

    /// Whether the daemon is going to be as we are, with all the rights that we have.
    pub(crate) fn is_of_our_own(&self) -> bool {
        self.daemon == self.us
    }

    /// Whether it is the one that the daemon is going to be. Who asks about a daemon of his own may mean one that
    /// root has started.
    pub(crate) fn is_daemons(&self, uid: u32) -> bool {
        uid == self.daemon || uid == 0 && self.is_of_our_own()
    }

    /// Whether a process with all these users is as good as our own. In a set-user-ID program the
    /// one who runs it is among them, for a daemon of this very program as for ourselves.
    pub(crate) fn is_one_of_us(&self, users: &[u32]) -> bool {
        !users.is_empty()
            && !self.is_lent(users)
            && users.iter().all(|user| self.includes(*user) || *user == user::real())
    }

    /// Whether a process with these users (the real one first) is a set-user-ID program of somebody who
    /// is neither root nor ourselves. Who runs it decides what it inherits, locks for instance; so the
    /// daemon's own user, or one that its worker has become, could pass it off as the daemon.
    pub(crate) fn is_lent(&self, users: &[u32]) -> bool {
        users.first().is_some_and(|&real| {
            users.iter().any(|user| *user != real) && ![0, self.us, user::real()].contains(&real)
        })
    }

    /// Whether a link of this user, in this directory, may be followed: with our privileges, he
    /// could otherwise lead us to files that are not his. The daemon's own user is not among them.
    /// Nobody can tell who an unmapped owner is: he is root only where others cannot make links.
    pub(crate) fn follows(&self, uid: u32, dir: impl FnOnce() -> Option<Meta>) -> bool {
        uid == 0
            || uid == self.us
            || (is_unmapped(uid) && dir().is_some_and(|dir| !self.shares(&dir)))
    }

    /// Whether somebody else can put files into a directory, or another file in a file's place.
    /// In a sticky one (`/tmp`) he can do the former only.
    pub(super) fn shares(&self, dir: &Meta) -> bool {
        dir.mode & OTHERS_WRITE != 0 || self.stranger(dir).is_some()
    }

    /// Somebody besides the owner, and not everybody, who may write to a file or directory and is none of
    /// us.
    fn stranger<'a>(&self, meta: &'a Meta) -> Option<&'a Writer> {
        meta.writers.iter().find(|writer| match writer {
            Writer::User(uid) => !self.includes(*uid),
            Writer::Group(gid) => ![0, self.our_group, self.daemon_group].contains(gid),
            Writer::Unknown => true,
        })
    }

    /// Who else may write to a file or directory, in words.
    pub(crate) fn writers(&self, meta: &Meta) -> Option<String> {
        if meta.mode & OTHERS_WRITE != 0 {
            return Some("every user".to_owned());
        }
        Some(match self.stranger(meta)? {
            Writer::Group(gid) => format!("group {gid}"),
            Writer::User(uid) => {
                format!("user {}, named in its access control list,", user::describe(*uid))
            }
            Writer::Unknown => "somebody in an access control list that cannot be read".to_owned(),
        })
    }

    /// Whether the owner of a directory is one of us, or root outside of our user namespace.
    fn owns(&self, dir: &Meta) -> bool {
        self.includes(dir.uid) || is_unmapped(dir.uid)
    }

    /// Whether nobody else can put another file in the place of one in this directory.
    pub(super) fn guards(&self, dir: &Meta) -> bool {
        const STICKY: u32 = 0o1000;
        self.owns(dir) && (!self.shares(dir) || dir.mode & STICKY != 0)
    }

    /// Why a file in this directory could be exchanged by somebody else, if it could.
    pub(crate) fn objection(&self, dir: &Meta) -> Option<String> {
        if !self.owns(dir) {
            let owner = user::describe(dir.uid);
            return Some(format!("it belongs to user {owner}, who could replace the file"));
        }
        match self.writers(dir) {
            Some(who) if !self.guards(dir) => {
                let mode = dir.mode;
                Some(format!("{who} may write there (mode {mode:04o}) and could replace the file"))
            }
            _ => None,
        }
    }
}

/// Whether this is how a user shows who is not mapped into our user namespace, as the root outside
/// of a container's; where it is mapped, it is an ordinary user (user_namespaces(7)).
fn is_unmapped(uid: u32) -> bool {
    const OVERFLOW: u32 = 65534;
    uid == OVERFLOW && proc::read("/proc/self/uid_map").is_ok_and(|map| !is_mapped(&map, uid))
}

fn is_mapped(map: &str, uid: u32) -> bool {
    map.lines().any(|line| {
        let numbers: Vec<u64> =
            line.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect();
        matches!(numbers[..], [first, _, count] if (first..first.saturating_add(count)).contains(&uid.into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::proc::model;

    #[test]
    fn a_set_user_id_program_belongs_to_who_runs_it() {
        const US: u32 = 77;
        const DAEMON: u32 = 78;
        const WORKER: u32 = 79;
        let trusted = Trusted { us: US, daemon: DAEMON, our_group: US, daemon_group: DAEMON };
        for lent in [[DAEMON, 0, 0, 0], [WORKER, 0, 0, 0], [DAEMON, DAEMON, 0, DAEMON]] {
            assert!(trusted.is_lent(&lent), "{lent:?}");
            assert!(!trusted.is_one_of_us(&lent), "{lent:?}");
        }
        // As they are made; after a change of user for good, and for a while; our own program.
        for own in [[DAEMON; 4], [WORKER; 4], [0, DAEMON, 0, DAEMON], [US, 0, 0, 0], [0; 4]] {
            assert!(!trusted.is_lent(&own), "{own:?}");
        }
        assert!(!trusted.is_lent(&[]), "it has ended");
    }

    #[test]
    fn fuzz_maps() {
        crate::fuzz::hold_text("uid_map", |map| {
            for uid in [0, 1, 65_532, 65_533, 65_534, u32::MAX] {
                let mut is_within = false;
                for line in model::lines(map) {
                    let words = model::words(line);
                    let numbers: Vec<_> =
                        words.into_iter().filter_map(model::number_u64).map(i128::from).collect();
                    is_within |= numbers.len() == 3
                        && numbers[0] <= uid.into()
                        && i128::from(uid) - numbers[0] < numbers[2];
                }
                assert_eq!(is_mapped(map, uid), is_within, "{uid}");
            }
        });
    }
}
