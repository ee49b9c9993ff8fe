//! Another program as the worker: it is the daemon, and knows nothing of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use daemonocle_tests::{
    Calls, Fixture, Pid, Sandbox, Stranger, copy_program, descriptors, eventually, exec, is_alive,
    listening, program, skip_unless_root, started_and_kept, stat, status_field,
};
use rustix::process::Signal;

const OK: &str = "Starting example ... OK\n";
const STOPPED: &str = "Stopping example ... OK\n";
const FAILED: &str = "Starting example ... FAILED\n";
const TERMINATED: &str = "143|Terminated by SIGTERM (15)\n";

fn sleeping(sandbox: &Sandbox) -> Fixture<'_> {
    exec(sandbox, &["sleep", "3600"])
}

#[track_caller]
fn expect_running(fixture: &Fixture<'_>, pid: Pid) {
    let status = fixture.status();
    assert!(status.stdout.starts_with(&format!("example -- pid: {pid}, ")), "{status:?}");
    let warning = format!("WARNING: example already running with PID {pid}\n");
    fixture.start().expect(0, "", &warning);
}

#[track_caller]
fn expect_works_again(fixture: &Fixture<'_>) {
    fixture.status().expect(1, "example -- not running\n", "");
    let (program, _) = started_and_kept(fixture);
    expect_running(fixture, program);
    fixture.stop().expect(0, STOPPED, "");
    fixture.sandbox().expect_nobody();
}

#[test]
fn the_daemon_is_that_program() {
    let sandbox = Sandbox::new();
    let fixture = sleeping(&sandbox);
    let (program, keeper) = started_and_kept(&fixture);
    assert_eq!(sandbox.read("example.pid"), format!("{program}\n"));
    assert_eq!(fs::read(format!("/proc/{program}/cmdline")).unwrap(), b"sleep\x003600\0");
    let mut expected = [program, keeper];
    expected.sort_unstable();
    assert_eq!(sandbox.survivors(), expected);
    let it = stat(program).unwrap();
    assert_eq!((it.group, it.terminal), (program, 0), "a group of its own, and no terminal");
    assert_ne!(it.session, program, "it can get no terminal");
    expect_running(&fixture, program);
    let fields = fixture.run(&["status", "--json", "--fields", "pid,cmdline,group_num_procs"]);
    let text = format!(
        "{{\"cmdline\": [\"sleep\", \"3600\"], \"group_num_procs\": 1, \"pid\": {program}}}\n"
    );
    fields.finish().expect(0, &text, "");
    fixture.stop().expect(0, STOPPED, "");
    assert!(!is_alive(program));
    assert_eq!(fixture.hook_log(), TERMINATED);
    assert!(!fixture.pid_file().exists());
    sandbox.expect_nobody();
    expect_works_again(&fixture);
}

#[test]
fn it_has_its_arguments_and_environment() {
    let sandbox = Sandbox::new();
    let out = sandbox.path("out");
    let words = ["sh", "-c", "echo \"$0|$1|$A|$B\"; env | wc -l; exec sleep 3600", "a b", ""];
    let fixture = exec(&sandbox, &words).set("stdout", &out).set("exec_set", "A=x=y");
    let (program, _) = started_and_kept(&fixture);
    assert_eq!(sandbox.read("out").lines().next(), Some("a b||x=y|"));
    sandbox.kill(program);
    sandbox.expect_nobody();

    fs::remove_file(&out).unwrap();
    let (program, _) =
        started_and_kept(&fixture.clone().set("umask", "077").set("exec_unset", "FIXTURE_UMASK"));
    let environment = fs::read(format!("/proc/{program}/environ")).unwrap();
    assert!(!String::from_utf8_lossy(&environment).contains("FIXTURE_UMASK="));
    sandbox.kill(program);
}

