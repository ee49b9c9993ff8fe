//! Descriptors, processes and disk space run out: a failure in words, and nothing left behind.

use std::os::unix::fs::chown;

use daemonocle_tests::{
    Output, Sandbox, is_alive, is_root, skip, skip_unless_root, skip_unless_there_is,
};

const OK: &str = "Starting example ... OK\n";
const FAILED: &str = "Starting example ... FAILED\n";

/// Either it runs, or it has failed in words and left nothing; whether it runs.
#[track_caller]
fn all_or_nothing(sandbox: &Sandbox, output: &Output, what: &str) -> bool {
    let pid = sandbox.fixture("ready").pid();
    if output.code() == Some(0) {
        assert_eq!(output.stdout, OK, "{what}: {output:?}");
        assert!(is_alive(pid.unwrap()), "{what}");
        return true;
    }
    assert_eq!(output.signal(), None, "{what}: {output:?}");
    assert!(output.stderr.contains("ERROR: "), "{what}: {output:?}");
    assert!(!output.stderr.contains("panicked"), "{what}: {output:?}");
    sandbox.expect_nobody();
    assert_eq!(pid, None, "{what}");
    false
}

#[test]
fn descriptors() {
    let mut runs = 0;
    for limit in 4..24 {
        let sandbox = Sandbox::new();
        let fixture = sandbox.fixture("ready");
        let output =
            fixture.run(&["start"]).through(&format!("ulimit -n {limit}; exec \"$@\"")).finish();
        // The dynamic linker needs one itself.
        if output.stderr.contains("error while loading shared libraries") {
            continue;
        }
        if all_or_nothing(&sandbox, &output, &format!("ulimit -n {limit}")) {
            runs += 1;
        } else {
            assert!(output.stderr.contains("Too many open files"), "{limit}: {output:?}");
            assert_eq!(runs, 0, "more descriptors do not make it worse");
        }
        for action in ["status", "stop"] {
            let run = fixture.run(&[action]).through(&format!("ulimit -n {limit}; exec \"$@\""));
            let output = run.finish();
            assert!(matches!(output.code(), Some(0 | 1)), "{action} {limit}: {output:?}");
        }
    }
    assert!(runs > 0, "a few are enough");
}

#[test]
fn processes() {
    let name = "processes";
    if skip_unless_root(name) || skip_unless_there_is("prlimit", name) {
        return;
    }
    // A user that nobody else uses, because the limit counts all processes of a user.
    let uid = 3_000_000 + std::process::id();
    let mut outcomes = Vec::new();
    for limit in 1..=5 {
        let sandbox = Sandbox::new();
        chown(sandbox.dir(), Some(uid), Some(uid)).unwrap();
        let fixture = sandbox.fixture("ready").for_everybody();
        let limit = format!("--nproc={limit}");
        let run = fixture.run(&["start"]).under(&["prlimit", &limit]).as_user(uid, uid);
        let output = run.finish();
        outcomes.push(all_or_nothing(&sandbox, &output, &limit));
    }
    assert_eq!((outcomes[0], outcomes[4]), (false, true), "{outcomes:?}");
    assert!(outcomes.is_sorted(), "more processes do not make it worse: {outcomes:?}");
}

#[test]
fn nobody_hears_the_words() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let run = fixture.run(&["start"]).through("exec \"$@\" > /dev/full 2> /dev/full");
    assert_eq!(run.finish().code(), Some(0));
    assert!(is_alive(fixture.pid().unwrap()));
}

#[test]
fn output_files_on_a_full_disk() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("print").set("stdout", "/dev/full").set("stderr", "/dev/full");
    assert!(is_alive(fixture.started()));
}

/// Runs `start` with something else mounted on the directory `disk` of the sandbox.
fn mounted(name: &str, options: &str, then: &str) -> Option<(Sandbox, Output)> {
    if skip_unless_root(name) || skip_unless_there_is("unshare", name) {
        return None;
    }
    let sandbox = Sandbox::new();
    let disk = sandbox.make_dir("disk", 0o755);
    let shown = disk.display();
    let script =
        format!("mount -t tmpfs {options} none {shown} && cd {shown} && {then} exec \"$@\"");
    let fixture = sandbox.fixture("ready").set("pid_file", disk.join("example.pid"));
    let run = fixture.run(&["start"]).through(&script).under(&["unshare", "--mount"]);
    let output = run.finish();
    if output.stderr.contains("unshare: ") || output.stderr.contains("mount: ") {
        skip(name, "no mount namespaces");
        return None;
    }
    Some((sandbox, output))
}

#[test]
fn a_full_disk() {
    let fill = "cat /dev/zero > fill 2>/dev/null;";
    let Some((sandbox, output)) = mounted("a_full_disk", "-o size=4k", fill) else {
        return;
    };
    let path = sandbox.path("disk/example.pid");
    let text = format!("ERROR: cannot write PID file {path:?}: No space left on device\n");
    output.expect(1, FAILED, &text);
    sandbox.expect_nobody();
}

