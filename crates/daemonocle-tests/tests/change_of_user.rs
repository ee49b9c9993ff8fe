//! Whom a daemon becomes, and with which groups.

use std::fs;
use std::os::unix::fs::MetadataExt;

use daemonocle_tests::{
    Pid, Sandbox, is_alive, skip, skip_unless_root, skip_unless_there_is, status_field,
};

const OK: &str = "Starting example ... OK\n";

/// The process is one user and no other one, with one group, and has nothing of root's: which they are.
#[track_caller]
fn expect_no_privileges(pid: Pid) -> (u32, u32) {
    let ids = |field| -> Vec<u32> {
        status_field(pid, field).split_whitespace().map(|id| id.parse().unwrap()).collect()
    };
    let (uid, gid) = (ids("Uid")[0], ids("Gid")[0]);
    assert_ne!(uid, 0);
    assert_eq!(ids("Uid"), [uid; 4], "real, effective, saved and file system");
    assert_eq!(ids("Gid"), [gid; 4]);
    assert_eq!(ids("Groups"), [gid], "none of root's");
    for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
        assert_eq!(u64::from_str_radix(&status_field(pid, set), 16), Ok(0), "{set}");
    }
    (uid, gid)
}

#[test]
fn change_of_user() {
    if skip_unless_root("change_of_user") {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("print").unset("hook_log").set("user", "nobody");
    let fixture =
        fixture.set("stdout", sandbox.path("log/out")).set("pid_file", sandbox.path("run/pid"));
    let pid = fixture.started();
    let (uid, gid) = expect_no_privileges(pid);
    for name in ["log", "log/out", "run"] {
        let meta = sandbox.path(name).metadata().unwrap();
        assert_eq!((meta.uid(), meta.gid()), (uid, gid), "{name}");
    }
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    assert!(!sandbox.path("run/pid").exists());
}

#[test]
fn change_of_user_and_group_by_number() {
    if skip_unless_root("change_of_user_and_group_by_number") {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready").unset("hook_log");
    let pid = fixture.clone().set("user", "12345").set("group", "54321").started();
    assert_eq!(status_field(pid, "Uid"), "12345\t12345\t12345\t12345");
    assert_eq!(status_field(pid, "Gid"), "54321\t54321\t54321\t54321");
    assert_eq!(status_field(pid, "Groups"), "54321");
    fixture.stop();
    let text = "ERROR: user 12345 is not in the user database, so a group must be given too\n";
    fixture.set("user", "12345").start().expect(1, "Starting example ... FAILED\n", text);
}

#[test]
fn supplementary_groups_come_from_the_database() {
    let name = "supplementary_groups_come_from_the_database";
    if skip_unless_root(name) || skip_unless_there_is("unshare", name) {
        return;
    }
    let sandbox = Sandbox::new();
    // Another database, for this one process tree.
    let passwd = fs::read_to_string("/etc/passwd").unwrap() + "testuser:x:12345:12345::/:/bin/sh\n";
    let group = fs::read_to_string("/etc/group").unwrap()
        + "testuser:x:12345:\nfirst:x:12346:testuser\nsecond:x:12347:testuser,root\nthird:x:12348:\n";
    let (passwd, group) = (sandbox.write("passwd", passwd), sandbox.write("group", group));
    let script = format!(
        "mount --bind {} /etc/passwd && mount --bind {} /etc/group && exec \"$@\"",
        passwd.display(),
        group.display()
    );
    let fixture = sandbox.fixture("ready").unset("hook_log").set("user", "testuser");
    let run = fixture.run(&["start"]).through(&script).under(&["unshare", "--mount"]);
    let output = run.finish();
    if output.stderr.contains("unshare: ") || output.stderr.contains("mount: ") {
        return skip(name, "no mount namespaces");
    }
    output.expect(0, OK, "");
    let pid = fixture.pid().unwrap();
    let groups = status_field(pid, "Groups");
    let mut groups: Vec<_> = groups.split_whitespace().collect();
    groups.sort_unstable();
    assert_eq!(groups, ["12345", "12346", "12347"]);
}

#[test]
fn change_of_user_without_the_right_to() {
    let sandbox = Sandbox::new();
    let mut fixture = sandbox.fixture("ready").unset("pid_file").set("user", "root");
    let mut run = fixture.run(&["start"]);
    if daemonocle_tests::is_root() {
        fixture = fixture.for_everybody();
        run = fixture.run(&["start"]).as_user(12345, 12345);
    }
    let parts = [
        "ERROR: cannot become user root (0) with group root (0)",
        "(only root may do that): Operation not permitted",
    ];
    run.finish().expect_error(1, "Starting example ... FAILED\n", &parts);
    sandbox.expect_nobody();
}

/// What has come of a reload is whom the daemon had become, and does not become anybody else any more, who may
/// have more rights.
#[test]
fn a_reload_gains_nothing() {
    if skip_unless_root("a_reload_gains_nothing") {
        return;
    }
    let sandbox = Sandbox::new();
    let changes = sandbox.write("changes", "");
    let fixture = sandbox.fixture("polite").for_everybody().unset("hook_log").set("on_hup", "yes");
    let fixture = fixture.set("user", "nobody").set("changes", &changes);
    let old = fixture.started();
    let who = expect_no_privileges(old);
    let reload = || fixture.reload();
    reload().expect(0, "Reloading example ... OK\n", "");
    let new = fixture.pid().unwrap();
    assert_ne!(new, old);
    assert_eq!(expect_no_privileges(new), who);
    for change in ["USER=root\n", "USER=daemon\n", "GROUP=root\n", "GROUP=daemon\n"] {
        sandbox.write("changes", change);
        let why = ["cannot become user ", "after a reload"];
        reload().expect_error(1, "Reloading example ... FAILED\n", &why);
        assert_eq!(fixture.pid(), Some(new), "{change}");
        assert!(is_alive(new), "{change}");
        assert_eq!(expect_no_privileges(new), who);
    }
    sandbox.write("changes", "");
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    sandbox.expect_nobody();
}
