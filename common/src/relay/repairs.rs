//! What one receiver lacks of the pictures it watches: parts that were lost, skipped, or sent before it came.
//!
//! Parts are only named here; what their blocks look like by the time they are sent is up to
//! [`Pictures`]. A part of which nothing is new any more is forgotten, so a receiver that falls
//! behind catches up by itself: it gets fewer frames, never older ones.

use std::time::{Duration, Instant};

use crate::limits::DATAGRAM_BASE_BYTES;
use crate::relay::pictures::{PICTURE_PARTS_MAX, PartId, PictureId, Pictures, Serial};

/// What a receiver is to be sent when there is room.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    /// One list for each picture of which something is missing.
    missing: Vec<Missing>,
    /// Whose turn it is.
    turn: usize,
    pace: Pace,
}

#[derive(Debug)]
struct Missing {
    picture: PictureId,
    /// In the order of their serials, and since when each is missing.
    parts: Vec<(Serial, Instant)>,
    /// Until then what is new waits behind what there is, so that each block is sent once before any is sent twice.
    whole_by: Option<Instant>,
}

/// A part that waits longer than this goes before newer ones.
const WAIT_MAX: Duration = Duration::from_millis(500);
/// So long may it take until somebody has the whole of a picture; after that what is new does not wait any more.
const CATCH_UP_MAX: Duration = Duration::from_millis(500);
/// Parts that are remembered of one picture: those that are kept, and as many that are not any more.
const MISSING_MAX: usize = 2 * PICTURE_PARTS_MAX;

impl Repairs {
    /// What the path carries of video, in bits per second; `None` when nobody knows.
    pub(super) fn set_budget(&mut self, bits_per_second: Option<u64>) {
        self.pace.budget = bits_per_second;
    }

    /// Nothing goes before this: a queue drains.
    pub(super) fn wait_until(&mut self, until: Instant) {
        self.pace.wait_until(until);
    }

    /// Whether a packet of a picture may go to the receiver as it comes; if so it counts.
    pub(super) fn passes(&mut self, now: Instant, picture: PictureId, bytes: usize) -> bool {
        let catching_up = |missing: &Missing| missing.picture == picture && missing.catching_up(now);
        if self.missing.iter().any(catching_up) {
            return false;
        }
        let Some(budget) = self.pace.budget else { return true };
        let passes = self.missing.is_empty() && self.pace.ready(now);
        if passes {
            self.pace.spend(now, bytes, budget);
        }
        passes
    }

    /// The receiver has nothing of a picture and is to get all of it.
    pub(super) fn catch_up(&mut self, now: Instant, picture: PictureId, pictures: &Pictures) {
        pictures.parts(now, picture).for_each(|part| self.add(now, part, pictures));
        if let Some(missing) = self.missing.iter_mut().find(|missing| missing.picture == picture) {
            missing.whole_by = Some(now + CATCH_UP_MAX);
        }
    }

    /// The receiver lacks this part.
    pub(super) fn add(&mut self, now: Instant, part: PartId, pictures: &Pictures) {
        let list = match self.missing.iter().position(|missing| missing.picture == part.picture) {
            Some(list) => list,
            None => {
                self.missing.push(Missing { picture: part.picture, parts: Vec::new(), whole_by: None });
                self.missing.len() - 1
            }
        };
        let parts = &mut self.missing[list].parts;
        let Err(place) = parts.binary_search_by_key(&part.serial, |(serial, _)| *serial) else { return };
        parts.insert(place, (part.serial, now));
        if parts.len() > MISSING_MAX {
            parts.retain(|(serial, _)| pictures.has(now, PartId { serial: *serial, ..part }));
        }
    }

    /// The receiver does not watch this picture any more.
    pub(super) fn forget(&mut self, picture: PictureId) {
        self.missing.retain(|missing| missing.picture != picture);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.missing.is_empty()
    }

    /// When the next part may go, if one is missing and it has to wait.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.pace.ready_at().filter(|_| !self.missing.is_empty())
    }

    /// Whether something may go.
    pub(super) fn ready(&self, now: Instant) -> bool {
        !self.missing.is_empty() && self.pace.ready(now)
    }

    /// The part that is to be sent next, if it is time; it stays missing until [`Repairs::sent`].
    pub(super) fn next(&mut self, now: Instant, pictures: &Pictures) -> Option<PartId> {
        if !self.pace.ready(now) {
            return None;
        }
        while !self.missing.is_empty() {
            self.turn %= self.missing.len();
            let missing = &mut self.missing[self.turn];
            let newest_first = self.pace.budget.is_some() && !missing.catching_up(now);
            let picture = missing.picture;
            let kept = |serial| pictures.has(now, PartId { picture, serial });
            if let Some(serial) = missing.choose(now, newest_first, kept) {
                return Some(PartId { picture, serial });
            }
            self.missing.swap_remove(self.turn);
        }
        None
    }

    /// A part that was missing went out, with so many bytes.
    pub(super) fn sent(&mut self, now: Instant, part: PartId, bytes: usize) {
        self.pace.spend(now, bytes, self.pace.repair_rate_bps());
        self.turn += 1;
        if let Some(missing) = self.missing.iter_mut().find(|missing| missing.picture == part.picture) {
            missing.parts.retain(|(serial, _)| *serial != part.serial);
        }
        self.missing.retain(|missing| !missing.parts.is_empty());
    }
}

