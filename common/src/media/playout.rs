//! Holds the blocks of one speaker just long enough that they come out evenly: the jitter buffer.
//!
//! Each block has a place on a line of 10 ms steps, by its media timestamp. The speaker's clock takes one step at a
//! time. How far behind the fastest packets it stays, the *delay*, follows what the network does: a block is made up
//! and put in between when the delay is too short, one is merged into the next when it is too long. A silent speaker
//! is moved without anyone hearing it. The same corrections absorb clocks that run apart.

use std::time::{Duration, Instant};

use crate::limits::{AUDIO_BLOCK, AUDIO_BLOCK_SAMPLES, PLAYOUT_MAX_BLOCKS};
use crate::media::conceal::Concealer;
use crate::media::pcm::{self, Block, SILENT_BLOCK};
use crate::sequence::{MediaTime, SequenceNumber};

mod delay;
mod slots;

use delay::{DELAY_MAX_MICROS, DelayEstimator};
use slots::{Key, Slots};

/// What a step of the speaker's clock gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulled {
    /// A made-up block: the one that belongs there is missing, or the delay is being lengthened.
    Concealed,
    /// A block that arrived.
    Played,
    /// Nobody speaks. What was written is the fading end of what was said before, or nothing at all.
    Silence,
}

/// What became of a speaker's blocks since the stream began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlayoutStatistics {
    /// Blocks that were played as they came.
    pub blocks_played: u64,
    /// Blocks made up because theirs was missing when its time had come.
    pub blocks_concealed: u64,
    /// Blocks made up to lengthen the delay.
    pub blocks_inserted: u64,
    /// Blocks merged into the next to shorten the delay.
    pub blocks_merged: u64,
    /// Blocks that came too late or too often to be played.
    pub packets_discarded: u64,
}

/// The jitter buffer of one speaker.
#[derive(Clone, Debug)]
pub struct PlayoutBuffer {
    timeline: Option<Timeline>,
    slots: Slots,
    estimator: DelayEstimator,
    concealer: Concealer,
    /// The place the next step takes, as long as the speaker is not silent.
    next: i64,
    /// Nothing is being played: the next talk spurt begins with a fresh delay.
    silent: bool,
    hole: Hole,
    corrections: Corrections,
    /// Smoothed time between arriving and being played, microseconds.
    waited_micros: f64,
    statistics: PlayoutStatistics,
}

/// Where media time, sequence numbers and arrivals meet.
#[derive(Clone, Copy, Debug)]
struct Timeline {
    /// Arrival of the first block, at place 0.
    epoch: Instant,
    /// The newest block: its media time and place, its sequence number and that number counted on.
    timestamp: MediaTime,
    /// In samples from the first block on.
    samples: i64,
    sequence: SequenceNumber,
    number: i64,
}

/// What is known of the places that were passed without a block.
#[derive(Clone, Copy, Debug, Default)]
struct Hole {
    /// Number of the last packet that has been accounted for.
    number: i64,
    /// Steps that found the buffer empty: lost, late, or never sent. The next packet tells.
    unexplained: u64,
    /// Made-up blocks in a row.
    concealed: usize,
    /// Blocks in a row that came too late.
    late: u32,
}

/// When the delay was corrected, so that corrections stay apart.
#[derive(Clone, Copy, Debug, Default)]
struct Corrections {
    /// The last step put a block in.
    inserted: bool,
    /// Steps since a block was merged.
    since_merge: u32,
    /// Shortest delay of the window before and of the running one, microseconds; a device that takes several blocks
    /// at once must find the last of them as well.
    shortest: [Option<i64>; 2],
    steps: u32,
}

