//! A daemon that lives outside of the PID namespace of who looks for it: the kernel names nobody, and neither
//! does any action.

use daemonocle_tests::{
    Fixture, NOT_START, Output, Sandbox, is_alive, is_root, skip, skip_unless_root,
    skip_unless_there_is,
};

/// Runs an action as PID 1 of a new PID namespace with a /proc of its own, in one of users too where that is
/// the only way to one.
fn inside(fixture: &Fixture<'_>, arguments: &[&str], name: &str) -> Option<Output> {
    if skip_unless_there_is("unshare", name) {
        return None;
    }
    let mut unshare = vec!["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
    if !is_root() {
        unshare.extend(["--user", "--map-root-user"]);
    }
    let output = fixture.run(arguments).under(&unshare).finish();
    if output.stderr.contains("unshare: ") {
        skip(name, &format!("no PID namespaces: {}", output.stderr.trim()));
        return None;
    }
    Some(output)
}

/// One that goes into the background also for PID 1.
fn daemon(sandbox: &Sandbox) -> Fixture<'_> {
    sandbox.fixture("ready").set("on_hup", "yes").set("detach", "always")
}

#[test]
fn a_daemon_outside_cannot_be_named() {
    let name = "a_daemon_outside_cannot_be_named";
    let sandbox = Sandbox::new();
    let fixture = daemon(&sandbox);
    let pid = fixture.started();
    let why = format!(
        "ERROR: PID file {:?} is locked by a process outside this PID namespace, so nobody can be named as \
         it (see lslocks)\n",
        fixture.pid_file()
    );
    for arguments in NOT_START.iter().chain([&["start"][..]].iter()) {
        let Some(output) = inside(&fixture, arguments, name) else {
            return;
        };
        let stdout = if arguments == &["start"] { "Starting example ... FAILED\n" } else { "" };
        output.expect(1, stdout, &why);
        assert_eq!(fixture.pid(), Some(pid));
        assert_eq!(sandbox.survivors(), [pid]);
    }
    let status = fixture.status();
    assert!(status.stdout.starts_with(&format!("example -- pid: {pid}, ")), "{status:?}");
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
}

/// Its number, which the file has, is that of somebody else inside.
#[test]
fn who_has_its_number_inside_is_nobody() {
    let name = "who_has_its_number_inside_is_nobody";
    let sandbox = Sandbox::new();
    let fixture = daemon(&sandbox);
    let pid = fixture.started();
    sandbox.write("example.pid", "1\n");
    for arguments in NOT_START {
        let Some(output) = inside(&fixture, arguments, name) else {
            return;
        };
        output.expect_error(1, "", &["by a process outside this PID namespace"]);
    }
    assert!(is_alive(pid));
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
}

/// Runs a script inside, where /proc goes on showing the processes outside.
fn with_the_proc_of_outside(script: &str, name: &str) -> Option<Output> {
    if skip_unless_root(name) || skip_unless_there_is("unshare", name) {
        return None;
    }
    let sandbox = Sandbox::new();
    let fixture = daemon(&sandbox).set("before", "init");
    let program = fixture.program().to_str().unwrap();
    let unshare = ["unshare", "--pid", "--fork", "--kill-child", program];
    let output = fixture.run(&[]).through(script).under(&unshare).finish();
    if output.stderr.contains("unshare: ") {
        skip(name, "no PID namespaces");
        return None;
    }
    Some(output)
}

#[test]
fn where_proc_belongs_to_another_one_nobody_is_shown() {
    let name = "where_proc_belongs_to_another_one_nobody_is_shown";
    let script = "\"$@\" start; \"$@\" status; echo status $?; \"$@\" stop";
    let Some(output) = with_the_proc_of_outside(script, name) else {
        return;
    };
    let stdout = "Starting example ... OK\nstatus 1\nStopping example ... OK\n";
    assert_eq!(output.stdout, stdout, "{output:?}");
    assert!(output.stderr.contains("/proc is that of another PID namespace"), "{output:?}");
}

/// The list of locks is in /proc as well.
#[test]
fn nor_is_a_daemon_whose_file_was_deleted_called_dead_there() {
    let name = "nor_is_a_daemon_whose_file_was_deleted_called_dead_there";
    let script = "\"$@\" start; rm \"$FIXTURE_PID_FILE\"; \"$@\" status; echo status $?
        \"$@\" start && echo second; \"$@\" stop";
    let Some(output) = with_the_proc_of_outside(script, name) else {
        return;
    };
    assert!(!output.stdout.contains("not running"), "{output:?}");
    assert!(!output.stdout.contains("second"), "{output:?}");
}

/// Where nobody can tell who has the signs of a daemon, the answer is an error, and there is no second one.
#[test]
fn a_daemon_outside_whose_file_was_deleted_is_not_called_dead() {
    let name = "a_daemon_outside_whose_file_was_deleted_is_not_called_dead";
    let sandbox = Sandbox::new();
    let fixture = daemon(&sandbox);
    let pid = fixture.started();
    std::fs::remove_file(fixture.pid_file()).unwrap();
    for arguments in NOT_START.iter().chain([&["start"][..]].iter()) {
        let Some(output) = inside(&fixture, arguments, name) else {
            return;
        };
        assert_eq!(sandbox.survivors(), [pid], "{arguments:?}: {output:?}");
        assert_eq!(output.code(), Some(1), "{arguments:?}: {output:?}");
        let told = [&*output.stdout, &output.stderr].concat();
        assert!(!told.contains("not running"), "{arguments:?}: {output:?}");
        assert!(!told.contains("OK"), "{arguments:?}: {output:?}");
    }
}
