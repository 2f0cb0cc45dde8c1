//! The reliable channel of a meeting, sealed, over sockets of its own: what the server and the client do with it, and
//! nothing else around.

mod driver;
mod socket;

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use common::ids::ConnectionId;
use common::reno::{Algorithm, Config, Connection};
use common::seal::{Opener, Sealer, Secret};
use common::wire::control::CipherSuite;

use super::{Controller, Flow, PeerError, Ready, address, in_threads, tell, together};
use crate::traffic::{Received, Sink, Source};
use driver::Driver;
pub(super) use socket::SOCKET_BUFFER_BYTES;
use socket::Socket;

/// A channel with the controller that was asked for. The paths of the lab carry the longest datagrams.
fn connection(controller: Controller) -> Connection {
    let algorithm = match controller {
        Controller::Radio => Algorithm::Radio,
        Controller::Reno => Algorithm::Reno,
    };
    Connection::with_config(Instant::now(), Config { algorithm, ..Config::default() })
}

/// The two ends of connection `index` share their keys from the start: in a meeting TLS gives them.
fn keys(index: usize, sends: bool) -> (Sealer, Opener) {
    let suite = CipherSuite::Aes256Gcm;
    let (forward, backward) = (Secret([1; Secret::BYTES]), Secret([2; Secret::BYTES]));
    let (own, other) = if sends { (&forward, &backward) } else { (&backward, &forward) };
    (Sealer::new(suite, own, ConnectionId(index as u64 + 1)), Opener::new(suite, other))
}

/// Receives each connection on a port and in a thread of its own.
pub(super) fn receive(flow: &Flow, on: IpAddr) -> Result<Received, PeerError> {
    let sockets: Vec<_> =
        (0..flow.connections).map(|_| Socket::bind(SocketAddr::new(on, 0))).collect::<Result<_, _>>()?;
    let ports = sockets.iter().map(Socket::port).collect::<Result<_, _>>()?;
    tell(&Ready { ports, certificate: String::new() })?;
    let received = in_threads(flow.connections, |index| {
        let mut driver = Driver::new(&sockets[index], None, connection(flow.controller), keys(index, false));
        driver.receive(Sink::new(flow.traffic()))
    })?;
    Ok(together(received))
}

/// Sends over each connection from a socket and in a thread of its own.
pub(super) fn send(flow: &Flow, to: IpAddr, ready: &Ready) -> Result<String, PeerError> {
    let remarks = in_threads(flow.connections, |index| {
        let to = address(to, ready, index)?;
        let socket = Socket::bind(SocketAddr::new(unspecified(to), 0))?;
        let mut driver = Driver::new(&socket, Some(to), connection(flow.controller), keys(index, true));
        driver.send(Source::new(flow.traffic(), index, flow.connections))
    })?;
    Ok(remarks.join("; "))
}

fn unspecified(like: SocketAddr) -> IpAddr {
    match like {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    }
}
