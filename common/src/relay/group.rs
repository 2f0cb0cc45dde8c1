//! Datagrams for one receiver, next to each other in a buffer, as one system call can send them.

use std::net::{IpAddr, SocketAddr};

use crate::limits::{
    DATAGRAM_BASE_BYTES, DATAGRAM_HEADER_BYTES, DATAGRAM_MAX_BYTES, DATAGRAM_TAG_BYTES, GROUP_MAX_BYTES,
};
use crate::path::AddressPair;

/// Datagrams to be sent: the first `bytes` of the buffer, cut into pieces of `datagram_bytes`, all to `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// From which address of ours: the one that `to` sent to, because a firewall on the way lets in no other's answer.
    /// `None` leaves it to the system.
    pub from: Option<IpAddr>,
    /// Length of all datagrams together.
    pub bytes: usize,
    /// Length of each datagram but the last, which may be shorter; what UDP_SEGMENT is told (Linux `udp(7)`).
    pub datagram_bytes: usize,
}

impl Transmit {
    /// How many datagrams there are, at least one.
    pub fn datagrams(&self) -> usize {
        self.bytes.div_ceil(self.datagram_bytes)
    }
}

/// What a datagram has beyond its plaintext.
const SEALING_BYTES: usize = DATAGRAM_HEADER_BYTES + DATAGRAM_TAG_BYTES;

/// A [`Transmit`] being written.
#[derive(Debug)]
pub(super) struct Group<'a> {
    buffer: &'a mut [u8],
    bytes: usize,
    /// Of the first datagram; 0 before it.
    datagram_bytes: usize,
    /// Datagrams there is room for.
    left: usize,
}

impl<'a> Group<'a> {
    /// An empty one; it takes as many datagrams as the buffer holds if each has its full length.
    pub(super) fn new(buffer: &'a mut [u8]) -> Self {
        let left = buffer.len() / DATAGRAM_MAX_BYTES;
        Self { buffer, bytes: 0, datagram_bytes: 0, left }
    }

    /// Room for the next datagram if its plaintext is this long, or `None` when it has to wait for another group.
    pub(super) fn room(&mut self, plaintext_bytes: usize) -> Option<&mut [u8]> {
        let length = plaintext_bytes + SEALING_BYTES;
        let alike = length <= DATAGRAM_MAX_BYTES && (self.bytes == 0 || length <= self.datagram_bytes);
        let fits = self.left > 0 && self.bytes + length <= GROUP_MAX_BYTES;
        (alike && fits).then(|| &mut self.buffer[self.bytes..][..length])
    }

    /// Room for a segment, whose length shows only when it is written: for the longest one at first, then for one as
    /// long as the first, and for none behind a short one.
    pub(super) fn room_for_segment(&mut self) -> Option<&mut [u8]> {
        let length = if self.bytes == 0 { DATAGRAM_MAX_BYTES } else { self.datagram_bytes };
        if length < DATAGRAM_BASE_BYTES { None } else { self.room(length - SEALING_BYTES) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The room that was given holds a datagram of this length now; 0 when it could not be sealed.
    pub(super) fn push(&mut self, datagram_bytes: usize) {
        if datagram_bytes == 0 {
            return;
        }
        if self.bytes == 0 {
            self.datagram_bytes = datagram_bytes;
        }
        // A shorter datagram is the last.
        self.left = if datagram_bytes < self.datagram_bytes { 0 } else { self.left - 1 };
        self.bytes += datagram_bytes;
    }

    /// What was written, or `None` when that is nothing.
    pub(super) fn finish(self, path: AddressPair) -> Option<Transmit> {
        let (bytes, datagram_bytes) = (self.bytes, self.datagram_bytes);
        (bytes > 0).then_some(Transmit { to: path.remote, from: path.local, bytes, datagram_bytes })
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    /// Lengths of the datagrams that a group took of those offered.
    fn taken(buffer: usize, plaintexts: &[usize]) -> Option<Transmit> {
        let mut buffer = vec![0; buffer];
        let mut group = Group::new(&mut buffer);
        for bytes in plaintexts {
            let Some(room) = group.room(*bytes) else { break };
            let length = room.len();
            group.push(length);
        }
        group.finish(SocketAddr::from(([10, 0, 0, 1], 4_000)).into())
    }

    #[test]
    fn equal_datagrams_and_a_shorter_last_one_make_a_group() {
        let transmit = taken(5_000, &[100, 100, 60, 60]).unwrap();
        assert_eq!((transmit.bytes, transmit.datagram_bytes, transmit.datagrams()), (131 + 131 + 91, 131, 3));
    }

    #[test]
    fn a_longer_one_waits_for_the_next_group() {
        assert_eq!(taken(4_000, &[60, 100]).unwrap().datagrams(), 1);
    }

    #[test]
    fn a_group_has_no_more_datagrams_than_its_buffer_holds_of_full_length() {
        assert_eq!(taken(2 * DATAGRAM_MAX_BYTES, &[100, 100, 100]).unwrap().datagrams(), 2);
        assert_eq!(taken(DATAGRAM_MAX_BYTES, &[100, 100]).unwrap().datagrams(), 1);
        assert_eq!(taken(DATAGRAM_MAX_BYTES - 1, &[100]), None);
    }
}
