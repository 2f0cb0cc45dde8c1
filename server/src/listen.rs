//! The two sockets of a server: TCP and UDP at one address and port.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use crate::start_error::StartError;

/// Both sockets, bound and not blocking.
pub(crate) struct Sockets {
    /// Listens for control connections.
    pub(crate) tcp: TcpListener,
    /// Receives and sends datagrams.
    pub(crate) udp: UdpSocket,
    /// Where both are, with the real port.
    pub(crate) address: SocketAddr,
}

impl Sockets {
    /// Opens both at `address`. Any address of IPv6 means any of IPv4 too, and that alone where IPv6 is off.
    pub(crate) fn open(address: SocketAddr) -> Result<Self, StartError> {
        match Self::open_exactly(address) {
            Err(error) if ipv6_is_off(&error) && is_any_ipv6(address) => {
                let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
                Self::open_exactly(any).map_err(|error| describe(any, error))
            }
            opened => opened.map_err(|error| describe(address, error)),
        }
    }

    /// The system chooses a port for TCP alone, so the one it chose may be taken for UDP: then it is asked again.
    fn open_exactly(address: SocketAddr) -> io::Result<Self> {
        let mut attempt = 1;
        loop {
            match Self::open_once(address) {
                Err(error)
                    if address.port() == 0 && error.kind() == io::ErrorKind::AddrInUse && attempt < PORT_ATTEMPTS => {}
                opened => return opened,
            }
            attempt += 1;
        }
    }

    fn open_once(address: SocketAddr) -> io::Result<Self> {
        let tcp = open_tcp(address)?;
        let address = tcp.local_addr()?;
        let udp = open_udp(address)?;
        Ok(Self { tcp, udp, address })
    }
}

/// Ports tried when any will do; that many taken ones in a row mean that something else is wrong.
const PORT_ATTEMPTS: u32 = 16;
/// Connections the system completes before they are accepted; Linux caps it at `net.core.somaxconn`.
const TCP_BACKLOG: i32 = 1_024;
/// Bytes asked for in each direction of the UDP socket: 3,000 datagrams, a burst of a full room. The system may
/// give less (Linux: `net.core.rmem_max`).
const UDP_BUFFER_BYTES: usize = 4 * 1024 * 1024;

fn open_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Else a restart fails while closed connections linger. On Windows the option means something else: two
    // programs could share the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    bind(&socket, address)?;
    socket.listen(TCP_BACKLOG)?;
    Ok(socket.into())
}

fn open_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    bind(&socket, address)?;
    for outcome in [socket.set_recv_buffer_size(UDP_BUFFER_BYTES), socket.set_send_buffer_size(UDP_BUFFER_BYTES)] {
        if let Err(error) = outcome {
            tracing::debug!(%error, "the system gives no larger UDP buffer");
        }
    }
    Ok(socket.into())
}

fn bind(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if is_any_ipv6(address) {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())
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
        let sockets = Sockets::open(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        assert_ne!(sockets.address.port(), 0);
        assert_eq!(sockets.udp.local_addr().unwrap(), sockets.address);
    }

    #[test]
    fn a_taken_port_is_told_for_tcp_and_for_udp() {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let taken_tcp = TcpListener::bind(any).unwrap();
        let taken_udp = UdpSocket::bind(any).unwrap();
        for port in [taken_tcp.local_addr().unwrap().port(), taken_udp.local_addr().unwrap().port()] {
            let error = Sockets::open(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).err().unwrap();
            assert_eq!(
                error.to_string(),
                format!("Port {port} is in use by another program. Choose another with --listen.")
            );
        }
    }

    #[test]
    fn an_address_of_another_machine_is_told() {
        // TEST-NET-1 (RFC 5737).
        let error = Sockets::open("192.0.2.1:0".parse().unwrap()).err().unwrap();
        assert_eq!(error.to_string(), "192.0.2.1 is not an address of this machine. Choose another with --listen.");
    }

    #[test]
    fn any_address_takes_ipv4_too() {
        let sockets = Sockets::open(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))).unwrap();
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        client.send_to(b"x", (Ipv4Addr::LOCALHOST, sockets.address.port())).unwrap();
        sockets.udp.set_nonblocking(false).unwrap();
        let (_, from) = sockets.udp.recv_from(&mut [0; 8]).unwrap();
        assert_eq!(from.ip().to_canonical(), Ipv4Addr::LOCALHOST);
    }
}
