//! How long a datagram leaves a socket in one piece.

use common::limits::{DATAGRAM_BASE_BYTES, DATAGRAM_MAX_BYTES};

/// Forbids the system to cut the datagrams of a UDP socket (RFC 8899 §3, "DF"). Answers how long datagrams may then be
/// tried: no longer than every path carries where the system cannot be told.
#[cfg(target_os = "linux")]
pub fn forbid_fragments(socket: &impl std::os::fd::AsFd) -> usize {
    use rustix::net::sockopt::{
        Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
    };

    // "Probe" sets DF and lets the length be tried whatever the system believes of the path (Linux `ip(7)`). A socket of
    // IPv6 that takes IPv4 as well needs both.
    let v4 = set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::PROBE);
    let v6 = set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::PROBE);
    if v4.is_ok() || v6.is_ok() { DATAGRAM_MAX_BYTES } else { DATAGRAM_BASE_BYTES }
}

/// Forbids the system to cut the datagrams of a UDP socket, where that is known how. It is not here, so no datagram is
/// longer than every path carries.
#[cfg(not(target_os = "linux"))]
pub fn forbid_fragments<S>(_: &S) -> usize {
    const { assert!(DATAGRAM_BASE_BYTES <= DATAGRAM_MAX_BYTES) };
    DATAGRAM_BASE_BYTES
}
