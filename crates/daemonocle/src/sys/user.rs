//! Users and groups: the user database, and giving privileges up for good.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process as rx;
use rustix::process::Gid;
use rustix::thread::set_thread_groups;

use super::check;

/// An entry of the user database, passwd(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// The user with this name; `None` when there is none.
pub(crate) fn by_name(name: &str) -> io::Result<Option<Account>> {
    let Ok(name) = CString::new(name) else {
        return Ok(None);
    };
    account(&|entry, buffer, length, found| {
        // SAFETY: `name` ends in NUL; the other three are a valid entry, buffer and result for
        // the whole call (see `lookup`).
        unsafe { libc::getpwnam_r(name.as_ptr(), entry, buffer, length, found) }
    })
}

/// The user with this number; `None` when there is none.
pub(crate) fn by_id(uid: u32) -> io::Result<Option<Account>> {
    account(&|entry, buffer, length, found| {
        // SAFETY: the three pointers are a valid entry, buffer and result for the whole call (see
        // `lookup`).
        unsafe { libc::getpwuid_r(uid, entry, buffer, length, found) }
    })
}

/// One of the `get…_r` functions, with what it looks for: fills in the entry and the buffer.
type Find<'a, E> = &'a dyn Fn(*mut E, *mut libc::c_char, usize, *mut *mut E) -> i32;

fn account(find: Find<'_, libc::passwd>) -> io::Result<Option<Account>> {
    lookup(find, |entry| Account {
        name: text(entry.pw_name),
        uid: entry.pw_uid,
        gid: entry.pw_gid,
    })
}

/// The number of the group with this name; `None` when there is none.
pub(crate) fn group_by_name(name: &str) -> io::Result<Option<u32>> {
    let Ok(name) = CString::new(name) else {
        return Ok(None);
    };
    lookup(
        &|entry: *mut libc::group, buffer, length, found| {
            // SAFETY: `name` ends in NUL; the other three are a valid entry, buffer and result
            // for the whole call (see `lookup`).
            unsafe { libc::getgrnam_r(name.as_ptr(), entry, buffer, length, found) }
        },
        |entry| entry.gr_gid,
    )
}

/// The name of the group with this number; `None` when there is none.
fn group_by_id(gid: u32) -> io::Result<Option<String>> {
    lookup(
        &|entry: *mut libc::group, buffer, length, found| {
            // SAFETY: the three pointers are a valid entry, buffer and result for the whole call
            // (see `lookup`).
            unsafe { libc::getgrgid_r(gid, entry, buffer, length, found) }
        },
        |entry| text(entry.gr_name),
    )
}

/// The protocol of the `get…_r` family: a buffer that may be too small, an error code as the
/// result, and "not found" as a null pointer without an error.
fn lookup<E, T>(find: Find<'_, E>, read: impl Fn(&E) -> T) -> io::Result<Option<T>> {
    const MOST: usize = 1 << 24;
    let mut buffer: Vec<libc::c_char> = vec![0; 1024];
    loop {
        let mut entry = MaybeUninit::<E>::uninit();
        let mut found = std::ptr::null_mut();
        match find(entry.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &raw mut found) {
            0 if found.is_null() => return Ok(None),
            // SAFETY: success and a non-null result say that `entry`, to which `found` points,
            // has been filled in; its strings are in `buffer`, which is still there.
            0 => return Ok(Some(read(unsafe { entry.assume_init_ref() }))),
            libc::EINTR => {}
            libc::ERANGE if buffer.len() < MOST => buffer.resize(buffer.len() * 4, 0),
            // What getpwnam(3) lists as ways of saying "not found".
            libc::ENOENT | libc::ESRCH | libc::EBADF => return Ok(None),
            code => return Err(io::Error::from_raw_os_error(code)),
        }
    }
}

fn text(string: *const libc::c_char) -> String {
    // SAFETY: the strings of a filled-in entry end in NUL (getpwnam(3)) and outlive this call.
    unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned()
}

/// All groups of a user according to the database, `gid` included, getgrouplist(3).
pub(crate) fn groups_of(name: &str, gid: u32) -> io::Result<Vec<u32>> {
    let name = CString::new(name)?;
    let mut groups: Vec<u32> = vec![0; 64];
    loop {
        let mut count = i32::try_from(groups.len()).unwrap_or(i32::MAX);
        // SAFETY: `groups` has room for `count` numbers, and `name` ends in NUL.
        let result =
            unsafe { libc::getgrouplist(name.as_ptr(), gid, groups.as_mut_ptr(), &raw mut count) };
        let needed = usize::try_from(count).unwrap_or(0);
        if result >= 0 {
            groups.truncate(needed);
            return Ok(groups);
        }
        if needed <= groups.len() || needed > 1 << 16 {
            return Err(io::Error::other("the list of groups does not end"));
        }
        groups.resize(needed, 0);
    }
}

/// The user this process acts as.
pub(crate) fn effective() -> u32 {
    rx::geteuid().as_raw()
}

/// The user who runs this process.
pub(crate) fn real() -> u32 {
    rx::getuid().as_raw()
}

