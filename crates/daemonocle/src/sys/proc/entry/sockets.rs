//! The network connections of a process, in the network namespace that it lives in.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Entry;

/// A socket of TCP or UDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Connection {
    pub(crate) fd: i32,
    /// `AF_…` of socket(2).
    pub(crate) family: i32,
    /// `SOCK_…` of socket(2).
    pub(crate) kind: i32,
    /// `None`: it has no port.
    pub(crate) local: Option<SocketAddr>,
    /// `None`: it has no port.
    pub(crate) remote: Option<SocketAddr>,
    /// `LISTEN`, `ESTABLISHED`, …; `NONE` where there is no such thing.
    pub(crate) state: &'static str,
}

/// The tables of /proc/PID/net, and what is in them.
const TABLES: [(&str, i32, i32); 4] = [
    ("tcp", libc::AF_INET, libc::SOCK_STREAM),
    ("tcp6", libc::AF_INET6, libc::SOCK_STREAM),
    ("udp", libc::AF_INET, libc::SOCK_DGRAM),
    ("udp6", libc::AF_INET6, libc::SOCK_DGRAM),
];

impl Entry {
    /// Its connections, in the order of their descriptors.
    pub(crate) fn connections(&self) -> io::Result<Vec<Connection>> {
        let mut owners: Vec<(u64, i32)> = Vec::new();
        for (fd, inode) in self.sockets()? {
            // Of several descriptors of one socket, the first.
            if let Err(place) = owners.binary_search_by_key(&inode, |(inode, _)| *inode) {
                owners.insert(place, (inode, fd));
            }
        }
        let mut connections: Vec<Connection> = Vec::new();
        if owners.is_empty() {
            return Ok(connections);
        }
        for (table, family, kind) in TABLES {
            let text = match self.read(&format!("net/{table}")) {
                Ok(text) => text,
                // A kernel, or a network namespace, without IPv6.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            // The first line has the names of the columns.
            for line in text.lines().skip(1).filter_map(parse_line) {
                let owner = owners.binary_search_by_key(&line.inode, |(inode, _)| *inode);
                if let Some(&(_, fd)) = owner.ok().and_then(|place| owners.get(place)) {
                    let Line { local, remote, state, .. } = line;
                    let state = if kind == libc::SOCK_STREAM { state } else { NONE };
                    let connection = Connection { fd, family, kind, local, remote, state };
                    // One that changes its place while the table is read may be listed twice.
                    if !connections.contains(&connection) {
                        let place = connections.partition_point(|other| other.fd <= fd);
                        connections.insert(place, connection);
                    }
                }
            }
        }
        Ok(connections)
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Line {
    local: Option<SocketAddr>,
    remote: Option<SocketAddr>,
    state: &'static str,
    inode: u64,
}

fn parse_line(line: &str) -> Option<Line> {
    // "0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1234 …"
    let words: Vec<&str> = line.split_ascii_whitespace().take(10).collect();
    let [_, local, remote, state, _, _, _, _, _, inode] = words[..] else {
        return None;
    };
    Some(Line {
        local: parse_address(local)?,
        remote: parse_address(remote)?,
        state: name(state),
        inode: inode.parse().ok()?,
    })
}

/// `Some(None)`: an address without a port, which means that there is none.
fn parse_address(text: &str) -> Option<Option<SocketAddr>> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    // Each four bytes are written as a number in the byte order of this machine.
    let word = |index: usize| {
        let digits = address.get(8 * index..8 * index + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let address = match address.len() {
        8 => IpAddr::from(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut octets = [0; 16];
            for (index, place) in octets.chunks_exact_mut(4).enumerate() {
                place.copy_from_slice(&word(index)?);
            }
            IpAddr::from(Ipv6Addr::from(octets))
        }
        _ => return None,
    };
    Some((port != 0).then(|| SocketAddr::new(address, port)))
}

const NONE: &str = "NONE";

/// psutil's names for the states of TCP, which the kernel has in `net/tcp_states.h`.
fn name(state: &str) -> &'static str {
    match state {
        "01" => "ESTABLISHED",
        "02" => "SYN_SENT",
        "03" => "SYN_RECV",
        "04" => "FIN_WAIT1",
        "05" => "FIN_WAIT2",
        "06" => "TIME_WAIT",
        "07" => "CLOSE",
        "08" => "CLOSE_WAIT",
        "09" => "LAST_ACK",
        "0A" => "LISTEN",
        "0B" => "CLOSING",
        _ => NONE,
    }
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;

    const LINE: &str = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 \
                        00000000     0        0 1234 1 ffff 100 0 0 10 0";

    #[test]
    fn a_line_is_addresses_a_state_and_an_inode() {
        let local = "127.0.0.1:8080".parse().ok();
        let expected = Line { local, remote: None, state: "LISTEN", inode: 1234 };
        assert_eq!(parse_line(LINE), Some(expected));
        for end in 0..LINE.len() {
            let _ = parse_line(&LINE[..end]);
        }
    }

    #[test]
    fn addresses_are_in_words_of_this_machine() {
        let told = |text| parse_address(text).flatten().map(|address| address.to_string());
        assert_eq!(told("0500000A:0016").as_deref(), Some("10.0.0.5:22"));
        let mapped = "0000000000000000FFFF00000100007F:9E49";
        assert_eq!(told(mapped).as_deref(), Some("[::ffff:127.0.0.1]:40521"));
        assert_eq!(parse_address("0500000A:0000"), Some(None));
        for bad in ["", ":", "0500000A", "05000A:0016", "0500000A:10000", "050000\u{e9}A:0016"] {
            assert_eq!(parse_address(bad), None, "{bad}");
        }
    }

    #[test]
    fn fuzz_lines() {
        crate::fuzz::hold_text("sockets", |text| {
            let _ = (parse_line(text), parse_address(text));
        });
    }
}
