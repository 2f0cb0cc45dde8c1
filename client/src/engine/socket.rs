//! The UDP socket of the data plane. It stays unconnected: a connected one does not survive a change of network.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use common::endpoint::Endpoint;
use common::limits::DATAGRAM_MAX_BYTES;
use common::link::{Link, LinkConfig};
use socket2::{Domain, Socket, Type};
use tokio::net::UdpSocket;

/// Bytes the kernel holds in each direction: 0.8 s of the largest meeting (20 Mbit/s), so that a busy moment of this
/// process loses nothing. The kernel may give less.
const SOCKET_BUFFER_BYTES: usize = 2 * 1024 * 1024;

/// Datagrams taken from the socket before anything else gets its turn: 50 ms of the largest meeting.
const RECEIVE_BATCH: usize = 128;

/// The socket, and the server it talks to.
#[derive(Debug)]
pub(super) struct DataSocket {
    socket: UdpSocket,
    server: SocketAddr,
    bad_network: Option<BadNetwork>,
    buffer: Box<[u8; BUFFER_BYTES]>,
    datagram_max_bytes: usize,
}

/// One byte more than a datagram may have, so that a longer one is seen to be longer.
const BUFFER_BYTES: usize = DATAGRAM_MAX_BYTES + 1;

impl DataSocket {
    /// A socket that can reach `server`; must be called within the runtime.
    ///
    /// # Errors
    /// What the operating system says.
    pub(super) fn open(server: SocketAddr, impairment: Option<LinkConfig>) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(server), Type::DGRAM, None)?;
        // Smaller buffers work too.
        let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
        let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
        socket.set_nonblocking(true)?;
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        socket.bind(&SocketAddr::from((any, 0)).into())?;
        let datagram_max_bytes = server::forbid_fragments(&socket);
        Ok(Self {
            socket: UdpSocket::from_std(socket.into())?,
            server,
            bad_network: impairment.map(BadNetwork::new),
            buffer: Box::new([0; BUFFER_BYTES]),
            datagram_max_bytes,
        })
    }

    /// How long a datagram may be to leave in one piece.
    pub(super) fn datagram_max_bytes(&self) -> usize {
        self.datagram_max_bytes
    }

    /// The server was reached at this address from here on. One of the other family cannot be sent to from this socket,
    /// and the old one stays.
    pub(super) fn follow(&mut self, server: SocketAddr) {
        if server.is_ipv4() == self.server.is_ipv4() {
            self.server = server;
        }
    }

    /// Waits until there is something to receive.
    pub(super) async fn readable(&self) {
        // An error shows itself in the read that follows.
        let _ = self.socket.readable().await;
    }

    /// Gives the endpoint what arrived. Who sent it does not matter: only what the server sealed opens.
    pub(super) fn receive(&mut self, now: Instant, endpoint: &mut Endpoint) {
        for _ in 0..RECEIVE_BATCH {
            let Ok((bytes, _)) = self.socket.try_recv_from(&mut self.buffer[..]) else {
                return;
            };
            match &mut self.bad_network {
                None => endpoint.handle_datagram(now, &mut self.buffer[..bytes]),
                Some(network) => network.down.send(now, self.buffer[..bytes].to_vec()),
            }
        }
    }

    /// Sends everything the endpoint has. A datagram that the kernel has no room for is lost, as on any full link.
    pub(super) fn transmit(&mut self, now: Instant, endpoint: &mut Endpoint) {
        while let Some(bytes) = endpoint.poll_transmit(now, &mut self.buffer[..DATAGRAM_MAX_BYTES]) {
            let datagram = &self.buffer[..bytes];
            match &mut self.bad_network {
                None => drop(self.socket.try_send_to(datagram, self.server)),
                Some(network) => network.up.send(now, datagram.to_vec()),
            }
        }
    }

    /// When to call [`DataSocket::handle_timeout`].
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.bad_network.as_ref().and_then(BadNetwork::poll_timeout)
    }

    /// Moves what the made-up bad network has let through.
    pub(super) fn handle_timeout(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let Some(network) = &mut self.bad_network else {
            return;
        };
        while let Some(datagram) = network.up.poll(now) {
            drop(self.socket.try_send_to(&datagram, self.server));
        }
        while let Some(mut datagram) = network.down.poll(now) {
            endpoint.handle_datagram(now, &mut datagram);
        }
    }
}

/// A link for each way, between this program and its socket, to try out what a meeting does on a bad network.
#[derive(Debug)]
struct BadNetwork {
    up: Link,
    down: Link,
}

impl BadNetwork {
    fn new(config: LinkConfig) -> Self {
        Self { up: Link::new(config, 1), down: Link::new(config, 2) }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        [self.up.poll_timeout(), self.down.poll_timeout()].into_iter().flatten().min()
    }
}
