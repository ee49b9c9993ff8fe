//! The daemon dies, and its PID is somebody else's, after an action has found it and before it is signalled:
//! the signal is for the one that was found.

use daemonocle_tests::{RECYCLE, Sandbox, skip, skip_unless_root, skip_unless_there_is};

/// Runs inside a PID namespace of its own, where the next PID can be chosen. It goes on when this moment of
/// the action has come.
const SCRIPT: &str = r#"
set -e
"$@" start
pid=$(cat "$FIXTURE_PID_FILE")
strace -D -o calls $STRACE "$@" $ACTION &
action=$!
until grep -qs -e "$MOMENT" -e 'exited with' calls; do :; done
grep -q "$MOMENT" calls || { echo over; exit; }
kill -KILL $pid 2> /dev/null || true
while [ -e /proc/$pid ]; do :; done
recycle
kill -CONT $action
wait $action && code=0 || code=$?
[ "$ACTION" != restart ] || "$@" stop
kill -0 $stranger
echo "unharmed $code"
"#;

/// A moment of an action.
struct Moment {
    /// How strace brings it about, ...
    strace: String,
    /// ... and tells that it has come.
    told: &'static str,
}

impl Moment {
    /// When a call has been made for this time.
    fn after(call: &str, when: u32) -> Self {
        Self {
            strace: format!("-e trace={call} -e inject={call}:signal=SIGSTOP:when={when}"),
            told: "stopped by SIGSTOP",
        }
    }
}

/// What has come of an action.
#[derive(Debug, PartialEq, Eq)]
enum Come {
    /// It cannot be tried here, which has been said.
    Skipped,
    /// The moment has not come.
    Over,
    /// This exit code.
    Code(u8),
}

/// That nobody is harmed, whatever comes of the action.
fn unharmed(name: &str, worker: &str, action: &str, moment: &Moment) -> Come {
    if skip_unless_root(name)
        || skip_unless_there_is("unshare", name)
        || skip_unless_there_is("strace", name)
    {
        return Come::Skipped;
    }
    let sandbox = Sandbox::new();
    let fixture = sandbox.fixture(worker).set("before", "init").set("on_hup", "yes");
    let run = fixture.run(&[]).env("ACTION", action);
    let run = run
        .env("STRACE", &moment.strace)
        .env("MOMENT", moment.told)
        .through(&[RECYCLE, SCRIPT].concat());
    let program = fixture.program().to_str().unwrap();
    let unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", program];
    let output = run.under(&unshare).current_dir(sandbox.dir()).finish();
    for refusal in ["unshare: ", "strace: "] {
        if output.stderr.contains(refusal) {
            skip(name, output.stderr.trim());
            return Come::Skipped;
        }
    }
    let case = format!("{action}, {}: {output:?}", moment.strace);
    assert_eq!(output.code(), Some(0), "{case}");
    let Some((_, after)) = output.stdout.split_once("recycled\n") else {
        assert!(output.stdout.ends_with("over\n"), "{case}");
        return Come::Over;
    };
    let code = after.rsplit_once("unharmed ").and_then(|(_, code)| code.trim_end().parse().ok());
    Come::Code(code.unwrap_or_else(|| panic!("{case}")))
}

/// The same, after each of these calls; and this is the exit code.
#[track_caller]
fn expect(name: &str, worker: &str, action: &str, calls: &[&str], code: u8) {
    for call in calls {
        match unharmed(name, worker, action, &Moment::after(call, 1)) {
            Come::Skipped => return,
            come => assert_eq!(come, Come::Code(code), "{call}"),
        }
    }
}

/// There is a pidfd, and it is not known yet whose; it is the daemon's, which is being told; it has been
/// signalled.
const CALLS: [&str; 3] = ["pidfd_open", "write", "pidfd_send_signal"];

#[test]
fn a_stop() {
    expect("a_stop", "ready", "stop", &CALLS, 0);
}

#[test]
fn a_stop_by_force() {
    expect("a_stop_by_force", "stubborn", "stop --force --timeout 0", &CALLS, 0);
}

/// It has been asked to end, has not ended, and is to be killed.
#[test]
fn a_stop_that_kills() {
    let slow = "pidfd_send_signal:delay_enter=500ms:when=2 -e inject=kill:delay_enter=500ms";
    let moment = Moment {
        strace: format!("-e trace=ppoll,pidfd_send_signal,kill -e inject={slow}"),
        told: "ppoll(.*Timeout",
    };
    let come = unharmed("a_stop_that_kills", "stubborn", "stop --force --timeout 0", &moment);
    assert!([Come::Skipped, Come::Code(0)].contains(&come), "{come:?}");
}

#[test]
fn a_restart() {
    expect("a_restart", "ready", "restart", &CALLS, 0);
}

/// One that has been asked may have a successor by then.
#[test]
fn a_reload() {
    expect("a_reload", "ready", "reload", &CALLS[..2], 1);
}

/// Between any two looks at the locks of the PID file, of which one has told the PID.
#[test]
fn while_it_is_looked_for() {
    /// More than there are looks.
    const MOST: u32 = 50;
    for action in ["stop", "reload"] {
        let mut codes = Vec::new();
        for when in 1..MOST {
            match unharmed("while_it_is_looked_for", "ready", action, &Moment::after("fcntl", when))
            {
                Come::Skipped => return,
                Come::Over => break,
                Come::Code(code) => codes.push(code),
            }
        }
        assert!(!codes.is_empty() && codes.len() < MOST as usize - 1, "{action}: {codes:?}");
        assert!(codes.iter().all(|code| [0, 1].contains(code)), "{action}: {codes:?}");
    }
}
