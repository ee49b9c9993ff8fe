//! `status --fields`, and what it is the answer to: [`daemonocle::Daemon::status_of`].

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use daemonocle::{Daemon, Field};
use daemonocle_tests::{
    DEADLINE, Fixture, Pid, Sandbox, Terminal, eventually, is_alive, skip, skip_unless_root,
    skip_unless_there_is, stat, takes_less_than,
};
use rustix::process::Signal;
use serde_json::Value;

/// What psutil says, for as long as this lives.
struct Psutil {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Psutil {
    /// `None`: there is none, and that has been said of the test with this name. `$PYTHON` may name
    /// a Python that has it.
    fn new(name: &str) -> Option<Self> {
        let given = std::env::var("PYTHON").ok();
        for python in given.as_deref().into_iter().chain(["python3", "/usr/bin/python3"]) {
            let child = Command::new(python)
                .args(["-c", include_str!("psutil.py")])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn();
            let Ok(mut child) = child else {
                continue;
            };
            let questions = child.stdin.take();
            let answers = BufReader::new(child.stdout.take().unwrap());
            let mut it = Self { child, questions, answers };
            match it.line().trim().parse() {
                Ok(5..=7) => return Some(it),
                // Those to come have announced other shapes.
                Ok(8_u32..) => break,
                _ => {}
            }
        }
        skip(name, "needs psutil, version 5 to 7");
        None
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line
    }

    fn ask(&mut self, pid: Pid) -> Value {
        writeln!(self.questions.as_mut().unwrap(), "{pid}").unwrap();
        serde_json::from_str(&self.line()).expect("psutil knows the process")
    }
}

impl Drop for Psutil {
    fn drop(&mut self) {
        drop(self.questions.take());
        let _ = self.child.wait();
    }
}

/// The daemon of the fixture, to be asked from here.
fn daemon(fixture: &Fixture<'_>) -> Daemon {
    Daemon::new("example").pid_file(fixture.pid_file())
}

fn ask(fixture: &Fixture<'_>, fields: &[Field]) -> Value {
    let details = daemon(fixture).status_of(fields).unwrap().expect("it is running");
    serde_json::to_value(details).unwrap()
}

fn all_but_cpu_percent() -> Vec<Field> {
    Field::ALL.iter().copied().filter(|field| *field != Field::CpuPercent).collect()
}

/// Whether two values are of one shape and equal, numbers with decimals up to rounding.
fn same(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Array(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| same(a, b))
        }
        (Value::Number(a), Value::Number(b)) if a.is_f64() && b.is_f64() => {
            near(ours, theirs, 1e-6)
        }
        _ => ours == theirs,
    }
}

fn near(ours: &Value, theirs: &Value, tolerance: f64) -> bool {
    match (ours, theirs) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() && b.is_f64() => {
            (ours.as_f64().unwrap() - theirs.as_f64().unwrap()).abs() <= tolerance
        }
        _ => false,
    }
}

/// The fields in which the two answers differ.
fn differences(ours: &Value, theirs: &Value) -> Vec<String> {
    let (ours, theirs) = (ours.as_object().unwrap(), theirs.as_object().unwrap());
    let names: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    let differs = |name: &str| match (ours.get(name), theirs.get(name)) {
        (Some(ours), Some(theirs)) => !match name {
            // The daemon's own, and not that of the program.
            "name" => ours == "example",
            "cpu_percent" => near(ours, theirs, 5.0),
            "memory_percent" => near(ours, theirs, 0.0015),
            // psutil counts from a moment that is rounded to seconds.
            "uptime" => near(ours, theirs, 2.0),
            _ => same(ours, theirs),
        },
        _ => true,
    };
    let different = names.into_iter().filter(|name| differs(name));
    different
        .map(|name| format!("{name}: ours {:?}, theirs {:?}", ours.get(name), theirs.get(name)))
        .collect()
}

