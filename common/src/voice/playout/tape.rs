//! The sound between the blocks and the sound card: what was played last, what is played next, and cuts in between.
//!
//! A cut leaves out a period of the voice, or plays one twice: 5 ms of what stands at the cut pass into what stands a
//! period later or earlier. So the buffer's delay is counted in samples, and is corrected without a block being lost.

use crate::limits::AUDIO_BLOCK_SAMPLES;
use crate::voice::conceal::PAST_SAMPLES;
use crate::voice::pcm::{self, Block};
use crate::voice::pitch::{Direction, LAG_MAX, LAG_MIN, Period, most_alike};

/// The last [`PAST`] samples that were played, then those that wait.
#[derive(Clone, Debug)]
pub(super) struct Tape {
    samples: [i16; PAST + WAITING_MAX],
    waiting: usize,
}

/// A place to cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cut {
    direction: Direction,
    period: Period,
    quiet: bool,
}

/// Past that is kept: what concealment looks at, which is also more than a cut goes back.
const PAST: usize = PAST_SAMPLES.next_multiple_of(AUDIO_BLOCK_SAMPLES);
/// Samples a cut needs at its front: it passes over in 5 ms.
pub(super) const CUT_SAMPLES: usize = 240;
/// Samples before and behind the cut that are compared.
const COMPARED: usize = 240;
/// With this many waiting, a cut may leave out a period of any length.
pub(super) const CUT_WAITING: usize = LAG_MAX + CUT_SAMPLES;
/// What a cut waits for, blocks to the end of it, and the period that a cut puts in.
const WAITING_MAX: usize = CUT_WAITING + AUDIO_BLOCK_SAMPLES + LAG_MAX + AUDIO_BLOCK_SAMPLES;
/// Where the sound is below this level, in -dBov, no cut is heard.
const QUIET_LEVEL: u8 = 50;

const _: () = assert!(PAST >= LAG_MAX + COMPARED && COMPARED <= CUT_SAMPLES);

impl Default for Tape {
    fn default() -> Self {
        Self { samples: [0; PAST + WAITING_MAX], waiting: 0 }
    }
}

impl Tape {
    /// Samples that wait to be played.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// The newest samples there are, played or not.
    pub(super) fn newest(&self) -> &[i16] {
        &self.samples[self.waiting..PAST + self.waiting]
    }

    /// Adds samples at the end; there is room for what [`CUT_WAITING`] asks for and one block more.
    pub(super) fn push(&mut self, samples: &[i16]) {
        let end = PAST + self.waiting;
        self.samples[end..end + samples.len()].copy_from_slice(samples);
        self.waiting += samples.len();
    }

    /// Plays one block; at least that many samples wait.
    pub(super) fn play(&mut self, block: &mut Block) {
        block.copy_from_slice(&self.samples[PAST..PAST + AUDIO_BLOCK_SAMPLES]);
        self.samples.copy_within(AUDIO_BLOCK_SAMPLES..PAST + self.waiting, 0);
        self.waiting -= AUDIO_BLOCK_SAMPLES;
    }

    /// The best place to play at least 2.5 ms twice; none without 5 ms waiting.
    pub(super) fn cut_to_lengthen(&self) -> Option<Cut> {
        (self.waiting >= CUT_SAMPLES).then(|| self.cut(Direction::Earlier, LAG_MAX))
    }

    /// The best place to leave out 2.5 ms up to `most` samples; none where too few wait.
    pub(super) fn cut_to_shorten(&self, most: usize) -> Option<Cut> {
        let longest = most.min(LAG_MAX).min(self.waiting.saturating_sub(CUT_SAMPLES));
        (longest >= LAG_MIN).then(|| self.cut(Direction::Later, longest))
    }

    fn cut(&self, direction: Direction, longest: usize) -> Cut {
        // What cannot be reached is left out, since it is all looked at.
        let first = PAST - LAG_MAX - COMPARED;
        let last = PAST + LAG_MAX + CUT_SAMPLES;
        let mut near = [0.0; 2 * LAG_MAX + COMPARED + CUT_SAMPLES];
        for (place, sample) in near.iter_mut().zip(&self.samples[first..last]) {
            *place = f32::from(*sample);
        }
        let here = PAST - first;
        let window = here - COMPARED..here + CUT_SAMPLES;
        let quiet = pcm::level(&self.samples[PAST - COMPARED..PAST + CUT_SAMPLES]) > QUIET_LEVEL;
        Cut { direction, period: most_alike(&near, window, LAG_MIN..=longest, direction), quiet }
    }

