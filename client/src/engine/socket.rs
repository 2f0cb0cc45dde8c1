//! The UDP sockets of the data plane: one for each family of addresses, opened when the endpoint first sends there, and
//! both listened to from then on. They stay unconnected: a connected one does not survive a change of network.

use std::future::pending;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use common::endpoint::Endpoint;
use common::limits::DATAGRAM_MAX_BYTES;
use common::link::{Link, LinkConfig};
use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::UdpSocket;

/// Bytes the kernel holds in each direction: 0.8 s of the largest meeting (20 Mbit/s), so that a busy moment of this
/// process loses nothing. The kernel may give less.
const SOCKET_BUFFER_BYTES: usize = 2 * 1024 * 1024;

/// Datagrams taken from a socket before anything else gets its turn: 50 ms of the largest meeting.
const RECEIVE_BATCH: usize = 128;

/// How long the system is left alone after it would not open a socket: it has no such addresses, or no more sockets.
const OPEN_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The way of an endpoint's datagrams into the network, and back.
#[derive(Debug)]
pub(super) struct DataSocket {
    families: [Family; 2],
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
        let (socket, datagram_max_bytes) = open(server)?;
        let mut families = [Family::default(), Family::default()];
        families[index(server)].socket = Some(socket);
        Ok(Self {
            families,
            bad_network: impairment.map(BadNetwork::new),
            buffer: Box::new([0; BUFFER_BYTES]),
            datagram_max_bytes,
        })
    }

    /// How long a datagram may be to leave in one piece.
    pub(super) fn datagram_max_bytes(&self) -> usize {
        self.datagram_max_bytes
    }

    /// Waits until there is something to receive.
    pub(super) async fn readable(&self) {
        let [one, other] = &self.families;
        tokio::select! {
            () = one.readable() => {}
            () = other.readable() => {}
        }
    }

    /// Gives the endpoint what arrived. Who sent it does not matter: only what the server sealed opens.
    pub(super) fn receive(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let Self { families, bad_network, buffer, .. } = self;
        for socket in families.iter().filter_map(|family| family.socket.as_ref()) {
            for _ in 0..RECEIVE_BATCH {
                let Ok((bytes, _)) = socket.try_recv_from(&mut buffer[..]) else { break };
                match bad_network {
                    None => endpoint.handle_datagram(now, &mut buffer[..bytes]),
                    Some(network) => network.down.send(now, buffer[..bytes].to_vec()),
                }
            }
        }
    }

    /// Sends everything the endpoint has. A datagram that the kernel has no room or no route for is lost, as on any full
    /// link.
    pub(super) fn transmit(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let Self { families, bad_network, buffer, .. } = self;
        while let Some(bytes) = endpoint.poll_transmit(now, &mut buffer[..DATAGRAM_MAX_BYTES]) {
            let datagram = &buffer[..bytes];
            match bad_network {
                None => send(families, now, datagram, endpoint.address()),
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
            send(&mut self.families, now, &datagram, endpoint.address());
        }
        while let Some(mut datagram) = network.down.poll(now) {
            endpoint.handle_datagram(now, &mut datagram);
        }
    }
}

fn send(families: &mut [Family; 2], now: Instant, datagram: &[u8], to: Option<SocketAddr>) {
    let Some(to) = to else { return };
    if let Some(socket) = families[index(to)].socket(now, to) {
        // Past tokio, which takes a socket for full until its driver has looked at it, and the first datagrams of a meeting
        // would be lost. What is not sent is lost.
        let _ = SockRef::from(socket).send_to(datagram, &to.into());
    }
}

/// The socket for addresses of one family.
#[derive(Debug, Default)]
struct Family {
    socket: Option<UdpSocket>,
    refused: Option<Instant>,
}

impl Family {
    /// The socket; opened for `server`, if it has to be and can be.
    fn socket(&mut self, now: Instant, server: SocketAddr) -> Option<&UdpSocket> {
        let rested = self.refused.is_none_or(|refused| now >= refused + OPEN_AGAIN_AFTER);
        if self.socket.is_none() && rested {
            self.socket = open(server).ok().map(|(socket, _)| socket);
            self.refused = self.socket.is_none().then_some(now);
        }
        self.socket.as_ref()
    }

