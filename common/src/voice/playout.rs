//! Holds the blocks of one speaker just long enough that they come out evenly: the jitter buffer.
//!
//! Each block has a place on a line of 10 ms steps, by its media timestamp. The speaker's clock counts samples: a *tape*
//! takes block after block, and each step plays 480 samples of it. How far behind the fastest packets a block is
//! taken, its *slack*, follows what the network does: a period of the voice is played twice when there is too little
//! of it, and left out when there is too much. A silent speaker is moved without anyone hearing it. The same corrections
//! absorb clocks that run apart.
//!
//! A block that is missing while a later one is there was lost, and is made up of both sides. Where nothing is there,
//! time stands still for the speaker: what comes late is played, and the slack has grown by the wait.

use std::time::{Duration, Instant};

use crate::limits::{AUDIO_AGAIN_PATIENCE, AUDIO_BLOCK, AUDIO_BLOCK_SAMPLES, PLAYOUT_MAX_BLOCKS};
use crate::sequence::{MediaTime, SequenceNumber};
use crate::voice::conceal::{CONCEALED_BLOCKS_MAX, Concealer, FAR_SIDE_BLOCKS, FarSide};
use crate::voice::pcm::{Block, SILENT_BLOCK};

mod delay;
mod hole;
mod pace;
mod slots;
mod statistics;
mod tape;
mod timeline;

use delay::{DELAY_MAX_MICROS, DelayEstimator};
use hole::Hole;
use pace::Pace;
use slots::{Key, Slots};
use tape::{CUT_SAMPLES, CUT_WAITING, Cut, Tape};
use timeline::{Position, Timeline};

pub use statistics::PlayoutStatistics;

/// What a step of the speaker's clock gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulled {
    /// Made-up sound stands at its end: the block that belongs there is missing.
    Concealed,
    /// Blocks that arrived.
    Played,
    /// Nobody speaks. What was written is the fading end of what was said before, or the sound of the room.
    Silence,
}

/// The jitter buffer of one speaker.
#[derive(Clone, Debug)]
pub struct PlayoutBuffer {
    timeline: Option<Timeline>,
    slots: Slots,
    estimator: DelayEstimator,
    concealer: Concealer,
    tape: Tape,
    /// The place that goes on the tape next, as long as the speaker is not silent.
    next: i64,
    /// Nothing is being played: the next talk spurt begins with a fresh delay.
    silent: bool,
    hole: Hole,
    pace: Pace,
    /// Smoothed time between arriving and being played, microseconds.
    waited_micros: f64,
    statistics: PlayoutStatistics,
}

/// Late blocks in a row that prove a longer path rather than a straggler: 50 ms of speech.
const LATE_MAX: u32 = 5;
/// Arrivals this far from where the last ones put them are another beginning: a clock that was set, a stream resumed.
const RESTART_MICROS: i64 = 1_000_000;
/// What the slack keeps above its target when it is shortened, so that it does not swing.
const TOLERANCE_MICROS: i64 = 2_000;
/// Samples on the tape that are worth being left out although no block comes earlier for it: 5 ms.
const WAITING_TOO_MUCH: i64 = 240;
const AGAIN_PATIENCE_MICROS: i64 = AUDIO_AGAIN_PATIENCE.as_micros() as i64;
const BLOCK_MICROS: i64 = AUDIO_BLOCK.as_micros() as i64;
const BLOCK_SAMPLES: i64 = AUDIO_BLOCK_SAMPLES as i64;

/// How a block comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coming {
    /// Lost before, and sent again.
    Again,
    /// As it was sent, or as a copy with another one.
    Once,
}

impl Default for PlayoutBuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl PlayoutBuffer {
    /// A speaker of whom nothing arrived yet. All memory is taken here.
    pub fn new() -> Self {
        Self {
            timeline: None,
            slots: Slots::new(),
            estimator: DelayEstimator::new(),
            concealer: Concealer::default(),
            tape: Tape::default(),
            next: 0,
            silent: true,
            hole: Hole::default(),
            pace: Pace::default(),
            waited_micros: 0.0,
            statistics: PlayoutStatistics::default(),
        }
    }

    /// Takes a block as it arrives, or as a copy of it arrives; only the first of them counts. A copy may fill a hole
    /// until its time has come, and how late it comes counts among the delays.
    pub fn handle_block(&mut self, now: Instant, sequence: SequenceNumber, timestamp: MediaTime, block: &Block) {
        self.take(now, sequence, timestamp, block, Coming::Once);
    }

