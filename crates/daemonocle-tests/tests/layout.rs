//! Files where a convention has them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use daemonocle_tests::{Fixture, Sandbox, is_alive, skip_unless_root};

/// What is below a directory, with paths relative to it, sorted.
fn tree(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(here) = todo.pop() {
        for entry in fs::read_dir(here).unwrap().flatten() {
            found.push(entry.path().strip_prefix(dir).unwrap().display().to_string());
            if entry.file_type().unwrap().is_dir() {
                todo.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

fn laid_out<'a>(sandbox: &'a Sandbox, layout: impl AsRef<Path>) -> Fixture<'a> {
    let fixture = sandbox.fixture("print").unset("pid_file").unset("hook_log");
    fixture.set("layout", layout.as_ref())
}

#[test]
fn a_prefix_has_its_own_files() {
    let sandbox = Sandbox::new();
    let prefix = sandbox.path("srv");
    let fixture = laid_out(&sandbox, &prefix).set("log_prefix", "web-").set("work_dir", &prefix);
    fixture.start().expect(0, "Starting example ... OK\n", "");
    let files = ["log", "log/web-err.log", "log/web-out.log", "run", "run/example.pid"];
    assert_eq!(tree(&prefix), files);
    assert_eq!(sandbox.read("srv/log/web-out.log"), "out\n");
    assert_eq!(sandbox.read("srv/log/web-err.log"), "err\n");
    let pid = sandbox.read("srv/run/example.pid").trim_end().parse().unwrap();
    let work_dir = fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
    assert_eq!(work_dir, prefix, "it was missing, and made");
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    assert!(!is_alive(pid));
}

#[test]
fn what_is_made_belongs_to_the_daemon() {
    if skip_unless_root("what_is_made_belongs_to_the_daemon") {
        return;
    }
    let sandbox = Sandbox::new();
    let prefix = sandbox.path("srv");
    let fixture = laid_out(&sandbox, &prefix).set("work_dir", &prefix);
    let fixture = fixture.set("user", "12345").set("group", "12345").for_everybody();
    fixture.start().expect(0, "Starting example ... OK\n", "");
    for path in ["", "run", "log", "log/out.log"] {
        assert_eq!(fs::metadata(prefix.join(path)).unwrap().uid(), 12345, "{path}");
    }
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
}

#[test]
fn another_working_directory_is_not_made() {
    let sandbox = Sandbox::new();
    let fixture = laid_out(&sandbox, sandbox.path("srv")).set("work_dir", sandbox.path("no"));
    let output = fixture.start();
    let path = sandbox.path("no");
    let text = format!("ERROR: working directory {path:?}: No such file or directory");
    output.expect_error(1, "Starting example ... FAILED\n", &[&text]);
    assert!(sandbox.names().is_empty());
}

#[test]
fn what_is_named_goes_there() {
    let sandbox = Sandbox::new();
    let prefix = sandbox.path("srv");
    let fixture = laid_out(&sandbox, &prefix).set("stdout", sandbox.path("named"));
    fixture.start().expect(0, "Starting example ... OK\n", "");
    assert_eq!(sandbox.read("named"), "out\n");
    assert_eq!(tree(&prefix), ["log", "log/err.log", "run", "run/example.pid"]);
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
}

#[test]
fn a_user_has_them_where_xdg_says() {
    let sandbox = Sandbox::new();
    let run = sandbox.make_dir("run", 0o700);
    let home = sandbox.make_dir("home", 0o755);
    let fixture = laid_out(&sandbox, "user");
    let start = fixture.run(&["start"]).env("XDG_RUNTIME_DIR", &run).env("HOME", &home);
    // Relative ones are to be ignored.
    let output = start.env("XDG_STATE_HOME", "state").finish();
    output.expect(0, "Starting example ... OK\n", "");
    assert_eq!(tree(&run), ["example", "example/example.pid"]);
    let logs = ["example", "example/err.log", "example/out.log"];
    assert_eq!(tree(&home.join(".local/state")), logs);
    let stop = fixture.run(&["stop"]).env("XDG_RUNTIME_DIR", &run).env("HOME", &home);
    stop.finish().expect(0, "Stopping example ... OK\n", "");
}

#[test]
fn a_user_without_such_a_directory_is_told_so() {
    if skip_unless_root("a_user_without_such_a_directory_is_told_so") {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = laid_out(&sandbox, "user").for_everybody();
    let run = fixture.run(&["start"]).env("XDG_RUNTIME_DIR", "").as_user(12345, 12345);
    let text = "ERROR: there is no directory for the PID file: XDG_RUNTIME_DIR is not set, and \
                \"/run/user/12345\" does not exist";
    run.finish().expect_error(1, "Starting example ... FAILED\n", &[text]);
}

#[test]
fn a_name_that_no_file_can_have() {
    let sandbox = Sandbox::new();
    let fixture = laid_out(&sandbox, sandbox.path("srv")).set("name", "a/b");
    let text = "ERROR: name \"a/b\" cannot be that of a file";
    fixture.start().expect_error(1, "Starting a/b ... FAILED\n", &[text]);
}