    async fn readable(&self) {
        match &self.socket {
            // An error shows itself in the read that follows.
            Some(socket) => drop(socket.readable().await),
            None => pending().await,
        }
    }
}

fn index(address: SocketAddr) -> usize {
    usize::from(address.is_ipv6())
}

/// A socket that can reach `server`, and how long a datagram may be to leave it in one piece.
fn open(server: SocketAddr) -> io::Result<(UdpSocket, usize)> {
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
    Ok((UdpSocket::from_std(socket.into())?, datagram_max_bytes))
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

#[cfg(test)]
mod tests {
    use super::*;
    use common::ids::{ConnectionId, MemberId};
    use common::seal::{Opener, Sealer, Secret, Secrets};
    use common::wire::control::CipherSuite;
    use common::wire::datagram::{DatagramHeader, Kind};
    use tokio::time::timeout;

    const SUITE: CipherSuite = CipherSuite::ChaCha20Poly1305;
    const PATIENCE: Duration = Duration::from_secs(10);

    fn secrets() -> Secrets {
        Secrets { up: Secret([1; Secret::BYTES]), down: Secret([2; Secret::BYTES]) }
    }

    /// The server's end at one address: hears whatever comes, and answers pings if it may.
    async fn serve(socket: &UdpSocket, opener: &mut Opener, sealer: &mut Sealer, answers: bool) {
        let mut buffer = [0; DATAGRAM_MAX_BYTES];
        let (bytes, from) = socket.recv_from(&mut buffer).await.unwrap();
        let header = DatagramHeader::parse(&buffer[..bytes]).unwrap();
        let (plaintext, _) = opener.open(header, &mut buffer[..bytes]).unwrap();
        let (kind, body) = Kind::split(plaintext).unwrap();
        if kind == Kind::Ping && answers {
            let body = body.to_vec();
            buffer[Sealer::PLAINTEXT_OFFSET] = Kind::Pong as u8;
            buffer[Sealer::PLAINTEXT_OFFSET + 1..][..8].copy_from_slice(&body);
            let bytes = sealer.seal(&mut buffer, 9).unwrap();
            socket.send_to(&buffer[..bytes], from).await.unwrap();
        }
    }

    #[tokio::test]
    async fn the_first_datagrams_of_a_meeting_leave_before_the_runtime_has_looked_at_the_socket() {
        let peer = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut families = [Family::default(), Family::default()];
        for number in 0..10 {
            send(&mut families, Instant::now(), &[number], peer.local_addr().ok());
        }
        for number in 0..10 {
            let mut datagram = [0];
            assert_eq!((peer.recv(&mut datagram).unwrap(), datagram), (1, [number]));
        }
    }

    #[tokio::test]
    async fn datagrams_follow_to_the_other_family_and_back() {
        let (four, Ok(six)) = (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("[::1]:0").await) else {
            return eprintln!("skipped: this machine has no IPv6");
        };
        let (connection, secrets, now) = (ConnectionId(7), secrets(), Instant::now());
        let mut opener = Opener::new(SUITE, &secrets.up);
        let mut sealer = Sealer::new(SUITE, &secrets.down, connection);
        let addresses = [six.local_addr().unwrap(), four.local_addr().unwrap()];
        let mut endpoint = Endpoint::new(now, MemberId(2), connection, SUITE, &secrets);
        endpoint.set_addresses(now, addresses);
        let mut socket = DataSocket::open(addresses[0], None).unwrap();
        for round in [0, 1, 0] {
            let began = Instant::now();
            let mut heard = endpoint.heard();
            // Back in the family that answers, and heard from there twice.
            let mut answers = 0;
            while answers < 2 {
                assert!(began.elapsed() < PATIENCE, "round {round}");
                let now = Instant::now();
                endpoint.handle_timeout(now);
                socket.transmit(now, &mut endpoint);
                let wait = Duration::from_millis(5);
                let _ = timeout(wait, serve(&six, &mut opener, &mut sealer, round == 0)).await;
                let _ = timeout(wait, serve(&four, &mut opener, &mut sealer, round == 1)).await;
                let _ = timeout(wait, socket.readable()).await;
                socket.receive(Instant::now(), &mut endpoint);
                if endpoint.heard() > heard {
                    (heard, answers) = (endpoint.heard(), answers + 1);
                }
            }
            assert_eq!(endpoint.address(), Some(addresses[round]));
        }
    }
}
