//! Actions of the program's own: on the command line and by name.

use daemonocle_tests::Sandbox;

#[test]
fn help_lists_them_behind_the_others_in_the_order_of_their_names() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready").set("actions", "zebra,full_status,a_b,a1,begin");
    let output = fixture.run(&["--help"]).finish();
    output.expect(0, &output.stdout, "");
    let commands: Vec<_> = output
        .stdout
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .map_while(|line| line.strip_prefix("  ")?.split_once("  "))
        .map(|(name, about)| (name.trim(), about.trim()))
        .collect();
    let expected = [
        ("start", "Start the daemon."),
        ("stop", "Stop the daemon."),
        ("restart", "Stop then start the daemon."),
        ("status", "Get the status of the daemon."),
        ("a1", "Does nothing."),
        ("a-b", "Does nothing."),
        ("begin", "Start it without a word."),
        ("full-status", "Get more detailed status of the daemon"),
        ("zebra", "Does nothing."),
        ("help", "Print this message or the help of the given subcommand(s)"),
    ];
    assert_eq!(commands, expected, "{output:?}");
}

#[test]
fn options_are_typed_and_have_help() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready").set("actions", "full_status,needs");
    fixture.run(&["full-status"]).finish().expect(1, "nobody\n", "");
    let pid = fixture.started();
    fixture.run(&["full-status"]).finish().expect(0, &format!("{pid} 42\n"), "");
    let output = fixture.run(&["full-status", "--wibble=-7", "--loud"]).finish();
    output.expect(0, &format!("{pid} -7!\n"), "");
    let output = fixture.run(&["needs", "--need", "this", "--more", "that"]).finish();
    output.expect(0, "this and that\n", "");
    for (arguments, named) in [
        (&["full-status", "--wibble", "much"][..], "invalid value 'much' for '--wibble <WIBBLE>'"),
        (&["full-status", "--wabble"], "unexpected argument '--wabble'"),
        (&["full-status", "now"], "unexpected argument 'now'"),
        (&["full_status"], "unrecognized subcommand 'full_status'"),
        (&["needs", "--need", "x"], "--more <MORE>"),
    ] {
        fixture.run(arguments).finish().expect_error(2, "", &[named]);
    }
    let output = fixture.run(&["full-status", "--help"]).finish();
    output.expect(0, &output.stdout, "");
    let words = output.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.starts_with("Get more detailed status of the daemon."), "{output:?}");
    assert!(words.contains("it has a second paragraph"), "{output:?}");
    assert!(words.contains("--wibble <WIBBLE> How much it wibbles [default: 42]"), "{output:?}");
    fixture.stop().expect(0, "Stopping example ... OK\n", "");
}

#[test]
fn errors_are_told_and_have_their_exit_codes() {
    let sandbox = Sandbox::new();
    let list = "fail,code,nothing,message,panic,other,end";
    let fixture = sandbox.fixture("ready").set("actions", list);
    let run = |action| fixture.run(&[action]).finish();
    let none = "ERROR: No such file or directory (os error 2)\n";
    run("fail").expect(1, "", none);
    run("code").expect(7, "", "");
    run("nothing").expect(0, "", "");
    run("message").expect(1, "", "ERROR: in words\n");
    run("panic").expect_error(101, "", &["wibble overflow"]);
    let names = "start, stop, restart, status, code, end, fail, message, nothing, other, panic";
    let line = format!("ERROR: Invalid action \"no_such_action\": choose from {names}\n");
    run("other").expect(2, "", &line);
    let output = fixture.clone().unset("pid_file").run(&["end"]).finish();
    let line = "ERROR: example has no PID file, without which it cannot be found\n";
    output.expect(1, "", line);
}

#[test]
fn an_action_may_start_and_stop_the_daemon() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready").set("actions", "begin,end");
    let output = fixture.run(&["begin"]).finish();
    let pid = fixture.pid().unwrap();
    output.expect(0, &format!("Started {{ pid: Pid({pid}) }}\n"), "");
    let output = fixture.run(&["begin"]).finish();
    output.expect(0, &format!("AlreadyRunning {{ pid: Pid({pid}) }}\n"), "");
    assert_eq!(fixture.status().code(), Some(0));
    fixture.run(&["end"]).finish().expect(0, "", "");
    fixture.status().expect(1, "example -- not running\n", "");

    let output = sandbox.fixture("end-code").set("actions", "begin").run(&["begin"]).finish();
    output.expect(42, "", "ERROR: Child exited immediately with exit code 42\n");
}

#[test]
fn an_action_may_start_another_program() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready").set("exec", "sleep\n600").set("actions", "begin,end");
    let output = fixture.run(&["begin"]).finish();
    let pid = fixture.pid().unwrap();
    output.expect(0, &format!("Started {{ pid: Pid({pid}) }}\n"), "");
    assert_eq!(std::fs::read(format!("/proc/{pid}/comm")).unwrap(), b"sleep\n");
    fixture.run(&["end"]).finish().expect(0, "", "");
    assert_eq!(fixture.status().code(), Some(1));
}

