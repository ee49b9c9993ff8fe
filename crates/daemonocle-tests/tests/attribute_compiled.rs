//! What the compiler says of `#[daemonocle::main]`: nothing where it is used as it should be, and
//! elsewhere where the mistake is and what to write instead.
//!
//! The programs are in `attribute/`, what is said of the wrong ones in a file `.stderr` beside them;
//! with `BLESS=1` in the environment the test writes these, to be read before they are committed.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use daemonocle_tests::{Sandbox, skip};
use serde_json::Value;

/// What the compiler has to be told for programs that use daemonocle, clap and tokio.
struct Dependencies(Vec<OsString>);

impl Dependencies {
    /// Lets Cargo compile them, as far as it has not already, for one of the examples.
    fn of(example: &[&str]) -> Self {
        let mut cargo = Command::new(cargo().unwrap());
        cargo.args(["check", "--quiet", "--message-format=json", "--package=daemonocle"]);
        let output = cargo.args(example).current_dir(directory()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{cargo:?}: {stderr}");
        let stdout = String::from_utf8(output.stdout).unwrap();
        let messages = stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let artifacts = messages.filter(|message| message["reason"] == "compiler-artifact");
        let mut words = Vec::new();
        let mut places = BTreeSet::new();
        for artifact in artifacts {
            let files = artifact["filenames"].as_array().unwrap();
            for file in files.iter().map(|file| Path::new(file.as_str().unwrap())) {
                places.insert(file.parent().unwrap().to_owned());
                let name = artifact["target"]["name"].as_str().unwrap();
                let is_metadata = file.extension().is_some_and(|ending| ending == "rmeta");
                if is_metadata && ["daemonocle", "clap", "tokio"].contains(&name) {
                    words.extend(["--extern".into(), join(&[name, "="], file)]);
                }
            }
        }
        assert!(words.len() >= 4, "{stdout}");
        for place in places {
            words.extend(["-L".into(), join(&["dependency="], &place)]);
        }
        Self(words)
    }

    fn with_tokio() -> &'static Self {
        static IT: OnceLock<Dependencies> = OnceLock::new();
        IT.get_or_init(|| Self::of(&["--example=tokio_echo", "--features=tokio"]))
    }

    fn without_tokio() -> &'static Self {
        static IT: OnceLock<Dependencies> = OnceLock::new();
        IT.get_or_init(|| Self::of(&["--example=hello"]))
    }

    /// What the compiler says of a program, if anything.
    fn compile(&self, program: &Path) -> String {
        let sandbox = Sandbox::new();
        // The one that Cargo uses, or else whichever is there.
        let rustc = Path::new(&cargo().unwrap()).with_file_name("rustc");
        let mut rustc = Command::new(if rustc.is_file() { &rustc } else { Path::new("rustc") });
        rustc.args(["--edition=2024", "--crate-name=example", "--emit=metadata"]);
        rustc.args(["--error-format=json", "--out-dir"]).arg(sandbox.dir());
        let output = rustc.args(&self.0).arg(program).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        let said = stderr.lines().map(|line| serde_json::from_str(line).expect(line));
        let said: String = said.filter_map(|message| describe(&message)).collect();
        let has_failed = said.lines().any(|line| line.starts_with("error"));
        assert_eq!(output.status.success(), !has_failed, "{program:?}: {stderr}");
        said
    }
}

fn join(words: &[&str], path: &Path) -> OsString {
    let mut all = OsString::from(words.concat());
    all.push(path);
    all
}

fn cargo() -> Option<OsString> {
    std::env::var_os("CARGO")
}

fn directory() -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap())
}

/// The programs in one of the directories.
fn programs(of: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory().join("tests/attribute").join(of)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut programs: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|ending| ending == "rs")).collect();
    programs.sort();
    assert!(!programs.is_empty());
    programs
}

/// An error or a warning, and the places that it is about; what else the compiler has to say of it
/// differs from one version to the next.
fn describe(message: &Value) -> Option<String> {
    let places: Vec<_> =
        message["spans"].as_array()?.iter().filter(|place| place["is_primary"] == true).collect();
    // That so and so many errors were found.
    if places.is_empty() {
        return None;
    }
    let level = message["level"].as_str()?;
    let code = message["code"]["code"].as_str().map(|code| format!("[{code}]"));
    let code = code.filter(|_| level == "error").unwrap_or_default();
    let mut text = format!("{level}{code}: {}\n", message["message"].as_str()?);
    for place in places {
        let label = place["label"].as_str().unwrap_or_default();
        for (number, line) in (place["line_start"].as_u64()?..).zip(place["text"].as_array()?) {
            let begin = line["highlight_start"].as_u64()? as usize - 1;
            let end = line["highlight_end"].as_u64()? as usize - 1;
            let carets = "^".repeat(end - begin);
            let code = line["text"].as_str()?;
            let under = format!("   | {}{carets} {label}", " ".repeat(begin));
            text.push_str(&format!("{number:2} | {code}\n{}\n", under.trim_end()));
        }
    }
    text.push('\n');
    Some(text)
}

/// Compares what the compiler says with what it is to say.
fn expect(dependencies: &Dependencies, programs: &[PathBuf]) {
    let mut wrong = String::new();
    for program in programs {
        let is = dependencies.compile(program);
        let file = program.with_extension("stderr");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&file, &is).unwrap();
        }
        let wanted = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(is.contains("error"), "it is no mistake any more: {program:?}");
        if is != wanted {
            wrong.push_str(&format!("{}\nis:\n{is}\nwanted:\n{wanted}\n", program.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn skip_without_cargo(name: &str) -> bool {
    if cargo().is_none() {
        skip(name, "needs to be run by Cargo, for the compiler");
    }
    cargo().is_none()
}

#[test]
fn a_mistake_is_named_at_its_place_with_the_way_out() {
    if skip_without_cargo("a_mistake_is_named_at_its_place_with_the_way_out") {
        return;
    }
    expect(Dependencies::with_tokio(), &programs("mistakes"));
}

#[test]
fn an_async_worker_without_the_feature_is_told_which_one() {
    if skip_without_cargo("an_async_worker_without_the_feature_is_told_which_one") {
        return;
    }
    expect(Dependencies::without_tokio(), &programs("mistakes_without_tokio"));
}

#[test]
fn every_form_of_a_worker_compiles_without_a_word() {
    if skip_without_cargo("every_form_of_a_worker_compiles_without_a_word") {
        return;
    }
    for program in programs("fine") {
        assert_eq!(Dependencies::with_tokio().compile(&program), "", "{program:?}");
    }
}
