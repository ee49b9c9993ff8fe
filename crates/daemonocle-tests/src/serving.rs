//! Daemons that listen, and tell their PID to whoever connects (the worker `serves` of the fixture).

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;

use crate::fixture::Fixture;
use crate::process::{Pid, is_alive};
use crate::sandbox::Sandbox;
use crate::wait::{DEADLINE, eventually};

/// A daemon with these sockets, a line each: a name and an address. Where it is tried whether nobody listens
/// there any more, it is one that no other test uses.
///
/// # Panics
///
/// If its files cannot be written.
#[must_use]
pub fn serving<'a>(sandbox: &'a Sandbox, sockets: &str) -> Fixture<'a> {
    let fixture = sandbox.fixture("serves").set("on_hup", "yes");
    let fixture = fixture.set("listen", sandbox.write("listen", sockets));
    fixture.set("out", sandbox.write("out", ""))
}

/// What the process has said about where it listens under this name.
///
/// # Panics
///
/// If it has said nothing.
#[must_use]
#[track_caller]
pub fn address(sandbox: &Sandbox, pid: Pid, name: &str) -> String {
    let (out, start) = (sandbox.read("out"), format!("{pid} {name} "));
    let line = out.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("no {start:?} in {out:?}")).to_owned()
}

/// The PID that is told at the address, a path or one of TCP.
///
/// # Errors
///
/// Nobody is there, or tells something else.
///
/// # Panics
///
/// If it is no address.
pub fn ask(address: &str) -> io::Result<Pid> {
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
///
/// # Panics
///
/// If it does not.
#[track_caller]
pub fn reloaded(fixture: &Fixture<'_>) -> Pid {
    let old = fixture.pid().unwrap();
    fixture.run(&["reload"]).finish().expect(0, "Reloading example ... OK\n", "");
    let new = fixture.pid().unwrap();
    assert_ne!(new, old);
    eventually("the old one is gone", || !is_alive(old));
    new
}
