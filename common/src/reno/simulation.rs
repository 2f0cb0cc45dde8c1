//! Two connections over a seeded link in virtual time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

/// What a link does, the same each way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    /// One way.
    pub(super) delay: Duration,
    pub(super) rate_bps: u64,
    /// A datagram that would make the queue longer is dropped.
    pub(super) queue_bytes: u64,
    pub(super) loss: f64,
    /// Share of datagrams that are held back by up to three one-way delays.
    pub(super) reordering: f64,
    pub(super) duplication: f64,
}

/// Sealing, UDP and IPv4 around a segment.
const OVERHEAD_BYTES: u64 = 1 + 31 + 28;

impl Link {
    /// 20 Mbit/s, a round trip of 50 ms, a queue of one bandwidth-delay product.
    pub(super) const BASE: Self = Self {
        delay: Duration::from_millis(25),
        rate_bps: 20_000_000,
        queue_bytes: 125_000,
        loss: 0.0,
        reordering: 0.0,
        duplication: 0.0,
    };

    fn transmission(&self, bytes: u64) -> Duration {
        Duration::from_nanos(bytes * 8 * 1_000_000_000 / self.rate_bps)
    }
}

/// One way of the link.
pub(super) struct Pipe {
    pub(super) link: Link,
    /// When the last bit queued so far will have left.
    free_at: Instant,
    pub(super) on_the_way: BTreeMap<(Instant, u64), Vec<u8>>,
    pub(super) sent: u64,
    /// Segments to drop, by how many were sent before them.
    pub(super) drop: Vec<u64>,
    pub(super) dropped_by_queue: u64,
}

impl Pipe {
    fn send(&mut self, now: Instant, segment: &[u8], random: &mut StdRng) {
        let index = self.sent;
        self.sent += 1;
        let start = self.free_at.max(now);
        let bytes = segment.len() as u64 + OVERHEAD_BYTES;
        let queued = self.link.transmission(self.link.queue_bytes);
        if start - now > queued {
            self.dropped_by_queue += 1;
            return;
        }
        self.free_at = start + self.link.transmission(bytes);
        let mut arrival = self.free_at + self.link.delay;
        if self.drop.contains(&index) || random.random_bool(self.link.loss) {
            return;
        }
        if random.random_bool(self.link.reordering) {
            arrival += self.link.delay.mul_f64(3.0 * random.random::<f64>());
        }
        if random.random_bool(self.link.duplication) {
            let copy = (arrival + self.link.delay / 2, index);
            self.on_the_way.insert(copy, segment.to_vec());
        }
        self.on_the_way.insert((arrival, index), segment.to_vec());
    }
}

/// Two connections, 0 and 1, with a pipe out of each.
pub(super) struct Pair {
    pub(super) now: Instant,
    start: Instant,
    pub(super) sides: [Connection; 2],
    pub(super) pipes: [Pipe; 2],
    pub(super) events: [Vec<Event>; 2],
    pub(super) random: StdRng,
}

impl Pair {
    #[expect(clippy::disallowed_methods, reason = "virtual time begins at any instant")]
    pub(super) fn new(link: Link, seed: u64) -> Self {
        let now = Instant::now();
        let pipe =
            || Pipe { link, free_at: now, on_the_way: BTreeMap::new(), sent: 0, drop: Vec::new(), dropped_by_queue: 0 };
        Self {
            now,
            start: now,
            sides: [Connection::new(now), Connection::new(now)],
            pipes: [pipe(), pipe()],
            events: [Vec::new(), Vec::new()],
            random: StdRng::seed_from_u64(seed),
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// Lets both sides send what they may at this instant.
    fn flush(&mut self) {
        let mut buffer = [0; SEGMENT_MAX_BYTES];
        for side in 0..2 {
            while let Some(length) = self.sides[side].poll_transmit(self.now, &mut buffer) {
                self.pipes[side].send(self.now, &buffer[..length], &mut self.random);
            }
            while let Some(event) = self.sides[side].poll_event() {
                self.events[side].push(event);
            }
        }
    }

    fn next_event(&self) -> Option<Instant> {
        let arrivals = self.pipes.iter().filter_map(|pipe| Some(pipe.on_the_way.first_key_value()?.0.0));
        let timers = self.sides.iter().filter_map(Connection::poll_timeout);
        arrivals.chain(timers).min()
    }

    /// One step: to the next arrival or timer, but not beyond `until`. Answers whether it came to one.
    pub(super) fn step(&mut self, until: Instant) -> bool {
        self.flush();
        let Some(at) = self.next_event().filter(|at| *at <= until) else {
            self.now = until;
            return false;
        };
        assert!(at >= self.now || self.sides.iter().any(|s| s.poll_timeout() == Some(at)));
        self.now = at.max(self.now);
        for side in 0..2 {
            while let Some(entry) = self.pipes[1 - side].on_the_way.first_entry() {
                if entry.key().0 > self.now {
                    break;
                }
                let segment = entry.remove();
                self.sides[side].handle_segment(self.now, &segment).unwrap();
            }
            if self.sides[side].poll_timeout().is_some_and(|at| at <= self.now) {
                self.sides[side].handle_timeout(self.now);
            }
        }
        self.flush();
        true
    }

    /// Runs for a while, calling `each` before, between and after the steps.
    pub(super) fn run(&mut self, time: Duration, mut each: impl FnMut(&mut Self)) {
        let until = self.now + time;
        each(self);
        while self.step(until) {
            each(self);
        }
        each(self);
        self.flush();
    }

    pub(super) fn idle(&mut self, time: Duration) {
        self.run(time, |_| ());
    }

    /// Reads all there is of a stream at a side.
    pub(super) fn read(&mut self, side: usize, stream: StreamId) -> (Vec<u8>, bool) {
        let mut bytes = vec![0; self.sides[side].readable(stream)];
        let read = self.sides[side].read(stream, &mut bytes);
        assert_eq!(read.bytes, bytes.len());
        (bytes, read.finished)
    }

    /// Sends `length` bytes from 0 to 1 on a stream of their own and checks each. Answers the time it took until all
    /// was read.
    pub(super) fn transfer(&mut self, length: usize, limit: Duration) -> Duration {
        let begin = self.now;
        let stream = self.sides[0].open().unwrap();
        let (mut written, mut checked, mut done) = (0, 0, false);
        let until = self.now + limit;
        while !done {
            while written < length {
                let bytes = pattern(written..length.min(written + 65_536));
                let taken = self.sides[0].write(stream, &bytes);
                written += taken;
                if taken < bytes.len() {
                    break;
                }
            }
            if written == length {
                self.sides[0].finish(stream);
            }
            assert!(self.step(until), "{checked} of {length} bytes after {limit:?}");
            let (bytes, finished) = self.read(1, stream);
            assert!(bytes == pattern(checked..checked + bytes.len()));
            checked += bytes.len();
            done = finished;
        }
        assert_eq!(checked, length);
        self.now - begin
    }

    pub(super) fn sender(&self) -> RenoStatistics {
        self.sides[0].statistics()
    }
}

/// The bytes of every test stream: its own position tells each.
pub(super) fn pattern(range: std::ops::Range<usize>) -> Vec<u8> {
    range.map(|n| (n % 251) as u8 ^ (n / 251) as u8).collect()
}

pub(super) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