impl Missing {
    fn catching_up(&self, now: Instant) -> bool {
        self.whole_by.is_some_and(|by| now < by)
    }

    /// The part that matters most. Those that matter no more are dropped on the way to it.
    fn choose(&mut self, now: Instant, newest_first: bool, kept: impl Fn(Serial) -> bool) -> Option<Serial> {
        let waited = |since: Instant| now.saturating_duration_since(since) > WAIT_MAX;
        loop {
            let old = self.parts.first().is_some_and(|(_, since)| waited(*since));
            let index = if newest_first && !old { self.parts.len().checked_sub(1)? } else { 0 };
            let (serial, _) = *self.parts.get(index)?;
            if kept(serial) {
                return Some(serial);
            }
            self.parts.remove(index);
        }
    }
}

/// When the next repair may go.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    budget: Option<u64>,
    /// When what was sent so far has passed the path.
    passed: Option<Instant>,
}

/// Pace of repairs, and less where the path carries less. At this pace a whole picture takes a twentieth of a second, and
/// a path of half of it has a queue for that.
const REPAIR_RATE_BPS: u64 = 6_000_000;
/// A lower budget would take seconds for a datagram.
const RATE_MIN_BPS: u64 = 50_000;
/// What may go at once: what the path carries in this time, …
const BURST: Duration = Duration::from_millis(40);
/// … but at least so many datagrams.
const BURST_DATAGRAMS: usize = 4;

impl Pace {
    fn repair_rate_bps(self) -> u64 {
        self.budget.map_or(REPAIR_RATE_BPS, |budget| budget.min(REPAIR_RATE_BPS))
    }

    fn ready(self, now: Instant) -> bool {
        self.ready_at().is_none_or(|ready| ready <= now)
    }

    /// `None` before anything was sent.
    fn ready_at(self) -> Option<Instant> {
        self.passed?.checked_sub(self.burst())
    }

    fn wait_until(&mut self, until: Instant) {
        self.passed = self.passed.max(Some(until + self.burst()));
    }

    fn burst(self) -> Duration {
        BURST.max(time_for(BURST_DATAGRAMS * DATAGRAM_BASE_BYTES, self.repair_rate_bps()))
    }

    fn spend(&mut self, now: Instant, bytes: usize, rate_bps: u64) {
        self.passed = Some(self.passed.map_or(now, |passed| passed.max(now)) + time_for(bytes, rate_bps));
    }
}

fn time_for(bytes: usize, rate_bps: u64) -> Duration {
    Duration::from_nanos(bytes as u64 * 8_000_000_000 / rate_bps.max(RATE_MIN_BPS))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]
mod tests {
    use super::*;
    use crate::ids::{MemberId, Ssrc, StreamKind};
    use crate::sequence::{FrameId, MediaTime, SendTime, SequenceNumber};
    use crate::wire::media::{BlockRun, MediaHeader, VideoHeader};

    /// Adds a part with one block to a picture.
    fn insert(pictures: &mut Pictures, now: Instant, picture: PictureId, frame: u16, column: u8) -> PartId {
        let media = MediaHeader {
            ssrc: Ssrc::new(MemberId(1), StreamKind::Video),
            sequence: SequenceNumber(0),
            send_time: SendTime(0),
            timestamp: MediaTime(0),
        };
        let header = VideoHeader { media, frame: FrameId(frame), part: 0, parts: 1, rung: 0, quality: 50 };
        let mut packet = [7; 60];
        header.write(&[BlockRun { row: 0, column, blocks: 1 }], &mut packet[1..]);
        let (header, runs, _) = VideoHeader::parse(&packet[1..]).unwrap();
        pictures.insert(now, picture, &packet, &header, runs)
    }

