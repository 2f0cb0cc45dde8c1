//! Which segments arrived, and when to tell (RFC 5681 §4.2, RFC 9000 §13.2).

use std::time::{Duration, Instant};

use super::ranges::RangeSet;
use super::rtt::ACK_DELAY_MAX;
use crate::wire::segment::{ACK_RANGES_MAX, SegmentWriter};

/// The receiver's memory of segment numbers.
#[derive(Debug, Default)]
pub(super) struct Acknowledger {
    received: RangeSet,
    /// The sender asks no more about numbers below it, so `received` begins here.
    settled_below: u64,
    /// When the highest number arrived.
    newest_at: Option<Instant>,
    /// Segments that arrived since the last acknowledgement.
    untold: u32,
    /// When to tell at the latest.
    due: Option<Instant>,
    /// How many of the next segments are told of at once.
    hurried: u32,
}

/// Every second segment is acknowledged at once (RFC 5681 §4.2).
const SEGMENTS_PER_ACK: u32 = 2;
/// A path that loses keeps the window small: then waiting for a second segment lengthens each round trip by a good part
/// of it, and costs as much goodput. So many segments behind a gap are told of at once (Linux: 16, `TCP_MAX_QUICKACKS`, and
/// again whenever its reader empties the buffer).
const HURRIED_AFTER_GAP: u32 = 256;

impl Acknowledger {
    /// Segment `number`, which asks for an acknowledgement, arrived and was taken; `urgent` when somebody waits for it.
    pub(super) fn on_received(&mut self, now: Instant, number: u64, settled_below: u64, urgent: bool) {
        let expected = self.received.last().map_or(0, |newest| newest.end);
        self.settled_below = self.settled_below.max(settled_below);
        if number >= self.settled_below {
            self.received.insert(number..number + 1);
        }
        self.received.remove(0..self.settled_below);
        while self.received.len() > ACK_RANGES_MAX {
            self.received.pop_first();
        }
        if number >= expected || self.newest_at.is_none() {
            self.newest_at = Some(now);
        }
        self.untold += 1;
        let out_of_order = number != expected;
        self.hurried = if out_of_order { HURRIED_AFTER_GAP } else { self.hurried.saturating_sub(1) };
        let at_once = urgent || self.hurried > 0 || self.untold >= SEGMENTS_PER_ACK;
        let wait = if at_once { Duration::ZERO } else { ACK_DELAY_MAX };
        let due = now + wait;
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
    }

    /// When an acknowledgement must leave, if one is to.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// Puts the acknowledgement into a segment, if there is anything to tell that was not told. `began` is the zero of
    /// our clock.
    pub(super) fn put(&mut self, now: Instant, began: Instant, segment: &mut SegmentWriter<'_>) {
        if self.due.take().is_none() {
            return;
        }
        self.untold = 0;
        let arrived = self.newest_at.unwrap_or(now);
        let delay = now.saturating_duration_since(arrived);
        segment.acknowledgement(delay, micros_since(began, arrived), self.received.iter().rev());
    }
}

/// Microseconds that wrap, by a clock that was zero at `began`.
pub(super) fn micros_since(began: Instant, at: Instant) -> u32 {
    at.saturating_duration_since(began).as_micros() as u32
}

#[cfg(test)]
mod tests {
    use std::iter::once;

    use super::*;
    use crate::wire::segment::{Frame, Incarnation, SEGMENT_MAX_BYTES, Segment};

    fn told(acknowledger: &mut Acknowledger, now: Instant) -> Vec<std::ops::Range<u64>> {
        let mut buffer = [0; SEGMENT_MAX_BYTES];
        let mut writer = SegmentWriter::new(&mut buffer, Incarnation(0), 0, 0).unwrap();
        acknowledger.put(now, now, &mut writer);
        let length = writer.length();
        let segment = Segment::parse(&buffer[..length]).unwrap();
        let Some(Frame::Acknowledgement(ack)) = segment.frames().next() else {
            panic!("no acknowledgement");
        };
        ack.ranges().collect()
    }

    #[expect(clippy::disallowed_methods, reason = "the test takes any instant as its zero")]
    fn zero() -> Instant {
        Instant::now()
    }

    #[test]
    fn every_second_segment_is_acknowledged_at_once_and_a_lone_one_later() {
        let (mut acknowledger, now) = (Acknowledger::default(), zero());
        acknowledger.on_received(now, 0, 0, false);
        assert_eq!(acknowledger.due(), Some(now + ACK_DELAY_MAX));
        acknowledger.on_received(now, 1, 0, false);
        assert!(acknowledger.is_due(now));
        assert!(told(&mut acknowledger, now).into_iter().eq(once(0..2)));
        assert_eq!(acknowledger.due(), None);
    }

    #[test]
    fn a_message_is_acknowledged_at_once() {
        let (mut acknowledger, now) = (Acknowledger::default(), zero());
        acknowledger.on_received(now, 0, 0, true);
        assert!(acknowledger.is_due(now));
    }

    #[test]
    fn a_gap_is_told_at_once() {
        let (mut acknowledger, now) = (Acknowledger::default(), zero());
        acknowledger.on_received(now, 0, 0, false);
        told(&mut acknowledger, now);
        acknowledger.on_received(now, 2, 0, false);
        assert!(acknowledger.is_due(now));
        assert_eq!(told(&mut acknowledger, now), [2..3, 0..1]);
        acknowledger.on_received(now, 1, 0, false);
        assert!(acknowledger.is_due(now));
        assert!(told(&mut acknowledger, now).into_iter().eq(once(0..3)));
    }

    #[test]
    fn settled_numbers_are_forgotten_and_ranges_are_bounded() {
        let (mut acknowledger, now) = (Acknowledger::default(), zero());
        for number in 0..100 {
            acknowledger.on_received(now, number * 2, 0, false);
        }
        let ranges = told(&mut acknowledger, now);
        assert_eq!((ranges.len(), ranges[0].clone()), (ACK_RANGES_MAX, 198..199));
        acknowledger.on_received(now, 199, 196, false);
        assert_eq!(told(&mut acknowledger, now), [198..200, 196..197]);
    }
}