/// What it inherits leads to nothing of the library's; what it clears is its own.
#[test]
fn it_has_no_descriptor_and_no_environment_of_ours() {
    let sandbox = Sandbox::new();
    let fixture = exec(&sandbox, &["/bin/sleep", "3600"]).set("exec_clear", "yes");
    // The caller's own, if he has given us any, are his business.
    let fixture = fixture.set("close", "yes");
    let (program, _) = started_and_kept(&fixture);
    assert_eq!(descriptors(program).into_keys().collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(fs::read(format!("/proc/{program}/environ")).unwrap(), b"");
    // 32 and 33 are the C library's own, which lets nobody touch them.
    const RESERVED: u64 = 3 << 31;
    for field in ["SigBlk", "SigIgn", "SigCgt"] {
        let mask = u64::from_str_radix(&status_field(program, field), 16).unwrap();
        assert_eq!(mask & !RESERVED, 0, "{field}");
    }
    expect_running(&fixture, program);
    fixture.stop().expect(0, STOPPED, "");
    assert!(!is_alive(program));
}

#[test]
fn a_program_that_cannot_be_run() {
    let sandbox = Sandbox::new();
    let plain = sandbox.write("plain", "text");
    let script = sandbox.write("script", "#!/no/such/interpreter\n");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let [plain, script, directory] =
        [&plain, &script, sandbox.dir()].map(|path| path.display().to_string());
    for (program, code, why) in [
        ("no-such-program", 127, "not found in PATH"),
        ("/no/such/program", 127, "not found"),
        (&plain, 126, "not executable"),
        (&directory, 126, "not executable"),
        (&script, 126, "the interpreter that it names was not found"),
    ] {
        let fixture = exec(&sandbox, &[program]).unset("hook_log");
        let text = format!(
            "ERROR: Child exited immediately with exit code {code}: \
             cannot run program \"{program}\": {why}\n"
        );
        // Where every directory may be entered.
        let start = fixture.run(&["start"]).env("PATH", "/usr/bin:/bin");
        start.finish().expect(code, FAILED, &text);
        assert!(!fixture.pid_file().exists());
        sandbox.expect_nobody();
    }
}

#[test]
fn a_definition_that_no_program_can_have() {
    let sandbox = Sandbox::new();
    for (item, value, text) in [
        ("exec", "", "program \"\" must not be empty"),
        (
            "ready",
            "5",
            "ready_timeout: a program cannot call ready(), and has started when it has \
                        lived for a second",
        ),
        (
            "exec_set",
            "=x",
            "name of an environment variable \"\" must not be empty, or contain an \
                            equals sign or a zero byte",
        ),
    ] {
        let fixture = sleeping(&sandbox).set(item, value);
        fixture.start().expect(1, FAILED, &format!("ERROR: {text}\n"));
    }
    assert!(sandbox.names().is_empty());
}

#[test]
fn the_help_names_it_unless_there_is_more_to_say() {
    let sandbox = Sandbox::new();
    let fixture = sleeping(&sandbox);
    for (fixture, text) in [
        (fixture.clone(), "Run \"sleep\" as a daemon.\n"),
        (fixture.set("about", "Naps."), "Naps.\n"),
    ] {
        let output = fixture.run(&["--help"]).finish();
        assert!(output.stdout.starts_with(text), "{output:?}");
        assert_eq!(output.code(), Some(0));
    }
}

#[test]
fn a_relative_path_begins_where_the_start_does() {
    let sandbox = Sandbox::new();
    let dir = sandbox.make_dir("bin", 0o755);
    copy_program("/bin/sleep", dir.join("nap"));
    let fixture = exec(&sandbox, &["./bin/nap", "3600"]);
    fixture.run(&["start"]).current_dir(sandbox.dir()).finish().expect(0, OK, "");
    let program = fixture.pid().unwrap();
    let exe = fs::read_link(format!("/proc/{program}/exe")).unwrap();
    assert_eq!(exe, dir.join("nap").canonicalize().unwrap());
}

#[test]
fn an_end_in_the_first_second() {
    let sandbox = Sandbox::new();
    for (script, code, text) in [
        ("echo oops >&2; exit 3", 3, "oops\nERROR: Child exited immediately with exit code 3\n"),
        ("exit 0", 1, "ERROR: Child exited immediately with exit code 0\n"),
        (
            "kill -SEGV $$",
            139,
            "ERROR: Child exited immediately with exit code 139: SIGSEGV (11)\n",
        ),
    ] {
        let fixture = exec(&sandbox, &["sh", "-c", script]).unset("hook_log");
        fixture.start().expect(code, FAILED, text);
        assert!(!fixture.pid_file().exists());
        sandbox.expect_nobody();
    }
}

#[test]
fn an_end_of_its_own() {
    for (after, reason) in [
        ("exit 0", "0|Shutting down normally\n"),
        ("exit 7", "7|Exiting with non-zero exit code 7\n"),
        ("kill -KILL $$", "137|Terminated by SIGKILL (9)\n"),
    ] {
        let sandbox = Sandbox::new();
        let fifo = sandbox.make_fifo("fifo");
        let fixture =
            exec(&sandbox, &["sh", "-c", &format!("read x < {}; {after}", fifo.display())]);
        let (program, _) = started_and_kept(&fixture);
        fs::write(&fifo, "\n").unwrap();
        sandbox.expect_nobody();
        assert!(!is_alive(program));
        assert_eq!(fixture.hook_log(), reason);
        assert!(!fixture.pid_file().exists());
    }
}

#[test]
fn signals_go_to_the_program() {
    let sandbox = Sandbox::new();
    let fixture = listening(&sandbox);
    let (program, keeper) = started_and_kept(&fixture);
    sandbox.signal(program, Signal::HUP);
    eventually("it has come", || sandbox.read("log") == "begun\nHUP\n");
    // Nobody means the keeper: at a shutdown the system sends the same to all.
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::USR1] {
        sandbox.signal(keeper, signal);
    }
    expect_running(&fixture, program);
    fixture.stop().expect(0, STOPPED, "");
    assert_eq!(sandbox.read("log"), "begun\nHUP\nTERM\n", "once");
    assert_eq!(fixture.hook_log(), "0|Terminated by SIGTERM (15)\n");
}