/// The group this process acts as.
pub(crate) fn effective_group() -> u32 {
    rx::getegid().as_raw()
}

/// Whether the user database must not be asked any more.
static IS_CLOSED: AtomicBool = AtomicBool::new(false);

/// From now on nobody asks the user database: in another root directory, whoever has furnished that
/// directory would say which libraries the C library loads for an answer (nsswitch.conf(5)).
pub(crate) fn close_database() {
    IS_CLOSED.store(true, Ordering::SeqCst);
}

/// What `ask` finds in the database, while that may be asked.
fn asked<T>(ask: impl FnOnce() -> io::Result<Option<T>>) -> Option<T> {
    match IS_CLOSED.load(Ordering::SeqCst) {
        false => ask().ok().flatten(),
        true => None,
    }
}

/// A user by name and number, for messages: `root (0)`, or the number alone.
pub(crate) fn describe(uid: u32) -> String {
    match asked(|| by_id(uid)) {
        Some(account) => format!("{} ({uid})", account.name),
        None => uid.to_string(),
    }
}

/// A group by name and number, for messages.
pub(crate) fn describe_group(gid: u32) -> String {
    match asked(|| group_by_id(gid)) {
        Some(name) => format!("{name} ({gid})"),
        None => gid.to_string(),
    }
}

/// Becomes another user for good: supplementary groups, then the group, then the user, each
/// checked by asking the kernel back, and the way to the old user tried and found closed.
///
/// Only for a process with one thread: the calls change it alone.
pub(crate) fn become_user(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    // SAFETY: `groups` is valid for its length for the whole call.
    check(unsafe { libc::setgroups(groups.len(), groups.as_ptr()) })?;
    // SAFETY: takes three numbers.
    check(unsafe { libc::setresgid(gid, gid, gid) })?;
    // SAFETY: takes three numbers.
    check(unsafe { libc::setresuid(uid, uid, uid) })?;
    verify(uid, gid, groups)
}

fn verify(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    let uids = [rx::getuid().as_raw(), rx::geteuid().as_raw()];
    let gids = [rx::getgid().as_raw(), rx::getegid().as_raw()];
    let actual: Vec<u32> = rx::getgroups()?.into_iter().map(|gid| gid.as_raw()).collect();
    // As sets: the kernel keeps them in an order of its own.
    let are_groups = groups.iter().all(|group| actual.contains(group))
        && actual.iter().all(|group| groups.contains(group));
    if uids != [uid; 2] || gids != [gid; 2] || !are_groups {
        return Err(io::Error::other("the kernel accepted the change and did not make it"));
    }
    // SAFETY: takes a number; it must fail here, and if it does not, the caller gives up.
    if uid != 0 && check(unsafe { libc::setuid(0) }).is_ok() {
        return Err(io::Error::other("root's privileges could be taken back"));
    }
    Ok(())
}

/// Whether real, effective and saved numbers are all these.
pub(crate) fn is_exactly(uid: u32, gid: u32) -> bool {
    let (mut uids, mut gids) = ([0; 3], [0; 3]);
    let [a, b, c] = &mut uids;
    // SAFETY: three valid places for user numbers; the call can only fail for bad addresses.
    let _ = unsafe { libc::getresuid(a, b, c) };
    let [a, b, c] = &mut gids;
    // SAFETY: three valid places for group numbers; the call can only fail for bad addresses.
    let _ = unsafe { libc::getresgid(a, b, c) };
    uids == [uid; 3] && gids == [gid; 3]
}

/// Does something to files with the rights of another user and this one group of his, setfsuid(2);
/// the rest of the process stays who it is.
pub(crate) fn acting_as<T>(uid: u32, gid: u32, f: impl FnOnce() -> T) -> io::Result<T> {
    let (old_uid, old_gid) = (effective(), effective_group());
    if (uid, gid) == (old_uid, old_gid) {
        return Ok(f());
    }
    let old_groups = rx::getgroups()?;
    set_thread_groups(&[Gid::from_raw(gid)])?;
    let result = set_file_group(gid).and_then(|()| set_file_user(uid)).map(|()| f());
    // Back to the user first, who may then change the groups.
    set_file_user(old_uid)?;
    set_file_group(old_gid)?;
    set_thread_groups(&old_groups)?;
    result
}

fn set_file_user(uid: u32) -> io::Result<()> {
    // The call tells the number before it, and of a failure nothing: hence the second one.
    // SAFETY: takes a number.
    unsafe { libc::setfsuid(uid) };
    // SAFETY: takes a number; this one is never valid, and so changes nothing.
    accepted(unsafe { libc::setfsuid(u32::MAX) }, uid)
}

fn set_file_group(gid: u32) -> io::Result<()> {
    // SAFETY: takes a number.
    unsafe { libc::setfsgid(gid) };
    // SAFETY: takes a number; this one is never valid, and so changes nothing.
    accepted(unsafe { libc::setfsgid(u32::MAX) }, gid)
}

fn accepted(is: libc::c_int, wanted: u32) -> io::Result<()> {
    if is.cast_unsigned() == wanted { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}
