//! Media packets between the socket that brought them and the receivers who get them.
//!
//! A packet is kept once, in a ring, however many are to get it; each receiver has a queue of places in that ring. So
//! forwarding to 49 copies nothing 49 times before it has to be sealed 49 times. Where more waits than the ring holds,
//! the oldest packet makes room, and its place in the queues leads nowhere from then on.
//!
//! A ring may look back: then what was sent stays until it makes room, and is found again by its tag.

use std::collections::VecDeque;

use crate::limits::PLAINTEXT_BASE_BYTES;

/// Where a packet is in its [`Ring`]: how many came before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u64);

/// The newest packets of one kind, of all rooms.
#[derive(Debug)]
pub(super) struct Ring {
    /// A slot of [`PLAINTEXT_BASE_BYTES`] for each packet.
    bytes: Vec<u8>,
    /// Bytes of the packet in each slot.
    lengths: Vec<u16>,
    /// By what name its receivers' losses of it are told of; 0 for none.
    tags: Vec<u32>,
    /// The place that stands in slot 0.
    base: u64,
    /// The place of the packet to come.
    next: u64,
    /// Places that stand in queues.
    waiting: usize,
    looks_back: bool,
}

impl Ring {
    /// Room for `slots` packets. Memory that no packet ever needed is not touched.
    pub(super) fn new(slots: usize) -> Self {
        Self {
            bytes: vec![0; slots * PLAINTEXT_BASE_BYTES],
            lengths: vec![0; slots],
            tags: vec![0; slots],
            base: 0,
            next: 0,
            waiting: 0,
            looks_back: false,
        }
    }

    /// One that looks back; all of its memory is used in turn.
    pub(super) fn looking_back(slots: usize) -> Self {
        Self { looks_back: true, ..Self::new(slots) }
    }

    /// Keeps a packet of at most [`PLAINTEXT_BASE_BYTES`].
    pub(super) fn push(&mut self, packet: &[u8], tag: u32) -> Place {
        if self.waiting == 0 && !self.looks_back {
            // Nobody asks again, so the slots that are still in the cache are used again.
            self.base = self.next;
        }
        let slot = self.slot(self.next);
        self.bytes[slot * PLAINTEXT_BASE_BYTES..][..packet.len()].copy_from_slice(packet);
        self.lengths[slot] = packet.len() as u16;
        self.tags[slot] = tag;
        self.next += 1;
        Place(self.next - 1)
    }

    /// The tag of the packet to come by which [`Ring::find`] finds it again; never 0.
    pub(super) fn next_tag(&self) -> u32 {
        tag_of(Place(self.next))
    }

    /// Where the packet with that tag is, of a ring that looks back and has it still.
    pub(super) fn find(&self, tag: u32) -> Option<Place> {
        let newest = self.next.checked_sub(1).filter(|_| self.looks_back)?;
        let behind = tag_of(Place(newest)).wrapping_sub(tag) & !TAG_TAKEN;
        let place = Place(newest.checked_sub(behind.into())?);
        self.packet(place).map(|_| place)
    }

    /// The packet at a place and its tag, or `None` when it had to make room.
    fn packet(&self, place: Place) -> Option<(&[u8], u32)> {
        if self.next - place.0 > self.lengths.len() as u64 {
            return None;
        }
        let slot = self.slot(place.0);
        let packet = &self.bytes[slot * PLAINTEXT_BASE_BYTES..][..usize::from(self.lengths[slot])];
        Some((packet, self.tags[slot]))
    }

    fn slot(&self, place: u64) -> usize {
        ((place - self.base) % self.lengths.len() as u64) as usize
    }
}

/// So that no tag is 0.
const TAG_TAKEN: u32 = 1 << 31;

fn tag_of(place: Place) -> u32 {
    place.0 as u32 | TAG_TAKEN
}

/// What waits for one receiver, oldest first.
#[derive(Debug, Default)]
pub(super) struct Queue(VecDeque<Waits>);

/// A packet that waits for one receiver.
#[derive(Clone, Copy, Debug)]
struct Waits {
    place: Place,
    /// This receiver was sent it before.
    again: bool,
}

impl Queue {
    /// Queues a packet of `ring`; at most `most` wait, and the oldest makes room. Answers the tag of one that was shed, 0
    /// if it has none.
    pub(super) fn push(&mut self, ring: &mut Ring, place: Place, most: usize) -> Option<u32> {
        let shed = if self.0.len() >= most { self.0.pop_front() } else { None };
        if shed.is_none() {
            ring.waiting += 1;
        }
        self.0.push_back(Waits { place, again: false });
        shed.map(|waits| ring.packet(waits.place).map_or(0, |(_, tag)| tag))
    }

    /// Queues one that was sent to this receiver before, if fewer than `most` wait.
    pub(super) fn push_again(&mut self, ring: &mut Ring, place: Place, most: usize) {
        if self.0.len() < most {
            ring.waiting += 1;
            self.0.push_back(Waits { place, again: true });
        }
    }

