#!/bin/sh
# How small: the sizes of the release builds with and without the command line, and what an idle
# daemon costs. Needs strace. Prints the figures; exits with 1 if one is over its limit.
#
# usage: crates/daemonocle-tests/benches/size.sh
set -eu
cd "$(dirname "$0")/../../.."
bad=0

# check WHAT FIGURE LIMIT UNIT
check() {
    verdict=ok
    [ "$2" -le "$3" ] || { verdict="over the limit"; bad=1; }
    printf '%-44s %9s of %9s %-8s %s\n' "$1" "$2" "$3" "$4" "$verdict"
}

target=${CARGO_TARGET_DIR:-target}/release/examples
cargo build --quiet --release --package daemonocle --example hello
check "hello, with the command line" "$(wc -c <"$target/hello")" 1000000 bytes
cargo build --quiet --release --package daemonocle --no-default-features --example library
check "library, without the command line" "$(wc -c <"$target/library")" 450000 bytes

# Pages of a file not yet on disk count as dirty in every process that maps them.
sync "$target/hello"
TMPDIR=$(mktemp -d)
export TMPDIR
trap '"$target/hello" stop --timeout 5 --force >/dev/null 2>&1; rm -rf "$TMPDIR"' EXIT
"$target/hello" start >/dev/null
pid=$(cat "$TMPDIR/hello.pid")
# Each thread is shown in the call that it was in before we looked; none of them may return.
timeout 10 strace -f -qq -o "$TMPDIR/calls" -p "$pid" || [ $? = 124 ]
sed 's/^/    /' "$TMPDIR/calls"
check "idle: system calls in ten seconds" "$(grep -c ' = ' "$TMPDIR/calls" || true)" 0 calls
check "idle: threads" "$(ls "/proc/$pid/task" | wc -l)" 2 threads
kib() { awk -v key="$1:" '$1 == key { print $2 }' "/proc/$pid/smaps_rollup"; }
dirty=$(kib Private_Dirty)
clean=$(kib Private_Clean)
check "idle: private memory, dirty" "$dirty" 400 KiB
check "idle: private memory, with the program's text" "$((dirty + clean))" 400 KiB
exit $bad