    /// Takes a block that was lost before and was sent again. It fills a hole like any other, but how late it comes counts
    /// among the delays only up to [`AUDIO_AGAIN_PATIENCE`], and never shows that the path is another one.
    pub fn handle_again(&mut self, now: Instant, sequence: SequenceNumber, timestamp: MediaTime, block: &Block) {
        self.take(now, sequence, timestamp, block, Coming::Again);
    }

    fn take(&mut self, now: Instant, sequence: SequenceNumber, timestamp: MediaTime, block: &Block, coming: Coming) {
        let Some(Position { place, number, .. }) = self.locate(now, sequence, timestamp, coming) else {
            return;
        };
        if place < self.next {
            if number < 1 {
                // A copy of what was sent before we listened.
                return;
            }
            self.statistics.packets_discarded += 1;
            if coming == Coming::Again {
                return;
            }
            self.hole.late += 1;
            if self.hole.late < LATE_MAX {
                return;
            }
            // The path has become longer: go on from here.
            self.next = place;
            self.silent = true;
        }
        self.hole.late = 0;
        self.make_room(place);
        let key = Key { place, number, arrival: now };
        if !self.slots.put(key, block) {
            self.statistics.packets_discarded += 1;
        }
    }

    /// One step of the speaker's clock: writes the next 10 ms over `block`.
    pub fn pull(&mut self, now: Instant, block: &mut Block) -> Pulled {
        let Some(timeline) = self.timeline else {
            *block = SILENT_BLOCK;
            return Pulled::Silence;
        };
        let elapsed = timeline.elapsed(now);
        if !self.silent {
            self.correct(now, elapsed);
        }
        let mut pulled = Pulled::Played;
        if self.tape.waiting() < AUDIO_BLOCK_SAMPLES {
            pulled = self.advance(now, elapsed);
        }
        self.tape.play(block);
        pulled
    }

    /// What became of the blocks so far.
    pub fn statistics(&self) -> PlayoutStatistics {
        self.statistics
    }

    /// How long blocks wait between arriving and being played, smoothed over some sixteen of them.
    pub fn playout_delay(&self) -> Duration {
        Duration::from_micros(self.waited_micros as u64)
    }

    /// How far behind the fastest packets the speaker should stay, 10..=200 ms.
    pub fn target_delay(&self) -> Duration {
        Duration::from_micros(self.estimator.target_micros() as u64)
    }

    /// Where a block belongs, unless it was there before; begins anew when that makes no sense.
    fn locate(
        &mut self,
        now: Instant,
        sequence: SequenceNumber,
        timestamp: MediaTime,
        coming: Coming,
    ) -> Option<Position> {
        if let Some(line) = &mut self.timeline {
            let position = line.locate(sequence, timestamp);
            let transit = line.transit(now, position);
            if self.estimator.continues(transit, RESTART_MICROS) {
                if !line.first_for(position.place) {
                    return None;
                }
                line.note(sequence, timestamp, position);
                if coming == Coming::Once || self.estimator.lateness(transit) < AGAIN_PATIENCE_MICROS {
                    self.estimator.handle_arrival(now, transit);
                }
                self.explain(position);
                return Some(position);
            }
        }
        if coming == Coming::Again {
            return None;
        }
        let line = Timeline::new(now, sequence, timestamp);
        self.begin_timeline(now, line);
        Some(line.locate(sequence, timestamp))
    }

    fn begin_timeline(&mut self, now: Instant, line: Timeline) {
        self.timeline = Some(line);
        self.statistics.packets_discarded += self.slots.clear_below(i64::MAX);
        self.estimator.restart(now);
        self.next = 0;
        self.silent = true;
        self.hole = Hole::default();
    }

    /// The first packet behind a hole tells how much of it was lost or late; the rest was never sent.
    fn explain(&mut self, position: Position) {
        let behind_the_hole = position.place >= self.next && position.number > self.hole.number;
        if !behind_the_hole || self.slots.first().is_some() {
            return;
        }
        let explained = self.hole.explain(position.place - self.next, position.number);
        self.statistics.concealed_samples += explained.concealed;
        self.statistics.silent_concealed_samples += explained.silent;
        self.statistics.concealment_events += u64::from(explained.concealed > 0);
    }

