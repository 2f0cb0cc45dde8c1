//! A3: from the mouth to the ear, with sound cards at both ends and engines that look at them as the shipped one does.
//!
//! The cards are made up, and neither they nor the engines are punctual; when an engine looks, and how much it gives its
//! speaker, is decided by `client::devices::{pace, reserve}`, which decide it in the program.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use client::devices::pace::{Callback, next_look};
use client::devices::reserve::Reserve;
use common::endpoint::Endpoint;
use common::limits::{AUDIO_BLOCK, AUDIO_BLOCK_SAMPLES};
use common::stats::InboundMedia;
use common::voice::pcm::{Block, SILENT_BLOCK};
use common::voice::playout::PlayoutStatistics;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sim::meeting::Meeting;
use sim::studio::Studio;

use super::{Call, JUDGED, WARM_UP, samples};
use crate::desk::{Notes, voice};
use crate::figures::{Figure, Figures, Goal, quantile};
use crate::picture::path;

/// Each has other phases of the cards to each other.
const SEEDS: u64 = 10;
/// What a card handles at a time; some sound servers' periods are twice as long.
const PERIODS: [usize; 2] = [480, 1_024];
/// A callback is late by up to this, and the card's buffer makes up for it.
const CALLBACK_LATE: Duration = Duration::from_millis(2);
/// An engine looks late by up to this.
const LOOK_LATE: Duration = Duration::from_millis(3);
/// And by this once in so long.
const STALL: (Duration, Duration) = (Duration::from_millis(15), Duration::from_secs(10));
/// From one to the other.
const NETWORK: Duration = Duration::from_millis(50);
/// What happens closer together happens at once.
const STEP: Duration = Duration::from_micros(100);

pub(super) fn add(figures: &mut Figures) {
    for period in PERIODS {
        let measured: Vec<Measured> = (1..=SEEDS).map(|seed| measure(period, seed)).collect();
        let delays: Vec<f64> = measured.iter().flat_map(|call| call.delays.iter().copied()).collect();
        let mean = |part: fn(&Measured) -> f64| measured.iter().map(part).sum::<f64>() / measured.len() as f64;
        let parts = format!(
            "mouth to socket {:.1}, playout {:.1}, from there out of the card {:.1}",
            mean(|call| call.to_socket),
            mean(|call| call.playout),
            mean(|call| call.to_ear)
        );
        let dry: usize = measured.iter().map(|call| call.dry).sum();
        for (which, share, goal) in [("p50", 0.5, 60.0), ("p95", 0.95, 80.0)] {
            figures.add(Figure {
                row: "A3",
                what: format!(
                    "clean path, cards of two periods of {:.1} ms, mouth to ear less the network, {which} of {SEEDS} calls: {parts}; {dry} callbacks found too little after {WARM_UP:?}",
                    period as f64 / 48.0
                ),
                value: quantile(&delays, share),
                unit: "ms",
                goal: (period == AUDIO_BLOCK_SAMPLES).then_some(Goal::AtMost(goal)),
                others: Some("Mumble 80 to 90".into()),
            });
        }
    }
}

/// Milliseconds of one call.
struct Measured {
    /// Of each half second of speech, beyond the network's.
    delays: Vec<f64>,
    /// Means of their parts.
    to_socket: f64,
    playout: f64,
    to_ear: f64,
    /// Callbacks that found too little.
    dry: usize,
}

fn measure(period: usize, seed: u64) -> Measured {
    let mut meeting = Meeting::new(path(0.0), seed);
    meeting.step = STEP;
    let (_, code) = meeting.host("Ada");
    meeting.join("Bo", code);
    let text = voice("voice_a");
    let (ada, bo) = (Room::new(period, 2 * seed, &text), Room::new(period, 2 * seed + 1, &[]));
    let (of_ada, of_bo) = (Rc::clone(&ada.seen), Rc::clone(&bo.seen));
    let (said, heard) = (Rc::clone(&ada.notes), Rc::clone(&bo.notes));
    meeting.participants[0].studio = Some(Box::new(ada));
    meeting.participants[1].studio = Some(Box::new(bo));
    let mut call = Call { meeting, said, heard, voice: text };
    call.meeting.run(WARM_UP);
    // What came before is not judged.
    let before = playout(&call.meeting);
    for seen in [&of_ada, &of_bo] {
        seen.take();
    }
    call.meeting.run(JUDGED);
    let after = playout(&call.meeting);
    let waited = after.jitter_buffer_delay - before.jitter_buffer_delay;
    let played = after.jitter_buffer_emitted_count - before.jitter_buffer_emitted_count;
    let step = samples(Duration::from_millis(500));
    let delays = (samples(WARM_UP)..samples(WARM_UP + JUDGED) - 2 * step).step_by(step);
    Measured {
        delays: delays.filter_map(|from| delay_ms(&call, from, step)).collect(),
        to_socket: of_ada.borrow().to_socket.mean(),
        playout: millis(waited) / played.max(1) as f64,
        to_ear: of_bo.borrow().to_ear.mean(),
        dry: of_bo.borrow().dry,
    }
}

