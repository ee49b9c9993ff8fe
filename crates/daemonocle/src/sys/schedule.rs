//! What the scheduler has been told about a process.

use std::io;

use super::check;
use super::process::Pid;

/// The nice value, getpriority(2): -20 to 19.
pub(crate) fn nice(pid: Pid) -> io::Result<i32> {
    Ok(rustix::process::getpriority_process(Some(pid.into()))?)
}

/// Class and level of the priority of input and output, ioprio_get(2).
pub(crate) fn io_priority(pid: Pid) -> io::Result<(i32, i32)> {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    const LEVEL_BITS: u32 = 13;
    // SAFETY: takes two numbers.
    let priority = check(unsafe {
        libc::syscall(libc::SYS_ioprio_get, IOPRIO_WHO_PROCESS, pid.get()) as libc::c_int
    })?;
    Ok((priority >> LEVEL_BITS, priority & ((1 << LEVEL_BITS) - 1)))
}

/// The processors that the main thread may run on, sched_getaffinity(2), in ascending order.
pub(crate) fn processors(pid: Pid) -> io::Result<Vec<u32>> {
    const MOST_WORDS: usize = 1 << 14;
    let mut mask: Vec<libc::c_ulong> = vec![0; 16];
    loop {
        let size = size_of_val(&mask[..]);
        // SAFETY: `mask` has room for `size` bytes for the whole call.
        let result = check(unsafe {
            let place = mask.as_mut_ptr();
            libc::syscall(libc::SYS_sched_getaffinity, pid.get(), size, place) as libc::c_int
        });
        match result {
            Ok(_) => return Ok(bits(&mask)),
            // The kernel knows of more processors than there was room for.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) && mask.len() < MOST_WORDS => {
                mask.resize(mask.len() * 4, 0);
            }
            Err(error) => return Err(error),
        }
    }
}

/// The numbers of the bits that are set.
fn bits(words: &[libc::c_ulong]) -> Vec<u32> {
    let per_word = libc::c_ulong::BITS;
    let is_set = |number: &u32| {
        let word = words.get((number / per_word) as usize);
        word.is_some_and(|word| word >> (number % per_word) & 1 == 1)
    };
    (0..per_word.saturating_mul(words.len() as u32)).filter(is_set).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_numbered_through_all_words() {
        assert!(bits(&[]).is_empty());
        assert_eq!(bits(&[0b101, 0, 1]), [0, 2, 2 * libc::c_ulong::BITS]);
        assert_eq!(bits(&[libc::c_ulong::MAX]).len(), libc::c_ulong::BITS as usize);
    }

    #[test]
    fn every_process_may_run_somewhere() {
        assert!(processors(Pid::current()).is_ok_and(|list| !list.is_empty()));
    }
}
