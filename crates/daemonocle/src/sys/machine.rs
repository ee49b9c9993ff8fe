//! What the machine measures in: its clocks, and its units.

use std::mem::MaybeUninit;
use std::time::Duration;

/// What a clock says, clock_gettime(2). May be called by a signal handler, and leaves `errno` alone.
pub(crate) fn now(clock: libc::clockid_t) -> Duration {
    let mut now = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: it is a place for a time. Neither that nor a clock that every kernel has can fail.
    unsafe { libc::clock_gettime(clock, now.as_mut_ptr()) };
    // SAFETY: it was a valid time before, too: of integers, all zero.
    let now = unsafe { now.assume_init() };
    // The clocks that are asked here count from 0 on, and nanoseconds are less than a billion.
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}

/// How many clock ticks, in which /proc counts (proc(5)), are a second: at least one.
pub(crate) fn ticks_per_second() -> u64 {
    configured(libc::_SC_CLK_TCK)
}

/// How many bytes a page of memory has.
pub(crate) fn page_size() -> u64 {
    configured(libc::_SC_PAGESIZE)
}

/// How many bytes of memory there are, sysinfo(2).
pub(crate) fn memory() -> u64 {
    let mut info = MaybeUninit::<libc::sysinfo>::zeroed();
    // SAFETY: it is a place for the answer, and the call cannot fail otherwise.
    unsafe { libc::sysinfo(info.as_mut_ptr()) };
    // SAFETY: it was valid before, too: of integers, all zero.
    let info = unsafe { info.assume_init() };
    info.totalram.saturating_mul(info.mem_unit.into())
}

/// A number that the C library has from the kernel, sysconf(3).
fn configured(name: libc::c_int) -> u64 {
    // SAFETY: takes a number; one that is not known is answered by -1.
    u64::try_from(unsafe { libc::sysconf(name) }).unwrap_or(0).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_go_forward_and_units_are_known() -> std::io::Result<()> {
        let before = now(libc::CLOCK_MONOTONIC);
        assert!(before > Duration::ZERO && now(libc::CLOCK_MONOTONIC) >= before);
        assert!(now(libc::CLOCK_BOOTTIME) >= before);
        let told = |name| -> std::io::Result<Option<u64>> {
            let output = std::process::Command::new("getconf").arg(name).output()?;
            Ok(String::from_utf8_lossy(&output.stdout).trim().parse().ok())
        };
        assert_eq!(told("PAGESIZE")?, Some(page_size()));
        assert_eq!(told("CLK_TCK")?, Some(ticks_per_second()));
        assert_eq!(told("_PHYS_PAGES")?, Some(memory() / page_size()));
        Ok(())
    }
}