#[test]
fn every_field_is_what_psutil_says() {
    let Some(mut psutil) = Psutil::new("every_field_is_what_psutil_says") else {
        return;
    };
    let sandbox = Sandbox::new();
    let home = sandbox.make_dir("home", 0o755);
    let fixture = sandbox.fixture("furnished").set("home", home);
    let pid = fixture.started();
    eventually("it sleeps", || stat(pid).is_some_and(|stat| stat.state == 'S'));
    // Memory is shared with whoever else uses the C library, and so changes when they come and go:
    // an answer that never becomes the same is wrong.
    let began = Instant::now();
    loop {
        let theirs = psutil.ask(pid);
        // One right after the other; the use of processors takes time.
        let mut ours = ask(&fixture, &all_but_cpu_percent());
        ours["cpu_percent"] = ask(&fixture, &[Field::CpuPercent])["cpu_percent"].take();
        let differences = differences(&ours, &theirs);
        if differences.is_empty() {
            // That there was something to compare.
            let length = |name: &str| theirs[name].as_array().unwrap().len();
            assert!(length("net_connections") >= 10, "{theirs}");
            assert!(length("open_files") >= 5, "{theirs}");
            assert!(length("threads") >= 4, "{theirs}");
            assert_eq!(theirs["group_num_procs"], 2);
            return;
        }
        assert!(began.elapsed() < 3 * DEADLINE, "{}", differences.join("\n"));
    }
}

#[test]
fn the_terminal_is_what_psutil_says() {
    let Some(mut psutil) = Psutil::new("the_terminal_is_what_psutil_says") else {
        return;
    };
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let terminal = Terminal::of(fixture.run(&["start", "--debug"]));
    terminal.shows("OK");
    let pid = fixture.pid().unwrap();
    let ours = ask(&fixture, &[Field::Terminal]);
    assert!(ours["terminal"].is_string(), "{ours}");
    assert_eq!(ours["terminal"], psutil.ask(pid)["terminal"]);
}

#[test]
fn what_another_user_may_not_read_is_null() {
    if skip_unless_root("what_another_user_may_not_read_is_null") {
        return;
    }
    let sandbox = Sandbox::new();
    let home = sandbox.make_dir("home", 0o755);
    let fixture = sandbox.fixture("furnished").set("home", home).for_everybody();
    fixture.started();
    let all: Vec<_> = Field::ALL.iter().map(|field| field.name()).collect();
    let all = all.join(",");
    let nulls = |as_user: u32| -> Vec<String> {
        let run = fixture.run(&["status", "--json", "--fields", &all]).as_user(as_user, as_user);
        let output = run.finish();
        output.expect(0, &output.stdout, "");
        let answer: serde_json::Map<_, _> = serde_json::from_str(&output.stdout).unwrap();
        assert_eq!(answer.len(), Field::ALL.len());
        answer.into_iter().filter(|(_, value)| value.is_null()).map(|(name, _)| name).collect()
    };
    assert_eq!(nulls(0), ["terminal"], "it has none");
    let private = [
        "connections",
        "cwd",
        "environ",
        "exe",
        "io_counters",
        "memory_full_info",
        "memory_maps",
        "net_connections",
        "num_fds",
        "open_files",
        "terminal",
    ];
    assert_eq!(nulls(12345), private);
}

#[test]
fn only_the_living_are_counted() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("child-sleep").set("child_pid", sandbox.path("child"));
    fixture.started();
    let count = || ask(&fixture, &[Field::GroupNumProcs])["group_num_procs"].as_u64();
    assert_eq!(count(), Some(2));
    // Nobody buries it.
    sandbox.kill(sandbox.read("child").parse().unwrap());
    assert_eq!(count(), Some(1));
}

#[test]
fn json_is_one_line_with_sorted_keys() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let pid = fixture.started();
    eventually("it sleeps", || stat(pid).is_some_and(|stat| stat.state == 'S'));
    let fields = "uids,status, pid,nice,name,net_connections,terminal,pid,group_num_procs";
    let uid = rustix::process::getuid().as_raw();
    let nice = rustix::process::getpriority_process(None).unwrap();
    let expected = format!(
        "{{\"group_num_procs\": 1, \"name\": \"example\", \"net_connections\": [], \"nice\": {nice}, \
         \"pid\": {pid}, \"status\": \"sleeping\", \"terminal\": null, \"uids\": [{uid}, {uid}, {uid}]}}\n"
    );
    for arguments in [
        &["status", "--json", "--fields", fields][..],
        &["status", &format!("--fields={fields}"), "--json"],
        &["status", "--json", "--fields", "uids,status,pid,nice,name", "--fields", fields],
    ] {
        fixture.run(arguments).finish().expect(0, &expected, "");
    }
}

