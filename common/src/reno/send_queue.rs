//! What one stream has yet to send and what its peer has yet to acknowledge.

use std::collections::VecDeque;
use std::ops::Range;

use super::ranges::RangeSet;
use crate::limits::STREAM_RECEIVE_WINDOW_MIN_BYTES;

/// The bytes of one stream between the application that writes them and the peer that acknowledges them.
///
/// ```text
///    acknowledged          sent           limit          written
///         │                  │              │               │
///  ───────▼──────────────────▼──────────────▼───────────────▼──▶ offsets
///  gone   │ on the way, lost │ may be sent  │ must wait     │
///         │ or beyond a gap  │              │ for the peer  │
/// ```
#[derive(Debug)]
pub(super) struct SendQueue {
    /// From the offset `acknowledged` on.
    bytes: VecDeque<u8>,
    acknowledged: u64,
    /// What was acknowledged beyond a gap.
    acknowledged_beyond: RangeSet,
    /// What must be sent once more.
    lost: RangeSet,
    sent: u64,
    /// The peer's window: the first offset that may not be sent.
    limit: u64,
    end: End,
}

/// How far the end of the stream has come; each state follows the one above it, or comes back to `Due` when lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// More may be written.
    Open,
    /// Nothing more will be written, and the peer is to be told.
    Due,
    /// The peer was told.
    Sent,
    /// The peer knows.
    Acknowledged,
}

/// Part of a stream to put into a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) offset: u64,
    pub(super) length: usize,
    /// The stream ends behind it.
    pub(super) last: bool,
    /// It was sent before.
    pub(super) again: bool,
}

impl SendQueue {
    pub(super) fn new() -> Self {
        Self {
            bytes: VecDeque::new(),
            acknowledged: 0,
            acknowledged_beyond: RangeSet::default(),
            lost: RangeSet::default(),
            sent: 0,
            limit: STREAM_RECEIVE_WINDOW_MIN_BYTES as u64,
            end: End::Open,
        }
    }

    /// How many bytes [`Self::write`] takes where the stream may hold `buffer_bytes`.
    pub(super) fn room(&self, buffer_bytes: usize) -> usize {
        if self.end == End::Open { buffer_bytes.saturating_sub(self.bytes.len()) } else { 0 }
    }

