//! Daemons that are made by `#[daemonocle::main]`, and what the attribute knows of the builder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use daemonocle_tests::{Run, Sandbox, program};

// The macro's own list: a crate of macros can show nothing else to others.
#[allow(dead_code)]
#[path = "../../daemonocle-macros/src/settings.rs"]
mod settings;

const OK: &str = "Starting example ... OK\n";
const FAILED: &str = "Starting example ... FAILED\n";
const STOPPED: &str = "Stopping example ... OK\n";

fn run(sandbox: &Sandbox, name: &str, arguments: &[&str]) -> Run {
    let program = program(name);
    let words = [&[program.to_str().unwrap()], arguments].concat();
    sandbox.fixture("none").watch(&words).env("ATTRIBUTE_DIR", sandbox.dir())
}

#[test]
fn settings_options_and_the_worker_come_together() {
    let sandbox = Sandbox::new();
    let attribute = |arguments: &[&str]| run(&sandbox, "attribute", arguments).finish();
    attribute(&["start", "--word", "here"]).expect(0, OK, "");
    let pid = sandbox.read("example.pid").trim().to_owned();
    let status = attribute(&["status"]);
    assert!(status.stdout.starts_with(&format!("example -- pid: {pid}, ")), "{status:?}");
    attribute(&["out"]).expect(0, "begin\nhere\n", "");
    attribute(&["stop"]).expect(0, STOPPED, "");
    assert_eq!(sandbox.read("out"), "begin\nhere\nTerminated by SIGTERM (15)\n");
    use std::os::unix::fs::MetadataExt;
    assert_eq!(std::fs::metadata(sandbox.path("out")).unwrap().mode() & 0o777, 0o600);
    sandbox.expect_nobody();
}

#[test]
fn an_error_of_the_worker_is_the_reason_of_a_failed_start() {
    let sandbox = Sandbox::new();
    let start = |arguments: &[&str]| {
        run(&sandbox, "attribute", &[&["start", "--word"], arguments].concat()).finish()
    };
    let reason = "ERROR: Child exited immediately with exit code 1: it cannot be said\n";
    start(&["unspeakable"]).expect(1, FAILED, reason);
    let reason = "ERROR: Child exited immediately with exit code 3\n";
    start(&["here", "--fail", "3"]).expect(3, FAILED, reason);
    sandbox.expect_nobody();
}

#[test]
fn options_that_are_missing_are_a_usage_error() {
    let sandbox = Sandbox::new();
    run(&sandbox, "attribute", &["start"]).finish().expect_error(2, "", &["--word <WORD>"]);
}

#[test]
fn the_documentation_is_the_help_as_it_is_written() {
    let sandbox = Sandbox::new();
    let help = |name, argument| run(&sandbox, name, &[argument]).finish();
    let head = |name, argument| {
        let output = help(name, argument);
        assert_eq!((output.code(), &*output.stderr), (Some(0), ""), "{output:?}");
        output.stdout.split("\n\nUsage: ").next().unwrap().to_owned()
    };
    assert_eq!(head("attribute", "-h"), "Writes a word,\nand waits.");
    let whole = "Writes a word,\nand waits.\n\n- It has a list\n  of one item.";
    assert_eq!(head("attribute", "--help"), whole);
    assert_eq!(head("attribute_bare", "-h"), "Ends at once.");
    let whole = "Ends at once.\n\nIndented as it is:\n    here more.\n\nCalled bare.";
    assert_eq!(head("attribute_bare", "--help"), whole);
}

#[test]
fn the_name_is_that_of_the_program_and_a_worker_that_returns_ends_the_daemon() {
    let sandbox = Sandbox::new();
    let output = run(&sandbox, "attribute_bare", &["start"]).finish();
    output.expect_error(1, "Starting attribute_bare ... FAILED\n", &["exit code 0"]);
    sandbox.expect_nobody();
}

#[cfg(feature = "tokio")]
#[test]
fn an_async_worker_has_a_runtime_options_and_errors() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("file", "");
    let file = file.to_str().unwrap();
    let attribute = |arguments: &[&str]| run(&sandbox, "attribute_async", arguments).finish();
    let reason = "No such file or directory (os error 2)\n";
    attribute(&["start", "--file", "/nonexistent"]).expect_error(1, FAILED, &[reason]);
    attribute(&["start", "--file", file]).expect(0, OK, "");
    attribute(&["stop"]).expect(0, STOPPED, "");
    sandbox.expect_nobody();
}

/// The builder's settings, from its source: every public method of `Daemon` that takes it, and
/// perhaps a value, and gives it back.
fn settings_of_the_builder() -> (BTreeSet<String>, BTreeSet<String>) {
    let mut source = String::new();
    gather(&crates().join("daemonocle/src"), &mut source);
    let (mut values, mut flags) = (BTreeSet::new(), BTreeSet::new());
    for block in source.split("\nimpl Daemon {\n").skip(1) {
        let block = block.split("\n}\n").next().unwrap();
        // The head of each method, in one line.
        for method in block.split("\n    pub ").skip(1) {
            let head = method.split(['{', ';']).next().unwrap();
            let head = head.split_whitespace().collect::<Vec<_>>().join(" ");
            let (_, head) = head.split_once("fn ").unwrap();
            let (name, rest) = head.split_once(['(', '<']).unwrap();
            if !rest.contains("-> Self") || !rest.contains("self") {
                continue;
            }
            let is_flag = rest.contains("self)") || rest.contains("self, )");
            let kind = if is_flag { &mut flags } else { &mut values };
            kind.insert(name.to_owned());
        }
    }
    (values, flags)
}

fn crates() -> PathBuf {
    Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).parent().unwrap().to_owned()
}

fn gather(directory: &Path, source: &mut String) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, source);
        } else {
            source.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn everything_that_the_builder_can_be_told_is_an_argument() {
    let (values, flags) = settings_of_the_builder();
    let set = |names: &[&[&str]]| names.concat().iter().map(|name| (*name).to_owned()).collect();
    // A method that is new to the builder belongs into this list, and into `every_setting.rs`.
    let known: BTreeSet<_> = set(&[settings::VALUES, settings::CALLS, settings::WORKERS]);
    assert_eq!(values, known);
    assert_eq!(flags, set(&[settings::FLAGS]));

    let example = crates().join("daemonocle-tests/tests/attribute/fine/every_setting.rs");
    let example = std::fs::read_to_string(example).unwrap();
    for name in settings::all() {
        let is_there =
            ["= ", ",", "("].map(|next| format!("\n    {name}{next}").replace("= ", " = "));
        assert!(is_there.iter().any(|line| example.contains(line)), "{name}");
    }
}