#[test]
fn a_disk_without_inodes() {
    let Some((sandbox, output)) = mounted("a_disk_without_inodes", "-o nr_inodes=1", "") else {
        return;
    };
    let path = sandbox.path("disk/example.pid");
    let text = format!("ERROR: cannot create PID file {path:?}: No space left on device\n");
    output.expect(1, FAILED, &text);
    sandbox.expect_nobody();
}

#[test]
fn a_read_only_disk() {
    let Some((sandbox, output)) = mounted("a_read_only_disk", "-o ro", "") else {
        return;
    };
    let path = sandbox.path("disk/example.pid");
    let text = format!("ERROR: cannot create PID file {path:?}: Read-only file system\n");
    output.expect(1, FAILED, &text);
    sandbox.expect_nobody();
}

#[test]
fn a_directory_without_the_right_to_write() {
    let sandbox = Sandbox::new();
    let dir = sandbox.make_dir("dir", 0o555);
    let path = dir.join("example.pid");
    let mut fixture = sandbox.fixture("ready").set("pid_file", &path);
    let mut run = fixture.run(&["start"]);
    if is_root() {
        chown(&dir, Some(12345), Some(12345)).unwrap();
        fixture = fixture.for_everybody();
        run = fixture.run(&["start"]).as_user(12345, 12345);
    }
    let text = format!("ERROR: cannot create PID file {path:?}: Permission denied\n");
    run.finish().expect(1, FAILED, &text);
    sandbox.expect_nobody();
}

#[test]
fn an_output_file_without_the_right_to_write() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("out", "");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o444);
    std::fs::set_permissions(&file, mode).unwrap();
    let mut fixture = sandbox.fixture("ready").unset("pid_file").set("stdout", &file);
    let mut run = fixture.run(&["start"]);
    if is_root() {
        fixture = fixture.for_everybody();
        run = fixture.run(&["start"]).as_user(12345, 12345);
    }
    let text = format!("ERROR: cannot open output file {file:?}: Permission denied\n");
    run.finish().expect(1, FAILED, &text);
    sandbox.expect_nobody();
}

#[test]
fn the_size_of_files() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let path = sandbox.path("example.pid");
    // Rust's own standard library does not catch this signal, and neither do most programs.
    let output = fixture.run(&["start"]).through("ulimit -f 0; exec \"$@\"").finish();
    let text = format!("ERROR: cannot write PID file {path:?}: File too large\n");
    output.expect(1, "Starting example ... FAILED\n", &text);
    assert!(!path.exists());
    sandbox.expect_nobody();
}

/// What cannot be looked at for want of descriptors is not "not running".
#[test]
fn a_daemon_without_its_pid_file_and_few_descriptors() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let pid = fixture.started();
    std::fs::remove_file(fixture.pid_file()).unwrap();
    let mut found = 0;
    for limit in 4..12 {
        for action in ["status", "stop", "start"] {
            let run = fixture.run(&[action]);
            let output = run.through(&format!("ulimit -n {limit}; exec \"$@\"")).finish();
            assert!(!output.stdout.contains("not running"), "{limit}: {output:?}");
            assert!(!output.stderr.contains("not running"), "{limit}: {output:?}");
            if action == "stop" && output.code() == Some(0) {
                assert!(!daemonocle_tests::is_alive(pid), "{limit}: {output:?}");
                found += 1;
            }
            if found > 0 {
                return;
            }
        }
    }
    panic!("no limit was enough");
}

/// Whatever does not fit: either there is a daemon, or there are words.
#[test]
fn memory() {
    // In KiB. The program itself takes some 4,000 and each of its threads a stack of 2,048.
    let enough = (2_000..24_000).step_by(500).filter(|&limit| fits_into(limit)).min();
    let enough = enough.expect("24 MB are enough");
    // Just there is one that comes up, and then lacks a page.
    for limit in (enough - 500..enough).step_by(4) {
        fits_into(limit);
    }
}

/// Whether there is a daemon with so much memory, in KiB.
fn fits_into(limit: u32) -> bool {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let script = format!("ulimit -v {limit}; exec \"$@\"");
    let output = fixture.run(&["start"]).through(&script).finish();
    // So little that the program is not even begun.
    let is_begun = output.stdout.contains("Starting") || output.stderr.contains("ERROR: ");
    if !is_begun {
        assert_ne!(output.code(), Some(0), "{limit}: {output:?}");
        sandbox.expect_nobody();
        return false;
    }
    let is_running = all_or_nothing(&sandbox, &output, &format!("ulimit -v {limit}"));
    if is_running {
        // It has been told that its start is accepted, and has acted upon that.
        fixture.stop().expect(0, "Stopping example ... OK\n", "");
    }
    is_running
}