    /// The oldest packet, and its tag; 0 if it was sent before, so that its fate is nobody's concern. Those before it that
    /// are no more are dropped and counted in `shed`.
    pub(super) fn front<'a>(&mut self, ring: &'a mut Ring, shed: &mut u64) -> Option<(&'a [u8], u32)> {
        while let Some(waits) = self.0.front() {
            if ring.packet(waits.place).is_some() {
                break;
            }
            *shed += 1;
            self.pop(ring);
        }
        let waits = self.0.front()?;
        ring.packet(waits.place).map(|(packet, tag)| (packet, if waits.again { 0 } else { tag }))
    }

    /// The packet that [`Queue::front`] gave is done with.
    pub(super) fn pop(&mut self, ring: &mut Ring) {
        if self.0.pop_front().is_some() {
            ring.waiting -= 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets what waits.
    pub(super) fn clear(&mut self, ring: &mut Ring) {
        ring.waiting -= self.0.len();
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_receivers_get_a_packet_that_is_kept_once() {
        let mut ring = Ring::new(4);
        let (mut one, mut other, mut shed) = (Queue::default(), Queue::default(), 0);
        let place = ring.push(&[7; 100], 5);
        for queue in [&mut one, &mut other] {
            assert_eq!(queue.push(&mut ring, place, 8), None);
            assert_eq!(queue.front(&mut ring, &mut shed), Some((&[7; 100][..], 5)));
        }
        one.pop(&mut ring);
        other.pop(&mut ring);
        assert_eq!(one.front(&mut ring, &mut shed), None);
        assert_eq!((shed, ring.waiting), (0, 0));
    }

    #[test]
    fn a_full_queue_drops_the_oldest() {
        let mut ring = Ring::new(8);
        let (mut queue, mut shed) = (Queue::default(), 0);
        let dropped: Vec<_> = (0..5)
            .filter_map(|byte| {
                let place = ring.push(&[byte], 10 + u32::from(byte));
                queue.push(&mut ring, place, 3)
            })
            .collect();
        assert_eq!((dropped, queue.front(&mut ring, &mut shed)), (vec![10, 11], Some((&[2][..], 12))));
        queue.clear(&mut ring);
        assert_eq!((shed, ring.waiting), (0, 0));
    }

    #[test]
    fn what_the_ring_lost_is_skipped_and_counted() {
        let mut ring = Ring::new(4);
        let (mut queue, mut shed) = (Queue::default(), 0);
        for byte in 0..6 {
            let place = ring.push(&[byte], u32::from(byte));
            queue.push(&mut ring, place, 100);
        }
        assert_eq!(queue.front(&mut ring, &mut shed), Some((&[2][..], 2)));
        assert_eq!(shed, 2);
    }

    #[test]
    fn slots_are_used_again_once_nobody_waits() {
        let mut ring = Ring::new(4);
        let (mut queue, mut shed) = (Queue::default(), 0);
        for byte in 0..9 {
            let place = ring.push(&[byte], u32::from(byte));
            queue.push(&mut ring, place, 4);
            assert_eq!(ring.slot(place.0), 0);
            assert_eq!(queue.front(&mut ring, &mut shed), Some((&[byte][..], u32::from(byte))));
            queue.pop(&mut ring);
        }
        assert_eq!(shed, 0);
    }

    #[test]
    fn a_ring_that_looks_back_finds_what_it_has_still() {
        let mut ring = Ring::looking_back(4);
        assert_eq!(ring.find(ring.next_tag()), None);
        let tags: Vec<_> = (0..6)
            .map(|byte| {
                let tag = ring.next_tag();
                ring.push(&[byte], tag);
                tag
            })
            .collect();
        let found = |ring: &Ring, tag| ring.find(tag).and_then(|place| ring.packet(place)).map(|(packet, _)| packet[0]);
        assert_eq!(
            tags.iter().map(|tag| found(&ring, *tag)).collect::<Vec<_>>(),
            [None, None, Some(2), Some(3), Some(4), Some(5)]
        );
        for tag in [0, 1, ring.next_tag(), u32::MAX] {
            assert_eq!(found(&ring, tag), None, "{tag}");
        }
        ring.next = (1 << 31) - 1;
        let tag = ring.next_tag();
        ring.push(&[7], tag);
        ring.push(&[8], ring.next_tag());
        assert_eq!(found(&ring, tag), Some(7), "tags come round");
    }

    #[test]
    fn what_is_sent_again_has_no_tag() {
        let mut ring = Ring::looking_back(4);
        let (mut queue, mut shed) = (Queue::default(), 0);
        let place = ring.push(&[1], 9);
        queue.push_again(&mut ring, place, 8);
        queue.push(&mut ring, place, 8);
        assert_eq!(queue.front(&mut ring, &mut shed), Some((&[1][..], 0)));
        queue.pop(&mut ring);
        assert_eq!(queue.front(&mut ring, &mut shed), Some((&[1][..], 9)));
    }
}
