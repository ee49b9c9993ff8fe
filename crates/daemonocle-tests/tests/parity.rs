//! The same cases with the original and with ours: what both print and return is one and the same,
//! or differs as docs/PARITY.md says.

use std::collections::BTreeMap;
use std::fs;

use daemonocle_tests::{Side, both, eventually, is_alive};
use rustix::process::Signal;
use serde_json::Value;

const STARTED: &str = "Starting example ... OK\n";
const NOT_STARTED: &str = "Starting example ... FAILED\n";
const STOPPED: &str = "Stopping example ... OK\n";
const GONE: &str = "All children are gone. Parent is exiting...\n";
const TIMED_OUT: &str = "ERROR: Timed out while waiting for process (PID n) to terminate\n";

/// That the status is the line of a daemon that runs and sleeps.
#[track_caller]
fn expect_status(side: &Side<'_>) {
    let output = side.run(&["status"]).finish();
    let pid = side.pid();
    let begin = format!("example -- pid: {pid}, status: sleeping, uptime: 0m, %cpu: 0.0, %mem: ");
    let memory = output.stdout.strip_prefix(&begin).and_then(|rest| rest.strip_suffix('\n'));
    let (whole, tenth) = memory.and_then(|text| text.split_once('.')).unwrap_or_default();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let is_right = is_number(whole) && is_number(tenth) && tenth.len() == 1;
    assert!(is_right && output.stderr.is_empty(), "{}: {output:?}", side.name());
    assert_eq!(output.code(), Some(0), "{}: {output:?}", side.name());
}

/// What `status --json` says of a daemon that is running.
#[track_caller]
fn json(side: &Side<'_>, arguments: &[&str]) -> BTreeMap<String, Value> {
    let output = side.run(&[&["status", "--json"], arguments].concat()).finish();
    assert_eq!((output.code(), &*output.stderr), (Some(0), ""), "{}", side.name());
    serde_json::from_str(&output.stdout).unwrap()
}

#[test]
fn a_life() {
    both("a_life", "sleep", |it| {
        it.does(&["status"], 1, "example -- not running\n", "");
        it.does(&["start"], 0, STARTED, "");
        let pid = it.pid();
        expect_status(it);
        it.does(&["start"], 0, "", "WARNING: example already running with PID n\n");
        assert_eq!(it.pid(), pid);
        it.does(&["restart"], 0, &format!("{STOPPED}{STARTED}"), "");
        assert_ne!(it.pid(), pid);
        assert!(!is_alive(pid));
        let pid = it.pid();
        it.does(&["stop"], 0, STOPPED, "");
        assert!(!is_alive(pid) && !it.has_pid_file());
        it.does(&["status"], 1, "example -- not running\n", "");
        it.does(&["stop"], 0, "", "WARNING: example is not running\n");
        let warning = "WARNING: example is not running\n";
        it.does(&["restart"], 0, STARTED, warning);
        it.does(&["stop"], 0, STOPPED, "");
    });
}

#[test]
fn an_end_with_an_exit_code_while_starting() {
    both("an_end_with_an_exit_code_while_starting", "end-code", |it| {
        let text = "ERROR: Child exited immediately with exit code 42\n";
        it.does(&["start"], 42, NOT_STARTED, text);
        assert!(!it.has_pid_file());
        assert_eq!(it.fixture.hook_log(), "42|Exiting with non-zero exit code 42\n");
        it.does(&["restart"], 42, NOT_STARTED, &format!("WARNING: example is not running\n{text}"));
    });
}

#[test]
fn an_end_without_an_error_while_starting() {
    both("an_end_without_an_error_while_starting", "end-ok", |it| {
        let text = "ERROR: Child exited immediately with exit code 0\n";
        it.differs(&["start"], (1, NOT_STARTED, text), (0, NOT_STARTED, text));
        assert!(!it.has_pid_file());
        assert_eq!(it.fixture.hook_log(), "0|Shutting down normally\n");
    });
}

#[test]
fn an_end_with_a_message_while_starting() {
    both("an_end_with_a_message_while_starting", "end-message", |it| {
        let text = "ERROR: Child exited immediately with exit code 1";
        it.differs(
            &["start"],
            (1, NOT_STARTED, &format!("{text}: no more cookies\n")),
            (1, NOT_STARTED, &format!("{text}\n")),
        );
        assert_eq!(it.fixture.hook_log(), "1|Exiting with message: no more cookies\n");
    });
}