#[test]
fn one_that_does_not_want_to_end() {
    let sandbox = Sandbox::new();
    let fixture = exec(
        &sandbox,
        &[
            "sh",
            "-c",
            &format!(
                "trap 'echo TERM >> {log}' TERM; while :; do sleep 0.1; done",
                log = sandbox.path("log").display()
            ),
        ],
    );
    let (program, _) = started_and_kept(&fixture);
    let late = format!("ERROR: Timed out while waiting for process (PID {program}) to terminate\n");
    let stop =
        |more: &[&str]| fixture.run(&[&["stop", "--timeout", "0.2"], more].concat()).finish();
    for _ in 0..3 {
        stop(&[]).expect(1, "Stopping example ... FAILED\n", &late);
    }
    assert!(is_alive(program));
    assert_eq!(sandbox.read("log"), "TERM\n", "however often, it asks once");
    let killed = "Stopping example ... FAILED\nKilling example ... OK\n";
    stop(&["--force"]).expect(0, killed, &late);
    assert!(!is_alive(program));
    assert_eq!(fixture.hook_log(), "137|Terminated by SIGKILL (9)\n");
    assert!(!fixture.pid_file().exists());
    sandbox.expect_nobody();
}

#[test]
fn one_that_is_stopped_can_be_forced() {
    let sandbox = Sandbox::new();
    let fixture = sleeping(&sandbox);
    for stopped in [true, false] {
        let (program, keeper) = started_and_kept(&fixture);
        sandbox.signal(if stopped { program } else { keeper }, Signal::STOP);
        let output = fixture.run(&["stop", "--timeout", "0.2", "--force"]).finish();
        assert_eq!(output.code(), Some(0), "{output:?}");
        assert!(!is_alive(program));
        sandbox.expect_nobody();
    }
    expect_works_again(&fixture.unset("hook_log"));
}

/// Without its keeper nothing would hold the PID file, and so nothing is left of it: never do two run.
#[test]
fn the_keeper_is_killed() {
    let sandbox = Sandbox::new();
    // Whoever finds its predecessor alive says so.
    let script = "grep -qs ') [^ZX] ' /proc/$(cat old)/stat && echo two >> two; exec sleep 3600";
    let fixture = exec(&sandbox, &["sh", "-c", script]).set("work_dir", sandbox.dir());
    let fixture = fixture.unset("hook_log");
    sandbox.write("old", "0");
    let (mut program, mut keeper) = started_and_kept(&fixture);
    for _ in 0..5 {
        sandbox.write("old", program.to_string());
        sandbox.signal(keeper, Signal::KILL);
        let old = program;
        (program, keeper) = started_and_kept(&fixture);
        assert_ne!(old, program);
        assert!(!is_alive(old));
    }
    assert!(!sandbox.path("two").exists());
    fixture.stop().expect(0, STOPPED, "");
    sandbox.expect_nobody();
}

