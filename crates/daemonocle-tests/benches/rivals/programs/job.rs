//! What the daemons of the benchmarks do, as `../../job.h` has it in C.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, SystemTime};

/// Takes its time to set itself up, and says that it serves.
pub fn set_up() -> Result<(), String> {
    let variable = |name| std::env::var(name).ok();
    if let Some(milliseconds) = variable("JOB_SETUP").and_then(|text| text.parse().ok()) {
        std::thread::sleep(Duration::from_millis(milliseconds));
    }
    if variable("JOB_FAIL").is_some() {
        return Err("the database is not there".into());
    }
    let Some(bell) = variable("JOB_BELL") else { return Ok(()) };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let text = format!("{} {}", std::process::id(), now.as_nanos());
    let told = UnixDatagram::unbound().and_then(|socket| socket.send_to(text.as_bytes(), bell));
    told.map(drop).map_err(|error| error.to_string())
}

/// Where the PID file is to be.
pub fn pid_file() -> String {
    std::env::var("JOB_PID_FILE").unwrap_or_default()
}

/// For a daemon that can do no more than be ended by a signal.
#[allow(dead_code, reason = "not for those who can")]
pub fn serve() -> ! {
    if let Err(why) = set_up() {
        eprintln!("{why}");
        std::process::exit(1);
    }
    forever()
}

/// Until a signal comes.
#[allow(dead_code, reason = "not for those who can do more")]
pub fn forever() -> ! {
    loop {
        std::thread::park();
    }
}
