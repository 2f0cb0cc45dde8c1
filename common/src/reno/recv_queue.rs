//! What one stream has received and its application has not read.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::ranges::RangeSet;
use super::{Read, Violation};
use crate::limits::{STREAM_GAPS_MAX, STREAM_RECEIVE_WINDOW_MAX_BYTES, STREAM_RECEIVE_WINDOW_MIN_BYTES};

/// The bytes of one stream between the peer that sends them and the application that reads them.
///
/// ```text
///       read           contiguous                        limit
///         │                │                               │
///  ───────▼────────────────▼───────────────────────────────▼──▶ offsets
///  gone   │ can be read    │ gap │ beyond │ gap │ beyond   │ a violation
/// ```
#[derive(Debug)]
pub(super) struct RecvQueue {
    /// From the offset `read` on; zeros where nothing arrived yet.
    bytes: VecDeque<u8>,
    read: u64,
    contiguous: u64,
    /// What arrived behind a gap.
    beyond: RangeSet,
    /// What the peer was told it may send.
    limit: u64,
    /// Where the stream ends, once that is known.
    end: Option<u64>,
    /// Nobody reads it: what arrives is dropped at once.
    discarding: bool,
    /// How much may be held, bytes.
    window: u64,
    announced_at: Option<Instant>,
}

const WINDOW_MIN: u64 = STREAM_RECEIVE_WINDOW_MIN_BYTES as u64;
const WINDOW_MAX: u64 = STREAM_RECEIVE_WINDOW_MAX_BYTES as u64;
/// A new window is announced when this part of one was read: large enough not to be silly (RFC 9293 §3.8.6.2.2), small
/// enough that a sender whose path holds nearly a window does not come in bursts.
const ANNOUNCED_PART: u64 = 4;

/// What became of received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// They are held, and there is more to read than before (or the end).
    More,
    /// They were held already, or lie behind a gap.
    Held,
    /// They would make one gap too many: not held, so they must not be acknowledged.
    Refused,
}

impl RecvQueue {
    pub(super) fn new() -> Self {
        Self {
            bytes: VecDeque::new(),
            read: 0,
            contiguous: 0,
            beyond: RangeSet::default(),
            limit: WINDOW_MIN,
            end: None,
            discarding: false,
            window: WINDOW_MIN,
            announced_at: None,
        }
    }

    /// Takes bytes as they came.
    ///
    /// # Errors
    /// [`Violation`] when they lie beyond the announced window or disagree with what is known of the end.
    pub(super) fn receive(&mut self, offset: u64, bytes: &[u8], last: bool) -> Result<Received, Violation> {
        let end = offset + bytes.len() as u64;
        self.check(end, last)?;
        let was_complete = self.is_complete();
        let was_contiguous = self.contiguous;
        let begins_gap = offset > self.contiguous;
        if begins_gap && self.beyond.len() >= STREAM_GAPS_MAX {
            return Ok(Received::Refused);
        }
        if last {
            self.end = Some(end);
        }
        self.hold(offset, bytes);
        let more = self.contiguous > was_contiguous || self.is_complete() != was_complete;
        Ok(if more { Received::More } else { Received::Held })
    }

    fn check(&self, end: u64, last: bool) -> Result<(), Violation> {
        let highest = self.beyond.last().map_or(self.contiguous, |r| r.end);
        let moved = self.end.is_some_and(|known| end > known || (last && end != known));
        if end > self.limit || moved || (last && end < highest) {
            return Err(Violation);
        }
        Ok(())
    }

    fn hold(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        if end <= self.contiguous {
            return;
        }
        let known = self.contiguous.saturating_sub(offset);
        let fresh = &bytes[known as usize..];
        let start = offset + known;
        self.copy_in(start, fresh);
        if start > self.contiguous {
            self.beyond.insert(start..end);
            return;
        }
        self.contiguous = end;
        while let Some(next) = self.beyond.first().filter(|r| r.start <= self.contiguous) {
            self.beyond.pop_first();
            self.contiguous = self.contiguous.max(next.end);
        }
        if self.discarding {
            self.read = self.contiguous;
        }
    }