    /// At most [`PLAYOUT_MAX_BLOCKS`] places from the next one on: a later block pushes out the oldest.
    fn make_room(&mut self, place: i64) {
        let lowest = place - (PLAYOUT_MAX_BLOCKS as i64 - 1);
        self.statistics.packets_discarded += self.slots.clear_below(lowest);
        if !self.silent {
            self.next = self.next.max(lowest);
        }
        // A silent speaker has no next place, but may hold later blocks than this one.
        if self.slots.last().is_some_and(|last| last.place - place >= PLAYOUT_MAX_BLOCKS as i64) {
            self.statistics.packets_discarded += self.slots.clear_below(i64::MAX);
        }
    }

    /// The place of the block whose samples this step needs last.
    fn needed_place(&self) -> i64 {
        (self.cursor() + BLOCK_SAMPLES - 1).div_euclid(BLOCK_SAMPLES)
    }

    /// Where the next sample to be played is on the line.
    fn cursor(&self) -> i64 {
        self.next * BLOCK_SAMPLES - self.tape.waiting() as i64
    }

    /// Brings the slack nearer to its target, if the sound allows it.
    fn correct(&mut self, now: Instant, elapsed: i64) {
        self.pace.step(self.estimator.delay_of(elapsed, self.needed_place() * BLOCK_MICROS));
        if self.pace.shortest_for_sure() > Some(DELAY_MAX_MICROS + 2 * BLOCK_MICROS) {
            // The card stood still for a while: begin again, which leaves out what is too old.
            self.silent = true;
        }
        if self.silent || !self.pace.allows() || self.concealer.concealing() {
            return;
        }
        let target = self.estimator.target_micros();
        if self.pace.shortest() < Some(target) {
            self.prefetch(now, CUT_SAMPLES);
            let cut = self.tape.cut_to_lengthen();
            self.statistics.inserted_samples_for_deceleration += self.cut(cut);
        } else if let Some(most) = self.excess(target) {
            self.prefetch(now, CUT_WAITING);
            let cut = self.tape.cut_to_shorten(most);
            self.statistics.removed_samples_for_acceleration += self.cut(cut);
        }
    }

    /// Samples that may be left out so that the slack stays above its target.
    fn excess(&self, target: i64) -> Option<usize> {
        let slack = self.pace.shortest_for_sure()?;
        let blocks = (slack - target - TOLERANCE_MICROS).div_euclid(BLOCK_MICROS);
        let waiting = self.needed_place() * BLOCK_SAMPLES - self.cursor();
        (blocks > 0 || blocks == 0 && waiting >= WAITING_TOO_MUCH)
            .then(|| (waiting + blocks * BLOCK_SAMPLES).max(0) as usize)
    }

    /// Puts blocks on the tape that are there, as far as they are needed to cut.
    fn prefetch(&mut self, now: Instant, samples: usize) {
        while self.tape.waiting() < samples && self.slots.holds(self.next) {
            self.play(now);
        }
    }

    /// Answers how many samples were put in or left out.
    fn cut(&mut self, cut: Option<Cut>) -> u64 {
        let Some(cut) = cut.filter(|cut| self.pace.accepts(cut.likeness())) else {
            return 0;
        };
        let before = self.needed_place();
        let samples = self.tape.apply(cut);
        self.pace.corrected(samples, cut.quiet());
        self.pace.moved((before - self.needed_place()) * BLOCK_MICROS);
        samples as u64
    }

    /// Puts the next block on the tape, whatever it is.
    fn advance(&mut self, now: Instant, elapsed: i64) -> Pulled {
        if self.silent && !self.begin_spurt(elapsed) {
            return self.stay_silent();
        }
        let Some(first) = self.slots.first() else {
            return self.conceal_unexplained();
        };
        self.pass_made_up(first);
        match first {
            _ if first.place == self.next => self.play(now),
            _ if first.number == self.hole.number + 1 => self.pass_unsent(),
            _ => self.conceal_lost(first),
        }
    }

    /// Whether the first block there is has waited long enough; what has waited far too long is left out.
    fn begin_spurt(&mut self, elapsed: i64) -> bool {
        while let Some(first) = self.slots.first() {
            let slack = self.estimator.delay_of(elapsed, first.place * BLOCK_MICROS);
            if slack > DELAY_MAX_MICROS + BLOCK_MICROS {
                self.statistics.packets_discarded += self.slots.clear_below(first.place + 1);
                continue;
            }
            if slack < self.estimator.target_micros() {
                return false;
            }
            self.next = first.place;
            self.silent = false;
            self.hole.made_up = 0;
            self.pace = Pace::default();
            return true;
        }
        false
    }

