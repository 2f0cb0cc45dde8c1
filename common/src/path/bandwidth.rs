//! What a path carries right now, from what its receiver tells of our packets.
//!
//! A frame of video leaves as a train of packets, faster than the path carries them in the long run. The narrow place
//! spreads the train, and how far apart its packets arrive is how fast that place is (`trains`). How much longer a packet
//! took than the quickest of the last seconds is how long it waited; from that comes whether a queue stands, and for
//! which part of the time the narrow place is at work (`delays`).
//!
//! Below the capacity the target grows fast, up to most of what the trains show. Near it, it is the time at work that
//! counts, which everybody on the path sees alike: a little is added while there is some left, and a share taken off when
//! there is none, so that several come to the same share. With a standing queue the target falls below the capacity, and
//! while a long one drains video pauses. Loss without a queue is a bad radio and no answer to how much we send.
//!
//! Where somebody else fills the queue, whatever we leave is taken: after some seconds at the bottom the target grows
//! and halves as Reno's window does, until the queue is gone (`competition`).

mod competition;
mod delays;
mod trains;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use competition::Competition;
use delays::Delays;
use trains::Trains;

/// A packet of ours that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// When it left, since the hop began.
    pub sent: Duration,
    /// When it arrived, by the receiver's clock, whose zero is of no importance.
    pub arrived: Duration,
    /// Its bytes, IP and UDP included.
    pub bytes: u16,
    /// The burst it left in; 0 for none.
    pub train: u16,
}

/// What one feedback told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told<'a> {
    /// What arrived, in the order in which it left.
    pub arrived: &'a [Arrived],
    /// How many packets it found lost.
    pub lost: usize,
    /// Bytes that are still on the way.
    pub in_flight: usize,
    /// From the newest packet's departure until now, without the time that the receiver held the feedback back.
    pub round_trip: Option<Duration>,
}

/// Finds out what a path carries.
#[derive(Clone, Debug)]
pub struct Bandwidth {
    range: Range,
    target: f64,
    capacity: Option<f64>,
    delays: Delays,
    trains: Trains,
    delivered: Delivered,
    losses: Losses,
    round_trip: Duration,
    competition: Competition,
    /// No growth before this.
    hold_until: Instant,
    /// No video before this: a queue drains.
    drained_at: Instant,
    /// When the last feedback came, or the last halving for want of one.
    heard_at: Instant,
    /// Since when something left of which nothing was told.
    waiting_since: Option<Instant>,
    /// When it was seen last that the path carries no more.
    limited_at: Option<Instant>,
}

/// What a path may be asked for, bits per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The first guess.
    pub start: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Default for Range {
    /// What one member sends: 360p from the first frame on, a slower path shows within the first frames; at least a voice
    /// and the smallest picture; at most what the highest step of the ladder takes with a picture full of detail.
    fn default() -> Self {
        Self { start: 1_500_000.0, min: 100_000.0, max: 14_000_000.0 }
    }
}

/// The share of the capacity that is used while no queue stands.
const USE: f64 = 0.92;
/// The share that it may come to by additions, which a narrow place that pauses allows.
const USE_MOST: f64 = 0.94;
/// A standing queue that is nothing but jitter, seconds.
const QUEUE_NONE: f64 = 0.010;
/// With a queue this long, video waits until it is gone.
const QUEUE_LONG: Duration = Duration::from_millis(45);
/// A rate over less time than this is a guess.
const QUEUE_SPAN_MIN: Duration = Duration::from_millis(20);
/// The longest such wait.
const DRAIN_MAX: Duration = Duration::from_millis(1_500);
/// Less than this share of what the queue was taken to drain at.
const SLOWER: f64 = 0.85;
/// After the target fell, it stays for this long.
const HOLD: Duration = Duration::from_millis(300);
/// The target grows by this factor in a second, and by [`GROWTH_BPS`].
const GROWTH: f64 = 3.2;
/// The same in bits per second and second, so that small targets grow as well.
const GROWTH_BPS: f64 = 250_000.0;
/// The target is at least this share of what arrives without a queue.
const CARRIED: f64 = 0.9;
/// Share of time at work from which on the narrow place is near its capacity, …
const BUSY: f64 = 0.65;
/// … and from which on it is there.
const BUSY_FULL: f64 = 0.80;
/// Near the capacity, a second adds this to the target, bits per second, …
const ADDITION_BPS: f64 = 150_000.0;
/// … and at the capacity, leaves this much of the target.
const REDUCTION: f64 = 0.7;
/// A single packet of a slower path shows nothing; this many trains do.
const TRAINS_MIN: usize = 2;
/// So many leave no doubt.
const TRAINS_SURE: usize = 4;
/// What [`Bandwidth::is_limited`] looks back on.
const LIMIT_HOLDS: Duration = Duration::from_secs(1);
/// Where no train shows the capacity, the target may be so many times what arrives.
const UNTESTED: f64 = 1.6;
/// Where so many times the target arrives, the queue is of our own making.
const OURS: f64 = 1.5;
/// Loss beyond this is more than any radio: something is full that has no queue.
const LOSS_EXTREME: f64 = 0.2;
/// What is left of the target after a second of such loss.
const LOSS_DECAY: f64 = 0.55;
/// So long without a feedback while packets leave, and the target is halved.
const SILENCE: Duration = Duration::from_millis(500);

