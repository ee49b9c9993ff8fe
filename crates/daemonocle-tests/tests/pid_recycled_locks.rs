//! Locks that somebody who is gone has left behind, under a number that is another process's by now: who may not
//! look at that one cannot know, and neither names nor signals it.

use daemonocle_tests::{
    Sandbox, program, put_up_sign, skip, skip_unless_root, skip_unless_there_is,
};

/// Runs in our own PID namespace: in others, the kernel does not tell the number of somebody who is gone. Root's
/// command may look at no process that may do more than itself.
const SCRIPT: &str = r#"
set -e
$LEAVE_LOCKS $LEAVE > left
pid=$(cat left)
stranger=0
trap 'kill $stranger' EXIT
echo $pid > "$NAMES"
until [ $stranger = $pid ]; do
    [ $stranger = 0 ] || kill $stranger
    echo $((pid - 1)) > /proc/sys/kernel/ns_last_pid
    sleep 600 > /dev/null 2>&1 &
    stranger=$!
done
echo recycled
for action in status start "stop --force --timeout 0"; do
    setpriv --bounding-set -sys_ptrace --inh-caps -sys_ptrace "$@" $action && code=0 || code=$?
    echo "$action: $code"
done
kill -0 $stranger && echo unharmed
"#;

/// The words of the actions, and the stranger's number.
fn run(name: &str, leave: &str, options: &[(&str, &str)]) -> Option<(String, String)> {
    if skip_unless_root(name) || skip_unless_there_is("setpriv", name) {
        return None;
    }
    let sandbox = Sandbox::new();
    let mut fixture = sandbox.fixture("ready").unset("hook_log");
    for (option, value) in options {
        fixture = fixture.set(option, value);
    }
    let pid_file = fixture.pid_file();
    let _sign = put_up_sign(&pid_file);
    let own = sandbox.write("own", "");
    let names = if leave.starts_with("OWN") { "/dev/null" } else { pid_file.to_str().unwrap() };
    let leave = leave.replace("PID_FILE", pid_file.to_str().unwrap());
    let leave = leave.replace("OWN", own.to_str().unwrap());
    let run = fixture
        .run(&[])
        .env("LEAVE_LOCKS", program("leave_locks"))
        .env("LEAVE", &leave)
        .env("LEAVE_FOR", &pid_file)
        .env("NAMES", names)
        .through(SCRIPT);
    let output = run.current_dir(sandbox.dir()).finish();
    for refusal in ["ns_last_pid", "setpriv: "] {
        if output.stderr.contains(refusal) {
            skip(name, output.stderr.trim());
            return None;
        }
    }
    assert!(output.code().is_some(), "{output:?}");
    let pid = sandbox.read("left").trim().to_owned();
    let (_, after) = output.stdout.split_once("recycled\n").unwrap();
    assert!(after.ends_with("unharmed\n"), "{output:?}");
    assert!(!after.contains("pid: "), "{output:?}");
    for action in ["status", "start", "stop --force --timeout 0"] {
        assert!(after.contains(&format!("{action}: 1\n")), "{action}: {output:?}");
    }
    assert!(!output.stderr.contains("already running"), "{output:?}");
    Some((output.stderr, pid))
}

/// One after the other, for they choose the next PID of the machine.
#[test]
fn a_stranger_with_the_number_of_somebody_who_has_left_his_locks() {
    const NAME: &str = "a_stranger_with_the_number_of_somebody_who_has_left_his_locks";
    // On a file of his own, as anybody can.
    let Some((stderr, pid)) = run(NAME, "OWN life", &[]) else { return };
    let why = format!("PID {pid} may be the daemon that has lost it");
    assert_eq!(stderr.matches(&why).count(), 3, "{stderr}");
    // By a worker of another user that has been taken over, on the PID file.
    let user = [("user", "12345"), ("group", "12345")];
    let Some((stderr, _)) = run(NAME, "PID_FILE claim life", &user) else { return };
    assert_eq!(stderr.matches("by a process that is not the daemon").count(), 3, "{stderr}");
}