    /// How many bytes are not acknowledged.
    pub(super) fn held(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn write(&mut self, bytes: &[u8], buffer_bytes: usize) -> usize {
        let taken = bytes.len().min(self.room(buffer_bytes));
        self.bytes.extend(&bytes[..taken]);
        taken
    }

    pub(super) fn finish(&mut self) {
        if self.end == End::Open {
            self.end = End::Due;
        }
    }

    /// The peer allows offsets below `limit`. Answers whether that is more than before.
    pub(super) fn raise_limit(&mut self, limit: u64) -> bool {
        let raised = limit > self.limit;
        self.limit = self.limit.max(limit);
        raised
    }

    pub(super) fn must_repeat(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Whether [`Self::take_piece`] has something that was never sent.
    pub(super) fn has_new(&self) -> bool {
        self.sent < self.written().min(self.limit) || (self.end == End::Due && self.sent == self.written())
    }

    /// Whether nothing but the peer's window keeps bytes here.
    pub(super) fn is_blocked(&self) -> bool {
        self.lost.is_empty() && self.sent < self.written() && self.sent >= self.limit
    }

    /// The next piece of at most `room` bytes, which counts as sent: what was lost first (RFC 6675 §4, NextSeg).
    pub(super) fn take_piece(&mut self, room: usize) -> Option<Piece> {
        let again = self.must_repeat();
        let range = if let Some(lost) = self.lost.first() {
            let range = lost.start..lost.end.min(lost.start + room as u64);
            self.lost.remove(range.clone());
            range
        } else if self.has_new() {
            let end = self.written().min(self.limit).min(self.sent + room as u64);
            let range = self.sent..end.max(self.sent);
            self.sent = range.end;
            range
        } else {
            return None;
        };
        let last = self.end != End::Open && range.end == self.written();
        if last && self.end == End::Due {
            self.end = End::Sent;
        }
        Some(Piece { offset: range.start, length: (range.end - range.start) as usize, last, again })
    }

    /// The bytes of a piece that was taken and not acknowledged, in the two parts of the ring.
    pub(super) fn parts(&self, piece: &Piece) -> (&[u8], &[u8]) {
        let from = (piece.offset - self.acknowledged) as usize;
        let to = from + piece.length;
        let (front, back) = self.bytes.as_slices();
        let split = front.len();
        (&front[from.min(split)..to.min(split)], &back[from.saturating_sub(split)..to.saturating_sub(split)])
    }

    /// The peer has these bytes, and knows the end when `last`.
    pub(super) fn on_acknowledged(&mut self, range: Range<u64>, last: bool) {
        if last {
            self.end = End::Acknowledged;
        }
        self.lost.remove(range.clone());
        if range.start > self.acknowledged {
            self.acknowledged_beyond.insert(range);
            return;
        }
        let mut reached = self.acknowledged.max(range.end);
        while let Some(next) = self.acknowledged_beyond.first().filter(|r| r.start <= reached) {
            self.acknowledged_beyond.pop_first();
            reached = reached.max(next.end);
        }
        self.bytes.drain(..(reached - self.acknowledged) as usize);
        self.acknowledged = reached;
    }

    /// The segment with these bytes was lost.
    pub(super) fn on_lost(&mut self, range: Range<u64>, last: bool) {
        let start = range.start.max(self.acknowledged);
        for missing in self.acknowledged_beyond.missing(start..range.end.max(start)) {
            self.lost.insert(missing);
        }
        if last && self.end == End::Sent {
            self.end = End::Due;
        }
    }

    /// These bytes are on the way after all.
    pub(super) fn on_revived(&mut self, range: Range<u64>) {
        self.lost.remove(range);
    }

    /// Whether the peer has everything and knows that it is everything.
    pub(super) fn is_done(&self) -> bool {
        self.end == End::Acknowledged && self.bytes.is_empty()
    }

    fn written(&self) -> u64 {
        self.acknowledged + self.bytes.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUFFER: usize = 1 << 20;

    fn piece(offset: u64, length: usize, last: bool, again: bool) -> Option<Piece> {
        Some(Piece { offset, length, last, again })
    }

    #[test]
    fn what_was_lost_goes_before_what_is_new() {
        let mut queue = SendQueue::new();
        queue.write(&[1; 300], BUFFER);
        assert_eq!(queue.take_piece(100), piece(0, 100, false, false));
        assert_eq!(queue.take_piece(100), piece(100, 100, false, false));
        queue.on_lost(0..100, false);
        assert_eq!(queue.take_piece(60), piece(0, 60, false, true));
        assert_eq!(queue.take_piece(60), piece(60, 40, false, true));
        assert_eq!(queue.take_piece(200), piece(200, 100, false, false));
        assert_eq!(queue.take_piece(200), None);
    }

    #[test]
    fn what_was_acknowledged_beyond_a_gap_is_not_sent_again() {
        let mut queue = SendQueue::new();
        queue.write(&[1; 300], BUFFER);
        queue.take_piece(300);
        queue.on_acknowledged(100..200, false);
        queue.on_lost(0..300, false);
        assert_eq!(queue.take_piece(300), piece(0, 100, false, true));
        assert_eq!(queue.take_piece(300), piece(200, 100, false, true));
        queue.on_acknowledged(0..100, false);
        assert_eq!(queue.room(BUFFER), BUFFER - 100);
    }

    #[test]
    fn the_end_is_sent_until_it_is_acknowledged() {
        let mut queue = SendQueue::new();
        queue.write(b"end", BUFFER);
        assert_eq!(queue.take_piece(9), piece(0, 3, false, false));
        queue.finish();
        assert_eq!(queue.take_piece(9), piece(3, 0, true, false));
        assert_eq!(queue.take_piece(9), None);
        queue.on_lost(3..3, true);
        assert_eq!(queue.take_piece(9), piece(3, 0, true, false));
        queue.on_acknowledged(3..3, true);
        assert!(!queue.is_done());
        queue.on_acknowledged(0..3, false);
        assert!(queue.is_done());
    }

    #[test]
    fn nothing_is_sent_beyond_the_window_of_the_peer() {
        let window = STREAM_RECEIVE_WINDOW_MIN_BYTES;
        let mut queue = SendQueue::new();
        queue.write(&vec![1; window], BUFFER);
        assert_eq!(queue.take_piece(window), piece(0, window, false, false));
        queue.on_acknowledged(0..window as u64, false);
        assert_eq!(queue.write(&[2; 10], BUFFER), 10);
        assert!(queue.is_blocked() && queue.take_piece(10).is_none());
        assert!(queue.raise_limit(window as u64 + 4));
        assert_eq!(queue.take_piece(10), piece(window as u64, 4, false, false));
    }

    #[test]
    fn the_parts_of_a_piece_are_its_bytes_wherever_the_ring_turns() {
        let mut queue = SendQueue::new();
        let mut written = 0_u64;
        for _ in 0..50 {
            let bytes: Vec<u8> = (0..700).map(|n| (written + n) as u8).collect();
            written += queue.write(&bytes, BUFFER) as u64;
            while let Some(piece) = queue.take_piece(300) {
                let (front, back) = queue.parts(&piece);
                let expected: Vec<u8> = (0..piece.length as u64).map(|n| (piece.offset + n) as u8).collect();
                assert_eq!([front, back].concat(), expected);
                let most = piece.length as u64 * 2 / 3;
                queue.on_acknowledged(piece.offset..piece.offset + most, false);
            }
            queue.on_acknowledged(0..written, false);
        }
    }
}