#[test]
fn an_end_by_a_signal_while_starting() {
    both("an_end_by_a_signal_while_starting", "end-kill", |it| {
        let text = "ERROR: Child exited immediately with exit code";
        it.differs(
            &["start"],
            (137, NOT_STARTED, &format!("{text} 137: SIGKILL (9)\n")),
            (137, NOT_STARTED, &format!("{text} -9\n")),
        );
        assert_eq!(it.has_pid_file(), it.pick(false, true));
    });
}

#[test]
fn a_stop_that_takes_too_long() {
    both("a_stop_that_takes_too_long", "stubborn-sleep", |it| {
        let it = it.set("stop", "3");
        it.does(&["start"], 0, STARTED, "");
        let pid = it.pid();
        it.does(&["stop"], 1, "Stopping example ... FAILED\n", TIMED_OUT);
        it.does(&["restart"], 1, "Stopping example ... FAILED\n", TIMED_OUT);
        assert!(is_alive(pid));
        assert_eq!(it.pid(), pid);
        let killed = "Stopping example ... FAILED\nKilling example ... OK\n";
        it.does(&["stop", "--force"], 0, killed, TIMED_OUT);
        assert!(!is_alive(pid) && !it.has_pid_file());
        assert_eq!(it.fixture.hook_log(), "");
    });
}

#[test]
fn a_time_out_of_the_command_line() {
    both("a_time_out_of_the_command_line", "stubborn-sleep", |it| {
        it.does(&["start"], 0, STARTED, "");
        let stop = ["stop", "--timeout", "3"];
        it.does(&stop, 1, "Stopping example ... FAILED\n", TIMED_OUT);
        let killed = "Stopping example ... FAILED\nKilling example ... OK\n";
        it.does(&["stop", "--timeout=3", "--force"], 0, killed, TIMED_OUT);
        it.does(&["start"], 0, STARTED, "");
        let words = format!("{killed}{STARTED}");
        it.does(&["restart", "--timeout", "3", "--force"], 0, &words, TIMED_OUT);
    });
}

#[test]
fn a_status_in_json() {
    both("a_status_in_json", "sleep", |it| {
        let dead = "{\"name\": \"example\", \"status\": \"dead\"}\n";
        it.does(&["status", "--json"], 1, dead, "");
        it.does(&["start"], 0, STARTED, "");
        let status = json(it, &[]);
        let keys: Vec<_> = status.keys().collect();
        let wanted = ["cpu_percent", "memory_percent", "name", "pid", "status", "uptime"];
        assert_eq!(keys, wanted, "{}", it.name());
        for key in ["cpu_percent", "memory_percent", "uptime"] {
            assert!(status[key].is_f64(), "{}: {key}: {status:?}", it.name());
        }
        assert_eq!(
            (&status["name"], &status["pid"], &status["status"]),
            (&"example".into(), &it.pid().into(), &"sleeping".into())
        );
        let fields = "--fields=pid,ppid,group_num_procs,cwd,uids,nice,terminal,num_threads";
        let fields = json(it, &[fields]);
        let text = serde_json::to_string(&fields).unwrap();
        let [uid, ppid] = [&fields["uids"][0], &fields["ppid"]].map(Value::to_string);
        let wanted = format!(
            "{{\"cwd\":\"/\",\"group_num_procs\":1,\"nice\":{},\"num_threads\":{},\"pid\":{},\
             \"ppid\":{ppid},\"terminal\":null,\"uids\":[{uid},{uid},{uid}]}}",
            fields["nice"],
            // Ours has a thread that waits for signals.
            it.pick(2, 1),
            it.pid(),
        );
        assert_eq!(text, wanted, "{}", it.name());
    });
}

#[test]
fn a_status_with_fields_and_without_json() {
    both("a_status_with_fields_and_without_json", "sleep", |it| {
        it.does(&["start"], 0, STARTED, "");
        let all = "--fields=name,pid,status,uptime,cpu_percent,memory_percent";
        let output = it.run(&["status", all]).finish();
        assert_eq!(output.code(), Some(0), "{}: {output:?}", it.name());
        let output = it.run(&["status", "--fields", "pid"]).finish();
        let line = format!("example -- pid: {}\n", it.pid());
        let wanted = it.pick((Some(0), &*line), (Some(1), ""));
        assert_eq!((output.code(), &*output.stdout), wanted, "{}: {output:?}", it.name());
        let output = it.run(&["status", "--json", "--fields", "bananas"]).finish();
        assert_eq!(output.code(), Some(it.pick(2, 1)), "{}: {output:?}", it.name());
        assert!(output.stderr.contains("bananas"), "{}: {output:?}", it.name());
    });
}

