//! UDP sockets of members, and what comes out of them: many datagrams by one system call, each with the moment it came.
//!
//! Linux says when a datagram came to the socket, so how long it waited there for this program is no latency of the
//! server. Elsewhere a datagram has come when it is read.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::limits::DATAGRAM_MAX_BYTES;
use mio::net::UdpSocket;
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSockRef, UdpSocketState};
use socket2::{Domain, Socket, Type};

/// Bytes asked for in each direction of a socket: a quarter of a second of 20 Mbit/s.
const SOCKET_BUFFER_BYTES: usize = 1024 * 1024;

/// A socket that does not block.
#[derive(Debug)]
pub(super) struct DataSocket {
    pub(super) socket: UdpSocket,
    state: UdpSocketState,
}

impl DataSocket {
    /// A socket that can reach `server`.
    ///
    /// # Errors
    /// What the operating system says.
    pub(super) fn open(server: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(server), Type::DGRAM, None)?;
        // Smaller buffers work too.
        let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
        let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        socket.bind(&SocketAddr::from((any, 0)).into())?;
        // Sets it to not block, too.
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        Ok(Self { socket: UdpSocket::from_std(socket.into()), state })
    }
}

/// Memory for what one system call gives.
#[derive(Debug)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    /// One for each part of `bytes` that was filled.
    filled: [RecvMeta; BATCH_SIZE],
    count: usize,
    /// When that was, by both clocks.
    read: (Instant, Duration),
}

/// Datagrams of one sender that the system may hand over as one.
const SEGMENTS_MAX: usize = 64;
const PART_BYTES: usize = SEGMENTS_MAX * DATAGRAM_MAX_BYTES;

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; BATCH_SIZE * PART_BYTES],
            filled: [RecvMeta::default(); BATCH_SIZE],
            count: 0,
            read: (Instant::now(), Duration::ZERO),
        }
    }

    /// Takes what there is, up to a batch; answers whether there may be more.
    pub(super) fn fill(&mut self, from: &DataSocket) -> bool {
        self.count = 0;
        let mut parts = self.bytes.chunks_exact_mut(PART_BYTES);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(parts.next().expect("there are as many parts as slices")));
        let read = || from.state.recv(UdpSockRef::from(&from.socket), &mut slices, &mut self.filled);
        match from.socket.try_io(read) {
            Ok(count) => self.count = count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            // An answer of the network to something sent before; what comes next is looked at next time.
            Err(_) => return true,
        }
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.read = (Instant::now(), wall);
        self.count == BATCH_SIZE
    }

    /// What was taken: when it came, how long it waited here, and its bytes.
    pub(super) fn datagrams(&mut self) -> impl Iterator<Item = (Instant, Duration, &mut [u8])> {
        let (now, wall) = self.read;
        let parts = self.bytes.chunks_exact_mut(PART_BYTES).zip(&self.filled).take(self.count);
        parts.flat_map(move |(part, filled)| {
            let waited = filled.timestamp.map_or(Duration::ZERO, |came| wall.saturating_sub(came));
            let came = now.checked_sub(waited).unwrap_or(now);
            let datagrams = part[..filled.len].chunks_mut(filled.stride.max(1));
            datagrams.map(move |datagram| (came, waited, datagram))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::sleep;

    #[test]
    fn what_was_sent_comes_out_with_its_moment() {
        let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let socket = DataSocket::open(server.local_addr().unwrap()).unwrap();
        socket.socket.send_to(b"hello", server.local_addr().unwrap()).unwrap();
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
