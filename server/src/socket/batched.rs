//! Many datagrams a system call: recvmmsg, and sendmmsg with UDP_SEGMENT. nix wraps the calls.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;

use super::outgoing::{GROUPS_MAX, Outgoing, Waiting};
use super::{BATCH_DATAGRAMS, Slot};
use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};

/// The memory that the calls need, made once.
pub(super) struct Batched {
    receiving: MultiHeaders<SockaddrStorage>,
    /// Length and origin of each datagram of the newest batch.
    received: Vec<(usize, Option<SocketAddr>)>,
    /// For groups of one datagram each.
    sending: MultiHeaders<SockaddrStorage>,
    /// For groups of several, of equal length of datagram.
    sending_segments: MultiHeaders<SockaddrStorage>,
    addresses: Vec<Option<SockaddrStorage>>,
}

impl Default for Batched {
    fn default() -> Self {
        Self {
            receiving: MultiHeaders::preallocate(BATCH_DATAGRAMS, None),
            received: Vec::with_capacity(BATCH_DATAGRAMS),
            sending: MultiHeaders::preallocate(GROUPS_MAX, None),
            sending_segments: MultiHeaders::preallocate(GROUPS_MAX, Some(cmsg_space!(u16))),
            addresses: Vec::with_capacity(GROUPS_MAX),
        }
    }
}

impl Batched {
    /// Fills slots with what is there; answers how many.
    pub(super) fn receive(&mut self, socket: &UdpSocket, slots: &mut [Slot]) -> io::Result<usize> {
        self.received.clear();
        {
            let mut slots = slots.iter_mut();
            let mut places: [_; BATCH_DATAGRAMS] = std::array::from_fn(|_| {
                let bytes = slots.next().map_or(&mut [][..], |slot| &mut slot.bytes);
                [IoSliceMut::new(bytes)]
            });
            let flags = MsgFlags::MSG_DONTWAIT;
            let messages = recvmmsg(socket.as_raw_fd(), &mut self.receiving, places.iter_mut(), flags, None)?;
            let received = messages.map(|message| (message.bytes, message.address.as_ref().and_then(socket_address)));
            self.received.extend(received);
        }
        for (slot, (length, from)) in slots.iter_mut().zip(&self.received) {
            slot.length = *length;
            slot.from = from.unwrap_or(slot.from);
        }
        Ok(self.received.len())
    }

    /// Sends as many of the first groups as are alike; answers how many datagrams the system took.
    pub(super) fn send(&mut self, socket: &UdpSocket, outgoing: &mut Outgoing) -> io::Result<usize> {
        let (buffer, waiting) = outgoing.waiting();
        let Some(first) = waiting.first() else { return Ok(0) };
        if first.is_split() {
            return super::single::send(socket, outgoing);
        }
        let segment = first.segment();
        let alike = waiting.iter().take_while(|group| group.segment() == segment && !group.is_split());
        let groups = &waiting[..alike.count()];
        let sent = self.send_alike(socket, buffer, groups, segment)?;
        let datagrams = groups[..sent].iter().map(Waiting::datagrams).sum();
        outgoing.sent_groups(sent);
        Ok(datagrams)
    }

    fn send_alike(
        &mut self,
        socket: &UdpSocket,
        buffer: &[u8],
        groups: &[Waiting],
        segment: Option<u16>,
    ) -> io::Result<usize> {
        self.addresses.clear();
        self.addresses.extend(groups.iter().map(|group| Some(SockaddrStorage::from(group.to))));
        let mut bytes = groups.iter().map(|group| group.bytes(buffer));
        let places: [_; GROUPS_MAX] = std::array::from_fn(|_| [IoSlice::new(bytes.next().unwrap_or_default())]);
        let places = places[..groups.len()].iter();
        let (descriptor, flags) = (socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        let sent = match &segment {
            Some(segment) => {
                let headers = &mut self.sending_segments;
                let control = [ControlMessage::UdpGsoSegments(segment)];
                sendmmsg(descriptor, headers, places, &self.addresses, control, flags)?.count()
            }
            None => sendmmsg(descriptor, &mut self.sending, places, &self.addresses, [], flags)?.count(),
        };
        Ok(sent)
    }
}

fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::V4(SocketAddrV4::from(*v4)));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::V6(SocketAddrV6::from(*v6))))
}
