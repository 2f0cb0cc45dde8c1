//! Whose audio a room hears: at most [`SPEAKERS_MAX`] of its members, the loudest.
//!
//! More voices at once are not understood, and each costs every receiver 0.8 Mbit/s. A seat belongs to who speaks; a
//! louder newcomer takes the quietest seat, but not while its owner has only begun, so that nobody is cut within a
//! word and two of equal loudness do not alternate.

use std::time::{Duration, Instant};

use crate::ids::MemberId;
use crate::limits::SPEAKERS_MAX;

/// Silence after which a seat is free; pauses between words are shorter.
const HANGOVER: Duration = Duration::from_millis(400);
/// How long a seat is its owner's, whoever else speaks.
const DWELL: Duration = Duration::from_millis(1_000);
/// How much louder a newcomer has to be, in dB: less is not heard as a difference between voices.
const MARGIN_DB: i32 = 4;
/// Loudness is a mean over about this many blocks, 80 ms, so that one click takes no seat.
const SMOOTHING_BLOCKS: i32 = 8;
/// Loudness is kept in fractions of a dB.
const DB: i32 = 16;

/// Who is heard, and how loud everybody was who spoke.
#[derive(Debug, Default)]
pub(super) struct Speakers {
    seats: [Option<Seat>; SPEAKERS_MAX],
}

#[derive(Clone, Copy, Debug)]
struct Seat {
    member: MemberId,
    loudness: i32,
    since: Instant,
    heard: Instant,
}

/// How loud one member was of late.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Loudness(i32);

impl Loudness {
    /// Follows a block of this level, 0 (loudest) to 127 dB below that (RFC 6464); answers the loudness.
    fn follow(&mut self, level: u8) -> i32 {
        let block = (127 - i32::from(level.min(127))) * DB;
        self.0 += (block - self.0) / SMOOTHING_BLOCKS;
        self.0
    }
}

impl Speakers {
    /// A block of audio came from `member`; answers whether the room hears it.
    pub(super) fn hears(&mut self, now: Instant, member: MemberId, loudness: &mut Loudness, level: u8) -> bool {
        let loudness = loudness.follow(level);
        let own = self.seats.iter_mut().flatten().find(|seat| seat.member == member);
        if let Some(seat) = own {
            (seat.loudness, seat.heard) = (loudness, now);
            return true;
        }
        let newcomer = Seat { member, loudness, since: now, heard: now };
        match self.seat_for(now, loudness) {
            Some(seat) => {
                *seat = Some(newcomer);
                true
            }
            None => false,
        }
    }

    /// Whether the room heard `member` last, or would have.
    pub(super) fn seats(&self, member: MemberId) -> bool {
        self.seats.iter().flatten().any(|seat| seat.member == member)
    }

    /// A seat that is free, or whose owner has to give way to somebody this loud.
    fn seat_for(&mut self, now: Instant, loudness: i32) -> Option<&mut Option<Seat>> {
        let silent = |seat: &Seat| now.saturating_duration_since(seat.heard) >= HANGOVER;
        // A free seat counts as quieter than any that is taken.
        let quietest = self.seats.iter_mut().min_by_key(|seat| match seat {
            Some(seat) if !silent(seat) => seat.loudness,
            Some(_) | None => i32::MIN,
        })?;
        let gives_way = quietest.is_none_or(|seat| {
            let settled = now.saturating_duration_since(seat.since) >= DWELL;
            silent(&seat) || settled && loudness >= seat.loudness + MARGIN_DB * DB
        });
        gives_way.then_some(quietest)
    }

    /// A member is gone.
    pub(super) fn remove(&mut self, member: MemberId) {
        for seat in &mut self.seats {
            if seat.is_some_and(|seat| seat.member == member) {
                *seat = None;
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]
mod tests {
    use super::*;

    /// A room in which each speaks a block every 10 ms.
    struct Bench {
        now: Instant,
        speakers: Speakers,
        loudness: [Loudness; 8],
    }

    impl Bench {
        fn new() -> Self {
            Self { now: Instant::now(), speakers: Speakers::default(), loudness: [Loudness::default(); 8] }
        }

        /// Everybody in `levels` speaks for so long; answers the blocks that the room heard of each.
        fn speak(&mut self, levels: &[(u16, u8)], millis: u64) -> Vec<u64> {
            let mut heard = vec![0; levels.len()];
            for _ in 0..millis / 10 {
                for (index, (member, level)) in levels.iter().enumerate() {
                    let loudness = &mut self.loudness[usize::from(*member)];
                    heard[index] += u64::from(self.speakers.hears(self.now, MemberId(*member), loudness, *level));
                }
                self.now += Duration::from_millis(10);
            }
            heard
        }
    }

    #[test]
    fn four_are_heard_whole() {
        let heard = Bench::new().speak(&[(1, 60), (2, 30), (3, 90), (4, 20)], 2_000);
        assert_eq!(heard, [200; 4]);
    }

    #[test]
    fn a_fifth_of_equal_loudness_waits_and_nobody_alternates() {
        let heard = Bench::new().speak(&[(1, 30), (2, 30), (3, 30), (4, 30), (5, 30)], 5_000);
        assert_eq!(heard, [500, 500, 500, 500, 0]);
    }

    #[test]
    fn a_louder_fifth_is_heard_soon_in_the_place_of_the_quietest() {
        let mut bench = Bench::new();
        bench.speak(&[(1, 30), (2, 50), (3, 30), (4, 30)], 2_000);
        let heard = bench.speak(&[(1, 30), (2, 50), (3, 30), (4, 30), (5, 25)], 1_000);
        assert_eq!([heard[0], heard[2], heard[3]], [100; 3]);
        assert!(heard[4] >= 85, "the newcomer is heard within 150 ms: {heard:?}");
        assert!(heard[1] + heard[4] <= 101, "one seat for both, and one block of each as it passes: {heard:?}");
    }

    #[test]
    fn one_click_takes_no_seat() {
        let mut bench = Bench::new();
        bench.speak(&[(1, 40), (2, 40), (3, 40), (4, 40)], 2_000);
        assert_eq!(bench.speak(&[(5, 10)], 10), [0]);
    }

    #[test]
    fn a_seat_is_free_after_a_pause() {
        let mut bench = Bench::new();
        bench.speak(&[(1, 20), (2, 20), (3, 20), (4, 20)], 100);
        let heard = bench.speak(&[(1, 20), (2, 20), (3, 20), (5, 60)], 1_000);
        assert!((58..=62).contains(&heard[3]), "{heard:?}");
    }

    #[test]
    fn who_left_has_no_seat() {
        let mut bench = Bench::new();
        bench.speak(&[(1, 20), (2, 20), (3, 20), (4, 20)], 100);
        bench.speakers.remove(MemberId(4));
        assert_eq!(bench.speak(&[(5, 60)], 10), [1]);
    }
}