#[test]
fn a_worker_that_an_action_starts_gets_the_defaults_of_its_options() {
    let sandbox = Sandbox::new();
    let sheep = sandbox.path("sheep");
    let fixture = sandbox.fixture("ready").set("actions", "begin,end").set("sheep", sheep);
    let optional = fixture.clone().set("options", "optional");
    optional.run(&["start", "--sheep", "3"]).finish().expect(0, "Starting example ... OK\n", "");
    assert_eq!(sandbox.read("sheep"), "3 sheep, 0");
    optional.run(&["end"]).finish().expect(0, "", "");
    let output = optional.run(&["begin"]).finish();
    output.expect(0, &format!("Started {{ pid: Pid({}) }}\n", fixture.pid().unwrap()), "");
    assert_eq!(sandbox.read("sheep"), "1 sheep, 0");
    fixture.run(&["end"]).finish().expect(0, "", "");

    let output = fixture.clone().set("options", "required").run(&["begin"]).finish();
    let line = "ERROR: Child exited immediately with exit code 1: the worker cannot do without \
                options: --sheep <SHEEP>\n";
    output.expect(1, "", line);
    assert_eq!(fixture.pid(), None);
}

#[test]
fn names_that_are_no_words_or_taken_are_an_error_at_once() {
    let sandbox = Sandbox::new();
    let rename = "must be a word of ASCII letters, digits and dashes that begins with a letter: \
                  rename it";
    let taken = "is there already: give yours another name";
    for (list, name, wrong) in [
        ("two words", "two words", rename),
        ("", "", rename),
        ("-x", "-x", rename),
        ("a\u{1b}[31m", "a\\u{1b}[31m", rename),
        ("stop", "stop", taken),
        ("help", "help", taken),
        ("begin,full-status,full_status", "full-status", taken),
    ] {
        let fixture = sandbox.fixture("ready").set("actions", list);
        let line = format!("ERROR: action \"{name}\" {wrong}\n");
        for arguments in [&["start"][..], &["status"], &["begin"], &["--help"]] {
            fixture.run(arguments).finish().expect(1, "", &line);
        }
        let output = fixture.set("calls", "start,stop,status,do begin").run(&[]).finish();
        let told = |call| format!("{call}: error: action \"{name}\" {wrong}\n");
        let lines: String = ["start", "stop", "status", "do begin"].map(told).concat();
        output.expect(0, &lines, "");
    }
    assert_eq!(sandbox.names(), Vec::<String>::new());
}

#[test]
fn by_name_everything_is_done_without_a_word() {
    let sandbox = Sandbox::new();
    let list = "zebra,full_status,needs,code,fail";
    let fixture = sandbox.fixture("ready").set("actions", list);
    let make = |calls: &str| fixture.clone().set("calls", calls).run(&[]).finish();
    let names = ["start", "stop", "restart", "status", "code", "fail", "full-status", "needs"];
    make("actions").expect(0, &format!("[{}, \"zebra\"]\n", quoted(&names)), "");
    make("do status,do stop").expect(0, "do status: NotRunning\ndo stop: NotRunning\n", "");

    let output = make("do start,do status,do start,do full_status,do full-status,do zebra");
    let pid = fixture.pid().unwrap();
    let lines = format!(
        "do start: Started {{ pid: Pid({pid}) }}\ndo status: Running {{ pid: Pid({pid}) }}\n\
         do start: AlreadyRunning {{ pid: Pid({pid}) }}\n{pid} 42\ndo full_status: Done\n\
         {pid} 42\ndo full-status: Done\ndo zebra: Done\n"
    );
    output.expect(0, &lines, "");

    let output = make("do restart");
    let next = fixture.pid().unwrap();
    assert_ne!(next, pid);
    output.expect(0, &format!("do restart: Started {{ pid: Pid({next}) }}\n"), "");
    make("do stop").expect(0, &format!("do stop: Stopped {{ pid: Pid({next}) }}\n"), "");

    let needs = "do needs: error: action \"needs\" cannot do without options: --need <NEED>, \
                 --more <MORE>\n";
    make("do needs").expect(0, needs, "");
    make("do code").expect(0, "do code: error: action \"code\" has ended with exit code 7\n", "");
    make("do fail").expect(0, "do fail: error: No such file or directory (os error 2)\n", "");
    for name in ["begin", "Full-Status", "full--status", "", "help", "start "] {
        let all = "start, stop, restart, status, code, fail, full-status, needs, zebra";
        let line = format!("do {name}: error: Invalid action \"{name}\": choose from {all}\n");
        make(&format!("do {name}")).expect(0, &line, "");
    }
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}
