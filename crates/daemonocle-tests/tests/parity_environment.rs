//! The same cases with the original and with ours: what the daemon's process and its files look like.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use daemonocle_tests::{
    Pid, Side, both, descriptors, eventually, is_alive, is_root, limit, skip, skip_unless_root,
    stat, status_field,
};
use rustix::fs::{CWD, FileType, makedev, mknodat};

const STARTED: &str = "Starting example ... OK\n";
const NOT_STARTED: &str = "Starting example ... FAILED\n";
const STOPPED: &str = "Stopping example ... OK\n";
const GONE: &str = "All children are gone. Parent is exiting...\n";

#[test]
fn files_and_their_modes() {
    for (umask, modes) in [
        (None, [0o644, 0o755, 0o644, 0o755]),
        (Some("027"), [0o640, 0o750, 0o640, 0o750]),
        (Some("077"), [0o600, 0o700, 0o600, 0o700]),
    ] {
        both("files_and_their_modes", "print", |it| {
            let at = |name| it.sandbox().path(name);
            let it = it.set("pid_file", at("run/example.pid"));
            let it = it.set("stdout", at("log/out")).set("stderr", at("log/out"));
            let it =
                umask.map_or_else(|| it.set("name", "example"), |umask| it.set("umask", umask));
            it.does(&["start"], 0, STARTED, "");
            let names = ["run/example.pid", "run", "log/out", "log"];
            let mode =
                |name| it.sandbox().path(name).metadata().unwrap().permissions().mode() & 0o7777;
            assert_eq!(names.map(mode), modes, "{}", it.name());
            assert_eq!(it.sandbox().read("log/out"), "out\nerr\n", "{}", it.name());
            it.does(&["restart"], 0, &format!("{STOPPED}{STARTED}"), "");
            it.does(&["stop"], 0, STOPPED, "");
            let log = it.sandbox().read("log/out");
            assert!(log.starts_with("out\nerr\n") && log.ends_with("out\nerr\n"), "{log}");
            assert_eq!(fs::read_dir(it.sandbox().path("run")).unwrap().count(), 0);
        });
    }
}

#[test]
fn two_output_files() {
    both("two_output_files", "print", |it| {
        let it = it.set("stdout", it.sandbox().path("out")).set("stderr", it.sandbox().path("err"));
        it.does(&["start"], 0, STARTED, "");
        let read = |name| it.sandbox().read(name);
        assert_eq!([read("out"), read("err")], ["out\n", "err\n"], "{}", it.name());
        // In the foreground they are not used.
        it.does(&["stop"], 0, STOPPED, "");
        let running = it.foreground();
        running.says("out\n");
        eventually("it is asleep", || stat(it.pid()).is_some_and(|stat| stat.state == 'S'));
        it.does(&["stop"], 0, STOPPED, "");
        let output = running.finish();
        assert_eq!(output.stdout, format!("{STARTED}out\n{GONE}"), "{}", it.name());
        assert_eq!(output.stderr, "err\n", "{}", it.name());
        assert_eq!([read("out"), read("err")], ["out\n", "err\n"], "{}", it.name());
    });
}

#[test]
fn a_place_in_the_system() {
    both("a_place_in_the_system", "sleep", |it| {
        it.does(&["start"], 0, STARTED, "");
        let daemon = stat(it.pid()).unwrap();
        let caller = stat(std::process::id().cast_signed()).unwrap();
        assert!(daemon.session != caller.session && daemon.terminal == 0, "{}", it.name());
        assert_ne!(daemon.session, daemon.pid, "{}", it.name());
        assert!(!is_alive(daemon.session), "{}", it.name());
        // Ours leads a group, so that who cleans up after it meets nobody else.
        let group = it.pick(daemon.pid, daemon.session);
        assert_eq!(daemon.group, group, "{}", it.name());
        let cwd = fs::read_link(format!("/proc/{}/cwd", daemon.pid)).unwrap();
        assert_eq!(cwd.to_str(), Some("/"), "{}", it.name());
        eventually("its streams lead nowhere", || {
            let open = descriptors(daemon.pid);
            (0..=2).all(|number| open[&number] == "/dev/null")
        });
        assert_eq!(limit(daemon.pid, "Max core file size"), "0");
        assert_eq!(status_field(daemon.pid, "Umask"), "0022");
    });
}

