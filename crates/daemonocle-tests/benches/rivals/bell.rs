//! Where daemons tell that they serve.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::process::Pid;

use crate::Result;

/// A daemon takes no longer.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Bell {
    socket: UnixDatagram,
    pub path: PathBuf,
}

impl Bell {
    pub fn new(dir: &Path) -> io::Result<Self> {
        let path = dir.join("bell");
        let socket = UnixDatagram::bind(&path)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { socket, path })
    }

    /// Who serves now, and since when.
    pub fn next(&self) -> Result<(Pid, SystemTime)> {
        let mut buffer = [0; 64];
        let length = loop {
            match self.socket.recv(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        let text = str::from_utf8(&buffer[..length])?;
        let (pid, time) = text.split_once(' ').ok_or("the daemon tells something else")?;
        let pid = Pid::from_raw(pid.parse()?).ok_or("the daemon tells no PID")?;
        Ok((pid, SystemTime::UNIX_EPOCH + Duration::from_nanos(time.parse()?)))
    }
}
