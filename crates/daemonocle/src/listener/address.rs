//! Where one can listen.

#![forbid(unsafe_code)]

use std::io;
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, TcpListener, ToSocketAddrs,
};
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self as unix, UnixListener};
use std::path::{Path, PathBuf};

use crate::sys::socket::{Family, listening};

use super::file::{self, SocketFile};

/// Where [`Context::listener`](crate::Context::listener) listens, and what with.
///
/// | address | listener |
/// |---|---|
/// | `"127.0.0.1:80"`, `"localhost:80"`, `("::1", 80)`, [`SocketAddr`] and its like | [`TcpListener`] |
/// | [`&Path`](Path), [`PathBuf`], [`std::os::unix::net::SocketAddr`] | [`UnixListener`] |
///
/// ```no_run
/// use std::path::Path;
/// fn worker(ctx: &daemonocle::Context) -> daemonocle::Result {
///     let tcp = ctx.listener("http", ("127.0.0.1", 8080))?;
///     let unix = ctx.listener("control", Path::new("/run/example.sock"))?;
///     println!("{} and {:?}", tcp.local_addr()?, unix.local_addr()?);
///     Ok(())
/// }
/// ```
pub trait Address: sealed::Sealed {
    /// What listens there.
    type Listener: From<OwnedFd>;
}

/// For whoever is not to have addresses of other kinds.
pub(crate) mod sealed {
    use std::io;

    use super::Place;

    pub trait Sealed {
        /// The address proper, host names looked up.
        fn place(&self) -> io::Result<Place>;
        /// As it is shown to people.
        fn text(&self) -> String;
    }
}

/// An address proper.
#[derive(Clone, Debug)]
pub enum Place {
    /// One of these.
    Tcp(Vec<SocketAddr>),
    Unix(unix::SocketAddr),
}

impl Place {
    /// What can listen there.
    pub(super) fn family(&self) -> Family {
        match self {
            Self::Tcp(_) => Family::Inet,
            Self::Unix(_) => Family::Unix,
        }
    }

    /// Begins to listen there, and says which file that has made.
    pub(super) fn bind(&self) -> io::Result<(OwnedFd, Option<SocketFile>)> {
        Ok(match self {
            Self::Tcp(addresses) => (TcpListener::bind(&addresses[..])?.into(), None),
            Self::Unix(address) => match address.as_pathname() {
                Some(path) => {
                    let (listener, file) = file::bind(path)?;
                    (listener.into(), file)
                }
                None => (UnixListener::bind_addr(address)?.into(), None),
            },
        })
    }

    /// Whether this socket, which has left this file, listens there already. Any port is port 0, which asks
    /// for just any.
    pub(super) fn is_of(&self, socket: &OwnedFd, file: Option<&SocketFile>) -> bool {
        let copy = || socket.try_clone().ok();
        if listening(socket.as_fd()) != Some(self.family()) {
            return false;
        }
        match self {
            Self::Tcp(addresses) => copy()
                .and_then(|copy| TcpListener::from(copy).local_addr().ok())
                .is_some_and(|its| addresses.iter().any(|address| is_at(address, &its))),
            Self::Unix(address) => match (address.as_pathname(), file) {
                // Not by what it was bound to: that may lead to somebody else by now.
                (Some(path), Some(file)) => file.is_at(path),
                (Some(_), None) => false,
                (None, _) => copy()
                    .and_then(|copy| UnixListener::from(copy).local_addr().ok())
                    .is_some_and(|its| is_same(address, &its)),
            },
        }
    }
}

fn is_at(wanted: &SocketAddr, its: &SocketAddr) -> bool {
    wanted.ip() == its.ip() && (wanted.port() == 0 || wanted.port() == its.port())
}

fn is_same(a: &unix::SocketAddr, b: &unix::SocketAddr) -> bool {
    a.as_abstract_name().is_some() && a.as_abstract_name() == b.as_abstract_name()
}

macro_rules! tcp {
    ($($type:ty: |$address:ident| $text:expr;)*) => {$(
        impl sealed::Sealed for $type {
            fn place(&self) -> io::Result<Place> {
                Ok(Place::Tcp(self.to_socket_addrs()?.collect()))
            }

            fn text(&self) -> String {
                let $address = self;
                $text
            }
        }

        impl Address for $type {
            type Listener = TcpListener;
        }
    )*};
}

tcp! {
    &str: |it| (*it).to_owned();
    String: |it| it.clone();
    (&str, u16): |it| format!("{}:{}", it.0, it.1);
    (String, u16): |it| format!("{}:{}", it.0, it.1);
    (IpAddr, u16): |it| SocketAddr::from(*it).to_string();
    (Ipv4Addr, u16): |it| SocketAddr::from(*it).to_string();
    (Ipv6Addr, u16): |it| SocketAddr::from(*it).to_string();
    SocketAddr: |it| it.to_string();
    SocketAddrV4: |it| it.to_string();
    SocketAddrV6: |it| it.to_string();
    &[SocketAddr]: |it| format!("{it:?}");
}

macro_rules! unix {
    ($($type:ty: |$address:ident| $place:expr;)*) => {$(
        impl sealed::Sealed for $type {
            fn place(&self) -> io::Result<Place> {
                let $address = self;
                Ok(Place::Unix($place))
            }

            fn text(&self) -> String {
                format!("{self:?}")
            }
        }

        impl Address for $type {
            type Listener = UnixListener;
        }
    )*};
}

unix! {
    &Path: |it| unix::SocketAddr::from_pathname(it)?;
    PathBuf: |it| unix::SocketAddr::from_pathname(it)?;
    &PathBuf: |it| unix::SocketAddr::from_pathname(it)?;
    unix::SocketAddr: |it| it.clone();
}
