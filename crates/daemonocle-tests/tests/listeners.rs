//! `Context::listener`: sockets that a daemon hands to its successor, or gets from whoever starts it.

use std::fs;
use std::io::{self};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use daemonocle_tests::{
    Pid, Sandbox, address, ask, descriptors, eventually, is_alive, reloaded, serving,
};
use rustix::process::Signal;

const OK: &str = "Starting example ... OK\n";
const STOPPED: &str = "Stopping example ... OK\n";
const RELOADED: &str = "Reloading example ... OK\n";

/// The inode number of each socket of a process, in the words of /proc.
fn sockets(pid: Pid) -> Vec<String> {
    descriptors(pid).into_values().filter(|target| target.starts_with("socket:")).collect()
}

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
    let output = fixture.reload();
    let why = ["cannot listen on nowhere:0 as \"bad\": "];
    output.expect_error(1, "Reloading example ... FAILED\n", &why);
    assert_eq!(fixture.pid(), Some(pid));
    assert_eq!(ask(&http).unwrap(), pid);
    assert_eq!(ask(path.to_str().unwrap()).unwrap(), pid);
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

/// However long the old one takes to finish what it has, whoever connects is served by the new one.
#[test]
fn the_old_one_stops_accepting() {
    let sandbox = Sandbox::new();
    let fifo = sandbox.make_fifo("fifo");
    let fixture = serving(&sandbox, "http 127.0.0.1:0\n").set("fifo", &fifo).set("stop", "0.2");
    let old = fixture.started();
    let http = address(&sandbox, old, "http");
    fixture.reload().expect(0, RELOADED, "");
    let new = fixture.pid().unwrap();
    eventually("the old one has closed it", || sockets(old).is_empty());
    for _ in 0..50 {
        assert_eq!(ask(&http).unwrap(), new);
    }
    assert!(is_alive(old));
    fs::write(fifo, "").unwrap();
    eventually("the old one is gone", || !is_alive(old));
}
