//! The files that Unix sockets leave: whose they are, and who removes them.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{lchown, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use daemonocle_tests::{Sandbox, ask, reloaded, serving, skip_unless_root};

const STOPPED: &str = "Stopping example ... OK\n";

#[test]
fn a_file_that_a_killed_daemon_has_left_is_in_nobodys_way() {
    let sandbox = Sandbox::new();
    let path = sandbox.path("example.sock");
    let fixture = serving(&sandbox, &format!("ctl {}\n", path.display()));
    let pid = fixture.started();
    sandbox.kill(pid);
    assert!(path.exists());
    let pid = fixture.started();
    assert_eq!(ask(path.to_str().unwrap()).unwrap(), pid);
    fixture.stop().expect(0, STOPPED, "");
    assert!(!path.exists());

    // But who is alive stays, and so does what is no socket.
    let other = UnixListener::bind(&path).unwrap();
    let refused = ["as \"ctl\": Address already in use\n"];
    fixture.start().expect_error(1, "Starting example ... FAILED\n", &refused);
    assert!(UnixStream::connect(&path).is_ok());
    drop(other);
    fs::remove_file(&path).unwrap();
    sandbox.write("example.sock", "precious");
    fixture.start().expect_error(1, "Starting example ... FAILED\n", &refused);
    assert_eq!(sandbox.read("example.sock"), "precious");
}

/// It is his, abandoned or not: in a directory where everybody may make files, nobody but him may remove it.
#[test]
fn a_socket_that_somebody_else_has_left() {
    if skip_unless_root("a_socket_that_somebody_else_has_left") {
        return;
    }
    let sandbox = Sandbox::new();
    let path = sandbox.make_dir("public", 0o1777).join("example.sock");
    let fixture = serving(&sandbox, &format!("ctl {}\n", path.display()));
    drop(bind_only(&path));
    lchown(&path, Some(3_900_011), None).unwrap();
    let refused = ["as \"ctl\": Address already in use\n"];
    fixture.start().expect_error(1, "Starting example ... FAILED\n", &refused);
    assert!(path.exists());
}

/// A server that has made its socket and not come to listen yet has abandoned nothing.
#[test]
fn a_socket_that_is_about_to_listen() {
    let sandbox = Sandbox::new();
    let path = sandbox.path("example.sock");
    let fixture = serving(&sandbox, &format!("ctl {}\n", path.display()));
    let other = bind_only(&path);
    let refused = ["as \"ctl\": Address already in use\n"];
    fixture.start().expect_error(1, "Starting example ... FAILED\n", &refused);
    assert!(path.exists());
    drop(other);
    let pid = fixture.started();
    assert_eq!(ask(path.to_str().unwrap()).unwrap(), pid);
}

/// A socket that is bound, and does not listen.
fn bind_only(path: &Path) -> OwnedFd {
    // SAFETY: takes numbers.
    let fd = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    assert!(fd >= 0, "{}", io::Error::last_os_error());
    // SAFETY: it has just been made, and nobody else knows it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: all zero is a valid value of this plain struct.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    for (place, byte) in address.sun_path.iter_mut().zip(path.as_os_str().as_bytes()) {
        *place = byte.cast_signed();
    }
    let length = size_of::<libc::sockaddr_un>() as libc::socklen_t;
    // SAFETY: the address is valid for the whole call, and has this length.
    let code = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length) };
    assert_eq!(code, 0, "{}", io::Error::last_os_error());
    fd
}

/// Clients would find nobody there: the new process makes another one.
#[test]
fn a_socket_whose_file_is_gone_is_bound_anew() {
    let sandbox = Sandbox::new();
    let path = sandbox.path("example.sock");
    let fixture = serving(&sandbox, &format!("ctl {}\n", path.display()));
    fixture.started();
    fs::remove_file(&path).unwrap();
    let pid = reloaded(&fixture);
    assert_eq!(ask(path.to_str().unwrap()).unwrap(), pid);
    fixture.stop().expect(0, STOPPED, "");
    assert!(!path.exists());
}

/// The socket of somebody else in its place is nobody's to hand on, nor to remove.
#[test]
fn a_socket_that_was_exchanged_is_not_handed_on() {
    let sandbox = Sandbox::new();
    let path = sandbox.path("example.sock");
    let fixture = serving(&sandbox, &format!("ctl {}\n", path.display()));
    let pid = fixture.started();
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    let output = fixture.reload();
    let why = ["as \"ctl\": Address already in use\n"];
    output.expect_error(1, "Reloading example ... FAILED\n", &why);
    assert_eq!(fixture.pid(), Some(pid));
    fixture.stop().expect(0, STOPPED, "");
    assert!(UnixStream::connect(&path).is_ok());
}

/// Whoever may exchange a directory on the way leads root's daemon nowhere.
#[test]
fn a_directory_that_another_user_exchanges() {
    if skip_unless_root("a_directory_that_another_user_exchanges") {
        return;
    }
    let sandbox = Sandbox::new();
    let (theirs, victim) = (sandbox.make_dir("theirs", 0o755), sandbox.make_dir("victim", 0o755));
    let (dir, aside) = (sandbox.make_dir("theirs/d", 0o755), sandbox.path("theirs/aside"));
    let fixture = serving(&sandbox, &format!("ctl {}/x.sock\n", dir.display()));
    let pid = fixture.started();
    let _other = UnixListener::bind(victim.join("x.sock")).unwrap();
    fs::rename(&dir, &aside).unwrap();
    symlink(&victim, &dir).unwrap();
    lchown(&dir, Some(65533), Some(65533)).unwrap();
    lchown(&theirs, Some(65533), Some(65533)).unwrap();
    let output = fixture.reload();
    let why = ["it is a symbolic link of user 65533"];
    output.expect_error(1, "Reloading example ... FAILED\n", &why);
    assert_eq!(ask(aside.join("x.sock").to_str().unwrap()).unwrap(), pid);
    fixture.stop().expect(0, STOPPED, "");
    assert!(UnixStream::connect(victim.join("x.sock")).is_ok());
    assert!(!aside.join("x.sock").exists());
}

/// What is in the place of the daemon's socket at its end is somebody else's.
#[test]
fn a_file_that_was_exchanged_stays() {
    let sandbox = Sandbox::new();
    let path = sandbox.path("example.sock");
    let fixture = serving(&sandbox, &format!("ctl {}\n", path.display()));
    fixture.started();
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    fixture.stop().expect(0, STOPPED, "");
    assert!(path.exists());
}
