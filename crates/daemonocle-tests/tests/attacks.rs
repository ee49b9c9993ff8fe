//! What an account on the machine can try against the daemons of others.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use daemonocle_tests::{
    Fixture, Lock, Pid, Running, STARTUP, Sandbox, copy_program, eventually, is_alive, program,
    skip, skip_unless_root, skip_unless_there_is, status_field,
};

const FAILED: &str = "Starting example ... FAILED\n";
const ENEMY: u32 = 12345;
const VICTIM: u32 = 12346;

/// A copy of sleep(1) that is root's whoever runs it.
fn set_user_id(sandbox: &Sandbox) -> String {
    let path = sandbox.path("sleep");
    copy_program("/usr/bin/sleep", &path);
    fs::set_permissions(&path, Permissions::from_mode(0o4755)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A set-user-ID program of the enemy's that has inherited the locks of a daemon on `file`.
fn pose(fixture: &Fixture<'_>, name: &str, file: &Path) -> Option<(Running, Pid)> {
    let sandbox = fixture.sandbox();
    let pose = program("pose");
    let copy = sandbox.path("pose");
    copy_program(&pose, &copy);
    let sleep = set_user_id(sandbox);
    let path = fixture.pid_file();
    let words = [&copy, file, path.as_path(), Path::new(&sleep)].map(|path| path.to_str().unwrap());
    let running = fixture.watch(&[&words[..], &["600"]].concat()).as_user(ENEMY, ENEMY).spawn();
    let pid = running.pid();
    let comm = format!("/proc/{pid}/comm");
    eventually("it is the other program", || fs::read(&comm).is_ok_and(|name| name == b"sleep\n"));
    if status_field(pid, "Uid").split_whitespace().nth(1) != Some("0") {
        skip(name, "set-user-ID programs do not work here");
        return None;
    }
    Some((running, pid))
}

#[test]
fn a_set_user_id_program_that_has_inherited_the_locks_is_not_the_daemon() {
    let name = "a_set_user_id_program_that_has_inherited_the_locks_is_not_the_daemon";
    if skip_unless_root(name) {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let Some((_running, pid)) = pose(&fixture, name, Path::new("/dev/zero")) else {
        return;
    };
    fixture.status().expect(1, "example -- not running\n", "");
    let force = fixture.run(&["stop", "--force", "--timeout", "0"]).finish();
    force.expect(0, "", "WARNING: example is not running\n");
    fixture.started();
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    assert!(is_alive(pid));
}

#[test]
fn nor_is_it_to_a_user_who_may_not_examine_it() {
    let name = "nor_is_it_to_a_user_who_may_not_examine_it";
    if skip_unless_root(name) {
        return;
    }
    let sandbox = Sandbox::new();
    let run = sandbox.make_dir("run", 0o755);
    chown(&run, Some(VICTIM), Some(VICTIM)).unwrap();
    let enemys = sandbox.write("enemys", "");
    chown(&enemys, Some(ENEMY), Some(ENEMY)).unwrap();
    let fixture = sandbox.fixture("ready").unset("hook_log").for_everybody();
    let fixture = fixture.set("pid_file", run.join("example.pid"));
    let Some((_running, pid)) = pose(&fixture, name, &enemys) else {
        return;
    };
    let act = |action| fixture.run(&[action]).as_user(VICTIM, VICTIM).finish();
    act("status").expect(1, "example -- not running\n", "");
    act("start").expect(0, "Starting example ... OK\n", "");
    act("stop").expect(0, "Stopping example ... OK\n", "");
    assert!(is_alive(pid));
}

/// The user that the daemon becomes has the PID file, but not the processes of others.
#[test]
fn nor_is_one_that_the_daemons_own_user_has_run() {
    let name = "nor_is_one_that_the_daemons_own_user_has_run";
    if skip_unless_root(name) {
        return;
    }
    let sandbox = Sandbox::new();
    let user = ENEMY.to_string();
    let run = sandbox.make_dir("run", 0o755);
    chown(&run, Some(ENEMY), Some(ENEMY)).unwrap();
    let file = run.join("example.pid");
    let fixture = sandbox.fixture("ready").unset("hook_log").for_everybody();
    let fixture = fixture.set("user", &user).set("group", &user).set("pid_file", &file);
    fixture.started();
    assert_eq!(fixture.status().code(), Some(0));
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
    fs::write(&file, "").unwrap();
    chown(&file, Some(ENEMY), Some(ENEMY)).unwrap();
    let Some((_running, pid)) = pose(&fixture, name, &file) else {
        return;
    };
    let why = "is locked by a set-user-ID program that another user has run";
    for arguments in [&["status"][..], &["stop", "--force", "--timeout", "0"]] {
        fixture.run(arguments).finish().expect_error(1, "", &[why]);
    }
    fixture.start().expect_error(1, FAILED, &[why]);
    // By the kernel's list of all locks it is nobody either.
    fs::remove_file(&file).unwrap();
    fixture.status().expect(1, "example -- not running\n", "");
    assert!(is_alive(pid));
}

/// A start that has opened the PID file and waits for another one, which is this test.
fn waiting(fixture: &Fixture<'_>) -> (Running, File) {
    let path = fixture.pid_file();
    fs::write(&path, "").unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    Lock::Write.take(&file, STARTUP..STARTUP + 1);
    let start = fixture.run(&["start"]).spawn();
    let children = format!("/proc/{pid}/task/{pid}/children", pid = start.pid());
    eventually("it waits", || fs::read(&children).is_ok_and(|list| !list.is_empty()));
    (start, file)
}

#[test]
fn a_second_name_that_the_file_gets_meanwhile() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let (start, file) = waiting(&fixture);
    fs::write(sandbox.path("example.pid"), "precious\n").unwrap();
    fs::hard_link(sandbox.path("example.pid"), sandbox.path("precious")).unwrap();
    drop(file);
    start.finish().expect_error(1, FAILED, &["it is a hard link"]);
    assert_eq!(sandbox.read("precious"), "precious\n");
}

#[test]
fn a_root_directory_that_is_exchanged_meanwhile() {
    if skip_unless_root("a_root_directory_that_is_exchanged_meanwhile") {
        return;
    }
    for link in [true, false] {
        let sandbox = Sandbox::new();
        let jail = sandbox.make_dir("jail", 0o755);
        sandbox.make_dir("jail/run", 0o755);
        let outside = sandbox.make_dir("outside", 0o755);
        let fixture = sandbox.fixture("ready").set("chroot", &jail).set("stdout", "/log/out");
        let (start, file) = {
            // From here, the PID file has another path than in the definition.
            let seen = fixture.clone().set("pid_file", jail.join("run/example.pid"));
            fs::write(seen.pid_file(), "").unwrap();
            // One that others can read is replaced, and looked for once more.
            fs::set_permissions(seen.pid_file(), PermissionsExt::from_mode(0o600)).unwrap();
            let file = File::options().read(true).write(true).open(seen.pid_file()).unwrap();
            Lock::Write.take(&file, STARTUP..STARTUP + 1);
            let start = fixture.set("pid_file", "/run/example.pid").run(&["start"]).spawn();
            (start, file)
        };
        let children = format!("/proc/{pid}/task/{pid}/children", pid = start.pid());
        eventually("it waits", || fs::read(&children).is_ok_and(|list| !list.is_empty()));
        fs::rename(&jail, sandbox.path("old")).unwrap();
        match link {
            true => symlink(&outside, &jail).unwrap(),
            false => fs::rename(&outside, &jail).unwrap(),
        }
        drop(file);
        let output = start.finish();
        let text = format!("ERROR: cannot change root directory to {jail:?}: ");
        output.expect_error(1, FAILED, &[&text]);
        let other = if link { outside } else { jail };
        assert_eq!(fs::read_dir(other).unwrap().count(), 0, "nothing is made there");
    }
}

#[test]
fn a_daemon_with_a_capability_that_its_user_has_not() {
    let name = "a_daemon_with_a_capability_that_its_user_has_not";
    if skip_unless_root(name) || skip_unless_there_is("setpriv", name) {
        return;
    }
    let sandbox = Sandbox::new();
    let run = sandbox.make_dir("run", 0o755);
    chown(&run, Some(VICTIM), Some(VICTIM)).unwrap();
    let fixture = sandbox.fixture("ready").unset("hook_log").for_everybody();
    let fixture = fixture.set("pid_file", run.join("example.pid"));
    let capable = "setpriv --reuid 12346 --regid 12346 --clear-groups \
                   --inh-caps +net_bind_service --ambient-caps +net_bind_service";
    let capable: Vec<_> = capable.split_whitespace().collect();
    let start = fixture.run(&["start"]).under(&capable).finish();
    if start.stderr.contains("setpriv: ") {
        return skip(name, "no ambient capabilities");
    }
    start.expect(0, "Starting example ... OK\n", "");
    let pid = fixture.pid().unwrap();
    let act = |action| fixture.run(&[action]).as_user(VICTIM, VICTIM).finish();
    let told = format!("WARNING: example already running with PID {pid}\n");
    act("start").expect(0, "", &told);
    let fields = ["status", "--json", "--fields", "open_files,net_connections"];
    let status = fixture.run(&fields).as_user(VICTIM, VICTIM).finish();
    status.expect(0, "{\"net_connections\": null, \"open_files\": null}\n", "");
    // Without its file there are only locks, which may be those of somebody who is gone, under his number.
    let file = fs::read(fixture.pid_file()).unwrap();
    fs::rename(fixture.pid_file(), run.join("moved")).unwrap();
    let why = format!("PID {pid} may be the daemon that has lost it, and nothing proves it");
    act("start").expect_error(1, FAILED, &[&why]);
    act("stop").expect_error(1, "", &[&why]);
    assert!(is_alive(pid));
    assert_eq!(fs::read(run.join("moved")).unwrap(), file);
    fs::rename(run.join("moved"), fixture.pid_file()).unwrap();
    act("stop").expect(0, "Stopping example ... OK\n", "");
    assert!(!is_alive(pid));
}

#[test]
fn a_set_user_id_program_finds_its_daemon() {
    let name = "a_set_user_id_program_finds_its_daemon";
    if skip_unless_root(name) {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready").set("detach", "always").for_everybody();
    fs::set_permissions(fixture.program(), Permissions::from_mode(0o4755)).unwrap();
    let act = |action| fixture.run(&[action]).as_user(VICTIM, VICTIM).finish();
    act("start").expect(0, "Starting example ... OK\n", "");
    let pid = fixture.pid().unwrap();
    if status_field(pid, "Uid").split_whitespace().nth(1) != Some("0") {
        return skip(name, "set-user-ID programs do not work here");
    }
    fs::remove_file(fixture.pid_file()).unwrap();
    let output = act("start");
    assert!(output.stderr.contains(&format!("already running with PID {pid}")), "{output:?}");
    act("stop").expect(0, "Stopping example ... OK\n", "");
    assert!(!is_alive(pid));
}

#[test]
fn a_zombie_that_has_left_its_locks_to_others() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let leave = program("leave_locks");
    let words = [leave.to_str().unwrap(), fixture.pid_file().to_str().unwrap(), "claim", "life"]
        .map(str::to_owned);
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    // The shell becomes a program that does not bury its children.
    let mut parent = fixture.watch(&words).through("\"$@\" & exec sleep 600").spawn();
    eventually("it is a zombie", || {
        let pid = parent.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let child = children.unwrap_or_default().trim().parse().unwrap_or(0);
        daemonocle_tests::stat(child).is_some_and(|stat| stat.state == 'Z')
    });
    for arguments in [&["status"][..], &["stop"], &["start"]] {
        let output = fixture.run(arguments).finish();
        output.expect_error(1, if arguments == ["start"] { FAILED } else { "" }, &["is locked by"]);
    }
    assert!(parent.is_running());
}

#[test]
fn a_file_that_a_group_of_others_may_write() {
    if skip_unless_root("a_file_that_a_group_of_others_may_write") {
        return;
    }
    let sandbox = Sandbox::new();
    let path = sandbox.write("example.pid", "");
    chown(&path, None, Some(ENEMY)).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o664)).unwrap();
    let fixture = sandbox.fixture("ready");
    let why = format!("will not use PID file {path:?}: group {ENEMY} may write to it");
    fixture.status().expect_error(1, "", &[&why]);
    fixture.start().expect_error(1, FAILED, &[&why]);
}

