//! Descriptors: waiting on them, the standard streams, and getting rid of the others.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::FdFlags;
use rustix::net::RecvFlags;

use super::fs::{Inode, Meta};
use super::process::Pid;
use super::{check, persist, retry};

/// Waits until one of `fds` is readable, at its end, or broken, poll(2); tells which are.
///
/// `None` in `fds` is passed over. All `false`: `deadline` has passed (`None`: there is none).
pub(crate) fn wait_readable<const N: usize>(
    fds: [Option<BorrowedFd<'_>>; N],
    deadline: Option<Instant>,
) -> io::Result<[bool; N]> {
    let mut polled = fds.map(|fd| libc::pollfd {
        // A negative number is passed over.
        fd: fd.map_or(-1, |fd| fd.as_raw_fd()),
        events: libc::POLLIN,
        revents: 0,
    });
    persist(|| poll(&mut polled, deadline))?;
    Ok(polled.map(|polled| polled.revents != 0))
}

fn poll(polled: &mut [libc::pollfd], deadline: Option<Instant>) -> io::Result<()> {
    let count = polled.len() as libc::nfds_t;
    retry(|| {
        let left = deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            libc::timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(libc::time_t::MAX),
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        let left = left.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let mask = std::ptr::null();
        // SAFETY: `polled` has `count` entries, whose descriptors are open (borrowed by the only
        // caller); `left` is null or a valid time for the whole call, and a null mask is none.
        check(unsafe { libc::ppoll(polled.as_mut_ptr(), count, left, mask) })
    })
    .map(drop)
}

/// The moment `wait` from now; `None`, which means never, if the clock cannot express it.
pub(crate) fn deadline_in(wait: Duration) -> Option<Instant> {
    Instant::now().checked_add(wait)
}

/// Whether such a moment has come.
pub(crate) fn has_passed(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

/// A flag in the form of a descriptor: not readable until [`Flag::raise`], readable ever after.
pub(crate) struct Flag(OwnedFd);

impl Flag {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    pub(crate) fn raise(&self) {
        // EAGAIN only when the counter is full, and then the flag is up.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }
}

impl AsFd for Flag {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A descriptor in a process whose other code may close what is not its own, or put a file of its
/// own in the place: then this does nothing more with it, not even close it.
pub(crate) struct Guarded {
    fd: ManuallyDrop<OwnedFd>,
    inode: Inode,
}

impl Guarded {
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { inode: Meta::of(&fd)?.inode, fd: ManuallyDrop::new(fd) })
    }

    /// The descriptor, if it is still one of the file that it was made for.
    pub(crate) fn get(&self) -> io::Result<BorrowedFd<'_>> {
        if Meta::of(&*self.fd)?.inode == self.inode {
            Ok(self.fd.as_fd())
        } else {
            Err(io::ErrorKind::InvalidData.into())
        }
    }
}

/// To wait for, and to keep open: whatever it is a descriptor of by now.
impl AsFd for Guarded {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // Closed twice, a descriptor ends the process (std, with debug assertions) or is one of
        // somebody else's.
        if self.get().is_ok() {
            // SAFETY: this is the only place that drops it, and nothing uses it afterwards.
            unsafe { ManuallyDrop::drop(&mut self.fd) }
        }
    }
}

/// Takes over a descriptor whose number was handed to this program by the one that ran it: from now on
/// it is ours, and closes on exec.
pub(crate) fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: takes a number; fails if it is no descriptor of this process.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: it is open, as just seen. It was handed to the library, the only one who knows of it, and
    // the variable that tells it has been removed: nobody adopts it twice.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Closes a descriptor of somebody who goes on having it, by making it one of the null device.
pub(crate) fn close_for_good(fd: BorrowedFd<'_>) -> io::Result<()> {
    let null = dev_null()?;
    let (from, to) = (null.as_raw_fd(), fd.as_raw_fd());
    // SAFETY: both are open; who owns `fd` owns a descriptor afterwards as before.
    retry(|| check(unsafe { libc::dup3(from, to, libc::O_CLOEXEC) })).map(drop)
}

/// A pipe whose ends close on exec: read end, write end.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

