//! Where a block belongs: its place on the line of 10 ms steps, its number, and whether it came before.

use std::time::Instant;

use crate::limits::{AUDIO_BLOCK, AUDIO_BLOCK_SAMPLES};
use crate::sequence::{MediaTime, SequenceNumber};

/// Where media time, sequence numbers and arrivals meet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeline {
    /// Arrival of the first block, at place 0.
    epoch: Instant,
    /// The newest block: its media time and place, its sequence number and that number counted on.
    timestamp: MediaTime,
    /// In samples from the first block on.
    samples: i64,
    sequence: SequenceNumber,
    number: i64,
    /// The newest place, and which of those before it have had their block: bit 0 is the newest.
    newest_place: i64,
    came: u128,
}

/// Where one block is on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    samples: i64,
    /// The nearest step.
    pub(super) place: i64,
    /// Sequence number, counted on.
    pub(super) number: i64,
}

const BLOCK_MICROS: i64 = AUDIO_BLOCK.as_micros() as i64;

impl Timeline {
    /// The first block is at place 0 and has number 1.
    pub(super) fn new(epoch: Instant, sequence: SequenceNumber, timestamp: MediaTime) -> Self {
        Self { epoch, timestamp, samples: 0, sequence, number: 1, newest_place: 0, came: 1 }
    }

    /// Microseconds since the first block came.
    pub(super) fn elapsed(&self, now: Instant) -> i64 {
        now.saturating_duration_since(self.epoch).as_micros() as i64
    }

    pub(super) fn locate(&self, sequence: SequenceNumber, timestamp: MediaTime) -> Position {
        let samples = self.samples + i64::from(timestamp.distance(self.timestamp));
        let number = self.number + i64::from(sequence.distance(self.sequence));
        Position { samples, place: place(samples), number }
    }

    /// Arrival minus media time of a block that arrives there, of no known zero; microseconds.
    pub(super) fn transit(&self, now: Instant, position: Position) -> i64 {
        self.elapsed(now) - position.samples * BLOCK_MICROS / AUDIO_BLOCK_SAMPLES as i64
    }

    /// Whether this is the first block that comes for its place, as far as is remembered.
    pub(super) fn first_for(&self, place: i64) -> bool {
        let behind = self.newest_place - place;
        u32::try_from(behind).map_or(behind < 0, |bit| self.came.checked_shr(bit).is_none_or(|came| came & 1 == 0))
    }

    pub(super) fn note(&mut self, sequence: SequenceNumber, timestamp: MediaTime, position: Position) {
        let ahead = position.place - self.newest_place;
        if ahead > 0 {
            let passed = u32::try_from(ahead).unwrap_or(u32::MAX);
            self.came = self.came.checked_shl(passed).unwrap_or(0) | 1;
            self.newest_place = position.place;
        } else if let Ok(bit) = u32::try_from(-ahead) {
            self.came |= 1_u128.checked_shl(bit).unwrap_or(0);
        }
        // By media time, not by number: a relay may leave out more packets than half the numbers there are.
        if position.samples > self.samples {
            (self.timestamp, self.samples) = (timestamp, position.samples);
            (self.sequence, self.number) = (sequence, position.number);
        }
    }
}

/// The nearest place of a block that begins at this sample.
fn place(samples: i64) -> i64 {
    let block = AUDIO_BLOCK_SAMPLES as i64;
    (samples + block / 2).div_euclid(block)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_time;

    fn note(line: &mut Timeline, block: u32) -> bool {
        let (sequence, timestamp) = (SequenceNumber(block as u16), MediaTime(480 * block));
        let position = line.locate(sequence, timestamp);
        let first = line.first_for(position.place);
        line.note(sequence, timestamp, position);
        first
    }

    #[test]
    fn a_second_block_for_a_place_is_known_as_such() {
        let mut line = Timeline::new(virtual_time(), SequenceNumber(1_000), MediaTime(480_000));
        assert!(!note(&mut line, 1_000));
        for block in [1_001, 1_003, 999, 1_002, 1_100] {
            assert!(note(&mut line, block), "{block}");
            assert!(!note(&mut line, block), "{block}");
        }
        // What is too long ago is not remembered.
        assert!(note(&mut line, 1_300) && note(&mut line, 1_100));
    }

    #[test]
    fn a_block_between_two_steps_is_at_the_nearer_one() {
        let line = Timeline::new(virtual_time(), SequenceNumber(0), MediaTime(0));
        let place = |samples: u32| line.locate(SequenceNumber(1), MediaTime(samples)).place;
        assert_eq!([place(480), place(700), place(730), place(0_u32.wrapping_sub(480))], [1, 1, 2, -1]);
    }
}