#[test]
fn the_pid_file_is_edited_deleted_or_moved() {
    let sandbox = Sandbox::new();
    let fixture = sleeping(&sandbox).unset("hook_log");
    let path = fixture.pid_file();
    let actions: [fn(&Path); 4] = [
        |path| fs::write(path, "1\n").unwrap(),
        |path| fs::write(path, "").unwrap(),
        |path| fs::remove_file(path).unwrap(),
        |path| fs::rename(path, path.with_extension("moved")).unwrap(),
    ];
    for act in actions {
        let (program, _) = started_and_kept(&fixture);
        act(&path);
        let status = fixture.status();
        assert!(status.stdout.starts_with(&format!("example -- pid: {program}, ")), "{status:?}");
        let again = fixture.start();
        assert!(again.stderr.contains(&format!("already running with PID {program}")), "{again:?}");
        fixture.stop().expect(0, STOPPED, "");
        assert!(!is_alive(program));
        sandbox.expect_nobody();
    }
}

/// Somebody whom everybody must take for the daemon says that he keeps a process of somebody else's.
#[test]
fn a_keeper_has_a_say_about_its_children_only() {
    let sandbox = Sandbox::new();
    let fixture = sleeping(&sandbox);
    let mut stranger = Stranger::new();
    let (pose, path) = (program("pose"), sandbox.write("example.pid", "1\n"));
    let words = [pose.to_str().unwrap(), path.to_str().unwrap(), path.to_str().unwrap()];
    let run = fixture.watch(&[&words[..], &["sleep", "3600"]].concat());
    let poser = run.env("POSE_KEEPS", stranger.pid().to_string()).spawn();
    let pid = poser.pid();
    let comm = format!("/proc/{pid}/comm");
    eventually("it has the locks", || fs::read(&comm).is_ok_and(|name| name == b"sleep\n"));
    let status = fixture.status();
    assert!(status.stdout.starts_with(&format!("example -- pid: {pid}, ")), "{status:?}");
    let output = fixture.run(&["stop", "--force", "--timeout", "0"]).finish();
    assert_eq!(output.code(), Some(0), "{output:?}");
    assert!(!is_alive(pid));
    assert!(stranger.is_unharmed());
}

#[test]
fn what_it_writes_to_standard_error_holds_nobody_up() {
    let sandbox = Sandbox::new();
    let fifo = sandbox.make_fifo("fifo");
    let script = format!(
        "read x < {}; head -c 1000000 /dev/zero >&2; echo written > {0}.done; exec sleep 3600",
        fifo.display()
    );
    let fixture = exec(&sandbox, &["sh", "-c", &script]);
    let (program, _) = started_and_kept(&fixture);
    fs::write(&fifo, "\n").unwrap();
    eventually("it has written all", || sandbox.path("fifo.done").exists());
    assert!(is_alive(program));
}

#[test]
fn idle_means_idle() {
    let sandbox = Sandbox::new();
    let fixture = sleeping(&sandbox);
    let (program, keeper) = started_and_kept(&fixture);
    let Some(calls) = Calls::of(&[program, keeper], &fixture, "idle_means_idle") else {
        return;
    };
    assert!(calls.made.is_empty(), "{calls:?}");
    assert!(calls.threads >= 3, "strace has seen the keeper's two and the program: {calls:?}");
}

#[test]
fn as_another_user() {
    if skip_unless_root("as_another_user") {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = sleeping(&sandbox).unset("hook_log").set("user", "nobody");
    let (program, keeper) = started_and_kept(&fixture);
    for pid in [program, keeper] {
        assert_ne!(stat_uid(pid), "0");
    }
    expect_running(&fixture, program);
    fixture.stop().expect(0, STOPPED, "");
    assert!(!fixture.pid_file().exists());
    sandbox.expect_nobody();
}

fn stat_uid(pid: Pid) -> String {
    status_field(pid, "Uid").split_whitespace().next().unwrap_or_default().to_owned()
}