#[test]
fn wrong_arguments() {
    both("wrong_arguments", "sleep", |it| {
        for arguments in [
            &["begin"][..],
            &["start", "--frobnicate"],
            &["start", "now"],
            &["start", "--force"],
            &["stop", "--debug"],
            &["stop", "--timeout"],
            &["stop", "--timeout", "soon"],
            &["--debug"],
        ] {
            let output = it.run(arguments).finish();
            let said = (output.code(), &*output.stdout, output.stderr.is_empty());
            assert_eq!(said, (Some(2), "", false), "{}: {arguments:?}: {output:?}", it.name());
        }
        let output = it.run(&["begin"]).finish();
        assert!(output.stderr.contains("begin"), "{}: {output:?}", it.name());
        it.sandbox().expect_nobody();
        assert!(!it.has_pid_file());
    });
}

/// The entries of a section of a help text with their explanations, as one line each.
fn section(help: &str, title: &str) -> BTreeMap<String, String> {
    let lines = help.lines().skip_while(|line| *line != title).skip(1);
    let mut found = BTreeMap::new();
    let mut last = None;
    for line in lines.take_while(|line| !line.is_empty()) {
        let indent = line.len() - line.trim_start().len();
        let mut words = line.split_whitespace().filter(|word| *word != "-h,");
        // What goes on from the line before is farther in than any name.
        if indent <= 6 {
            let name = words.next().unwrap();
            let is_value =
                |word: &&str| ["INTEGER", "TEXT"].contains(word) || word.starts_with('<');
            let rest: Vec<_> = words.skip_while(is_value).collect();
            found.insert(name.to_owned(), rest.join(" "));
            last = Some(name.to_owned());
        } else {
            let text = found.get_mut(last.as_ref().unwrap()).unwrap();
            let rest: Vec<_> = words.collect();
            text.push_str(if text.is_empty() { "" } else { " " });
            text.push_str(&rest.join(" "));
        }
    }
    // Their help on the help itself is that of click, and of clap.
    found.retain(|name, _| !["help", "--help"].contains(&&**name));
    found
}

#[test]
fn help() {
    let entries = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    };
    let debug = ("--debug", "Do NOT detach and run in the background.");
    let force = ("--force", "Kill the daemon forcefully after the timeout.");
    let timeout = (
        "--timeout",
        "Number of seconds to wait for the daemon to stop. Overrides \"stop_timeout\" from daemon \
         definition.",
    );
    let json = ("--json", "Show the status in JSON format.");
    let fields = ("--fields", "Comma-separated list of process info fields to display.");
    let actions = [
        ("start", "Start the daemon.", &[debug][..]),
        ("stop", "Stop the daemon.", &[timeout, force]),
        ("restart", "Stop then start the daemon.", &[timeout, force, debug]),
        ("status", "Get the status of the daemon.", &[json, fields]),
    ];
    both("help", "sleep", |it| {
        let it = it.set("about", "Counts sheep.");
        let output = it.run(&["--help"]).finish();
        assert_eq!((output.code(), &*output.stderr), (Some(0), ""), "{}", it.name());
        assert!(output.stdout.contains("Counts sheep."), "{}: {output:?}", it.name());
        let shown = section(&output.stdout, "Commands:");
        let wanted = actions.map(|(name, about, _)| (name, about));
        assert_eq!(shown, entries(&wanted), "{}: {output:?}", it.name());
        let order = wanted.map(|(name, _)| output.stdout.find(&format!("\n  {name} ")).unwrap());
        assert!(order.is_sorted(), "{}: {output:?}", it.name());
        for (action, about, options) in actions {
            let output = it.run(&[action, "--help"]).finish();
            assert_eq!((output.code(), &*output.stderr), (Some(0), ""), "{}", it.name());
            assert!(output.stdout.contains(about), "{}: {output:?}", it.name());
            let shown = section(&output.stdout, "Options:");
            assert_eq!(shown, entries(options), "{}: {output:?}", it.name());
        }
    });
}

#[test]
fn the_foreground() {
    for (worker, code) in [("end-ok", 0), ("end-code", 42)] {
        both("the_foreground", worker, |it| {
            let words = format!("{STARTED}{GONE}");
            it.differs(&["start", "--debug"], (code, &words, ""), (0, &words, ""));
            assert!(!it.has_pid_file());
            assert_eq!(it.fixture.hook_log().lines().count(), 1);
        });
    }
    both("the_foreground", "end-ok", |it| {
        let it = it.set("detach", "never");
        it.does(&["start"], 0, &format!("{STARTED}{GONE}"), "");
    });
}