#[test]
fn open_files() {
    both("open_files", "sleep", |it| {
        let files = |it: &Side<'_>| {
            let dir = format!("{}/", it.sandbox().dir().display());
            let mut files: Vec<_> =
                descriptors(it.pid()).into_values().filter(|path| path.starts_with(&dir)).collect();
            files.sort();
            files.iter().map(|path| path[dir.len()..].to_owned()).collect::<Vec<_>>()
        };
        let open = it.sandbox().write("open", "");
        let script = format!("exec 9< '{}'; exec \"$@\"", open.display());
        let start = |it: &Side<'_>| {
            it.came_to(&it.run(&["start"]).through(&script).finish(), None, (0, STARTED, ""));
        };
        start(it);
        assert_eq!(files(it), ["example.pid", "open"], "{}", it.name());
        it.does(&["stop"], 0, STOPPED, "");
        let it = it.set("close", "1");
        start(&it);
        assert_eq!(files(&it), ["example.pid"], "{}", it.name());
        it.does(&["stop"], 0, STOPPED, "");
    });
}

#[test]
fn directories_that_are_none() {
    both("directories_that_are_none", "sleep", |it| {
        let file = it.sandbox().write("file", "");
        for (item, path, words) in [
            ("work_dir", it.sandbox().path("none"), "No such file or directory"),
            ("work_dir", file.clone(), "Not a directory"),
            ("chroot", it.sandbox().path("none"), "No such file or directory"),
            ("chroot", file, "Not a directory"),
        ] {
            let it = it.set(item, &path);
            let output = it.run(&["start"]).finish();
            let said = (output.code(), &*output.stdout, output.stderr.contains("Traceback"));
            let wanted = it.pick((Some(1), NOT_STARTED, false), (Some(1), "", true));
            assert_eq!(said, wanted, "{}: {output:?}", it.name());
            let named =
                output.stderr.contains(words) && output.stderr.contains(path.to_str().unwrap());
            assert!(named, "{}: {output:?}", it.name());
        }
        it.sandbox().expect_nobody();
    });
}

#[test]
fn privileges_that_one_has_not() {
    both("privileges_that_one_has_not", "sleep", |it| {
        let it = it.unset("pid_file").unset("hook_log");
        let it = &it;
        for it in [it.set("chroot", it.sandbox().dir()), it.set("user", "0").set("group", "0")] {
            let it = it.for_everybody();
            let mut run = it.run(&["start"]);
            if is_root() {
                run = run.through("exec \"$@\"").as_user(12345, 12345);
            }
            let output = run.finish();
            if it.is_original() && [Some(126), Some(127)].contains(&output.code()) {
                return skip("privileges_that_one_has_not", "that Python is not for every user");
            }
            assert_eq!(output.code(), Some(1), "{}: {output:?}", it.name());
            let told = output.stderr.contains("Operation not permitted");
            assert!(told, "{}: {output:?}", it.name());
            assert_eq!(output.stdout, it.pick(NOT_STARTED, "Starting example ... "));
        }
        it.sandbox().expect_nobody();
    });
}

