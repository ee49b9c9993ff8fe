//! What is told in numbers: times, memory, users, input and output.

use std::io;

use super::{Entry, senseless};
use crate::sys::machine::{page_size, ticks_per_second};
use crate::sys::proc::{is_gone, read, sorted_numbers};

/// A thread, and the processor time that it has used in user and in kernel mode, in seconds.
pub(crate) type ThreadTimes = (i32, f64, f64);

impl Entry {
    /// Seconds of processor time: user, system, the same of the children that were waited for, and
    /// the time spent waiting for block devices.
    pub(crate) fn cpu_times(&self) -> io::Result<[f64; 5]> {
        let ticks = self.parse("stat", |text| stat_fields(text, [14, 15, 16, 17, 42]))?;
        Ok(ticks.map(seconds))
    }

    /// The processor it ran on last.
    pub(crate) fn processor(&self) -> io::Result<u64> {
        self.parse("stat", |text| stat_fields(text, [39]).map(|[number]| number))
    }

    /// Its controlling terminal as a device number; 0: none.
    pub(super) fn terminal_device(&self) -> io::Result<u64> {
        // A signed number, of which 32 bits count.
        let device = self.parse("stat", |text| stat_field(text, 7)?.parse::<i32>().ok())?;
        Ok(device.cast_unsigned().into())
    }

    /// When it was started, in seconds since 1970 by the clock on the wall as it is set now.
    pub(crate) fn create_time(&self) -> io::Result<f64> {
        let start = self.parse("stat", |text| stat_fields(text, [22]).map(|[ticks]| ticks))?;
        const PATH: &str = "/proc/stat";
        let boot = parse_boot_time(&read(PATH)?).ok_or_else(|| senseless(PATH))?;
        Ok(seconds(start) + boot as f64)
    }

    /// Bytes of memory: resident, virtual, shared, text, library, data, dirty.
    pub(crate) fn memory(&self) -> io::Result<[u64; 7]> {
        let pages = self.parse("statm", parse_pages)?;
        Ok(pages.map(|pages| pages.saturating_mul(page_size())))
    }

    /// Counts of calls to read and to write, bytes that storage had to read and to write, bytes
    /// that were asked for.
    pub(crate) fn io_counters(&self) -> io::Result<[u64; 6]> {
        self.parse("io", parse_io)
    }

    /// How often it gave the processor away, and how often that was taken from it.
    pub(crate) fn context_switches(&self) -> io::Result<[u64; 2]> {
        self.parse("status", parse_switches)
    }

    /// Real, effective and saved user.
    pub(crate) fn users(&self) -> io::Result<[u32; 3]> {
        self.parse("status", |text| first_three(text, "Uid:"))
    }

    /// Real, effective and saved group.
    pub(crate) fn groups(&self) -> io::Result<[u32; 3]> {
        self.parse("status", |text| first_three(text, "Gid:"))
    }

