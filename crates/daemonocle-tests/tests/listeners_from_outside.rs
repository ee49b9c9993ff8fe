//! Listening sockets that somebody else has made, as systemd does: sd_listen_fds(3).

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use daemonocle_tests::{
    Fixture, Output, Pid, Sandbox, address, ask, descriptors, eventually, reloaded, serving,
    skip_unless_root,
};

const OK: &str = "Starting example ... OK\n";

const STOPPED: &str = "Stopping example ... OK\n";

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