impl Bandwidth {
    /// A path of which nothing is known.
    pub fn new(now: Instant, range: Range) -> Self {
        Self {
            range,
            target: range.start,
            capacity: None,
            delays: Delays::default(),
            trains: Trains::default(),
            delivered: Delivered::default(),
            losses: Losses::default(),
            round_trip: Duration::ZERO,
            competition: Competition::default(),
            hold_until: now,
            drained_at: now,
            heard_at: now,
            waiting_since: None,
            limited_at: None,
        }
    }

    /// What all that goes over the path may take together, bits per second.
    pub fn target_bps(&self) -> u64 {
        self.target as u64
    }

    /// What the path carries as far as trains and deliveries tell, bits per second.
    pub fn capacity_bps(&self) -> Option<u64> {
        self.capacity.map(|capacity| capacity as u64)
    }

    /// The queue that stands at the narrow place, smoothed.
    pub fn queueing_delay(&self) -> Duration {
        Duration::from_secs_f64(self.delays.standing())
    }

    /// Share of packets lost in the last second, 0.0..=1.0.
    pub fn fraction_lost(&self) -> f64 {
        self.losses.share()
    }

    /// The round trip of this hop, smoothed, zero before the first feedback.
    pub fn round_trip(&self) -> Duration {
        self.round_trip
    }

    /// Whether video has to wait until a queue is gone, and until when.
    pub fn video_waits_until(&self, now: Instant) -> Option<Instant> {
        Some(self.drained_at).filter(|drained| *drained > now)
    }

    /// Whether the last second showed that the path carries no more than the target. Before that the target only says what
    /// was tried.
    pub fn is_limited(&self, now: Instant) -> bool {
        self.limited_at.is_some_and(|at| now.saturating_duration_since(at) <= LIMIT_HOLDS)
    }

    /// Whether that was ever so.
    pub fn was_limited(&self) -> bool {
        self.limited_at.is_some()
    }

    /// Whether the target is fought for with a flow that fills the queue.
    pub fn competes(&self) -> bool {
        self.competition.is_on()
    }

    /// Something left that a feedback will be about.
    pub fn on_sent(&mut self, now: Instant) {
        self.waiting_since.get_or_insert(now);
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.waiting_since.map(|since| since.max(self.heard_at) + SILENCE)
    }

