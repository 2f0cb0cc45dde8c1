//! The sockets of a server: TCP and UDP at one address and port.
//!
//! Each media worker has a UDP socket of its own at that port. Linux gives a datagram to the one whose room it is for:
//! the sockets share the port (SO_REUSEPORT), and a filter of three instructions picks one by the connection id, as
//! [`ConnectionId::shard`] does. Elsewhere, or where that is refused, one worker does it all, where need be with a socket
//! for each address ([`every_address`]).

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use common::limits::{DATAGRAM_BASE_BYTES, SHARDS_MAX};
use socket2::{Domain, Protocol, Socket, Type};

use crate::cards::{is_scoped, socket_address};
use crate::every_address;
use crate::fragments::forbid_fragments;
use crate::segments::limit_segments;
use crate::start_error::StartError;

/// All sockets, bound and not blocking.
pub(crate) struct Sockets {
    /// Listens for control connections.
    pub(crate) tcp: TcpListener,
    /// Receive and send datagrams: those of each worker, at least one. The first one is at `address`; where that is any
    /// address, and the system does not tell which of them a datagram was sent to, one for each address is behind it.
    pub(crate) udp: Vec<Vec<UdpSocket>>,
    /// How long a datagram may be to leave them in one piece.
    pub(crate) datagram_max_bytes: usize,
    /// Where all are, with the real port.
    pub(crate) address: SocketAddr,
}

impl Sockets {
    /// Opens them at `address`, for so many workers or fewer. Any address of IPv6 means any of IPv4 too, and that alone
    /// where IPv6 is off.
    pub(crate) fn open(address: SocketAddr, workers: usize) -> Result<Self, StartError> {
        let workers = workers.clamp(1, SHARDS_MAX);
        check_scope(address)?;
        match Self::open_exactly(address, workers) {
            Err(error) if ipv6_is_off(&error) && is_any_ipv6(address) => {
                let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
                Self::open_exactly(any, workers).map_err(|error| describe(any, error))
            }
            opened => opened.map_err(|error| describe(address, error)),
        }
    }

    /// The system chooses a port for TCP alone, so the one it chose may be taken for UDP: then it is asked again.
    fn open_exactly(address: SocketAddr, workers: usize) -> io::Result<Self> {
        let mut attempt = 1;
        loop {
            match Self::open_once(address, workers) {
                Err(error)
                    if address.port() == 0 && error.kind() == io::ErrorKind::AddrInUse && attempt < PORT_ATTEMPTS => {}
                opened => return opened,
            }
            attempt += 1;
        }
    }

    fn open_once(address: SocketAddr, workers: usize) -> io::Result<Self> {
        let tcp = open_tcp(address)?;
        let address = tcp.local_addr()?;
        let udp = if workers > 1 { steering::open(address, workers)? } else { vec![open_udp(address, |_| Ok(()))?] };
        let mut udp: Vec<_> = udp.into_iter().map(|socket| vec![socket]).collect();
        if address.ip().is_unspecified() && !every_address::SYSTEM_TELLS {
            udp[0].extend(every_address::open(address, |own| open_udp(own, |_| Ok(()))));
        }
        let datagram_max_bytes = udp.iter().flatten().map(forbid_fragments).min().unwrap_or(DATAGRAM_BASE_BYTES);
        Ok(Self { tcp, udp, datagram_max_bytes, address })
    }
}

#[cfg(target_os = "linux")]
mod steering {
    use nix::libc::{sock_filter, sock_fprog};
    use nix::sys::socket::{setsockopt, sockopt::AttachReusePortCbpf};

    use super::*;

    /// The last four bytes of the connection id in a datagram: version and epoch (1), connection id (8).
    const ID_OFFSET: u32 = 5;

    /// Opens a socket for each worker, in their order, all at one address; only one where that is refused.
    pub(super) fn open(address: SocketAddr, workers: usize) -> io::Result<Vec<UdpSocket>> {
        let sockets: Vec<_> =
            (0..workers).map(|_| open_udp(address, |socket| socket.set_reuse_port(true))).collect::<io::Result<_>>()?;
        match attach_filter(&sockets[0], workers) {
            Ok(()) => Ok(sockets),
            Err(error) => {
                tracing::warn!(%error, "the system does not divide datagrams among workers: going on with one");
                drop(sockets);
                Ok(vec![open_udp(address, |_| Ok(()))?])
            }
        }
    }