    /// Puts bytes at their place in the ring, which grows as far as they reach; the window bounds that.
    fn copy_in(&mut self, start: u64, bytes: &[u8]) {
        if self.discarding {
            return;
        }
        let from = (start - self.read) as usize;
        if from >= self.bytes.len() {
            self.bytes.resize(from, 0);
            self.bytes.extend(bytes);
            return;
        }
        let to = from + bytes.len();
        if to > self.bytes.len() {
            self.bytes.resize(to, 0);
        }
        let (front, back) = self.bytes.as_mut_slices();
        let split = front.len();
        let in_front = split.saturating_sub(from).min(bytes.len());
        let (first, second) = bytes.split_at(in_front);
        if !first.is_empty() {
            front[from..from + in_front].copy_from_slice(first);
        }
        if !second.is_empty() {
            back[from + in_front - split..to - split].copy_from_slice(second);
        }
    }

    /// How many bytes [`Self::read`] can give.
    pub(super) fn readable(&self) -> usize {
        (self.contiguous - self.read) as usize
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Read {
        let length = self.readable().min(buffer.len());
        let (front, back) = self.bytes.as_slices();
        let in_front = length.min(front.len());
        buffer[..in_front].copy_from_slice(&front[..in_front]);
        buffer[in_front..length].copy_from_slice(&back[..length - in_front]);
        self.bytes.drain(..length);
        self.read += length as u64;
        Read { bytes: length, finished: self.end == Some(self.read) }
    }

    /// Whether enough was read since the last announcement for a new one.
    pub(super) fn wants_to_announce(&self) -> bool {
        self.end.is_none() && !self.discarding && self.read + self.window >= self.limit + self.window / ANNOUNCED_PART
    }

    /// The window to tell the peer. It doubles, at the cost of `spare` bytes, when a good part of it was read in less
    /// than a round trip: then it, and not the path or the reader, may be what holds the sender back.
    pub(super) fn announce(&mut self, now: Instant, round_trip: Duration, spare: &mut u64) -> u64 {
        if self.discarding {
            return self.limit;
        }
        let hurried = self.announced_at.is_some_and(|at| now.saturating_duration_since(at) < round_trip);
        if hurried && self.wants_to_announce() {
            let growth = self.window.min(WINDOW_MAX - self.window).min(*spare);
            self.window += growth;
            *spare -= growth;
        }
        self.announced_at = Some(now);
        self.limit = self.limit.max(self.read + self.window);
        self.limit
    }

    /// By how much the window was grown.
    pub(super) fn grown(&self) -> u64 {
        self.window - WINDOW_MIN
    }

    /// Drops what is held and what will come.
    pub(super) fn discard(&mut self) {
        self.discarding = true;
        self.bytes = VecDeque::new();
        self.read = self.contiguous;
    }

    pub(super) fn is_discarding(&self) -> bool {
        self.discarding
    }

    /// Whether every byte up to the end arrived.
    pub(super) fn is_complete(&self) -> bool {
        self.end == Some(self.contiguous)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_all(queue: &mut RecvQueue) -> (Vec<u8>, bool) {
        let mut buffer = vec![0; queue.readable()];
        let read = queue.read(&mut buffer);
        assert_eq!(read.bytes, buffer.len());
        (buffer, read.finished)
    }

    #[test]
    fn bytes_wait_for_the_gap_before_them() {
        let mut queue = RecvQueue::new();
        assert_eq!(queue.receive(5, b" world", true), Ok(Received::Held));
        assert_eq!(queue.readable(), 0);
        assert_eq!(queue.receive(0, b"hello", false), Ok(Received::More));
        assert_eq!(read_all(&mut queue), (b"hello world".to_vec(), true));
    }

    #[test]
    fn an_end_without_bytes_is_news() {
        let mut queue = RecvQueue::new();
        assert_eq!(queue.receive(0, b"all", false), Ok(Received::More));
        assert_eq!(read_all(&mut queue), (b"all".to_vec(), false));
        assert_eq!(queue.receive(3, b"", true), Ok(Received::More));
        assert_eq!(read_all(&mut queue), (Vec::new(), true));
        assert_eq!(queue.receive(3, b"", true), Ok(Received::Held));
    }

    #[test]
    fn bytes_beyond_the_window_or_the_end_are_a_violation() {
        let mut queue = RecvQueue::new();
        assert_eq!(queue.receive(WINDOW_MIN, b"x", false), Err(Violation));
        queue.receive(10, b"end", true).unwrap();
        assert_eq!(queue.receive(13, b"x", false), Err(Violation));
        assert_eq!(queue.receive(9, b"x", true), Err(Violation));
        assert_eq!(queue.receive(0, &[0; 10], false), Ok(Received::More));
    }

    #[test]
    fn one_gap_too_many_is_refused_and_filling_one_is_not() {
        let mut queue = RecvQueue::new();
        for gap in 0..STREAM_GAPS_MAX as u64 {
            assert_eq!(queue.receive(gap * 2 + 1, b"x", false), Ok(Received::Held));
        }
        let next = STREAM_GAPS_MAX as u64 * 2 + 1;
        assert_eq!(queue.receive(next, b"x", false), Ok(Received::Refused));
        assert_eq!(queue.receive(0, b"x", false), Ok(Received::More));
        assert_eq!(queue.receive(next, b"x", false), Ok(Received::Held));
    }

    const ROUND_TRIP: Duration = Duration::from_millis(50);

    /// Receives and reads a quarter of the smallest window, from `offset` on.
    fn pass_a_quarter(queue: &mut RecvQueue, offset: u64) {
        let quarter = vec![1; (WINDOW_MIN / ANNOUNCED_PART) as usize];
        queue.receive(offset, &quarter, false).unwrap();
        read_all(queue);
    }

    #[test]
    fn the_window_moves_when_a_good_part_of_it_was_read() {
        let (mut queue, mut spare) = (RecvQueue::new(), 0);
        let part = WINDOW_MIN / ANNOUNCED_PART;
        queue.receive(0, &vec![1; part as usize], false).unwrap();
        queue.read(&mut vec![0; part as usize - 1]);
        assert!(!queue.wants_to_announce());
        queue.read(&mut [0; 1]);
        assert!(queue.wants_to_announce());
        assert_eq!(queue.announce(zero(), ROUND_TRIP, &mut spare), WINDOW_MIN + part);
        assert!(!queue.wants_to_announce());
    }

    #[test]
    fn the_window_grows_for_a_hurried_reader_as_far_as_there_is_memory() {
        let (mut queue, mut spare, zero) = (RecvQueue::new(), WINDOW_MIN + 1_000, zero());
        let quarter = WINDOW_MIN / ANNOUNCED_PART;
        pass_a_quarter(&mut queue, 0);
        assert_eq!(queue.announce(zero, ROUND_TRIP, &mut spare), quarter + WINDOW_MIN);
        pass_a_quarter(&mut queue, quarter);
        assert_eq!(queue.announce(zero + ROUND_TRIP, ROUND_TRIP, &mut spare), 2 * quarter + WINDOW_MIN);
        pass_a_quarter(&mut queue, 2 * quarter);
        assert_eq!(queue.announce(zero + ROUND_TRIP, ROUND_TRIP, &mut spare), 3 * quarter + 2 * WINDOW_MIN);
        assert_eq!((queue.grown(), spare), (WINDOW_MIN, 1_000));
        pass_a_quarter(&mut queue, 3 * quarter);
        pass_a_quarter(&mut queue, 4 * quarter);
        queue.announce(zero + ROUND_TRIP, ROUND_TRIP, &mut spare);
        assert_eq!((queue.grown(), spare), (WINDOW_MIN + 1_000, 0));
    }

    #[expect(clippy::disallowed_methods, reason = "the tests take any instant as their zero")]
    fn zero() -> Instant {
        Instant::now()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_order_of_pieces_gives_the_same_bytes(
            pieces in proptest::collection::vec((0_usize..2_000, 1_usize..300, any::<bool>()), 0..60),
        ) {
            let whole: Vec<u8> = (0..2_000_usize).map(|n| (n * 7 % 251) as u8).collect();
            let mut queue = RecvQueue::new();
            let mut read = Vec::new();
            for (start, length, then_read) in pieces {
                let end = (start + length).min(whole.len());
                queue.receive(start as u64, &whole[start..end], end == whole.len()).unwrap();
                if then_read { read.extend(read_all(&mut queue).0) }
            }
            for start in (0..whole.len()).step_by(100) {
                queue.receive(start as u64, &whole[start..start + 100], start + 100 == whole.len()).unwrap();
            }
            let (rest, finished) = read_all(&mut queue);
            read.extend(rest);
            prop_assert!(finished && read == whole);
        }
    }
}
