//! Which address of this machine a datagram was sent to, and is to leave from: IP_PKTINFO and IPV6_PKTINFO (Linux `ip(7)`,
//! `ipv6(7)`). A socket of IPv6 tells addresses of IPv4 as mapped ones, and takes them so.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;

use common::path::AddressPair;
use nix::cmsg_space;
use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, RecvMsg, SockaddrStorage, getsockopt, recvmsg, sendmsg, sockopt,
};

/// The address to leave from, in the shape the kernel takes.
#[derive(Clone, Copy)]
pub(super) enum Source {
    V4(in_pktinfo),
    V6(in6_pktinfo),
}

impl Source {
    /// The card is for the routing table to choose: it knows a way back that is not the way here.
    pub(super) fn new(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => {
                let address = in_addr { s_addr: u32::from_ne_bytes(address.octets()) };
                Self::V4(in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: address, ipi_addr: in_addr { s_addr: 0 } })
            }
            IpAddr::V6(address) => {
                let address = in6_addr { s6_addr: address.octets() };
                Self::V6(in6_pktinfo { ipi6_addr: address, ipi6_ifindex: 0 })
            }
        }
    }

    pub(super) fn message(&self) -> ControlMessage<'_> {
        match self {
            Self::V4(info) => ControlMessage::Ipv4PacketInfo(info),
            Self::V6(info) => ControlMessage::Ipv6PacketInfo(info),
        }
    }
}

/// Whether this socket tells of each datagram which address it was sent to. One that is bound to an address has no need.
pub(super) fn is_told(socket: &UdpSocket) -> bool {
    match socket.local_addr().map(|address| address.ip()) {
        Ok(IpAddr::V4(any)) if any.is_unspecified() => getsockopt(socket, sockopt::Ipv4PacketInfo).unwrap_or(false),
        Ok(IpAddr::V6(any)) if any.is_unspecified() => getsockopt(socket, sockopt::Ipv6RecvPacketInfo).unwrap_or(false),
        Ok(_) | Err(_) => false,
    }
}

/// The address a datagram was sent to, as [`Source::new`] takes it to answer.
pub(super) fn destination<S>(message: &RecvMsg<'_, '_, S>) -> Option<IpAddr> {
    let address = message.cmsgs().ok()?.find_map(|control| {
        if let ControlMessageOwned::Ipv4PacketInfo(info) = control {
            // Not `ipi_addr`, which is what was sent to and may be everybody's: this is the one of ours that answers.
            Some(IpAddr::V4(Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes())))
        } else if let ControlMessageOwned::Ipv6PacketInfo(info) = control {
            Some(IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr)))
        } else {
            None
        }
    });
    address.filter(|address| !address.is_unspecified() && !address.is_multicast())
}

/// Room for what a datagram comes with: one of the two, of which that of IPv6 is longer.
pub(super) fn room_to_receive() -> Vec<u8> {
    cmsg_space!(in6_pktinfo)
}

/// Room for the source of a datagram from a socket of this family, exactly: the kernel takes what is left for a message
/// without a length, and refuses it.
pub(super) fn room_to_send(ipv6: bool) -> Vec<u8> {
    if ipv6 { cmsg_space!(in6_pktinfo) } else { cmsg_space!(in_pktinfo) }
}

/// The same behind the length of segments.
pub(super) fn room_to_send_segments(ipv6: bool) -> Vec<u8> {
    if ipv6 { cmsg_space!(u16, in6_pktinfo) } else { cmsg_space!(u16, in_pktinfo) }
}

/// Receives one datagram.
pub(super) fn receive_one(socket: &UdpSocket, bytes: &mut [u8]) -> io::Result<(usize, AddressPair)> {
    let (mut places, mut control) = ([IoSliceMut::new(bytes)], room_to_receive());
    let flags = MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut places, Some(&mut control), flags)?;
    let remote = message.address.as_ref().and_then(socket_address).ok_or(io::ErrorKind::InvalidData)?;
    Ok((message.bytes, AddressPair { remote, local: destination(&message) }))
}

/// Sends one datagram.
pub(super) fn send_one(socket: &UdpSocket, bytes: &[u8], to: SocketAddr, from: Option<IpAddr>) -> io::Result<()> {
    let source = from.map(Source::new);
    let control: Vec<_> = source.iter().map(Source::message).collect();
    let (places, to) = ([IoSlice::new(bytes)], SockaddrStorage::from(to));
    sendmsg(socket.as_raw_fd(), &places, &control, MsgFlags::MSG_DONTWAIT, Some(&to))?;
    Ok(())
}

/// An address of IPv4 or IPv6 as nix has it.
pub(super) fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::V4(SocketAddrV4::from(*v4)));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::V6(SocketAddrV6::from(*v6))))
}
