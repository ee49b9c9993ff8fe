//! `status`: what it shows, how it exits, and that it changes nothing.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use daemonocle_tests::{Sandbox, eventually, put_up_sign, skip_unless_root, stat};
use rustix::process::Signal;

/// Everything about a file that a reader could have changed.
fn trace(path: &Path) -> (u64, u64, i64, i64, i64, i64, u32, Vec<u8>) {
    let meta = fs::symlink_metadata(path).unwrap();
    let text = if meta.is_file() { fs::read(path).unwrap() } else { Vec::new() };
    let times = (meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec());
    (meta.ino(), meta.nlink(), times.0, times.1, times.2, times.3, meta.mode(), text)
}

/// The values of `example -- pid: 1, status: …, uptime: …, %cpu: …, %mem: …`.
fn values(line: &str) -> [String; 5] {
    let rest = line.strip_prefix("example -- ").and_then(|rest| rest.strip_suffix('\n')).unwrap();
    let labels = ["pid", "status", "uptime", "%cpu", "%mem"];
    let parts: Vec<_> = rest.split(", ").collect();
    assert_eq!(parts.len(), labels.len(), "{line:?}");
    std::array::from_fn(|index| {
        let prefix = format!("{}: ", labels[index]);
        parts[index].strip_prefix(&prefix).unwrap_or_else(|| panic!("{line:?}")).to_owned()
    })
}

#[test]
fn one_line_of_text() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let pid = fixture.started();
    eventually("it sleeps", || stat(pid).is_some_and(|stat| stat.state == 'S'));
    let output = fixture.status();
    let [shown, status, uptime, cpu, memory] = values(&output.stdout);
    assert_eq!(
        (shown, &*status, &*uptime, &*cpu),
        (pid.to_string(), "sleeping", "0m", "0.0"),
        "{output:?}"
    );
    let memory: f64 = memory.parse().unwrap();
    assert!((0.0..50.0).contains(&memory), "{output:?}");
    output.expect(0, &output.stdout, "");
}

#[test]
fn one_line_of_json_with_sorted_keys() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let pid = fixture.started();
    eventually("it sleeps", || stat(pid).is_some_and(|stat| stat.state == 'S'));
    let output = fixture.run(&["status", "--json"]).finish();
    let line = output.stdout.strip_suffix('\n').unwrap();
    let body = line.strip_prefix('{').and_then(|line| line.strip_suffix('}')).unwrap();
    let pairs: Vec<_> = body.split(", ").map(|pair| pair.split_once(": ").unwrap()).collect();
    let keys: Vec<_> = pairs.iter().map(|(key, _)| *key).collect();
    let wanted = ["cpu_percent", "memory_percent", "name", "pid", "status", "uptime"];
    assert_eq!(keys, wanted.map(|key| format!("\"{key}\"")), "{output:?}");
    for index in [0, 1, 5] {
        let value: f64 = pairs[index].1.parse().unwrap();
        assert!((0.0..1000.0).contains(&value), "{output:?}");
        assert!(pairs[index].1.contains('.'), "a float: {output:?}");
    }
    let rest = [pairs[2].1, pairs[3].1, pairs[4].1];
    assert_eq!(rest, ["\"example\"", &pid.to_string(), "\"sleeping\""]);
    output.expect(0, &output.stdout, "");
}

#[test]
fn not_running() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    fixture.status().expect(1, "example -- not running\n", "");
    let json = fixture.run(&["status", "--json"]).finish();
    json.expect(1, "{\"name\": \"example\", \"status\": \"dead\"}\n", "");
    assert_eq!(sandbox.names(), Vec::<String>::new());
}

#[test]
fn a_busy_daemon_uses_a_processor() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("burn");
    fixture.started();
    let [_, status, _, cpu, _] = values(&fixture.status().stdout);
    assert_eq!(status, "running");
    // It shares the processors with the other tests, and so does who measures it.
    let cpu: f64 = cpu.parse().unwrap();
    assert!(1.0 < cpu && cpu < 1000.0, "{cpu}");
}

#[test]
fn a_stopped_daemon_is_stopped() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let pid = fixture.started();
    sandbox.signal(pid, Signal::STOP);
    eventually("it has stopped", || stat(pid).is_some_and(|stat| stat.state == 'T'));
    let output = fixture.status();
    assert_eq!(values(&output.stdout)[1], "stopped");
    assert_eq!(output.code(), Some(0));
}

#[test]
fn a_daemon_in_the_middle_of_its_start_is_not_running() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("sleep").set("ready", "60");
    let _start = fixture.run(&["start"]).spawn();
    eventually("it has a PID file", || fixture.pid().is_some());
    let pid = fixture.pid().unwrap();
    let output = fixture.status();
    // It lives, but nobody has been told that it works: both answers are the truth.
    match output.code() {
        Some(0) => assert_eq!(values(&output.stdout)[0], pid.to_string()),
        _ => _ = output.expect(1, "example -- not running\n", ""),
    }
}