#[test]
fn another_root_directory() {
    if skip_unless_root("another_root_directory") {
        return;
    }
    for foreground in [false, true] {
        both("another_root_directory", "print", |it| {
            let root = it.sandbox().make_dir("root", 0o755);
            if it.is_original() {
                let null = it.sandbox().make_dir("root/dev", 0o755).join("null");
                let kind = FileType::CharacterDevice;
                if mknodat(CWD, &null, kind, 0o666.into(), makedev(1, 3)).is_err() {
                    return skip("another_root_directory", "the original needs a dev/null there");
                }
            }
            let it = it.set("chroot", &root).set("pid_file", "example.pid").set("close", "1");
            let it = it.set("stdout", "out").set("stderr", "err").unset("hook_log");
            let running = foreground.then(|| it.run(&["start", "--debug"]).spawn());
            match &running {
                Some(running) => running.says("out\n"),
                None => it.does(&["start"], 0, STARTED, ""),
            }
            let pid: Pid = it.sandbox().read("root/example.pid").trim().parse().unwrap();
            let link = |name: &str| fs::read_link(format!("/proc/{pid}/{name}")).unwrap();
            assert_eq!([link("root"), link("cwd")], [root.clone(), root.clone()], "{}", it.name());
            let written = [it.sandbox().read("root/out"), it.sandbox().read("root/err")];
            let wanted = if foreground { ["", ""] } else { ["out\n", "err\n"] };
            assert_eq!(written, wanted, "{}", it.name());
            it.does(&["stop"], 0, STOPPED, "");
            assert!(!is_alive(pid) && !root.join("example.pid").exists(), "{}", it.name());
            if let Some(running) = running {
                let output = running.finish();
                assert_eq!(output.stdout, format!("{STARTED}out\n{GONE}"), "{}", it.name());
            }
        });
    }
}

#[test]
fn another_user() {
    if skip_unless_root("another_user") {
        return;
    }
    both("another_user", "sleep", |it| {
        let it = it.unset("hook_log").set("user", "12345").set("group", "54321");
        let it = it.set("pid_file", it.sandbox().path("run/example.pid"));
        it.does(&["start"], 0, STARTED, "");
        for (field, id) in [("Uid", "12345"), ("Gid", "54321")] {
            let ids = status_field(it.pid(), field);
            assert!(ids.split_whitespace().all(|one| one == id), "{}: {ids}", it.name());
        }
        let meta = it.sandbox().path("run").metadata().unwrap();
        let owner = (meta.uid(), meta.gid());
        assert_eq!(owner, (12345, 54321), "{}", it.name());
        it.does(&["stop"], 0, STOPPED, "");
        assert!(!it.has_pid_file());
    });
}

#[test]
fn a_layout() {
    both("a_layout", "print", |it| {
        let prefix = it.sandbox().path("srv");
        let it = it.unset("pid_file").set("layout", &prefix).set("log_prefix", "x-");
        let it = it.set("work_dir", &prefix);
        it.does(&["start"], 0, STARTED, "");
        let pid: Pid = it.sandbox().read("srv/run/example.pid").trim().parse().unwrap();
        assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), prefix, "{}", it.name());
        assert_eq!(it.sandbox().read("srv/log/x-out.log"), "out\n", "{}", it.name());
        assert_eq!(it.sandbox().read("srv/log/x-err.log"), "err\n", "{}", it.name());
        it.does(&["stop"], 0, STOPPED, "");
        let left = fs::read_dir(prefix.join("run")).unwrap().count();
        assert_eq!(left, 0, "{}", it.name());
    });
}

#[test]
fn another_program() {
    both("another_program", "none", |it| {
        let it = it.set("exec", "sleep\n600");
        let output = it.run(&["--help"]).finish();
        let told = output.stdout.contains("Run \"sleep\" as a daemon.");
        assert!(told && output.code() == Some(0), "{}: {output:?}", it.name());
        it.does(&["start"], 0, STARTED, "");
        let status = it.run(&["status"]).finish();
        let line = format!("example -- pid: {}, status: sleeping, uptime: 0m, ", it.pid());
        assert!(status.stdout.starts_with(&line), "{}: {status:?}", it.name());
        let cmdline = fs::read(format!("/proc/{}/cmdline", it.pid())).unwrap();
        assert_eq!(cmdline, b"sleep\x00600\0", "{}", it.name());
        it.does(&["stop"], 0, STOPPED, "");
        assert_eq!(it.fixture.hook_log(), it.pick("143|Terminated by SIGTERM (15)\n", ""));
        let it = it.set("exec", "/bin/echo\nhello world").set("detach", "never");
        let words = format!("{STARTED}hello world\n{GONE}");
        it.does(&["start"], 0, &words, "");
        it.does(&["status"], 1, "example -- not running\n", "");
    });
}