/// Opens /dev/null, having made sure that it is the null device and not a file somebody left.
pub(crate) fn dev_null() -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NOFOLLOW;
    let null = retry(|| Ok(rustix::fs::open("/dev/null", flags, Mode::empty())?))?;
    let stat = rustix::fs::fstat(&null)?;
    // null(4): character device, major 1, minor 3.
    let is_device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    if is_device && stat.st_rdev == rustix::fs::makedev(1, 3) {
        Ok(null)
    } else {
        Err(io::Error::other("it is not the null device"))
    }
}

/// Gives descriptors 0, 1 and 2 something to refer to where the caller has closed them, so that
/// no file opened later can end up as somebody's standard output.
pub(crate) fn ensure_standard_streams() -> io::Result<()> {
    for number in 0..3 {
        // SAFETY: asks about a number; a closed one is an error and not undefined.
        if check(unsafe { libc::fcntl(number, libc::F_GETFD) }).is_err() {
            // The lowest free number is taken, and those below are in use: it is this one.
            let null = dev_null()?;
            // Programs that the worker runs have to have it too.
            rustix::io::fcntl_setfd(&null, FdFlags::empty())?;
            std::mem::forget(null);
        }
    }
    Ok(())
}

/// One of the three standard streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Input,
    Output,
    Error,
}

impl std::fmt::Display for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::Error => "error",
        })
    }
}

/// Makes `to` the given standard stream, dup2(2).
pub(crate) fn redirect(stream: Stream, to: BorrowedFd<'_>) -> io::Result<()> {
    retry(|| {
        Ok(match stream {
            Stream::Input => rustix::stdio::dup2_stdin(to),
            Stream::Output => rustix::stdio::dup2_stdout(to),
            Stream::Error => rustix::stdio::dup2_stderr(to),
        }?)
    })
}

/// Closes every descriptor from 3 on that is not in `keep`.
pub(crate) fn close_all_but(keep: &[BorrowedFd<'_>]) -> io::Result<()> {
    close_within(3, RawFd::MAX, keep)
}

/// The numbers of many descriptors, in ranges without gaps.
pub(crate) struct Numbers(Vec<(RawFd, RawFd)>);

impl Numbers {
    pub(crate) fn of<'a>(fds: impl Iterator<Item = BorrowedFd<'a>>) -> Self {
        let mut numbers: Vec<RawFd> = fds.map(|fd| fd.as_raw_fd()).collect();
        numbers.sort_unstable();
        let mut ranges: Vec<(RawFd, RawFd)> = Vec::new();
        for number in numbers {
            match ranges.last_mut() {
                Some((_, last)) if number <= last.saturating_add(1) => *last = number,
                _ => ranges.push((number, number)),
            }
        }
        Self(ranges)
    }

    /// Closes them, those excepted that are in `keep`. Whoever owns the others must never use or drop
    /// them afterwards.
    pub(crate) fn close_all_but(&self, keep: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.0.iter().try_for_each(|(first, last)| close_within(*first, *last, keep))
    }
}

fn close_within(mut first: RawFd, last: RawFd, keep: &[BorrowedFd<'_>]) -> io::Result<()> {
    let next = |first: RawFd| {
        keep.iter().map(AsRawFd::as_raw_fd).filter(|fd| (first..=last).contains(fd)).min()
    };
    while let Some(fd) = next(first) {
        if fd > first {
            close_range(first, fd - 1)?;
        }
        first = fd + 1;
    }
    if first <= last { close_range(first, last) } else { Ok(()) }
}

fn close_range(first: RawFd, last: RawFd) -> io::Result<()> {
    // The bounds are not negative: the caller starts at 3.
    let (from, to) = (first as libc::c_uint, last as libc::c_uint);
    // SAFETY: the caller was told to close everything it does not know; whoever owns one of these
    // descriptors asked for that by `close_open_files`, or goes without them (`Numbers`). The
    // library's own are kept.
    let result = check(unsafe { libc::syscall(libc::SYS_close_range, from, to, 0) as libc::c_int });
    match result {
        // Linux before 5.9, or a seccomp filter from that time.
        Err(error) if super::is_unavailable(&error) => close_listed(first, last),
        other => other.map(drop),
    }
}

fn close_listed(first: RawFd, last: RawFd) -> io::Result<()> {
    // The listing's own descriptor is among them; closing it once more fails harmlessly.
    let open = super::proc::numbers("/proc/self/fd")?;
    for fd in open.into_iter().filter(|fd| (first..=last).contains(fd)) {
        // SAFETY: as in `close_range`.
        let _ = unsafe { libc::close(fd) };
    }
    Ok(())
}

/// Whether a file is a socket, as the standard input of a server run by inetd is.
pub(crate) fn is_socket(fd: BorrowedFd<'_>) -> bool {
    rustix::fs::fstat(fd)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket)
}

