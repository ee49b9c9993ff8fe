//! `Context::listener`: sockets that a daemon hands to its successor, or gets from whoever starts it.

use std::fs;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{lchown, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use daemonocle_tests::{
    DEADLINE, Fixture, Output, Pid, Sandbox, descriptors, eventually, is_alive, skip_unless_root,
};
use rustix::process::Signal;

const OK: &str = "Starting example ... OK\n";
const STOPPED: &str = "Stopping example ... OK\n";
const RELOADED: &str = "Reloading example ... OK\n";

/// A daemon with these sockets, a line each: a name and an address. Where it is tried whether nobody listens
/// there any more, it is one that no other test uses.
fn serving<'a>(sandbox: &'a Sandbox, sockets: &str) -> Fixture<'a> {
    let fixture = sandbox.fixture("serves").set("on_hup", "yes");
    let fixture = fixture.set("listen", sandbox.write("listen", sockets));
    fixture.set("out", sandbox.write("out", ""))
}

/// What the process has said about where it listens under this name.
#[track_caller]
fn address(sandbox: &Sandbox, pid: Pid, name: &str) -> String {
    let (out, start) = (sandbox.read("out"), format!("{pid} {name} "));
    let line = out.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("no {start:?} in {out:?}")).to_owned()
}

/// The PID that is told at the address.
fn ask(address: &str) -> io::Result<Pid> {
    let mut text = String::new();
    if address.starts_with('/') {
        let mut stream = UnixStream::connect(address)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.read_to_string(&mut text)?;
    } else {
        let address: SocketAddr = address.parse().unwrap();
        let mut stream = TcpStream::connect_timeout(&address, DEADLINE)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.read_to_string(&mut text)?;
    }
    text.trim_end().parse().map_err(|_| io::Error::other(format!("it says {text:?}")))
}

/// Makes it reload, which succeeds, waits for the end of the old process, and gives the new PID.
#[track_caller]
fn reloaded(fixture: &Fixture<'_>) -> Pid {
    let old = fixture.pid().unwrap();
    fixture.run(&["reload"]).finish().expect(0, RELOADED, "");
    let new = fixture.pid().unwrap();
    assert_ne!(new, old);
    eventually("the old one is gone", || !is_alive(old));
    new
}

/// The inode number of each socket of a process, in the words of /proc.
fn sockets(pid: Pid) -> Vec<String> {
    descriptors(pid).into_values().filter(|target| target.starts_with("socket:")).collect()
}

/// Starts it as a service manager does that hands a socket over: by a shell, which knows its own PID.
#[track_caller]
fn start_with(fixture: &Fixture<'_>, socket: impl Into<OwnedFd>, variables: &str) -> Output {
    let script = format!("exec 3<&0 </dev/null; export {variables}; exec \"$@\"");
    fixture.run(&["start"]).through(&script).stdin(socket.into()).finish()
}

const ONE: &str = "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=http";

#[test]
fn a_successor_has_the_very_same_sockets() {
    let sandbox = Sandbox::new();
    let path = sandbox.path("example.sock");
    let fixture = serving(&sandbox, &format!("http 127.0.1.3:0\nctl {}\n", path.display()));
    let mut pid = fixture.started();
    let (http, before) = (address(&sandbox, pid, "http"), sockets(pid));
    assert_eq!(before.len(), 2);
    for _ in 0..3 {
        pid = reloaded(&fixture);
        // Port 0 asks for just any port, and the one that there is is as good as others.
        assert_eq!(address(&sandbox, pid, "http"), http);
        assert_eq!(ask(&http).unwrap(), pid);
        assert_eq!(ask(path.to_str().unwrap()).unwrap(), pid);
        let mut after = sockets(pid);
        after.sort();
        let mut before = before.clone();
        before.sort();
        assert_eq!(after, before, "the same ones, and nothing else");
    }
    fixture.stop().expect(0, STOPPED, "");
    assert!(ask(&http).is_err());
    assert!(!path.exists(), "the file of a socket goes with the daemon");
}