/// What became of Ada's voice at Bo's so far.
fn playout(meeting: &Meeting) -> PlayoutStatistics {
    let inbound = &meeting.participants[1].seen.snapshot.inbound;
    let audio = inbound.iter().find_map(|stream| match stream.media {
        InboundMedia::Audio { playout, .. } => Some(playout),
        InboundMedia::Video { .. } => None,
    });
    audio.unwrap_or_default()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// From the mouth to the ear, less the network; `None` where nothing is said.
fn delay_ms(call: &Call, from: usize, length: usize) -> Option<f64> {
    let length = length.min(call.voice.len());
    let pattern = call.pattern(from, length)?;
    let loud = pattern.iter().map(|sample| sample.powi(2)).sum::<f32>() / pattern.len() as f32 > 400.0_f32.powi(2);
    if !loud || pattern.len() < length {
        return None;
    }
    let at = call.lag(from, length)?;
    let (said, heard) = (call.said.borrow(), call.heard.borrow());
    let said_at = said.said.0? + time_of(from);
    let heard_at = heard.heard.0? + time_of(at);
    Some(millis((heard_at - said_at).saturating_sub(NETWORK)))
}

fn time_of(samples: usize) -> Duration {
    AUDIO_BLOCK.mul_f64(samples as f64 / AUDIO_BLOCK_SAMPLES as f64)
}

/// A microphone, a speaker, and the engine between them and the network.
#[derive(Debug)]
struct Room {
    random: StdRng,
    voice: Vec<i16>,
    /// Samples that the microphone heard so far.
    spoken: usize,
    microphone: Card,
    speaker: Card,
    reserve: Reserve,
    /// Samples that were not there since the last look.
    missing: usize,
    /// Samples that the speaker was given so far, those that were not there included.
    given: usize,
    next_stall: Option<Instant>,
    /// When the first sample was at the mouth, and when the first one was at the ear.
    notes: Rc<RefCell<Notes>>,
    seen: Rc<RefCell<Seen>>,
}

/// One direction of a sound card.
#[derive(Debug)]
struct Card {
    period: usize,
    ring: VecDeque<i16>,
    /// When the first period ends.
    began: Option<Instant>,
    calls: usize,
    /// When the next callback comes.
    next: Option<Instant>,
    last: Option<Callback>,
}

/// What was measured in a room.
#[derive(Debug, Default)]
struct Seen {
    to_socket: Mean,
    to_ear: Mean,
    dry: usize,
}

#[derive(Debug, Default)]
struct Mean {
    sum: f64,
    count: usize,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    fn mean(&self) -> f64 {
        self.sum / self.count.max(1) as f64
    }
}

impl Card {
    fn new(period: usize) -> Self {
        Self { period, ring: VecDeque::new(), began: None, calls: 0, next: None, last: None }
    }

    /// Begins with any phase.
    fn begin(&mut self, now: Instant, random: &mut StdRng) {
        if self.began.is_none() {
            let first = now + time_of(random.random_range(0..self.period));
            (self.began, self.next) = (Some(first), Some(first));
        }
    }

    /// The next callback that has come by now, and when it would have come if it were punctual.
    fn call(&mut self, now: Instant, random: &mut StdRng) -> Option<Instant> {
        let (began, at) = (self.began?, self.next.filter(|at| *at <= now)?);
        let punctual = began + time_of(self.calls * self.period);
        self.calls += 1;
        self.last = Some(Callback { number: self.calls, at, samples: self.period });
        self.next = Some(began + time_of(self.calls * self.period) + up_to(CALLBACK_LATE, random));
        Some(punctual)
    }
}

fn up_to(time: Duration, random: &mut StdRng) -> Duration {
    time.mul_f64(random.random())
}

impl Room {
    fn new(period: usize, seed: u64, voice: &[i16]) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            voice: voice[..voice.len() / AUDIO_BLOCK_SAMPLES * AUDIO_BLOCK_SAMPLES].to_vec(),
            spoken: 0,
            microphone: Card::new(period),
            speaker: Card::new(period),
            reserve: Reserve::new(),
            missing: 0,
            given: 0,
            next_stall: None,
            notes: Rc::default(),
            seen: Rc::default(),
        }
    }

    /// The microphone gives what it heard in a period.
    fn hear_mouth(&mut self, now: Instant) {
        self.microphone.begin(now, &mut self.random);
        while let Some(ended) = self.microphone.call(now, &mut self.random) {
            let said = &mut self.notes.borrow_mut().said;
            let began = ended.checked_sub(time_of(self.microphone.period));
            said.0 = said.0.or(began);
            for _ in 0..self.microphone.period {
                let sample = self.voice.get(self.spoken % self.voice.len().max(1)).copied().unwrap_or(0);
                self.spoken += 1;
                self.microphone.ring.push_back(sample);
            }
        }
    }

    /// The speaker takes a period, and plays it behind the one that it has.
    fn play_to_ear(&mut self, now: Instant) {
        self.speaker.begin(now, &mut self.random);
        while let Some(at) = self.speaker.call(now, &mut self.random) {
            let heard = &mut self.notes.borrow_mut().heard;
            heard.0.get_or_insert(at + time_of(self.speaker.period));
            let missing = self.speaker.period.saturating_sub(self.speaker.ring.len());
            self.missing += missing;
            self.seen.borrow_mut().dry += usize::from(missing > 0);
            heard.1.extend((0..self.speaker.period).map(|_| self.speaker.ring.pop_front().unwrap_or(0)));
            self.given += self.speaker.period;
        }
    }

    fn send(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let mut block: Block = SILENT_BLOCK;
        while self.microphone.ring.len() >= AUDIO_BLOCK_SAMPLES {
            let first = self.spoken - self.microphone.ring.len();
            block.iter_mut().zip(self.microphone.ring.drain(..AUDIO_BLOCK_SAMPLES)).for_each(|(to, from)| *to = from);
            endpoint.push_audio(now, &block);
            let spoken_at = self.notes.borrow().said.0.map(|began| began + time_of(first));
            let waited = spoken_at.map(|at| millis(now.saturating_duration_since(at)));
            waited.into_iter().for_each(|waited| self.seen.borrow_mut().to_socket.add(waited));
        }
    }

    fn receive(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.speaker.last.into_iter().for_each(|callback| self.reserve.handle_callback(callback));
        let missing = std::mem::take(&mut self.missing);
        for _ in 0..self.reserve.wanted(now, self.speaker.ring.len(), missing) {
            let mut block = SILENT_BLOCK;
            endpoint.pull_audio(now, &mut block);
            let place = self.given + self.speaker.ring.len();
            let played_at = self.notes.borrow().heard.0.map(|began| began + time_of(place));
            let waits = played_at.map(|at| millis(at.saturating_duration_since(now)));
            waits.into_iter().for_each(|waits| self.seen.borrow_mut().to_ear.add(waits));
            self.speaker.ring.extend(block);
        }
    }

    /// How late the next look is.
    fn late(&mut self, now: Instant) -> Duration {
        let (stall, every) = STALL;
        let stalls = self.next_stall.is_some_and(|at| now >= at);
        if stalls || self.next_stall.is_none() {
            self.next_stall = Some(now + up_to(2 * every, &mut self.random));
        }
        up_to(LOOK_LATE, &mut self.random) + if stalls { stall } else { Duration::ZERO }
    }
}

impl Studio for Room {
    fn move_sound(&mut self, now: Instant, endpoint: &mut Endpoint) -> Option<Instant> {
        self.hear_mouth(now);
        self.play_to_ear(now);
        self.send(now, endpoint);
        self.receive(now, endpoint);
        let block = self.microphone.last.and_then(|callback| callback.next_block(now, self.microphone.ring.len()));
        let due = self.reserve.due(now, self.speaker.ring.len());
        let late = self.late(now);
        Some(next_look(now, [block, due].into_iter()) + late)
    }
}
