//! A UDP socket on which the kernel takes and gives equal datagrams as one, as the server's does for sending.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
};
use nix::{cmsg_space, sys::time::TimeSpec};
use rustix::net::sockopt::{Ipv4PathMtuDiscovery, set_ip_mtu_discover};

use super::super::PeerError;

/// Bytes the kernel holds in each direction: above every bandwidth-delay product of the grid.
pub(in super::super) const SOCKET_BUFFER_BYTES: usize = 8 * 1024 * 1024;
/// Groups taken a turn: what a receiver takes before it answers.
const BATCH_GROUPS: usize = 8;
/// Bytes of a group of datagrams that the kernel put together (UDP_GRO): the longest IP packet there is.
const GROUP_BYTES: usize = 64 * 1024;

/// A bound socket.
#[derive(Debug)]
pub(super) struct Socket(UdpSocket);

impl Socket {
    /// Binds it, with large buffers, with UDP_GRO, and with fragmentation forbidden as in the product.
    pub(super) fn bind(on: SocketAddr) -> Result<Self, PeerError> {
        let socket = UdpSocket::bind(on)?;
        setsockopt(&socket, sockopt::RcvBufForce, &SOCKET_BUFFER_BYTES)?;
        setsockopt(&socket, sockopt::SndBufForce, &SOCKET_BUFFER_BYTES)?;
        setsockopt(&socket, sockopt::UdpGroSegment, &true)?;
        set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::PROBE)?;
        Ok(Self(socket))
    }

    /// Where it listens.
    pub(super) fn port(&self) -> io::Result<u16> {
        Ok(self.0.local_addr()?.port())
    }

    /// Sends datagrams of `datagram_bytes` each, of which the last may be shorter, as one group. Waits for room.
    pub(super) fn send(&self, to: SocketAddr, bytes: &[u8], datagram_bytes: usize) -> io::Result<()> {
        let segment = datagram_bytes as u16;
        let segments = [ControlMessage::UdpGsoSegments(&segment)];
        let control = if bytes.len() > datagram_bytes { &segments[..] } else { &[] };
        let to = SockaddrStorage::from(to);
        match sendmsg(self.0.as_raw_fd(), &[IoSlice::new(bytes)], control, MsgFlags::empty(), Some(&to)) {
            // A peer that has gone has taken all it wanted.
            Ok(_) | Err(Errno::ECONNREFUSED) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until there is something to receive, but no longer than this.
    pub(super) fn wait(&self, time: Duration) -> io::Result<()> {
        let mut descriptors = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        match ppoll(&mut descriptors, Some(TimeSpec::from_duration(time)), None) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Room for what one turn receives.
pub(super) struct Inbox {
    buffers: Vec<Vec<u8>>,
    /// Length, length of each datagram in it, and origin of the groups received.
    groups: Vec<(usize, usize, Option<SocketAddr>)>,
}

impl Inbox {
    /// Room for a batch.
    pub(super) fn new() -> Self {
        Self { buffers: vec![vec![0; GROUP_BYTES]; BATCH_GROUPS], groups: Vec::with_capacity(BATCH_GROUPS) }
    }

    /// Takes what is there, without waiting.
    pub(super) fn receive(&mut self, socket: &Socket) -> io::Result<()> {
        self.groups.clear();
        for buffer in &mut self.buffers {
            let mut control = cmsg_space!(i32);
            let (descriptor, flags) = (socket.0.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
            let mut places = [IoSliceMut::new(buffer)];
            let message = match recvmsg::<SockaddrStorage>(descriptor, &mut places, Some(&mut control), flags) {
                Ok(message) => message,
                Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let segments = message.cmsgs()?.find_map(|control| {
                let ControlMessageOwned::UdpGroSegments(bytes) = control else { return None };
                usize::try_from(bytes).ok()
            });
            let from = message.address.as_ref().and_then(socket_address);
            self.groups.push((message.bytes, segments.unwrap_or(message.bytes).max(1), from));
        }
        Ok(())
    }

    /// The datagrams of the batch, in order, and where each came from.
    pub(super) fn datagrams(&mut self) -> impl Iterator<Item = (Option<SocketAddr>, &mut [u8])> {
        let groups = self.buffers.iter_mut().zip(&self.groups);
        groups.flat_map(|(buffer, &(bytes, datagram_bytes, from))| {
            buffer[..bytes].chunks_mut(datagram_bytes).map(move |datagram| (from, datagram))
        })
    }
}

fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::V4(SocketAddrV4::from(*v4)));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::V6(SocketAddrV6::from(*v6))))
}
