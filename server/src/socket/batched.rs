//! Many datagrams a system call: recvmmsg, and sendmmsg with UDP_SEGMENT and PKTINFO. nix wraps the calls.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use super::outgoing::{GROUPS_MAX, Outgoing, Waiting};
use super::pktinfo::{self, Source};
use super::{BATCH_DATAGRAMS, Slot};
use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};

/// The memory that the calls need, made once.
pub(super) struct Batched {
    /// The socket tells which address of ours a datagram was sent to.
    told: bool,
    receiving: MultiHeaders<SockaddrStorage>,
    /// Length, origin and destination of each datagram of the newest batch.
    received: Vec<(usize, Option<SocketAddr>, Option<IpAddr>)>,
    headers: Headers,
    addresses: Vec<Option<SockaddrStorage>>,
}

/// Headers to send with, by what stands in them beside the bytes: each has room for exactly that.
struct Headers {
    plain: MultiHeaders<SockaddrStorage>,
    segments: MultiHeaders<SockaddrStorage>,
    sourced: MultiHeaders<SockaddrStorage>,
    sourced_segments: MultiHeaders<SockaddrStorage>,
}

impl Headers {
    fn new(ipv6: bool) -> Self {
        let with = |control| MultiHeaders::preallocate(GROUPS_MAX, control);
        Self {
            plain: with(None),
            segments: with(Some(cmsg_space!(u16))),
            sourced: with(Some(pktinfo::room_to_send(ipv6))),
            sourced_segments: with(Some(pktinfo::room_to_send_segments(ipv6))),
        }
    }
}

impl Batched {
    pub(super) fn new(socket: &UdpSocket) -> Self {
        let told = pktinfo::is_told(socket);
        Self {
            told,
            receiving: headers_to_receive(told),
            received: Vec::with_capacity(BATCH_DATAGRAMS),
            headers: Headers::new(socket.local_addr().is_ok_and(|address| address.is_ipv6())),
            addresses: Vec::with_capacity(GROUPS_MAX),
        }
    }

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
            let told = self.told;
            self.received.extend(messages.map(|message| {
                let from = message.address.as_ref().and_then(pktinfo::socket_address);
                (message.bytes, from, if told { pktinfo::destination(&message) } else { None })
            }));
        }
        for (slot, (length, from, to)) in slots.iter_mut().zip(&self.received) {
            slot.length = *length;
            slot.path.remote = from.unwrap_or(slot.path.remote);
            slot.path.local = *to;
        }
        self.renew_headers();
        Ok(self.received.len())
    }

    /// The kernel writes into a header how much came with a datagram, and nix leaves it so: after one without a
    /// destination there would be no room for the next one's.
    fn renew_headers(&mut self) {
        if self.told && self.received.iter().any(|(_, _, to)| to.is_none()) {
            self.receiving = headers_to_receive(true);
        }
    }

    /// Sends as many of the first groups as are alike; answers how many datagrams the system took.
    pub(super) fn send(&mut self, socket: &UdpSocket, outgoing: &mut Outgoing) -> io::Result<usize> {
        let (buffer, waiting) = outgoing.waiting();
        let Some(first) = waiting.first() else { return Ok(0) };
        if first.is_split() {
            self.send_alike(socket, std::slice::from_ref(first), |group| group.first(buffer))?;
            outgoing.drop_first();
            return Ok(1);
        }
        let alike = waiting.iter().take_while(|group| group.is_like(first));
        let groups = &waiting[..alike.count()];
        let sent = self.send_alike(socket, groups, |group| group.bytes(buffer))?;
        let datagrams = groups[..sent].iter().map(Waiting::datagrams).sum();
        outgoing.sent_groups(sent);
        Ok(datagrams)
    }

    /// One call for groups that go the same way: what stands beside the bytes is the same for all messages of a call.
    fn send_alike<'a>(
        &mut self,
        socket: &UdpSocket,
        groups: &[Waiting],
        bytes: impl Fn(&Waiting) -> &'a [u8],
    ) -> io::Result<usize> {
        self.addresses.clear();
        self.addresses.extend(groups.iter().map(|group| Some(SockaddrStorage::from(group.to))));
        let mut bytes = groups.iter().map(bytes);
        let places: [_; GROUPS_MAX] = std::array::from_fn(|_| [IoSlice::new(bytes.next().unwrap_or_default())]);
        let places = &places[..groups.len()];
        let (addresses, headers) = (&self.addresses, &mut self.headers);
        let segment = groups[0].segment();
        let source = groups[0].from.filter(|_| self.told).map(Source::new);
        let send = |headers: &mut MultiHeaders<SockaddrStorage>, control: &[ControlMessage<'_>]| {
            let flags = MsgFlags::MSG_DONTWAIT;
            Ok(sendmmsg(socket.as_raw_fd(), headers, places.iter(), addresses, control, flags)?.count())
        };
        match (&segment, &source) {
            (None, None) => send(&mut headers.plain, &[]),
            (Some(segment), None) => send(&mut headers.segments, &[ControlMessage::UdpGsoSegments(segment)]),
            (None, Some(source)) => send(&mut headers.sourced, &[source.message()]),
            (Some(segment), Some(source)) => {
                let control = [ControlMessage::UdpGsoSegments(segment), source.message()];
                send(&mut headers.sourced_segments, &control)
            }
        }
    }
}

fn headers_to_receive(told: bool) -> MultiHeaders<SockaddrStorage> {
    MultiHeaders::preallocate(BATCH_DATAGRAMS, told.then(pktinfo::room_to_receive))
}