    /// Has the system give each datagram to the socket of this number, in the order in which they were bound. A
    /// datagram that is too short to be ours goes to the first.
    fn attach_filter(socket: &UdpSocket, workers: usize) -> io::Result<()> {
        // Classic BPF (Linux, Documentation/networking/filter.rst): load a word; modulo; return.
        let step = |code, k| sock_filter { code, jt: 0, jf: 0, k };
        let mut steps = [step(0x20, ID_OFFSET), step(0x94, workers as u32), step(0x16, 0)];
        let program = sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
        Ok(setsockopt(socket, AttachReusePortCbpf, &program)?)
    }
}

#[cfg(not(target_os = "linux"))]
mod steering {
    use super::*;

    /// Only Linux divides datagrams by what they hold.
    pub(super) fn open(address: SocketAddr, _: usize) -> io::Result<Vec<UdpSocket>> {
        Ok(vec![open_udp(address, |_| Ok(()))?])
    }
}

/// Ports tried when any will do; that many taken ones in a row mean that something else is wrong.
const PORT_ATTEMPTS: u32 = 16;
/// Connections the system completes before they are accepted; Linux caps it at `net.core.somaxconn`.
const TCP_BACKLOG: i32 = 1_024;
/// Bytes asked for in each direction of the UDP socket: 3,000 datagrams, a burst of a full room. The system may
/// give less (Linux: `net.core.rmem_max`).
const UDP_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Opens a socket that listens for TCP connections and does not block. Any address of IPv6 means any of IPv4 too.
pub(crate) fn open_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Else a restart fails while closed connections linger. On Windows the option means something else: two
    // programs could share the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    // Before the system tells a peer how long a segment may be, in the answer to its first one.
    limit_segments(&socket);
    bind(&socket, address)?;
    socket.listen(TCP_BACKLOG)?;
    Ok(socket.into())
}

fn open_udp(address: SocketAddr, prepare: impl Fn(&Socket) -> io::Result<()>) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    prepare(&socket)?;
    share_with_own_addresses(&socket)?;
    if address.ip().is_unspecified() {
        ask_for_destinations(&socket, address);
    }
    bind(&socket, address)?;
    for outcome in [socket.set_recv_buffer_size(UDP_BUFFER_BYTES), socket.set_send_buffer_size(UDP_BUFFER_BYTES)] {
        if let Err(error) = outcome {
            tracing::debug!(%error, "the system gives no larger UDP buffer");
        }
    }
    Ok(socket.into())
}

/// Has the system tell to which address each datagram was sent. Before the socket is bound, else it does not know of the
/// first ones.
#[cfg(target_os = "linux")]
fn ask_for_destinations(socket: &Socket, any: SocketAddr) {
    use nix::sys::socket::{setsockopt, sockopt};
    let asked = match any {
        SocketAddr::V4(_) => setsockopt(socket, sockopt::Ipv4PacketInfo, &true),
        SocketAddr::V6(_) => setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true),
    };
    if let Err(error) = asked {
        tracing::warn!(%error, "the system does not tell to which address a datagram was sent: answers leave from the one it prefers");
    }
}

#[cfg(not(target_os = "linux"))]
fn ask_for_destinations(_: &Socket, _: SocketAddr) {}

/// Lets the sockets for single addresses have the port of the one for all. Linux has no need for them, and Windows lets
/// them as it is: there the option would let another program in.
fn share_with_own_addresses(socket: &Socket) -> io::Result<()> {
    if cfg!(all(unix, not(target_os = "linux"))) { socket.set_reuse_address(true) } else { Ok(()) }
}

fn bind(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if is_any_ipv6(address) {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())
}

/// A link-local address is on every card: the system takes none that comes without its own.
fn check_scope(address: SocketAddr) -> Result<(), StartError> {
    match address {
        SocketAddr::V6(v6) if v6.scope_id() == 0 && is_scoped(address.ip()) => {
            socket_address(address.ip(), None, address.port()).map_err(StartError::ScopeMissing)?;
            Ok(())
        }
        SocketAddr::V4(_) | SocketAddr::V6(_) => Ok(()),
    }
}

fn is_any_ipv6(address: SocketAddr) -> bool {
    address.is_ipv6() && address.ip().is_unspecified()
}

/// No IPv6 in the system at all, or none that is not switched off.
fn ipv6_is_off(error: &io::Error) -> bool {
    // EAFNOSUPPORT of Linux and of macOS, WSAEAFNOSUPPORT of Windows: std has no stable name for it.
    error.kind() == io::ErrorKind::AddrNotAvailable || matches!(error.raw_os_error(), Some(97 | 47 | 10_047))
}