    /// Its threads, in the order of their numbers.
    pub(crate) fn threads(&self) -> io::Result<Vec<ThreadTimes>> {
        let mut threads = Vec::new();
        for id in sorted_numbers(&self.path("task"))? {
            match self.parse(&format!("task/{id}/stat"), |text| stat_fields(text, [14, 15])) {
                Ok([user, system]) => threads.push((id, seconds(user), seconds(system))),
                // It has ended since the list was made.
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(threads)
    }
}

/// Clock ticks in seconds.
fn seconds(ticks: u64) -> f64 {
    ticks as f64 / ticks_per_second() as f64
}

/// Field `n` of /proc/PID/stat as proc(5) counts them, one behind the command name at least.
fn stat_field(text: &str, n: usize) -> Option<&str> {
    text.rsplit_once(')')?.1.split_ascii_whitespace().nth(n.checked_sub(3)?)
}

fn stat_fields<const N: usize>(text: &str, fields: [usize; N]) -> Option<[u64; N]> {
    let mut values = [0; N];
    for (value, n) in values.iter_mut().zip(fields) {
        *value = stat_field(text, n)?.parse().ok()?;
    }
    Some(values)
}

fn parse_boot_time(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// The order of psutil: the first two are the other way round in the file.
fn parse_pages(statm: &str) -> Option<[u64; 7]> {
    let mut words = statm.split_ascii_whitespace();
    let mut pages = [0; 7];
    for count in &mut pages {
        *count = words.next()?.parse().ok()?;
    }
    pages.swap(0, 1);
    Some(pages)
}

fn parse_io(text: &str) -> Option<[u64; 6]> {
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        line.trim().parse().ok()
    };
    Some([
        value("syscr")?,
        value("syscw")?,
        value("read_bytes")?,
        value("write_bytes")?,
        value("rchar")?,
        value("wchar")?,
    ])
}

fn parse_switches(status: &str) -> Option<[u64; 2]> {
    let count = |key| numbers_after(status, key)?.first().copied();
    Some([count("voluntary_ctxt_switches:")?, count("nonvoluntary_ctxt_switches:")?])
}

fn numbers_after(status: &str, key: &str) -> Option<Vec<u64>> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_ascii_whitespace().map(|word| word.parse().ok()).collect()
}

fn first_three(status: &str, key: &str) -> Option<[u32; 3]> {
    let [first, second, third, ..] = numbers_after(status, key)?[..] else { return None };
    let number = |number| u32::try_from(number).ok();
    Some([number(first)?, number(second)?, number(third)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::proc::model;

    const STAT: &str = "42 (a) b (c) S 7 42 42 -2 -1 4194560 1 0 0 0 11 12 13 14 20 0 3 0 123456 1 \
                        2 0 0 0 0 0 0 0 0 0 0 0 0 0 17 5 0 0 9 0 0";
    const STATUS: &str = "Name:\ta\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n\
                          voluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t3\n";
    const IO: &str = "rchar: 5\nwchar: 6\nsyscr: 1\nsyscw: 2\nread_bytes: 3\nwrite_bytes: 4\n\
                      cancelled_write_bytes: 9\n";

    #[test]
    fn the_fields_of_stat_are_those_of_the_manual() {
        assert_eq!(stat_fields(STAT, [14, 15, 16, 17, 42]), Some([11, 12, 13, 14, 9]));
        assert_eq!(stat_fields(STAT, [39, 22]), Some([5, 123_456]));
        assert_eq!(stat_field(STAT, 7), Some("-2"));
        assert_eq!(stat_field(STAT, 2), None);
        assert_eq!(stat_fields(STAT, [99]), None);
    }

    #[test]
    fn resident_memory_comes_first() {
        assert_eq!(parse_pages("1 2 3 4 5 6 7\n"), Some([2, 1, 3, 4, 5, 6, 7]));
        assert_eq!(parse_pages("1 2 3"), None);
    }

    #[test]
    fn counters_are_found_by_their_names() {
        assert_eq!(parse_io(IO), Some([1, 2, 3, 4, 5, 6]));
        assert_eq!(parse_boot_time("cpu 1 2\nbtime 1700000000\n"), Some(1_700_000_000));
        assert_eq!(first_three(STATUS, "Gid:"), Some([5, 6, 7]));
        assert_eq!(parse_switches(STATUS), Some([12, 3]));
        let many = STATUS.replace("\t12\n", "\t9000000000\n");
        assert_eq!(parse_switches(&many), Some([9_000_000_000, 3]), "50 days of 2000 a second");
    }

    #[test]
    fn every_prefix_is_refused_or_parsed() {
        for end in 0..=STAT.len() {
            let _ = stat_fields(&STAT[..end], [7, 14, 42]);
        }
        for end in 0..=STATUS.len() {
            let _ = first_three(&STATUS[..end], "Uid:");
        }
        for end in 0..=IO.len() {
            let _ = parse_io(&IO[..end]);
        }
        assert_eq!(first_three("Uid:\tx\ty\tz", "Uid:"), None);
        assert_eq!(parse_boot_time("btime -1"), None);
    }

    #[test]
    fn fuzz_status_numbers() {
        crate::fuzz::hold_text("status", |text| {
            for key in ["Uid:", "Gid:", "voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"] {
                let words = model::words_after(text, key);
                let all = words.and_then(|words| {
                    words.into_iter().map(model::number_u64).collect::<Option<Vec<u64>>>()
                });
                assert_eq!(numbers_after(text, key), all);
                let three = all.filter(|all| {
                    all.len() >= 3 && all[..3].iter().all(|number| *number < 1 << 32)
                });
                let three = three.map(|all| [all[0], all[1], all[2]].map(|number| number as u32));
                assert_eq!(first_three(text, key), three);
            }
        });
    }

    #[test]
    fn fuzz_numbers() {
        crate::fuzz::hold_text("statm_io", |text| {
            let _ = (parse_pages(text), parse_io(text), parse_boot_time(text));
        });
        crate::fuzz::hold_text("stat", |text| {
            let _ = stat_fields(text, [14, 15, 22, 39]);
            assert!(stat_field(text, 2).is_none());
        });
    }
}