    /// What goes out until nothing may go any more.
    fn sent(repairs: &mut Repairs, now: Instant, pictures: &Pictures) -> Vec<PartId> {
        let next = || {
            let part = repairs.next(now, pictures)?;
            repairs.sent(now, part, 1_200);
            Some(part)
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn what_a_newcomer_lacks_goes_out_in_turns_oldest_first_at_a_pace() {
        let (mut pictures, mut repairs, now) = (Pictures::default(), Repairs::default(), Instant::now());
        let ids = [pictures.begin(), pictures.begin()];
        let parts: Vec<_> = (0..32).map(|n| insert(&mut pictures, now, ids[n % 2], n as u16, n as u8 / 2)).collect();
        parts.iter().rev().for_each(|part| repairs.add(now, *part, &pictures));
        repairs.add(now, parts[0], &pictures);
        let mut order = sent(&mut repairs, now, &pictures);
        assert!((20..30).contains(&order.len()), "not all at once: {}", order.len());
        let due = repairs.poll_timeout().unwrap();
        assert!(due > now && due < now + Duration::from_millis(5));
        assert_eq!(sent(&mut repairs, due - Duration::from_micros(10), &pictures), []);
        order.extend(sent(&mut repairs, now + Duration::from_secs(1), &pictures));
        for picture in ids {
            let of_one: Vec<_> = order.iter().filter(|part| part.picture == picture).collect();
            assert!(of_one.is_sorted() && of_one.len() == 16, "{order:?}");
        }
        assert!(order.windows(2).all(|pair| pair[0].picture != pair[1].picture), "{order:?}");
        assert!(repairs.is_empty() && repairs.poll_timeout().is_none());
    }

    #[test]
    fn what_was_drawn_over_meanwhile_is_not_sent() {
        let (mut pictures, mut repairs, now) = (Pictures::default(), Repairs::default(), Instant::now());
        let picture = pictures.begin();
        let old = insert(&mut pictures, now, picture, 1, 0);
        let kept = insert(&mut pictures, now, picture, 1, 1);
        repairs.add(now, old, &pictures);
        repairs.add(now, kept, &pictures);
        insert(&mut pictures, now, picture, 2, 0);
        assert_eq!(sent(&mut repairs, now, &pictures), [kept]);
        repairs.add(now, kept, &pictures);
        pictures.end(picture);
        assert_eq!((sent(&mut repairs, now, &pictures), repairs.is_empty()), (vec![], true));
    }

    #[test]
    fn a_thin_path_gets_the_newest_and_nothing_waits_for_ever() {
        let (mut pictures, mut repairs, start) = (Pictures::default(), Repairs::default(), Instant::now());
        let picture = pictures.begin();
        repairs.set_budget(Some(480_000));
        let still = insert(&mut pictures, start, picture, 0, 15);
        repairs.add(start, still, &pictures);
        let (mut bytes, mut still_at, mut ages) = (0, None, Vec::new());
        // Ten blocks change sixty times a second: twelve times of what the path carries.
        for tick in 0..120 {
            let now = start + Duration::from_millis(1_000) * tick / 60;
            for column in 0..10 {
                let part = insert(&mut pictures, now, picture, tick as u16 + 1, column);
                if !repairs.passes(now, picture, 1_200) {
                    repairs.add(now, part, &pictures);
                }
            }
            for part in sent(&mut repairs, now, &pictures) {
                bytes += 1_200;
                if part == still {
                    still_at.get_or_insert(now);
                } else {
                    ages.push(pictures.has(now, part));
                }
            }
        }
        assert!((90_000..140_000).contains(&bytes), "{bytes} in two seconds");
        assert!(ages.iter().all(|fresh| *fresh));
        let waited = still_at.unwrap() - start;
        assert!(waited <= WAIT_MAX + Duration::from_millis(100), "{waited:?}");
        assert!(repairs.missing.iter().all(|missing| missing.parts.len() <= MISSING_MAX + 1));
    }

    #[test]
    fn a_path_that_carries_everything_gets_it_as_it_comes() {
        let (pictures, mut repairs, start) = (Pictures::default(), Repairs::default(), Instant::now());
        assert!(pictures.parts(start, PictureId::default()).next().is_none());
        let picture = PictureId::default();
        assert!((0..10_000).all(|_| repairs.passes(start, picture, 1_200)), "nobody knows better");
        repairs.set_budget(Some(2_000_000));
        for tick in 0..100 {
            // 1.9 Mbit/s in bursts of a frame.
            let now = start + Duration::from_millis(16) * tick;
            assert!((0..3).all(|_| repairs.passes(now, picture, 1_200)), "{tick}");
        }
    }

    #[test]
    fn while_somebody_catches_up_what_is_new_waits_its_turn_but_not_for_long() {
        let (mut pictures, mut repairs, now) = (Pictures::default(), Repairs::default(), Instant::now());
        let (picture, other) = (pictures.begin(), pictures.begin());
        let parts: Vec<_> = (0..8).map(|column| insert(&mut pictures, now, picture, 1, column)).collect();
        repairs.catch_up(now, picture, &pictures);
        assert!(repairs.passes(now, other, 1_200) && !repairs.passes(now, picture, 1_200));
        let new = insert(&mut pictures, now, picture, 2, 0);
        repairs.add(now, new, &pictures);
        assert!(repairs.passes(now + CATCH_UP_MAX, picture, 1_200), "not for ever");
        assert_eq!(sent(&mut repairs, now, &pictures), [&parts[1..], &[new]].concat());
        assert!(repairs.passes(now, picture, 1_200), "caught up");
    }
}