#[test]
fn a_signal_in_the_foreground() {
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        both("a_signal_in_the_foreground", "polite", |it| {
            let running = it.foreground();
            it.sandbox().signal(running.pid(), signal);
            let name = match signal {
                Signal::TERM => "SIGTERM (15)",
                Signal::INT => "SIGINT (2)",
                _ => "SIGQUIT (3)",
            };
            let words = format!("{STARTED}Received signal {name}. Forwarding to child...\n{GONE}");
            it.came_to(&running.finish(), None, (0, &words, ""));
            let code = it.pick(0, -signal.as_raw());
            assert_eq!(it.fixture.hook_log(), format!("{code}|Terminated by {name}\n"));
            assert!(!it.has_pid_file());
        });
    }
}

#[test]
fn a_signal_in_the_foreground_without_a_pid_file() {
    both("a_signal_in_the_foreground_without_a_pid_file", "print", |it| {
        let running = it.unset("pid_file").run(&["start", "--debug"]).spawn();
        running.says("out\n");
        eventually("it has said all", || running.stderr() == "err\n");
        it.sandbox().signal(running.pid(), Signal::TERM);
        let output = running.finish();
        // The worker ends by the signal.
        let end = it.pick((None, Some(Signal::TERM.as_raw())), (Some(0), None));
        assert_eq!((output.code(), output.signal()), end, "{}: {output:?}", it.name());
        let passed_on = "Received signal SIGTERM (15). Forwarding to child...\n";
        assert_eq!(output.stdout, format!("{STARTED}out\n{passed_on}{GONE}"), "{}", it.name());
        assert_eq!(output.stderr, "err\n", "{}", it.name());
    });
}

#[test]
fn the_ends_that_the_hook_is_told() {
    for (worker, log) in [
        ("end-ok", "0|Shutting down normally\n"),
        ("end-code", "42|Exiting with non-zero exit code 42\n"),
        ("end-message", "1|Exiting with message: no more cookies\n"),
    ] {
        both("the_ends_that_the_hook_is_told", worker, |it| {
            let fifo = it.sandbox().make_fifo("fifo");
            let it = it.set("trigger", &fifo);
            it.does(&["start"], 0, STARTED, "");
            let pid = it.pid();
            fs::write(&fifo, "").unwrap();
            eventually("it has ended", || !is_alive(pid));
            assert_eq!(it.fixture.hook_log(), log, "{}", it.name());
            assert!(!it.has_pid_file());
        });
    }
}

#[test]
fn the_signals_that_the_hook_is_told() {
    for (signal, name) in
        [(Signal::TERM, "SIGTERM (15)"), (Signal::INT, "SIGINT (2)"), (Signal::QUIT, "SIGQUIT (3)")]
    {
        both("the_signals_that_the_hook_is_told", "sleep", |it| {
            it.does(&["start"], 0, STARTED, "");
            let pid = it.pid();
            it.sandbox().signal(pid, signal);
            eventually("it has ended", || !is_alive(pid));
            let code = it.pick(128 + signal.as_raw(), -signal.as_raw());
            let log = format!("{code}|Terminated by {name}\n");
            assert_eq!(it.fixture.hook_log(), log, "{}", it.name());
            assert!(!it.has_pid_file());
        });
    }
    both("the_signals_that_the_hook_is_told", "sleep", |it| {
        it.does(&["start"], 0, STARTED, "");
        let pid = it.pid();
        it.sandbox().signal(pid, Signal::HUP);
        eventually("it has ended", || !is_alive(pid));
        assert_eq!(it.fixture.hook_log(), it.pick("129|Terminated by SIGHUP (1)\n", ""));
        assert_eq!(it.has_pid_file(), it.pick(false, true));
    });
}

#[test]
fn without_a_name_it_is_the_programs() {
    both("without_a_name_it_is_the_programs", "sleep", |it| {
        let it = it.set("unnamed", "yes");
        let name = it.pick("fixture", "original.py");
        it.does(&["status"], 1, &format!("{name} -- not running\n"), "");
    });
}

#[test]
fn without_a_worker_there_is_no_start() {
    let error = daemonocle::Daemon::new("example").start(&daemonocle::Start::default());
    let error = error.unwrap_err();
    assert!(error.is_definition(), "{error:?}");
    assert_eq!(error.to_string(), "no worker is defined for example");
}