    /// Only as much silence as this step needs: the next spurt begins at the beginning of its block.
    fn stay_silent(&mut self) -> Pulled {
        let samples = AUDIO_BLOCK_SAMPLES - self.tape.waiting();
        if self.slots.first().is_none() {
            self.hole.note_unexplained(samples, true);
        }
        let mut block = SILENT_BLOCK;
        self.concealer.conceal(self.tape.newest(), None, &mut block[..samples]);
        self.tape.push(&block[..samples]);
        Pulled::Silence
    }

    fn play(&mut self, now: Instant) -> Pulled {
        let mut block = SILENT_BLOCK;
        if let Some(key) = self.slots.take(self.next, &mut block) {
            self.hole = self.hole.closed(key.number);
            self.count_played(now.saturating_duration_since(key.arrival));
        }
        self.next += 1;
        self.concealer.good(&mut block);
        self.tape.push(&block);
        Pulled::Played
    }

    fn count_played(&mut self, in_slot: Duration) {
        let on_tape = AUDIO_BLOCK * self.tape.waiting() as u32 / AUDIO_BLOCK_SAMPLES as u32;
        let waited = in_slot + on_tape;
        self.waited_micros += (waited.as_micros() as f64 - self.waited_micros) / 16.0;
        self.statistics.jitter_buffer_emitted_count += AUDIO_BLOCK_SAMPLES as u64;
        self.statistics.jitter_buffer_delay += waited * AUDIO_BLOCK_SAMPLES as u32;
        self.statistics.jitter_buffer_target_delay += self.target_delay() * AUDIO_BLOCK_SAMPLES as u32;
    }

    /// The sender left a pause here: what follows is a talk spurt of its own.
    fn pass_unsent(&mut self) -> Pulled {
        self.next += 1;
        self.silent = true;
        self.stay_silent()
    }

    /// Time stood still for blocks that turn out to be lost: it goes on behind what was made up for them.
    fn pass_made_up(&mut self, first: Key) {
        let passed = self.hole.pass_made_up(first.place - self.next, first.number);
        self.next += passed;
        self.pace.moved(-passed * BLOCK_MICROS);
    }

    fn conceal_lost(&mut self, first: Key) -> Pulled {
        let blocks_missing = first.place - self.next;
        // Where the sender paused as well, nobody knows on which side of the hole.
        let only_lost = blocks_missing == first.number - self.hole.number - 1;
        let mut far_side = [0; FAR_SIDE_BLOCKS * AUDIO_BLOCK_SAMPLES];
        let mut known = 0;
        for (place, block) in far_side.chunks_exact_mut(AUDIO_BLOCK_SAMPLES).zip(self.slots.from(first.place)) {
            place.copy_from_slice(block);
            known += AUDIO_BLOCK_SAMPLES;
        }
        let far_side = FarSide { blocks_missing: blocks_missing as usize, samples: &far_side[..known] };
        let silent = self.concealer.faded();
        let mut block = SILENT_BLOCK;
        self.concealer.conceal(self.tape.newest(), only_lost.then_some(far_side), &mut block);
        self.tape.push(&block);
        self.next += 1;
        self.hole.number += 1;
        self.statistics.concealed_samples += AUDIO_BLOCK_SAMPLES as u64;
        self.statistics.silent_concealed_samples += if silent { AUDIO_BLOCK_SAMPLES as u64 } else { 0 };
        self.statistics.concealment_events += u64::from(!self.hole.open);
        self.hole.open = true;
        Pulled::Concealed
    }

    fn conceal_unexplained(&mut self) -> Pulled {
        let mut block = SILENT_BLOCK;
        self.concealer.conceal(self.tape.newest(), None, &mut block);
        self.tape.push(&block);
        self.hole.note_unexplained(AUDIO_BLOCK_SAMPLES, false);
        self.hole.made_up += 1;
        self.silent = self.hole.made_up >= CONCEALED_BLOCKS_MAX as i64;
        self.pace.moved(BLOCK_MICROS);
        Pulled::Concealed
    }
}

#[cfg(test)]
mod tests;