#[test]
fn a_link_of_somebody_whom_a_user_namespace_does_not_show() {
    let name = "a_link_of_somebody_whom_a_user_namespace_does_not_show";
    if skip_unless_root(name) || skip_unless_there_is("unshare", name) {
        return;
    }
    let sandbox = Sandbox::new();
    let shared = sandbox.make_dir("shared", 0o1777);
    let precious = sandbox.write("precious", "precious\n");
    chown(&precious, Some(VICTIM), Some(VICTIM)).unwrap();
    let link = shared.join("out.log");
    symlink(&precious, &link).unwrap();
    std::os::unix::fs::lchown(&link, Some(ENEMY), Some(ENEMY)).unwrap();
    let fixture = sandbox.fixture("print").unset("hook_log").unset("pid_file").for_everybody();
    let run = fixture.set("stdout", &link).run(&["start"]).under(&["unshare", "-Ur"]);
    let output = run.as_user(VICTIM, VICTIM).finish();
    if output.stderr.contains("unshare: ") {
        return skip(name, "no user namespaces");
    }
    output.expect_error(1, FAILED, &["it is a symbolic link of user"]);
    assert_eq!(sandbox.read("precious"), "precious\n");
}

#[test]
fn an_answer_that_cannot_be_sent_is_no_start() {
    let name = "an_answer_that_cannot_be_sent_is_no_start";
    if skip_unless_there_is("strace", name) {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let inject = ["strace", "-o", "/dev/null", "--inject=sendto:error=ENOBUFS:when=1"];
    let output = fixture.run(&["start"]).under(&inject).finish();
    if output.stderr.contains("strace: ") {
        return skip(name, "strace cannot trace");
    }
    output.expect(1, FAILED, "ERROR: cannot tell the daemon: No buffer space available\n");
    sandbox.expect_nobody();
    assert!(!fixture.pid_file().exists());
}

#[test]
fn a_start_without_descriptors_leaves_no_file() {
    for limit in 4..12 {
        let sandbox = Sandbox::new();
        let fixture = sandbox.fixture("ready").unset("hook_log");
        let run = fixture.run(&["start"]).through(&format!("ulimit -n {limit}; exec \"$@\""));
        if run.finish().code() != Some(0) {
            assert_eq!(sandbox.names(), Vec::<String>::new(), "{limit}");
        }
    }
}

/// In a root directory of the enemy's the C library would load what his nsswitch.conf names, as root.
#[test]
fn in_a_chroot_directory_the_user_database_is_not_asked() {
    let name = "in_a_chroot_directory_the_user_database_is_not_asked";
    if skip_unless_root(name) || skip_unless_there_is("strace", name) {
        return;
    }
    let sandbox = Sandbox::new();
    let jail = sandbox.make_dir("jail", 0o755);
    let log = sandbox.make_dir("jail/log", 0o755);
    let out = sandbox.write("jail/log/out", "");
    for path in [&jail, &log, &out] {
        chown(path, Some(ENEMY), Some(ENEMY)).unwrap();
    }
    let fixture = sandbox.fixture("ready").unset("pid_file").unset("hook_log");
    let fixture = fixture.set("chroot", &jail).set("stdout", "/log/out");
    let trace = sandbox.path("trace");
    let strace = ["strace", "-f", "-o", trace.to_str().unwrap(), "-e", "trace=file"];
    let output = fixture.run(&["start"]).under(&strace).finish();
    if output.stderr.contains("strace: ") {
        return skip(name, "strace cannot trace");
    }
    let why = format!("it belongs to user {ENEMY}");
    output.expect_error(1, FAILED, &["cannot open output file \"/log/out\"", &why]);
    let trace = sandbox.read("trace");
    let (_, inside) = trace.split_once("chroot(").expect("it has changed its root directory");
    assert!(inside.contains("/log/out") || inside.contains("\"out\""), "{inside}");
    for file in ["nsswitch.conf", "passwd", "nscd", "libnss"] {
        assert!(!inside.contains(file), "{inside}");
    }
}

/// It is nobody's but the daemon's to say who that is: a worker that is somebody else's by now can hand the
/// claim to any service that takes descriptors, and write whom it likes into its PID file.
#[test]
fn who_was_handed_the_claim_is_not_the_daemon() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("child-is-handed-the-claim");
    let fixture =
        fixture.set("child_pid", sandbox.path("child")).set("fifo", sandbox.make_fifo("fifo"));
    let daemon = fixture.started();
    let victim: i32 = sandbox.read("child").trim().parse().unwrap();
    assert_eq!(daemon, victim, "the text names it");
    fs::write(sandbox.path("fifo"), "").unwrap();
    eventually("nobody else is left", || sandbox.survivors() == [victim]);
    let why = ["is locked by a process that is not the daemon"];
    fixture.status().expect_error(1, "", &why);
    fixture.run(&["stop", "--force", "--timeout", "0"]).finish().expect_error(1, "", &why);
    fixture.start().expect_error(1, FAILED, &why);
    assert!(is_alive(victim));
}