#[test]
fn reading_changes_nothing() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let path = sandbox.path("example.pid");
    let check = |what: &str| {
        let before = (trace(&path), trace(sandbox.dir()), sandbox.names());
        for arguments in [
            &["status"][..],
            &["status", "--json"],
            &["status", "--json", "--fields", "pid,open_files,uptime"],
        ] {
            fixture.run(arguments).finish();
        }
        let after = (trace(&path), trace(sandbox.dir()), sandbox.names());
        assert_eq!(before, after, "{what}");
    };
    let pid = fixture.started();
    check("running");
    sandbox.kill(pid);
    check("killed");
    for text in ["", "not a number\n", "1\n", "999999999\n", "\0\0\0"] {
        fs::write(&path, text).unwrap();
        check(text);
    }
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("elsewhere", &path).unwrap();
    check("a symbolic link");
}

#[test]
fn a_broken_pid_file_is_told_and_left() {
    let sandbox = Sandbox::new();
    let path = sandbox.write("example.pid", "over the hills\n");
    let fixture = sandbox.fixture("ready");
    let text = format!("WARNING: Empty or broken PID file {}; left as it is\n", path.display());
    fixture.status().expect(1, "example -- not running\n", &text);
    assert_eq!(sandbox.read("example.pid"), "over the hills\n");
}

/// The value of a number in the JSON form.
fn number(json: &str, name: &str) -> f64 {
    let (_, rest) = json.split_once(&format!("\"{name}\": ")).unwrap();
    rest.split([',', '}']).next().unwrap().parse().unwrap()
}

#[test]
fn uptime_grows() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let began = std::time::Instant::now();
    fixture.started();
    let [first, second] = [(); 2].map(|()| fixture.run(&["status", "--json"]).finish().stdout);
    let (first, second) = (number(&first, "uptime"), number(&second, "uptime"));
    assert!(first < second, "{first} {second}");
    // Ticks of 10 ms at both ends.
    assert!(second <= began.elapsed().as_secs_f64() + 0.05, "{second}");
}

#[test]
fn children_count() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("child-burn").set("child_pid", sandbox.path("child"));
    let pid = fixture.started();
    let json = fixture.run(&["status", "--json"]).finish().stdout;
    assert!(number(&json, "cpu_percent") > 1.0, "only the child computes: {json}");
    assert_eq!(number(&json, "pid"), f64::from(pid));
}

#[test]
fn names_are_shown_as_they_are() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready").set("name", "Käse \"{}\" %s");
    fixture.status().expect(1, "Käse \"{}\" %s -- not running\n", "");
    let json = fixture.run(&["status", "--json"]).finish();
    let wanted = "{\"name\": \"K\\u00e4se \\\"{}\\\" %s\", \"status\": \"dead\"}\n";
    json.expect(1, wanted, "");
}

#[test]
fn an_answer_that_cannot_be_written_is_a_failure() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    fixture.started();
    for arguments in [&["status"][..], &["status", "--json"]] {
        let output = fixture.run(arguments).through("exec \"$@\" >/dev/full").finish();
        let text = "ERROR: cannot write to standard output: No space left on device\n";
        output.expect(1, "", text);
    }
}

#[test]
fn while_it_is_being_set_up_others_see_it_too() {
    if skip_unless_root("while_it_is_being_set_up_others_see_it_too") {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready").set("on_start", "hang").for_everybody();
    let _start = fixture.run(&["start"]).spawn();
    eventually("the daemon is there", || !sandbox.read("example.pid").is_empty());
    let pid = fixture.pid().unwrap();
    let status = fixture.run(&["status"]).as_user(12345, 12345).finish();
    assert!(status.stdout.starts_with(&format!("example -- pid: {pid}, ")), "{status:?}");
    sandbox.kill(pid);
    // As a start leaves it that was killed before it had a daemon.
    let path = sandbox.write("example.pid", "");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let status = fixture.run(&["status"]).as_user(12345, 12345).finish();
    status.expect(1, "example -- not running\n", "");
}

/// One after the other looks like the daemon, and is gone when it is looked at.
#[test]
fn nobody_is_looked_for_for_ever() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let _sign = put_up_sign(&fixture.pid_file());
    let path = fixture.pid_file().display().to_string();
    let decoys = fixture.watch(&[env!("CARGO_BIN_EXE_come_and_go"), &path]).spawn();
    eventually("they have begun", || sandbox.names().len() > 8);
    // There is an answer: that of each it is seen in time that he ends, or else that this goes on for too long.
    let status = fixture.status();
    if status.stdout.is_empty() {
        status.expect_error(1, "", &["PID file", "timed out"]);
    } else {
        status.expect(1, "example -- not running\n", "");
    }
    sandbox.kill(decoys.pid());
}