#[test]
fn environment_and_arguments_are_quoted() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let run = fixture.run(&["start"]).env("ODD", "a \"b\"\n=ü\\");
    run.finish().expect(0, "Starting example ... OK\n", "");
    let output = fixture.run(&["status", "--json", "--fields", "environ,cmdline"]).finish();
    let program = fixture.program().to_str().unwrap();
    let start = format!("{{\"cmdline\": [\"{program}\", \"start\"], \"environ\": {{\"");
    assert!(output.stdout.starts_with(&start), "{output:?}");
    let variable = r#""ODD": "a \"b\"\u000a=\u00fc\\", "#;
    assert!(output.stdout.contains(variable), "{output:?}");
    output.expect(0, &output.stdout, "");
}

#[test]
fn text_has_the_fields_as_they_were_asked_for() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let pid = fixture.started();
    let uid = rustix::process::getuid().as_raw();
    let line = format!(
        "example -- uptime: 0m, pid: {pid}, uids: [{uid}, {uid}, {uid}], terminal: null, name: example\n"
    );
    let fields = "uptime, pid,uids,terminal,name";
    fixture.run(&["status", "--fields", fields]).finish().expect(0, &line, "");
    let output = fixture.run(&["status", "--fields", "cpu_percent"]).finish();
    output.expect(0, "example -- cpu_percent: 0.0\n", "");
    // As a script has it that was given none.
    let output = fixture.run(&["status", "--fields", ""]).finish();
    assert!(output.stdout.starts_with(&format!("example -- pid: {pid}, status: ")), "{output:?}");
}

#[test]
fn an_unknown_field_is_an_error_that_lists_the_known_ones() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    for fields in ["pid,uptiem", "uptiem", "uptiem,,", "pid,uptiem,uids"] {
        let output = fixture.run(&["status", "--fields", fields]).finish();
        output.expect_error(2, "", &["unknown field \"uptiem\"", "--fields <FIELDS>"]);
        for field in Field::ALL {
            output.expect_error(2, "", &[field.name()]);
        }
    }
    let output = fixture.run(&["status", "--fields", "pid,"]).finish();
    output.expect_error(2, "", &["unknown field \"\""]);
    assert_eq!(sandbox.names(), Vec::<String>::new());
}

#[test]
fn not_running() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let check = || {
        let json = fixture.run(&["status", "--json", "--fields", "pid,open_files"]).finish();
        json.expect(1, "{\"name\": \"example\", \"status\": \"dead\"}\n", "");
        let text = fixture.run(&["status", "--fields", "pid"]).finish();
        text.expect(1, "example -- not running\n", "");
        assert_eq!(daemon(&fixture).status_of(Field::ALL).unwrap(), None);
    };
    check();
    let pid = fixture.started();
    sandbox.kill(pid);
    check();
}

#[test]
fn only_the_use_of_processors_takes_time() {
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    fixture.started();
    let daemon = daemon(&fixture);
    let ask = |fields: &[Field]| drop(daemon.status_of(fields).unwrap());
    let window = Duration::from_millis(100);
    assert!(takes_less_than(window, || ask(&all_but_cpu_percent())));
    assert!(!takes_less_than(window, || ask(&[Field::CpuPercent])));
}

#[test]
fn nothing_is_told_of_a_daemon_that_ends_meanwhile() {
    let name = "nothing_is_told_of_a_daemon_that_ends_meanwhile";
    if skip_unless_there_is("strace", name) {
        return;
    }
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture("ready");
    let pid = fixture.started();
    // It is stopped when it reads the environment, before all the rest.
    let path = format!("/proc/{pid}/environ");
    let log = sandbox.path("strace");
    let strace = ["strace", "-o", log.to_str().unwrap(), "-P", &path];
    let inject = ["-e", "trace=openat", "-e", "inject=openat:signal=STOP"];
    let trial = fixture.watch(&[&strace[..], &["true"]].concat()).finish();
    if trial.code() != Some(0) {
        return skip(name, &format!("strace cannot trace: {}", trial.stderr.trim()));
    }
    let status = fixture
        .run(&["status", "--json", "--fields", "environ,exe,num_fds,uids"])
        .under(&[&strace[..], &inject].concat())
        .spawn();
    eventually("it has been stopped", || sandbox.read("strace").contains("stopped by SIGSTOP"));
    let asking = sandbox
        .survivors()
        .into_iter()
        .find(|&other| stat(other).is_some_and(|stat| stat.parent == status.pid()));
    sandbox.kill(pid);
    eventually("it is gone", || !is_alive(pid));
    sandbox.signal(asking.expect("it is stopped and not gone"), Signal::CONT);
    status.finish().expect(1, "{\"name\": \"example\", \"status\": \"dead\"}\n", "");
}