fn describe(address: SocketAddr, source: io::Error) -> StartError {
    let port = address.port();
    // A list of what a person can act on; all other kinds of a long and growing enum are told as they are.
    if source.kind() == io::ErrorKind::AddrInUse {
        StartError::PortInUse { port, source }
    } else if source.kind() == io::ErrorKind::PermissionDenied {
        StartError::PortForbidden { port, source }
    } else if source.kind() == io::ErrorKind::AddrNotAvailable {
        StartError::AddressUnavailable { address, source }
    } else {
        StartError::Sockets { address, source }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn both_sockets_get_one_port() {
        let sockets = Sockets::open(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), 1).unwrap();
        assert_ne!(sockets.address.port(), 0);
        assert_eq!(sockets.udp[0][0].local_addr().unwrap(), sockets.address);
    }

    #[test]
    fn a_taken_port_is_told_for_tcp_and_for_udp() {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let taken_tcp = TcpListener::bind(any).unwrap();
        let taken_udp = UdpSocket::bind(any).unwrap();
        for port in [taken_tcp.local_addr().unwrap().port(), taken_udp.local_addr().unwrap().port()] {
            let error = Sockets::open(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), 1).err().unwrap();
            assert_eq!(
                error.to_string(),
                format!("Port {port} is in use by another program. Choose another with --listen.")
            );
        }
    }

    #[test]
    fn an_address_of_another_machine_is_told() {
        // TEST-NET-1 (RFC 5737).
        let error = Sockets::open("192.0.2.1:0".parse().unwrap(), 1).err().unwrap();
        assert_eq!(error.to_string(), "192.0.2.1 is not an address of this machine. Choose another with --listen.");
    }

    #[test]
    fn a_link_local_address_without_its_card_is_told_as_such() {
        let error = Sockets::open("[fe80::1]:0".parse().unwrap(), 1).err().unwrap().to_string();
        assert!(error.starts_with("The server cannot listen there: fe80::1 is a link-local address"), "{error}");
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn no_connection_carries_segments_that_a_path_of_1280_bytes_does_not() {
        for any in [SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))] {
            let listener = open_tcp(any).unwrap();
            listener.set_nonblocking(false).unwrap();
            let port = listener.local_addr().unwrap().port();
            // One that sets no limit itself, as it is on Windows.
            let client = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            let (server, _) = listener.accept().unwrap();
            for stream in [Socket::from(client), Socket::from(server)] {
                assert!(stream.tcp_mss().unwrap() <= crate::segments::SEGMENT_MAX_BYTES);
            }
        }
    }

    #[test]
    fn any_address_takes_ipv4_too() {
        let sockets = Sockets::open(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)), 1).unwrap();
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        client.send_to(b"x", (Ipv4Addr::LOCALHOST, sockets.address.port())).unwrap();
        sockets.udp[0][0].set_nonblocking(false).unwrap();
        let (_, from) = sockets.udp[0][0].recv_from(&mut [0; 8]).unwrap();
        assert_eq!(from.ip().to_canonical(), Ipv4Addr::LOCALHOST);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn each_datagram_comes_to_the_worker_of_its_connection_id() {
        use common::ids::ConnectionId;
        use common::wire::datagram::DatagramHeader;

        const WORKERS: usize = 3;
        for any in [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))] {
            let sockets = Sockets::open(any, WORKERS).unwrap();
            assert_eq!(sockets.udp.len(), WORKERS);
            let to = SocketAddr::from((Ipv4Addr::LOCALHOST, sockets.address.port()));
            let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            for id in [0, 1, 2, 0x0102_0304_0506_0708, u64::MAX, 1 << 32, 77] {
                let connection_id = ConnectionId(id);
                let header = DatagramHeader { epoch: 0, connection_id, packet_number: 9 };
                client.send_to(&header.to_bytes(), to).unwrap();
                let socket = &sockets.udp[connection_id.shard(WORKERS)][0];
                socket.set_nonblocking(false).unwrap();
                socket.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
                assert_eq!(socket.recv(&mut [0; 64]).unwrap(), header.to_bytes().len(), "{id:x}");
            }
        }
    }

    #[test]
    fn no_number_of_workers_is_too_small_or_too_large() {
        for workers in [0, 1, 10_000] {
            let sockets = Sockets::open(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), workers).unwrap();
            assert!((1..=SHARDS_MAX).contains(&sockets.udp.len()));
        }
    }
}
