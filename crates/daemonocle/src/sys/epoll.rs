//! Waiting for any of many descriptors, epoll(7): one that is quiet costs nothing.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use super::retry;

/// Descriptors to be waited for, each with a number that its owner knows it by.
pub(crate) struct Many(OwnedFd);

impl Many {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(epoll::CreateFlags::CLOEXEC)?))
    }

    /// Adds one. It must be removed before it is closed: as long as another process has the same open
    /// file, nobody else does it.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, number: u64) -> io::Result<()> {
        let data = epoll::EventData::new_u64(number);
        Ok(epoll::add(&self.0, fd, data, epoll::EventFlags::IN)?)
    }

    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        Ok(epoll::delete(&self.0, fd)?)
    }

    /// Waits until some are readable, at their end, or broken: the numbers of these, though not of all of
    /// them if there are very many. None: `deadline` has passed, or a day.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> io::Result<Vec<u64>> {
        const AT_ONCE: usize = 256;
        /// More milliseconds than an int has would need epoll_pwait2(2), which is newer than what we promise
        /// to run on.
        const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
        let mut events = Vec::with_capacity(AT_ONCE);
        retry(|| {
            let left = deadline.map(|deadline| {
                let left = deadline.saturating_duration_since(Instant::now()).min(LONGEST);
                Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 })
            });
            Ok(epoll::wait(&self.0, spare_capacity(&mut events), left.as_ref())?)
        })?;
        Ok(events.into_iter().map(|event| event.data.u64()).collect())
    }
}