    /// Halves the target when feedback stays away: nobody knows what happens to our packets.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return;
        }
        self.heard_at = now;
        if !self.round_trip.is_zero() {
            self.limited_at = Some(now);
        }
        self.fall_to(now, self.target / 2.0, HOLD);
        self.clamp();
    }

    /// Takes what a feedback told.
    pub fn handle_feedback(&mut self, now: Instant, told: &Told<'_>) {
        let passed = now.saturating_duration_since(self.heard_at).min(SILENCE).as_secs_f64();
        self.heard_at = now;
        self.waiting_since = (told.in_flight > 0).then_some(now);
        self.losses.note(now, told.arrived.len(), told.lost);
        if let Some(round_trip) = told.round_trip {
            let smoothed = if self.round_trip.is_zero() { round_trip } else { (self.round_trip * 7 + round_trip) / 8 };
            self.round_trip = smoothed;
        }
        if told.arrived.is_empty() {
            return;
        }
        for packet in told.arrived {
            self.delays.note(packet);
            self.delivered.note(packet);
            self.trains.note(packet, self.capacity);
        }
        let standing = self.delays.end_of_feedback(told.arrived);
        if let Some(target) = self.fight(now, told, standing) {
            self.target = target;
            self.trains.forget();
            self.capacity = Some(target);
        } else {
            self.follow(now, passed, told, standing);
        }
        self.clamp();
    }

    fn fight(&mut self, now: Instant, told: &Told<'_>, standing: Standing) -> Option<f64> {
        // A queue that our own voices fill, which go whatever the target says, is nobody to fight with.
        let ours = self.delivered.rate().is_some_and(|rate| rate > OURS * self.target);
        let at_bottom = self.target < 2.0 * self.range.min && !ours;
        let window = self.competition.window(now, told, standing, at_bottom.then_some(self.target))?;
        Some(window * 8.0 / self.round_trip.as_secs_f64().max(0.001))
    }

    fn clamp(&mut self) {
        self.target = self.target.clamp(self.range.min, self.range.max);
    }

    fn follow(&mut self, now: Instant, passed: f64, told: &Told<'_>, standing: Standing) {
        if standing.newest > QUEUE_LONG && (now >= self.drained_at || self.drains_slower(told)) {
            return self.drain(now, told, standing);
        }
        if standing.newest.as_secs_f64() <= QUEUE_NONE {
            self.drained_at = self.drained_at.min(now);
        }
        self.note_capacity();
        // Frames too small to be trains show nothing but that they arrive.
        let untested = || self.delivered.rate().map(|rate| UNTESTED * rate);
        let shown = self.capacity.filter(|_| self.trains.len() >= TRAINS_MIN).map(|capacity| capacity * self.share());
        if let Some(ceiling) = shown.or_else(untested) {
            if self.delays.standing() > QUEUE_NONE {
                if ceiling < self.target {
                    self.limited_at = Some(now);
                    self.fall_to(now, ceiling, HOLD);
                }
            } else if now >= self.hold_until {
                self.target = self.grown(passed, ceiling);
            }
        }
        if self.trains.are_stretched() && self.trains.len() >= TRAINS_SURE {
            self.limited_at = Some(now);
        }
        if self.losses.share() > LOSS_EXTREME {
            self.limited_at = Some(now);
            self.target *= LOSS_DECAY.powf(passed);
        }
    }

    /// The target after some seconds. Near the capacity everybody adds the same and takes off a share, so that those who have
    /// more give to those who have less (Chiu and Jain, 1989).
    fn grown(&self, seconds: f64, ceiling: f64) -> f64 {
        // Jitter looks like work, but it does not stretch trains.
        let busy = if self.trains.are_stretched() { self.delays.busy() } else { 0.0 };
        if busy < BUSY {
            let grown = self.target * GROWTH.powf(seconds) + GROWTH_BPS * seconds;
            // What arrives and finds no queue, the path carries.
            let carried = CARRIED * self.delivered.rate().unwrap_or_default();
            self.target.max(grown.max(carried).min(ceiling))
        } else if busy < BUSY_FULL {
            let added = self.target + ADDITION_BPS * seconds;
            self.target.max(added.min(ceiling / USE * USE_MOST))
        } else {
            self.target * REDUCTION.powf(seconds)
        }
    }

    /// What the path carries, by the trains of late.
    fn note_capacity(&mut self) {
        let Some(sample) = self.trains.upper_quartile().filter(|_| self.trains.len() >= TRAINS_MIN) else { return };
        self.capacity = Some(match self.capacity {
            Some(capacity) if sample > capacity => capacity + 0.3 * (sample - capacity),
            Some(_) | None => sample,
        });
    }

    /// The share of the capacity that is ours: everybody on the path sees the same queue and the same capacity, and so
    /// takes the same, and the queue is the longer the more there are (RFC 8698 §4.3 finds its balance in the same way).
    fn share(&self) -> f64 {
        USE * (QUEUE_NONE / self.delays.standing().max(QUEUE_NONE))
    }

    /// All that was sent since the newest packet that arrived waits in the queue as well, so video pauses until that is
    /// gone, too.
    fn drain(&mut self, now: Instant, told: &Told<'_>, standing: Standing) {
        let Some(rate) = self.rate_of_queue(told.arrived).or_else(|| self.delivered.rate()) else { return };
        self.capacity = Some(self.capacity.map_or(rate, |capacity| capacity.min(rate)));
        self.trains.forget();
        let behind = told.in_flight as f64 * 8.0 / rate.max(1.0);
        let unqueued = self.round_trip.saturating_sub(standing.newest).as_secs_f64();
        let wait = Duration::from_secs_f64((behind - unqueued).max(0.0)).min(DRAIN_MAX);
        self.drained_at = now + wait;
        self.limited_at = Some(now);
        self.fall_to(now, 0.85 * rate, wait + HOLD);
    }

    /// A queue that began to drain does so more slowly than its first packets told.
    fn drains_slower(&self, told: &Told<'_>) -> bool {
        let rate = self.rate_of_queue(told.arrived);
        rate.zip(self.capacity).is_some_and(|(rate, capacity)| rate < SLOWER * capacity)
    }

    /// Bits per second of the newest packets that waited: the narrow place had no pause between them.
    fn rate_of_queue(&self, arrived: &[Arrived]) -> Option<f64> {
        let waited = arrived.iter().rev().take_while(|packet| self.delays.above_least(packet) > QUEUE_LONG / 2);
        let (count, first) = waited.enumerate().last()?;
        let span = arrived.last()?.arrived.saturating_sub(first.arrived);
        let bytes: u64 = arrived[arrived.len() - count..].iter().map(|packet| u64::from(packet.bytes)).sum();
        (span >= QUEUE_SPAN_MIN).then(|| bytes as f64 * 8.0 / span.as_secs_f64())
    }

    fn fall_to(&mut self, now: Instant, target: f64, hold: Duration) {
        self.target = self.target.min(target);
        self.hold_until = now + hold;
    }
}

