//! The daemon's commands in a larger program, which has an option for all of its commands.

use daemonocle_tests::Sandbox;

#[test]
fn global_options_and_those_of_the_worker_reach_the_daemon() {
    let sandbox = Sandbox::new();
    let fixture =
        sandbox.fixture("ready").set("larger", "derived").set("sheep", sandbox.path("sheep"));
    let elsewhere = sandbox.path("elsewhere.pid");
    let place = elsewhere.to_str().unwrap();
    for (front, behind) in [
        (&[][..], &["start", "--sheep", "3", "-vv", "--place", place][..]),
        (&["--place", place, "-vv"], &["start", "--sheep", "3"]),
        (&["--place", place, "-vv"], &["service", "start", "--sheep", "3"]),
        (&["-vv"], &["service", "--place", place, "start", "--sheep", "3"]),
    ] {
        let output = fixture.run(&[front, behind].concat()).finish();
        output.expect(0, "Starting example ... OK\n", "");
        assert_eq!(sandbox.read("sheep"), "3 sheep, 2", "{behind:?}");
        let pid = sandbox.read("elsewhere.pid").trim().to_owned();
        let again = fixture.run(&["start", "--place", place]).finish();
        again.expect(0, "", &format!("WARNING: example already running with PID {pid}\n"));
        let status = fixture.run(&["service", "status", "--place", place, "--json"]).finish();
        status.expect(0, &status.stdout, "");
        assert!(status.stdout.contains(&format!("\"name\": \"example\", \"pid\": {pid}, ")));
        let own = fixture.run(&["full-status", "--wibble", "42", "--place", place]).finish();
        own.expect(0, &format!("Some(Pid({pid})) 42 0\n"), "");
        let restart = ["restart", "--place", place, "--force", "--sheep", "4"];
        let both = "Stopping example ... OK\nStarting example ... OK\n";
        fixture.run(&restart).finish().expect(0, both, "");
        assert_eq!(sandbox.read("sheep"), "4 sheep, 0", "{behind:?}");
        let stop = fixture.run(&["stop", "--place", place, "--timeout", "20"]).finish();
        stop.expect(0, "Stopping example ... OK\n", "");
        let status = fixture.run(&["status", "--place", place]).finish();
        status.expect(1, "example -- not running\n", "");
    }
}

#[test]
fn exit_codes_are_those_of_the_daemon_s_own_command_line() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("end-code").set("larger", "derived");
    let line = "ERROR: Child exited immediately with exit code 42\n";
    for arguments in [&["start"][..], &["service", "start"]] {
        fixture.run(arguments).finish().expect(42, "Starting example ... FAILED\n", line);
    }
    assert_eq!(fixture.run(&["service", "start", "--debug"]).finish().code(), Some(42));
    for arguments in [&[][..], &["service"], &["service", "begin"], &["start", "--sheep", "many"]] {
        let output = fixture.run(arguments).finish();
        assert_eq!((output.code(), &*output.stdout), (Some(2), ""), "{output:?}");
    }
}

#[test]
fn help_tells_of_all_commands_and_options() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready").set("larger", "derived");
    let words = |arguments: &[&str]| {
        let output = fixture.run(arguments).finish();
        output.expect(0, &output.stdout, "");
        output.stdout.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let place = "--place <PLACE> Where the PID file is";
    let debug = "--debug Do NOT detach and run in the background.";
    let sheep = "--sheep <SHEEP> How many sheep there are [default: 1]";
    let actions = "start Start the daemon. stop Stop the daemon. restart Stop then start the \
                   daemon. status Get the status of the daemon.";
    for (arguments, about, parts) in [
        (&["--help"][..], "Does many things ", &[actions, "full-status Get more", place][..]),
        (&["service", "--help"], "The daemon's commands once more ", &[actions, place]),
        (&["start", "--help"], "Start the daemon. ", &[debug, sheep, place]),
        (&["start", "-h"], "Start the daemon. ", &[debug, sheep, place]),
        (&["service", "start", "--help"], "Start the daemon. ", &[debug, sheep, place]),
        (&["restart", "--help"], "Stop then start the daemon. ", &[debug, sheep, place]),
        (&["status", "--help"], "Get the status of the daemon. ", &["--json", "--fields", place]),
    ] {
        let words = words(arguments);
        assert!(words.starts_with(about), "{arguments:?}: {words}");
        for part in parts {
            assert!(words.contains(part), "{part:?}: {words}");
        }
    }
}

#[test]
fn registered_actions_can_be_embedded_too() {
    let sandbox = Sandbox::new();
    let fixture =
        sandbox.fixture("ready").set("larger", "built").set("sheep", sandbox.path("sheep"));
    let fixture = fixture.set("actions", "full_status,code,begin");
    let elsewhere = sandbox.path("elsewhere.pid");
    let place = elsewhere.to_str().unwrap();
    let run = |arguments: &[&str]| fixture.run(&[&["--place", place], arguments].concat()).finish();
    run(&["hello"]).expect(0, &format!("hello {place}\n"), "");
    run(&["full-status"]).expect(1, "nobody\n", "");
    run(&["start", "--sheep", "3"]).expect(0, "Starting example ... OK\n", "");
    assert_eq!(sandbox.read("sheep"), "3 sheep, 0");
    let pid = sandbox.read("elsewhere.pid").trim().to_owned();
    run(&["full-status", "--wibble", "7", "--loud"]).expect(0, &format!("{pid} 7!\n"), "");
    run(&["code"]).expect(7, "", "");
    run(&["begin"]).expect(0, &format!("AlreadyRunning {{ pid: Pid({pid}) }}\n"), "");
    run(&["stop"]).expect(0, "Stopping example ... OK\n", "");
    run(&["begin"]).expect_error(1, "", &["the worker cannot do without options: --sheep <SHEEP>"]);
    run(&["start"]).expect_error(2, "", &["--sheep <SHEEP>"]);
    let program = fixture.clone().set("exec", "sleep\n600");
    let started = program.run(&["--place", place, "begin"]).finish();
    let pid = sandbox.read("elsewhere.pid").trim().to_owned();
    started.expect(0, &format!("Started {{ pid: Pid({pid}) }}\n"), "");
    assert_eq!(std::fs::read(format!("/proc/{pid}/comm")).unwrap(), b"sleep\n");
    program.run(&["stop", "--place", place]).finish().expect(0, "Stopping example ... OK\n", "");
    run(&["nothing"]).expect_error(2, "", &["nothing"]);
    let help = run(&["help"]);
    help.expect(0, &help.stdout, "");
    let is_there = |name: &str| help.stdout.contains(&format!("\n  {name} "));
    assert!(["hello", "start", "status", "begin", "full-status"].into_iter().all(is_there));
}