    /// Cuts there; answers how many samples were left out or put in.
    pub(super) fn apply(&mut self, cut: Cut) -> usize {
        let lag = cut.period.lag;
        let end = PAST + self.waiting;
        let mut passing = [0; CUT_SAMPLES];
        for (i, sample) in passing.iter_mut().enumerate() {
            let there = match cut.direction {
                Direction::Earlier => PAST + i - lag,
                Direction::Later => PAST + i + lag,
            };
            *sample = between(self.samples[PAST + i], self.samples[there], i + 1);
        }
        let after = PAST + CUT_SAMPLES;
        match cut.direction {
            Direction::Earlier => {
                self.samples.copy_within(after - lag..end, after);
                self.waiting += lag;
            }
            Direction::Later => {
                self.samples.copy_within(after + lag..end, after);
                self.waiting -= lag;
            }
        }
        self.samples[PAST..after].copy_from_slice(&passing);
        lag
    }
}

impl Cut {
    /// How alike the two sides are, -1.0..=1.0; where it is quiet, nobody hears a difference.
    pub(super) fn likeness(&self) -> f32 {
        if self.quiet { 1.0 } else { self.period.likeness }
    }

    pub(super) fn quiet(&self) -> bool {
        self.quiet
    }
}

/// `step` of [`CUT_SAMPLES`] on the way from one sample to the other.
fn between(from: i16, to: i16, step: usize) -> i16 {
    let (step, whole) = (step as i32, CUT_SAMPLES as i32);
    ((i32::from(from) * (whole - step) + i32::from(to) * step) / whole) as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::voice::pcm::SILENT_BLOCK;

    /// A voice of a triangle wave with this period, as long as the tape.
    fn voice(period: usize) -> impl Fn(usize) -> i16 {
        move |i| {
            let phase = (i % period) as i32;
            let half = period as i32 / 2;
            (6_000 * (half - (phase - half).abs()) / half - 3_000) as i16
        }
    }

    fn tape(period: usize, waiting: usize) -> Tape {
        let mut tape = Tape::default();
        let samples: Vec<i16> = (0..PAST + waiting).map(voice(period)).collect();
        for block in samples.chunks(AUDIO_BLOCK_SAMPLES) {
            tape.push(block);
            if tape.waiting() >= AUDIO_BLOCK_SAMPLES && tape.waiting() > waiting {
                tape.play(&mut SILENT_BLOCK.clone());
            }
        }
        assert_eq!(tape.waiting(), waiting);
        tape
    }

    fn played(tape: &mut Tape) -> Vec<i16> {
        let mut block = SILENT_BLOCK;
        let mut played = Vec::new();
        while tape.waiting() >= AUDIO_BLOCK_SAMPLES {
            tape.play(&mut block);
            played.extend_from_slice(&block);
        }
        played
    }

    #[test]
    fn what_is_pushed_is_played() {
        let mut tape = tape(300, 960);
        let expected: Vec<i16> = (PAST..PAST + 960).map(voice(300)).collect();
        assert_eq!(played(&mut tape), expected);
        assert_eq!(tape.waiting(), 0);
    }

    #[test]
    fn a_period_more_or_less_leaves_a_steady_voice_as_it_is() {
        let expected: Vec<i16> = (PAST..PAST + 960).map(voice(300)).collect();
        let mut longer = tape(300, 960);
        let cut = longer.cut_to_lengthen().unwrap();
        assert!(cut.likeness() > 0.99);
        assert_eq!(longer.apply(cut), 300);
        assert_eq!(longer.waiting(), 1_260);
        assert_eq!(played(&mut longer)[..960], expected);
        let mut shorter = tape(300, 960);
        let cut = shorter.cut_to_shorten(720).unwrap();
        assert_eq!(shorter.apply(cut), 300);
        assert_eq!(shorter.waiting(), 660);
        assert_eq!(played(&mut shorter)[..480], expected[..480]);
    }

    #[test]
    fn no_more_is_left_out_than_was_asked_for_and_is_there() {
        assert!(tape(300, 960).cut_to_shorten(119).is_none());
        assert!(tape(300, 300).cut_to_shorten(720).is_none());
        assert!(tape(300, 200).cut_to_lengthen().is_none());
        let mut tape = tape(300, 500);
        let cut = tape.cut_to_shorten(720).unwrap();
        assert!(tape.apply(cut) <= 260);
    }

    #[test]
    fn silence_may_be_cut_anywhere() {
        let mut tape = Tape::default();
        tape.push(&SILENT_BLOCK);
        let cut = tape.cut_to_lengthen().unwrap();
        assert!(cut.quiet() && cut.likeness() == 1.0);
    }

    #[test]
    fn there_is_room_for_the_most_that_may_wait() {
        let mut tape = tape(300, CUT_WAITING);
        tape.push(&SILENT_BLOCK);
        let cut = Cut { direction: Direction::Earlier, period: Period { lag: LAG_MAX, likeness: 1.0 }, quiet: true };
        tape.apply(cut);
        tape.push(&SILENT_BLOCK);
    }
}