/// The queue as one feedback shows it.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    /// The least that any of the last few packets waited.
    newest: Duration,
    /// The same of all packets, against the least of a whole minute.
    of_minute: Duration,
}

/// Bytes that arrived, over the last part of a second.
#[derive(Clone, Debug, Default)]
struct Delivered {
    /// By the receiver's clock, with their bytes.
    arrivals: VecDeque<(Duration, u16)>,
    bytes: u64,
}

/// What [`Delivered::rate`] looks back on.
const DELIVERED_WINDOW: Duration = Duration::from_millis(400);
/// A rate over less time than this is that of a burst.
const DELIVERED_SPAN_MIN: Duration = Duration::from_millis(50);

impl Delivered {
    fn note(&mut self, packet: &Arrived) {
        self.arrivals.push_back((packet.arrived, packet.bytes));
        self.bytes += u64::from(packet.bytes);
        let oldest = packet.arrived.saturating_sub(DELIVERED_WINDOW);
        while self.arrivals.len() > crate::limits::DEPARTURES_MAX
            || self.arrivals.front().is_some_and(|(at, _)| *at < oldest)
        {
            let gone = self.arrivals.pop_front().map_or(0, |(_, bytes)| bytes);
            self.bytes -= u64::from(gone);
        }
    }

    /// Bits per second.
    fn rate(&self) -> Option<f64> {
        let (first, last) = (self.arrivals.front()?, self.arrivals.back()?);
        let span = last.0.saturating_sub(first.0);
        let bytes = self.bytes - u64::from(first.1);
        (span >= DELIVERED_SPAN_MIN).then(|| bytes as f64 * 8.0 / span.as_secs_f64())
    }
}

/// Packets lost and arrived in the last second.
#[derive(Clone, Debug, Default)]
struct Losses {
    told: VecDeque<(Instant, usize, usize)>,
}

/// Feedbacks in a second at the shortest interval, those out of turn included, and some.
const LOSSES_MAX: usize = 160;

impl Losses {
    fn note(&mut self, now: Instant, arrived: usize, lost: usize) {
        self.told.push_back((now, arrived, lost));
        let old = |at: Instant| now.saturating_duration_since(at) > Duration::from_secs(1);
        while self.told.len() > LOSSES_MAX || self.told.front().is_some_and(|(at, ..)| old(*at)) {
            self.told.pop_front();
        }
    }

    fn share(&self) -> f64 {
        let (arrived, lost) = self.told.iter().fold((0, 0), |(a, l), (_, arrived, lost)| (a + arrived, l + lost));
        lost as f64 / (arrived + lost).max(1) as f64
    }
}

#[cfg(test)]
mod simulation;
