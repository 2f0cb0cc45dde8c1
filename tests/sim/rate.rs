//! A call over a line that is narrow, becomes narrower, and is shared: what rate control makes of it.

use std::time::{Duration, Instant};

use common::link::LinkConfig;

use crate::line::{Line, Way};
use crate::meeting::Meeting;

/// From one end of the narrow line to the other, without its queue: its round trip is 100 ms.
pub const ONE_WAY: Duration = Duration::from_millis(50);

/// A line of so many Mbit/s, with a queue that holds this time of it.
pub fn narrow(mbps: f64, queue: Duration) -> LinkConfig {
    let queue_bytes = (mbps * 1e6 / 8.0 * queue.as_secs_f64()) as usize;
    LinkConfig { delay: ONE_WAY, rate_bps: Some((mbps * 1e6) as u64), queue_bytes, ..LinkConfig::default() }
}

/// The queue that most rows have.
pub const QUEUE: Duration = Duration::from_millis(300);

/// A call of which one way of one line is narrow: who lives behind it sends (`Way::Up`), or gets (`Way::Down`), what a
/// camera that follows the target gives and a voice. Whoever is at the other end has a path that does nothing.
#[derive(Debug)]
pub struct NarrowCall {
    /// All of it.
    pub meeting: Meeting,
    way: Way,
    start: Instant,
    /// Every ten milliseconds, from the start on.
    pub samples: Vec<Sample>,
}

/// One look at the line.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What each member's path is taken to carry, bits per second; 0 as long as nobody knows.
    pub targets_bps: Vec<u64>,
    /// How long a datagram would wait in the queue.
    pub waiting: Duration,
    /// Bytes that each member got over the line so far, with IP and UDP.
    pub arrived: Vec<u64>,
    /// Bytes of the foreign transfer so far.
    pub foreign: u64,
}

/// Between two looks; as often as a voice has a packet.
pub const LOOK: Duration = Duration::from_millis(10);
/// Trains of packets are measured: the clock goes on in steps far below the time that one of them takes.
const STEP: Duration = Duration::from_micros(100);

impl NarrowCall {
    /// The call begins, with the first member behind the line.
    pub fn new(way: Way, config: LinkConfig, seed: u64) -> Self {
        let mut meeting = Meeting::new(LinkConfig::default(), seed);
        meeting.step = STEP;
        let mut line = Line::new(one_way(way, Way::Up, config), one_way(way, Way::Down, config), seed);
        let (host, code) = meeting.host("Ada");
        // At the other end of everything is the host, who hears and sees, or speaks and is seen, alone.
        meeting.participants[host].media = way == Way::Down;
        let guest = meeting.participants.len();
        line.move_in(guest);
        meeting.line = Some(line);
        let start = meeting.now;
        let mut call = Self { meeting, way, start, samples: Vec::new() };
        call.meeting.join("Bo", code);
        call.meeting.participants[guest].media = way == Way::Up;
        call.start = call.meeting.now;
        call
    }

    /// One more member behind the same line.
    pub fn join(&mut self, name: &str) {
        let guest = self.meeting.participants.len();
        self.line().move_in(guest);
        let code = self.meeting.code();
        self.meeting.join(name, code);
        self.meeting.participants[guest].media = self.way == Way::Up;
        // Joining takes time of its own, of which nobody looked at the line.
        while self.samples.len() < self.looks(self.meeting.now) {
            self.look();
        }
    }

    /// The line is another one from here on.
    pub fn configure(&mut self, config: LinkConfig) {
        let way = self.way;
        self.line().configure(way, config);
    }

    /// A foreign transfer begins over the narrow way.
    pub fn begin_foreign(&mut self) {
        let (now, way) = (self.meeting.now, self.way);
        self.line().begin_foreign(now, way, LinkConfig { delay: ONE_WAY, ..LinkConfig::default() });
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.meeting.now + time;
        while self.meeting.now < end {
            self.look();
            let next = self.start + LOOK * self.samples.len() as u32;
            self.meeting.run(next.min(end).saturating_duration_since(self.meeting.now));
        }
    }

    fn looks(&self, now: Instant) -> usize {
        (now.saturating_duration_since(self.start).as_millis() / LOOK.as_millis()) as usize
    }

    fn line(&mut self) -> &mut Line {
        self.meeting.line.as_mut().expect("there is one from the start")
    }

    fn look(&mut self) {
        let (now, way) = (self.meeting.now, self.way);
        let line = self.line();
        let (waiting, members) = (line.waiting(way, now), line.members.clone());
        let arrived = line.arrived.iter().map(|ways| ways[way as usize]).collect();
        let foreign = line.foreign.as_ref().map_or(0, |foreign| foreign.received);
        let targets_bps = members.into_iter().map(|member| self.target_bps(member)).collect();
        self.samples.push(Sample { targets_bps, waiting, arrived, foreign });
    }

    fn target_bps(&mut self, member: usize) -> u64 {
        let participant = &self.meeting.participants[member];
        match self.way {
            Way::Up => participant.endpoint.as_ref().map_or(0, |endpoint| endpoint.path_bps()),
            Way::Down => participant.connection.and_then(|id| self.meeting.relay.path_bps(id)).unwrap_or(0),
        }
    }

    /// What was seen between two seconds since the start.
    pub fn between(&self, from: u64, to: u64) -> &[Sample] {
        let looks = |secs: u64| (secs * 1_000 / LOOK.as_millis() as u64) as usize;
        &self.samples[looks(from)..looks(to).min(self.samples.len())]
    }

    /// Seconds after `from` until the queue is below 60 ms for good, or until `to`.
    pub fn settles_after(&self, from: u64, to: u64) -> f64 {
        let last = self.between(from, to).iter().rposition(|sample| sample.waiting >= SETTLED);
        last.map_or(0.0, |last| (last + 1) as f64 * LOOK.as_secs_f64())
    }

    /// Seconds after `from` until the first member's path is taken to carry this much; infinite when it is not by `to`.
    pub fn reaches_after(&self, from: u64, to: u64, bps: f64) -> f64 {
        let first = self.between(from, to).iter().position(|sample| sample.targets_bps[0] as f64 >= bps);
        first.map_or(f64::INFINITY, |first| first as f64 * LOOK.as_secs_f64())
    }

    /// Bits per second that each member got between two seconds.
    pub fn rates_bps(&self, from: u64, to: u64) -> Vec<f64> {
        let [first, .., last] = self.between(from, to) else { return Vec::new() };
        let rate = |(first, last): (&u64, &u64)| (last - first) as f64 * 8.0 / (to - from) as f64;
        first.arrived.iter().zip(&last.arrived).map(rate).collect()
    }

    /// Bits per second of the foreign transfer between two seconds.
    pub fn foreign_bps(&self, from: u64, to: u64) -> f64 {
        let [first, .., last] = self.between(from, to) else { return 0.0 };
        (last.foreign - first.foreign) as f64 * 8.0 / (to - from) as f64
    }
}

/// A shorter queue is none.
const SETTLED: Duration = Duration::from_millis(60);

/// The narrow way is as it is told, the other one is only long.
fn one_way(narrow: Way, way: Way, config: LinkConfig) -> LinkConfig {
    if narrow == way { config } else { LinkConfig { delay: config.delay, ..LinkConfig::default() } }
}