/// Made-up blocks in a row after which a speaker counts as silent.
const HOLE_MAX_BLOCKS: usize = crate::media::conceal::CONCEALED_BLOCKS_MAX;
/// Late blocks in a row that prove a longer path rather than a straggler: 50 ms of speech.
const LATE_MAX: u32 = 5;
/// Arrivals this far from where the last ones put them are another beginning: a clock that was set, a stream resumed.
const RESTART_MICROS: i64 = 1_000_000;
/// The delay may exceed its target by one block that cannot be divided, and by half of one so that it does not swing.
const EXCESS_MICROS: i64 = BLOCK_MICROS + BLOCK_MICROS / 2;
/// Steps between two merges in speech: 500 ms, 2 % faster than real time, which goes unnoticed.
const MERGE_INTERVAL: u32 = 50;
/// Steps between two merges where it is quiet.
const MERGE_INTERVAL_QUIET: u32 = 2;
/// A block below this level, in -dBov, is quiet.
const QUIET_LEVEL: u8 = 50;
/// Steps of a window of `Corrections::shortest`.
const SHORTEST_STEPS: u32 = 25;
const BLOCK_MICROS: i64 = AUDIO_BLOCK.as_micros() as i64;

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
            next: 0,
            silent: true,
            hole: Hole::default(),
            corrections: Corrections::default(),
            waited_micros: 0.0,
            statistics: PlayoutStatistics::default(),
        }
    }

    /// Takes a block as it arrives.
    pub fn handle_block(&mut self, now: Instant, sequence: SequenceNumber, timestamp: MediaTime, block: &Block) {
        let (place, number) = self.locate(now, sequence, timestamp);
        if place < self.next {
            self.discard_late(number);
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
        let elapsed = micros(timeline.epoch, now);
        if self.silent && !self.begin_spurt(elapsed) {
            return self.stay_silent(block);
        }
        let delay = self.estimator.delay_of(elapsed, self.next * BLOCK_MICROS);
        self.corrections.step(delay);
        if self.corrections.shortest() > DELAY_MAX_MICROS + BLOCK_MICROS {
            // The card stood still for a while: begin again, which leaves out what is too old.
            self.silent = true;
        }
        let here = self.slots.holds(self.next);
        let later = self.slots.first();
        if (here || later.is_none()) && self.may_insert(delay) {
            return self.insert(block);
        }
        self.corrections.inserted = false;
        match later {
            _ if here => self.play(now, block),
            Some(later) if later.number == self.hole.number + 1 => self.pass_unsent(block),
            Some(_) => self.conceal_lost(block),
            None => self.conceal_unexplained(block),
        }
    }

    /// What became of the blocks so far.
    pub fn statistics(&self) -> PlayoutStatistics {
        self.statistics
    }

    /// How long blocks wait between arriving and being played, smoothed over some sixteen of them.
    pub fn playout_delay(&self) -> Duration {
        Duration::from_micros(self.waited_micros as u64)
    }

    /// How far behind the fastest packets the speaker should stay, 20..=200 ms.
    pub fn target_delay(&self) -> Duration {
        Duration::from_micros(self.estimator.target_micros() as u64)
    }

    /// The place and the number of a block; begins anew when they make no sense.
    fn locate(&mut self, now: Instant, sequence: SequenceNumber, timestamp: MediaTime) -> (i64, i64) {
        let known = self.timeline.map(|line| line.locate(sequence, timestamp));
        if let (Some(line), Some((samples, number))) = (self.timeline, known) {
            let transit = micros(line.epoch, now) - samples_to_micros(samples);
            if self.estimator.continues(transit, RESTART_MICROS) {
                self.timeline = Some(line.advanced(sequence, timestamp, samples, number));
                self.estimator.handle_arrival(now, transit);
                let place = place(samples);
                self.explain(place, number);
                return (place, number);
            }
        }
        self.begin_timeline(now, sequence, timestamp);
        (0, 1)
    }

    fn begin_timeline(&mut self, now: Instant, sequence: SequenceNumber, timestamp: MediaTime) {
        self.timeline = Some(Timeline { epoch: now, timestamp, samples: 0, sequence, number: 1 });
        self.statistics.packets_discarded += self.slots.clear_below(i64::MAX);
        self.estimator.restart(now);
        self.next = 0;
        self.silent = true;
        self.hole = Hole::default();
    }

    /// The first packet behind a hole tells how many of its steps were losses; the rest was never sent.
    fn explain(&mut self, place: i64, number: i64) {
        let behind_the_hole = place >= self.next && number > self.hole.number;
        if !behind_the_hole || self.slots.first().is_some() {
            return;
        }
        let missing = (number - self.hole.number - 1) as u64;
        let lost = self.hole.unexplained.min(missing);
        self.statistics.blocks_concealed += lost;
        self.hole.number += lost as i64;
        self.hole.unexplained = 0;
    }

    fn discard_late(&mut self, number: i64) {
        self.statistics.packets_discarded += 1;
        self.hole.late += 1;
        if self.hole.unexplained > 0 && number > self.hole.number {
            self.hole.unexplained -= 1;
            self.hole.number += 1;
            self.statistics.blocks_concealed += 1;
        }
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

    /// Whether the first block there is has waited long enough; what has waited far too long is left out.
    fn begin_spurt(&mut self, elapsed: i64) -> bool {
        while let Some(first) = self.slots.first() {
            let delay = self.estimator.delay_of(elapsed, first.place * BLOCK_MICROS);
            if delay > DELAY_MAX_MICROS + BLOCK_MICROS {
                self.statistics.packets_discarded += self.slots.clear_below(first.place + 1);
                continue;
            }
            if delay < self.estimator.target_micros() {
                return false;
            }
            self.next = first.place;
            self.silent = false;
            self.hole.concealed = 0;
            self.corrections = Corrections::default();
            return true;
        }
        false
    }

    fn stay_silent(&mut self, block: &mut Block) -> Pulled {
        if self.slots.first().is_none() {
            self.hole.note_unexplained();
        }
        self.concealer.conceal(block);
        Pulled::Silence
    }

    fn may_insert(&self, delay: i64) -> bool {
        delay < self.estimator.target_micros() && !self.corrections.inserted
    }

    fn insert(&mut self, block: &mut Block) -> Pulled {
        self.corrections.inserted = true;
        self.corrections.moved(BLOCK_MICROS);
        self.statistics.blocks_inserted += 1;
        self.concealer.conceal(block);
        self.count_hole();
        Pulled::Concealed
    }

    fn play(&mut self, now: Instant, block: &mut Block) -> Pulled {
        self.take(now, block);
        if self.may_merge(block) {
            let mut following = SILENT_BLOCK;
            self.take(now, &mut following);
            merge(block, &following);
            self.corrections.since_merge = 0;
            self.corrections.moved(-BLOCK_MICROS);
            self.statistics.blocks_merged += 1;
        }
        self.statistics.blocks_played += 1;
        self.concealer.good(block);
        Pulled::Played
    }

    /// Takes the block that is at the next place.
    fn take(&mut self, now: Instant, block: &mut Block) {
        if let Some(key) = self.slots.take(self.next, block) {
            self.hole = Hole { number: key.number, ..Hole::default() };
            let waited = now.saturating_duration_since(key.arrival).as_micros() as f64;
            self.waited_micros += (waited - self.waited_micros) / 16.0;
        }
        self.next += 1;
    }

    /// The delay is too long, and this block and the next one are there to be made one.
    fn may_merge(&self, block: &Block) -> bool {
        let interval = if pcm::level(block) > QUIET_LEVEL { MERGE_INTERVAL_QUIET } else { MERGE_INTERVAL };
        self.corrections.since_merge >= interval
            && self.corrections.shortest() >= self.estimator.target_micros() + EXCESS_MICROS
            && self.slots.holds(self.next)
    }

    /// The sender left a pause here: what follows is a talk spurt of its own.
    fn pass_unsent(&mut self, block: &mut Block) -> Pulled {
        self.next += 1;
        self.silent = true;
        self.concealer.conceal(block);
        Pulled::Silence
    }

    fn conceal_lost(&mut self, block: &mut Block) -> Pulled {
        self.next += 1;
        self.hole.number += 1;
        self.statistics.blocks_concealed += 1;
        self.concealer.conceal(block);
        Pulled::Concealed
    }

    fn conceal_unexplained(&mut self, block: &mut Block) -> Pulled {
        self.next += 1;
        self.hole.note_unexplained();
        self.concealer.conceal(block);
        self.count_hole();
        Pulled::Concealed
    }

    fn count_hole(&mut self) {
        self.hole.concealed += 1;
        self.silent = self.hole.concealed >= HOLE_MAX_BLOCKS;
    }
}

impl Hole {
    /// A second of steps at most: longer is an absence, not a loss.
    fn note_unexplained(&mut self) {
        self.unexplained = (self.unexplained + 1).min(PLAYOUT_MAX_BLOCKS as u64);
    }
}

impl Corrections {
    fn step(&mut self, delay: i64) {
        self.since_merge = self.since_merge.saturating_add(1);
        self.steps += 1;
        if self.steps >= SHORTEST_STEPS {
            self.steps = 0;
            self.shortest = [self.shortest[1], None];
        }
        let running = &mut self.shortest[1];
        *running = Some(running.map_or(delay, |shortest| shortest.min(delay)));
    }

    /// The shortest delay of at least one whole window; nothing to merge for before there was one.
    fn shortest(&self) -> i64 {
        let [before, running] = self.shortest;
        before.map_or(i64::MIN, |before| before.min(running.unwrap_or(before)))
    }

    fn moved(&mut self, micros: i64) {
        self.shortest = self.shortest.map(|shortest| shortest.map(|shortest| shortest + micros));
    }
}

impl Timeline {
    /// Samples from the first block on, and the number counted on.
    fn locate(self, sequence: SequenceNumber, timestamp: MediaTime) -> (i64, i64) {
        let samples = self.samples + i64::from(timestamp.distance(self.timestamp));
        let number = self.number + i64::from(sequence.distance(self.sequence));
        (samples, number)
    }

    /// By media time, not by number: a relay may leave out more packets than half the numbers there are.
    fn advanced(self, sequence: SequenceNumber, timestamp: MediaTime, samples: i64, number: i64) -> Self {
        if samples <= self.samples {
            return self;
        }
        Self { timestamp, samples, sequence, number, ..self }
    }
}

/// The nearest place of a block that begins at this sample.
fn place(samples: i64) -> i64 {
    let block = AUDIO_BLOCK_SAMPLES as i64;
    (samples + block / 2).div_euclid(block)
}

fn samples_to_micros(samples: i64) -> i64 {
    samples * BLOCK_MICROS / AUDIO_BLOCK_SAMPLES as i64
}

fn micros(epoch: Instant, now: Instant) -> i64 {
    now.saturating_duration_since(epoch).as_micros() as i64
}

/// Passes from the beginning of one block to the end of the next.
fn merge(block: &mut Block, following: &Block) {
    for (i, (sample, other)) in block.iter_mut().zip(following).enumerate() {
        let share = (i + 1) as i32;
        let whole = AUDIO_BLOCK_SAMPLES as i32;
        *sample = ((i32::from(*sample) * (whole - share) + i32::from(*other) * share) / whole) as i16;
    }
}

#[cfg(test)]
mod tests;