#[test]
fn twenty_reloads_lose_nobody() {
    let sandbox = Sandbox::new();
    let path = sandbox.path("example.sock").display().to_string();
    let fixture = serving(&sandbox, &format!("http 127.0.0.1:0\nctl {path}\n"));
    let first = fixture.started();
    let http = address(&sandbox, first, "http");
    let (is_over, count) = (&AtomicBool::new(false), &AtomicU32::new(0));
    let lost = thread::scope(|scope| {
        let clients: Vec<_> = [&http, &http, &path, &path]
            .into_iter()
            .map(|address| {
                scope.spawn(move || {
                    let mut lost = Vec::new();
                    while !is_over.load(Ordering::SeqCst) {
                        count.fetch_add(1, Ordering::SeqCst);
                        lost.extend(ask(address).err().map(|error| format!("{address}: {error}")));
                    }
                    lost
                })
            })
            .collect();
        for _ in 0..20 {
            let before = count.load(Ordering::SeqCst);
            reloaded(&fixture);
            eventually("there is a load", || count.load(Ordering::SeqCst) > before + 20);
        }
        is_over.store(true, Ordering::SeqCst);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(lost, [""; 0], "of {count:?}");
    fixture.stop().expect(0, STOPPED, "");
}

/// A new configuration has another address: the old one is not listened on any more.
#[test]
fn another_address_is_another_socket() {
    let sandbox = Sandbox::new();
    let fixture = serving(&sandbox, "http 127.0.1.1:0\n");
    let old = fixture.started();
    let first = address(&sandbox, old, "http");
    let path = sandbox.path("other.sock");
    sandbox.write("listen", format!("http 127.0.0.2:0\nctl {}\n", path.display()));
    let pid = reloaded(&fixture);
    let second = address(&sandbox, pid, "http");
    assert_ne!(second, first);
    assert_eq!(ask(&second).unwrap(), pid);
    assert_eq!(ask(&first).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);

    // And one that is not asked for any more is closed, and its file removed.
    sandbox.write("listen", "http 127.0.0.2:0\n");
    let pid = reloaded(&fixture);
    assert_eq!(address(&sandbox, pid, "http"), second);
    assert!(!path.exists());
    assert_eq!(sockets(pid).len(), 1);
}

#[test]
fn what_the_worker_has_closed_is_closed() {
    let sandbox = Sandbox::new();
    let fixture = serving(&sandbox, "-gone 127.0.1.2:0\nhttp 127.0.0.1:0\n");
    let pid = fixture.started();
    let gone = address(&sandbox, pid, "gone");
    assert!(ask(&gone).is_err());
    let pid = reloaded(&fixture);
    assert_ne!(address(&sandbox, pid, "gone"), gone);
    assert_eq!(ask(&address(&sandbox, pid, "http")).unwrap(), pid);
}

/// A successor that does not come up has taken nothing away.
#[test]
fn the_old_one_serves_on_if_there_is_no_new_one() {
    let sandbox = Sandbox::new();
    let path = sandbox.path("example.sock");
    let sockets = format!("http 127.0.0.1:0\nctl {}\n", path.display());
    let fixture = serving(&sandbox, &sockets);
    let pid = fixture.started();
    let http = address(&sandbox, pid, "http");
    sandbox.write("listen", sockets + "bad nowhere:0\n");
    let output = fixture.run(&["reload"]).finish();
    let why = ["cannot listen on nowhere:0 as \"bad\": "];
    output.expect_error(1, "Reloading example ... FAILED\n", &why);
    assert_eq!(fixture.pid(), Some(pid));
    assert_eq!(ask(&http).unwrap(), pid);
    assert_eq!(ask(path.to_str().unwrap()).unwrap(), pid);
}

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
    let output = fixture.run(&["reload"]).finish();
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
    let output = fixture.run(&["reload"]).finish();
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

#[test]
fn a_taken_address_is_named() {
    let sandbox = Sandbox::new();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let fixture = serving(&sandbox, &format!("http {address}\n"));
    let why = format!(
        "ERROR: Child exited immediately with exit code 1: \
         cannot listen on {address} as \"http\": Address already in use\n"
    );
    fixture.start().expect(1, "Starting example ... FAILED\n", &why);
}

#[test]
fn a_name_that_cannot_be_handed_on_is_refused() {
    let sandbox = Sandbox::new();
    for name in ["a:b", "größe"] {
        let fixture = serving(&sandbox, &format!("{name} 127.0.0.1:0\n"));
        let why = format!("cannot listen on 127.0.0.1:0 as {name:?}: its name must be at most 255");
        fixture.start().expect_error(1, "Starting example ... FAILED\n", &[&why]);
    }
}

/// Whoever gives a socket decides where it listens, and it goes along in every reload.
#[test]
fn sockets_from_outside() {
    for close in [None, Some("yes")] {
        let sandbox = Sandbox::new();
        let given = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = given.local_addr().unwrap().to_string();
        let fixture = serving(&sandbox, "http 127.0.0.9:9\nown 127.0.0.1:0\n");
        let fixture = close.into_iter().fold(fixture, |fixture, yes| fixture.set("close", yes));
        start_with(&fixture, given.try_clone().unwrap(), ONE).expect(0, OK, "");
        let mut pid = fixture.pid().unwrap();
        let own = address(&sandbox, pid, "own");
        for _ in 0..3 {
            assert_eq!(address(&sandbox, pid, "http"), place);
            assert_eq!(ask(&place).unwrap(), pid);
            assert_eq!(ask(&own).unwrap(), pid);
            assert_eq!(sockets(pid).len(), 2);
            pid = reloaded(&fixture);
        }
        fixture.stop().expect(0, STOPPED, "");
    }
}

/// It goes along too while nobody asks for it: the next version may.
#[test]
fn a_socket_from_outside_waits_for_who_asks_for_it() {
    let sandbox = Sandbox::new();
    let given = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = given.local_addr().unwrap().to_string();
    let fixture = serving(&sandbox, "");
    start_with(&fixture, given, ONE).expect(0, OK, "");
    reloaded(&fixture);
    sandbox.write("listen", "http 127.0.0.9:9\n");
    let pid = reloaded(&fixture);
    assert_eq!(ask(&place).unwrap(), pid);
}

#[test]
fn a_path_from_outside_is_not_ours_to_remove() {
    let sandbox = Sandbox::new();
    let path = sandbox.path("given.sock");
    let given = UnixListener::bind(&path).unwrap();
    let fixture = serving(&sandbox, &format!("http {}\n", path.display()));
    start_with(&fixture, given, ONE).expect(0, OK, "");
    let pid = reloaded(&fixture);
    assert_eq!(ask(path.to_str().unwrap()).unwrap(), pid);
    fixture.stop().expect(0, STOPPED, "");
    assert!(path.exists());
}

#[test]
fn a_socket_from_outside_of_another_kind() {
    let sandbox = Sandbox::new();
    let path = sandbox.path("given.sock");
    let fixture = serving(&sandbox, "http 127.0.0.1:0\n");
    let others: [OwnedFd; 2] =
        [UnixListener::bind(&path).unwrap().into(), UdpSocket::bind("127.0.0.1:0").unwrap().into()];
    let why = [
        "cannot listen on 127.0.0.1:0 as \"http\": the socket of this name that was handed over is of \
         another kind, or does not listen\n",
    ];
    for other in others {
        let output = start_with(&fixture, other, ONE);
        output.expect_error(1, "Starting example ... FAILED\n", &why);
    }
}

#[test]
fn sockets_from_outside_that_are_somebody_elses() {
    let sandbox = Sandbox::new();
    let given = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = given.local_addr().unwrap().to_string();
    let fixture = serving(&sandbox, "http 127.0.0.1:0\n");
    for variables in [
        "LISTEN_PID=1 LISTEN_FDS=1 LISTEN_FDNAMES=http",
        "LISTEN_PID=$$ LISTEN_FDS=0",
        "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=other",
        "LISTEN_FDS=1 LISTEN_FDNAMES=http",
    ] {
        start_with(&fixture, given.try_clone().unwrap(), variables).expect(0, OK, "");
        assert_ne!(address(&sandbox, fixture.pid().unwrap(), "http"), place);
        fixture.stop().expect(0, STOPPED, "");
    }
}

#[test]
fn nonsense_about_sockets_from_outside() {
    let sandbox = Sandbox::new();
    let fixture = serving(&sandbox, "http 127.0.0.1:0\n");
    let cannot = "ERROR: cannot make sense of the sockets handed over: ";
    for (variables, why) in [
        ("LISTEN_PID=$$ LISTEN_FDS=x", "LISTEN_FDS is \"x\"\n"),
        ("LISTEN_PID=$$ LISTEN_FDS=100", "number 4: Bad file descriptor\n"),
        ("LISTEN_PID=$$ LISTEN_FDS=4000000000", "LISTEN_FDS is \"4000000000\"\n"),
        (
            "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=a:b",
            "LISTEN_FDNAMES is \"a:b\", and there are 1 sockets\n",
        ),
    ] {
        let given = TcpListener::bind("127.0.0.1:0").unwrap();
        let output = start_with(&fixture, given, variables);
        output.expect(1, "Starting example ... FAILED\n", &format!("{cannot}{why}"));
        sandbox.expect_nobody();
    }
    let output = start_with(&fixture, fs::File::open("/dev/null").unwrap(), ONE);
    let why = format!("{cannot}number 3: it is no socket\n");
    output.expect(1, "Starting example ... FAILED\n", &why);
    assert!(!fixture.pid_file().exists());
}

/// Programs that the worker runs get none of it: neither sockets nor variables.
#[test]
fn nothing_leaks() {
    let sandbox = Sandbox::new();
    let given = TcpListener::bind("127.0.0.1:0").unwrap();
    let fixture = sandbox.fixture("child-sleep").set("child_pid", sandbox.path("child.pid"));
    start_with(&fixture, given, ONE).expect(0, OK, "");
    let mut child = 0;
    eventually("there is a child", || {
        child = sandbox.read("child.pid").trim().parse().unwrap_or_default();
        child != 0
            && fs::read(format!("/proc/{child}/cmdline"))
                .is_ok_and(|text| text.starts_with(b"sleep"))
    });
    assert_eq!(sockets(child), [""; 0]);
    let environment = fs::read(format!("/proc/{child}/environ")).unwrap();
    assert!(!String::from_utf8_lossy(&environment).contains("LISTEN_"));
}

/// In the foreground too, where the parent stays.
#[test]
fn in_the_foreground() {
    let sandbox = Sandbox::new();
    let fixture = serving(&sandbox, "http 127.0.1.4:0\n");
    let running = fixture.foreground();
    running.says(OK);
    let first = fixture.settled();
    let http = address(&sandbox, first, "http");
    for _ in 0..3 {
        let pid = reloaded(&fixture);
        assert_eq!(ask(&http).unwrap(), pid);
    }
    sandbox.signal(running.pid(), Signal::TERM);
    running.finish();
    assert!(ask(&http).is_err());
}

/// A user without privileges hands on what root has bound.
#[test]
fn a_port_below_1024_goes_along() {
    if skip_unless_root("a_port_below_1024_goes_along") {
        return;
    }
    let sandbox = Sandbox::new();
    let dir = sandbox.make_dir("theirs", 0o777);
    let given =
        (1..1024).rev().find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok()).unwrap();
    let place = given.local_addr().unwrap().to_string();
    let fixture = serving(&sandbox, "http 127.0.0.9:9\n").for_everybody().set("user", "nobody");
    let fixture = fixture.set("out", dir.join("out")).set("hook_log", dir.join("hook.log"));
    start_with(&fixture, given, ONE).expect(0, OK, "");
    for _ in 0..3 {
        assert_eq!(ask(&place).unwrap(), fixture.pid().unwrap());
        reloaded(&fixture);
    }
    fixture.stop().expect(0, STOPPED, "");
}

/// However long the old one takes to finish what it has, whoever connects is served by the new one.
#[test]
fn the_old_one_stops_accepting() {
    let sandbox = Sandbox::new();
    let fifo = sandbox.make_fifo("fifo");
    let fixture = serving(&sandbox, "http 127.0.0.1:0\n").set("fifo", &fifo).set("stop", "0.2");
    let old = fixture.started();
    let http = address(&sandbox, old, "http");
    fixture.run(&["reload"]).finish().expect(0, RELOADED, "");
    let new = fixture.pid().unwrap();
    eventually("the old one has closed it", || sockets(old).is_empty());
    for _ in 0..50 {
        assert_eq!(ask(&http).unwrap(), new);
    }
    assert!(is_alive(old));
    fs::write(fifo, "").unwrap();
    eventually("the old one is gone", || !is_alive(old));
}