/// Reads what is there without waiting; `None` at the end of the file.
pub(crate) fn read_available(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    if !wait_readable([Some(fd)], Some(Instant::now()))?[0] {
        return Ok(Some(0));
    }
    match retry(|| Ok(rustix::io::read(fd, &mut *buffer)?))? {
        0 => Ok(None),
        count => Ok(Some(count)),
    }
}

/// Two connected sockets that keep messages apart (`SOCK_SEQPACKET`, unix(7)), closed on exec.
pub(crate) fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Who is at the other end of a socket, and as which user, on the kernel's word (`SO_PEERCRED`, unix(7)): who
/// connected it or listens there, or made both ends. No PID: it is in a PID namespace that cannot be seen from
/// here.
pub(crate) fn peer(socket: BorrowedFd<'_>) -> io::Result<(Option<Pid>, u32)> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: both places are valid for the whole call, and the length is that of the first.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut length,
        )
    })?;
    Ok((Pid::new(peer.pid), peer.uid))
}

/// Sends one message; `BrokenPipe` when there is nobody to receive it, and no SIGPIPE.
pub(crate) fn send(socket: BorrowedFd<'_>, message: &[u8]) -> io::Result<()> {
    retry(|| Ok(rustix::net::send(socket, message, rustix::net::SendFlags::NOSIGNAL)?)).map(drop)
}

/// Receives one message; an empty one is the end.
pub(crate) fn receive(socket: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    // Its length first: room for the longest would take pages that a short one never needs.
    let length = receive_into(&mut [], socket, RecvFlags::PEEK | RecvFlags::TRUNC)?;
    let mut message = vec![0; length];
    receive_into(&mut message, socket, RecvFlags::empty())?;
    Ok(message)
}

/// Receives one message without taking memory: what of it fits into the buffer; nothing is the end.
pub(crate) fn receive_short<'a>(
    socket: BorrowedFd<'_>,
    buffer: &'a mut [u8],
) -> io::Result<&'a [u8]> {
    let length = receive_into(buffer, socket, RecvFlags::empty())?;
    Ok(&buffer[..length])
}

/// Gives the length of the message, with `TRUNC` also if it is longer than the buffer.
fn receive_into(buffer: &mut [u8], socket: BorrowedFd<'_>, flags: RecvFlags) -> io::Result<usize> {
    // Of what it cannot take out, the kernel takes out nothing.
    let mut next = || persist(|| retry(|| Ok(rustix::net::recv(socket, &mut *buffer, flags)?.1)));
    match next() {
        // The other side was closed with messages of ours unread. That is said once, and before
        // what it had sent until then, which is still to be had.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => next(),
        other => other,
    }
}

/// Whether the standard stream is the other end of this pipe.
pub(crate) fn is_pipe_of(stream: Stream, pipe: BorrowedFd<'_>) -> bool {
    let stat = match stream {
        Stream::Input => rustix::fs::fstat(rustix::stdio::stdin()),
        Stream::Output => rustix::fs::fstat(rustix::stdio::stdout()),
        Stream::Error => rustix::fs::fstat(rustix::stdio::stderr()),
    };
    match (stat, rustix::fs::fstat(pipe)) {
        (Ok(a), Ok(b)) => (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino),
        _ => false,
    }
}

/// Writes one byte to a pipe.
pub(crate) fn write_byte(fd: BorrowedFd<'_>, byte: u8) -> io::Result<()> {
    retry(|| Ok(rustix::io::write(fd, &[byte])?)).map(drop)
}

/// Lets the other side of a socket see the end, shutdown(2).
pub(crate) fn shut_down_sending(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::net::shutdown(socket, rustix::net::Shutdown::Write)?)
}
