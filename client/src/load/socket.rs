//! UDP sockets of members, and what comes out of them: many datagrams by one system call, each with the moment it came.
//!
//! Linux says when a datagram came to the socket, so how long it waited there for this program is no latency of the
//! server. Elsewhere a datagram has come when it is read.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::limits::DATAGRAM_MAX_BYTES;
use mio::net::UdpSocket;
use socket2::{Domain, Socket, Type};

/// Bytes asked for in each direction of a socket: a quarter of a second of 20 Mbit/s.
const SOCKET_BUFFER_BYTES: usize = 1024 * 1024;
/// Datagrams that one call may give.
const BATCH: usize = 64;

/// A socket that does not block and can reach `server`.
///
/// # Errors
/// What the operating system says.
pub(super) fn open(server: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(server), Type::DGRAM, None)?;
    // Smaller buffers work too.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    socket.bind(&SocketAddr::from((any, 0)).into())?;
    socket.set_nonblocking(true)?;
    #[cfg(target_os = "linux")]
    nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::ReceiveTimestampns, &true)?;
    Ok(UdpSocket::from_std(socket.into()))
}

/// Memory for what one turn gives.
#[derive(Debug)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    /// Length and moment of each datagram, by the wall clock, where the system tells it.
    filled: [(usize, Option<Duration>); BATCH],
    count: usize,
    /// When that was, by both clocks.
    read: (Instant, Duration),
    calls: Calls,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; BATCH * DATAGRAM_MAX_BYTES],
            filled: [(0, None); BATCH],
            count: 0,
            read: (Instant::now(), Duration::ZERO),
            calls: Calls::new(),
        }
    }

    /// Takes what there is, up to a batch; answers whether there may be more.
    pub(super) fn fill(&mut self, from: &UdpSocket) -> bool {
        self.count = 0;
        let Self { bytes, filled, calls, .. } = self;
        match from.try_io(|| calls.receive(from, bytes, filled)) {
            Ok(count) => self.count = count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            // An answer of the network to something sent before; what comes next is looked at next time.
            Err(_) => return true,
        }
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.read = (Instant::now(), wall);
        self.count == BATCH
    }

    /// What was taken: when it came, how long it waited here, and its bytes.
    pub(super) fn datagrams(&mut self) -> impl Iterator<Item = (Instant, Duration, &mut [u8])> {
        let (now, wall) = self.read;
        let parts = self.bytes.chunks_exact_mut(DATAGRAM_MAX_BYTES).zip(&self.filled).take(self.count);
        parts.map(move |(part, (length, came))| {
            let waited = came.map_or(Duration::ZERO, |came| wall.saturating_sub(came));
            let came = now.checked_sub(waited).unwrap_or(now);
            (came, waited, &mut part[..*length])
        })
    }
}

/// Many datagrams a call, each with its moment.
#[cfg(target_os = "linux")]
#[derive(Debug)]
struct Calls(nix::sys::socket::MultiHeaders<()>);

#[cfg(target_os = "linux")]
impl Calls {
    fn new() -> Self {
        let control = nix::cmsg_space!(nix::sys::time::TimeSpec);
        Self(nix::sys::socket::MultiHeaders::preallocate(BATCH, Some(control)))
    }

    fn receive(
        &mut self,
        socket: &UdpSocket,
        bytes: &mut [u8],
        filled: &mut [(usize, Option<Duration>); BATCH],
    ) -> io::Result<usize> {
        use std::os::fd::AsRawFd;

        use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmmsg};

        let mut parts = bytes.chunks_exact_mut(DATAGRAM_MAX_BYTES);
        let mut places: [_; BATCH] = std::array::from_fn(|_| [io::IoSliceMut::new(parts.next().unwrap_or_default())]);
        let messages = recvmmsg(socket.as_raw_fd(), &mut self.0, places.iter_mut(), MsgFlags::MSG_DONTWAIT, None)?;
        let mut count = 0;
        for (place, message) in filled.iter_mut().zip(messages) {
            let came = message.cmsgs().ok().and_then(|mut all| {
                all.find_map(|control| {
                    let ControlMessageOwned::ScmTimestampns(came) = control else { return None };
                    Some(Duration::from(came))
                })
            });
            *place = (message.bytes, came);
            count += 1;
        }
        Ok(count)
    }
}

/// One datagram a call, which came when it was read.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
struct Calls;

#[cfg(not(target_os = "linux"))]
impl Calls {
    fn new() -> Self {
        Self
    }

    fn receive(
        &mut self,
        socket: &UdpSocket,
        bytes: &mut [u8],
        filled: &mut [(usize, Option<Duration>); BATCH],
    ) -> io::Result<usize> {
        let mut count = 0;
        for (part, place) in bytes.chunks_exact_mut(DATAGRAM_MAX_BYTES).zip(filled) {
            match socket.recv(part) {
                Ok(length) => *place = (length, None),
                // Told by the next receive.
                Err(_) if count > 0 => break,
                Err(error) => return Err(error),
            }
            count += 1;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::sleep;

    #[test]
    fn what_was_sent_comes_out_with_its_moment() {
        let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let socket = open(server.local_addr().unwrap()).unwrap();
        socket.send_to(b"hello", server.local_addr().unwrap()).unwrap();
        let (_, member) = server.recv_from(&mut [0; 8]).unwrap();
        let began = Instant::now();
        server.send_to(b"one", member).unwrap();
        server.send_to(b"other", member).unwrap();
        let (mut inbox, mut seen) = (Inbox::new(), Vec::new());
        while seen.len() < 2 {
            sleep(Duration::from_millis(1));
            inbox.fill(&socket);
            seen.extend(inbox.datagrams().map(|(came, waited, bytes)| (came, waited, bytes.to_vec())));
        }
        assert_eq!((&seen[0].2[..], &seen[1].2[..]), (&b"one"[..], &b"other"[..]));
        // Two clocks of the system go as one, to a millisecond.
        assert!(seen.iter().all(|(came, ..)| *came + Duration::from_millis(1) >= began && *came <= Instant::now()));
        assert!(!inbox.fill(&socket));
        assert_eq!(inbox.datagrams().count(), 0);
    }
}
