//! A UDP socket for each address of this machine, beside the one for all of them: where the system does not tell to which
//! address a datagram was sent, the socket it came to does, and an answer from that socket leaves from there.
//!
//! An address that the machine gets later is served by the socket for all, whose answers leave from where the system
//! prefers, until the server is started again.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

/// Whether this system tells with each datagram to which address it was sent, and takes one for the answer (`socket`).
pub(crate) const SYSTEM_TELLS: bool = cfg!(target_os = "linux");

/// Addresses with a socket of their own: some for each card of a machine with many. Others are served by the one for all.
const OWN_SOCKETS_MAX: usize = 32;

/// Opens a socket for each address of this machine at the port of `any`. An address that refuses is left to the socket for
/// all.
pub(crate) fn open(any: SocketAddr, open_udp: impl Fn(SocketAddr) -> io::Result<UdpSocket>) -> Vec<UdpSocket> {
    let cards = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        tracing::warn!(%error, "the system does not list the addresses of this machine");
        Vec::new()
    });
    let addresses = cards.into_iter().map(|card| (card.index, card.ip())).filter(|(_, ip)| serves(any, *ip));
    addresses.filter_map(|(card, ip)| open_at(ip, card, any.port(), &open_udp)).take(OWN_SOCKETS_MAX).collect()
}

fn open_at(
    ip: IpAddr,
    card: Option<u32>,
    port: u16,
    open_udp: impl Fn(SocketAddr) -> io::Result<UdpSocket>,
) -> Option<UdpSocket> {
    let mut address = SocketAddr::new(ip, port);
    if let (SocketAddr::V6(address), true) = (&mut address, is_link_local(ip)) {
        address.set_scope_id(card.unwrap_or_default());
    }
    open_udp(address).inspect_err(|error| tracing::info!(%address, %error, "no UDP socket for this address alone")).ok()
}

/// Whether a datagram to this address comes to a socket for `any`: an IPv6 one takes both families.
fn serves(any: SocketAddr, ip: IpAddr) -> bool {
    any.is_ipv6() || ip.is_ipv4()
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}
