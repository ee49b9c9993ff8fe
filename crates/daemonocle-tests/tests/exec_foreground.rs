//! Another program as the worker, in the foreground.

use daemonocle_tests::{Sandbox, Terminal, eventually, exec, listening, stat, status_field};
use rustix::process::Signal;

#[test]
fn in_the_foreground() {
    let sandbox = Sandbox::new();
    let fixture = listening(&sandbox);
    let mut terminal = Terminal::of(fixture.run(&["start", "--debug"]));
    terminal.shows("Starting example ... ");
    let program = fixture.settled();
    assert_eq!(stat(program).unwrap().group, terminal.pid());
    eventually("it listens", || sandbox.read("log") == "begun\n");
    sandbox.signal(terminal.pid(), Signal::USR1);
    eventually("it has come", || sandbox.read("log") == "begun\nUSR1\n");
    // Ctrl-C goes to the whole group, and is one all the same.
    terminal.types("\x03");
    terminal.shows("Received signal SIGINT (2). Forwarding to child...");
    eventually("it has come", || sandbox.read("log").contains("INT"));
    sandbox.signal(terminal.pid(), Signal::TERM);
    assert_eq!(terminal.finish(), (Some(0), None));
    assert!(terminal.screen().contains("All children are gone. Parent is exiting..."));
    assert_eq!(sandbox.read("log"), "begun\nUSR1\nINT\nTERM\n");
    assert_eq!(fixture.hook_log(), "0|Shutting down normally\n");
    assert!(!fixture.pid_file().exists());
    sandbox.expect_nobody();
}

/// Also when its keeper has not heard of it for itself and from its parent, but once for both.
#[test]
fn one_ctrl_c_in_the_foreground_takes_nothing_from_the_next_signal() {
    let sandbox = Sandbox::new();
    let fixture = listening(&sandbox);
    let mut terminal = Terminal::of(fixture.run(&["start", "--debug"]));
    terminal.shows("OK");
    let program = fixture.settled();
    eventually("it listens", || sandbox.read("log") == "begun\n");
    let keeper = stat(program).unwrap().parent;
    sandbox.signal(keeper, Signal::STOP);
    eventually("it has stopped", || stat(keeper).is_some_and(|stat| stat.state == 'T'));
    terminal.types("\x03");
    terminal.shows("Received signal SIGINT (2). Forwarding to child...");
    eventually("its parent waits", || stat(terminal.pid()).is_some_and(|stat| stat.state == 'S'));
    sandbox.signal(keeper, Signal::CONT);
    // Two that are pending at once are one to anybody.
    eventually("its keeper has heard of it", || {
        u64::from_str_radix(&status_field(keeper, "ShdPnd"), 16) == Ok(0)
    });
    eventually("it has come", || sandbox.read("log") == "begun\nINT\n");
    sandbox.signal(terminal.pid(), Signal::INT);
    eventually("the next has come", || sandbox.read("log") == "begun\nINT\nINT\n");
    sandbox.signal(terminal.pid(), Signal::TERM);
    assert_eq!(terminal.finish(), (Some(0), None));
}

#[test]
fn in_the_foreground_its_end_is_the_end() {
    for (script, code, signal) in
        [("exit 7", Some(7), None), ("kill -TERM $$", None, Some(15)), ("exit 0", Some(0), None)]
    {
        let sandbox = Sandbox::new();
        let fixture = exec(&sandbox, &["sh", "-c", script]);
        let output = fixture.foreground().finish();
        assert_eq!((output.code(), output.signal()), (code, signal), "{output:?}");
        assert!(!fixture.pid_file().exists());
        sandbox.expect_nobody();
    }
}
