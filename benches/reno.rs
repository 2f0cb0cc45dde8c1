//! How much does our Reno carry over a path that loses, and how late does a small message come?
//!
//! Two connections over a seeded link in virtual time, so the machine does not matter: the same source gives the same
//! figures everywhere.

mod figures;

use std::time::{Duration, Instant};

use common::limits::{DATAGRAM_HEADER_BYTES, DATAGRAM_TAG_BYTES};
use common::link::{Link, LinkConfig};
use common::reno::{Connection, SEGMENT_MAX_BYTES, StreamId};
use common::wire::segment::DATA_FRAME_HEADER_BYTES;

use figures::{Figure, Figures, Goal, quantile};

fn main() {
    let mut figures = Figures::new("reno");
    for (loss_percent, kernel) in KERNEL_RENO_MBIT {
        let runs: Vec<f64> = (1..=SEEDS).map(|seed| Path::new(loss_percent, seed).goodput_mbit(BULK)).collect();
        let median = quantile(&runs, 0.5);
        figures.add(Figure {
            row: "Goodput",
            what: format!(
                "bulk over 20 Mbit/s, RTT 50 ms, queue 1 BDP, {loss_percent} % loss each way; {} s of virtual time, median of {SEEDS} seeds",
                BULK.as_secs()
            ),
            value: median,
            unit: "Mbit/s",
            goal: None,
            others: Some(format!("kernel Reno {kernel} Mbit/s, measured elsewhere over an emulated link of this kind")),
        });
        figures.add(Figure {
            row: "Goodput ratio",
            what: format!("the same to kernel Reno's {kernel} Mbit/s (not of this run; its segments hold {KERNEL_MSS_BYTES} bytes, ours about {OUR_MSS_BYTES}, and on a lossy path goodput goes with that)"),
            value: median.map(|median| median / kernel),
            unit: "ratio",
            goal: Some(Goal::AtLeast(0.95)),
            others: None,
        });
    }
    for (loss_percent, goal, others) in SMALL_MESSAGES {
        let delays = Path::new(loss_percent, 1).message_delays_ms(MESSAGES);
        for (name, share, goal) in [("p50", 0.5, None), ("p99", 0.99, goal)] {
            figures.add(Figure {
                row: "Messages",
                what: format!("{name} one way of {MESSAGES} messages of 200 bytes, 10 a second, same path, {loss_percent} % loss; virtual time"),
                value: quantile(&delays, share),
                unit: "ms",
                goal,
                others: goal.map(|_| others.to_owned()),
            });
        }
    }
    figures.finish();
}

/// Bytes of the stream in one segment of the kernel's (1,500 less IP, TCP and timestamps).
const KERNEL_MSS_BYTES: usize = 1_448;
/// Bytes of the stream in one segment that carries nothing else.
const OUR_MSS_BYTES: usize = SEGMENT_MAX_BYTES - SEGMENT_HEADER_BYTES - DATA_FRAME_HEADER_BYTES;
/// Number, settled distance and count of frames.
const SEGMENT_HEADER_BYTES: usize = 9;

/// Loss in percent, and what the kernel's Reno carried over an emulated link of 20 Mbit/s and 50 ms with that loss
/// (12 s or 20 MB, queue of one bandwidth-delay product, median of three runs).
const KERNEL_RENO_MBIT: [(f64, f64); 4] = [(0.0, 19.0), (0.1, 9.7), (1.0, 2.7), (3.0, 1.5)];

/// Loss in percent, goal for the 99th percentile, what others reach.
const SMALL_MESSAGES: [(f64, Option<Goal>, &str); 3] = [
    (0.0, None, ""),
    (1.0, Some(Goal::AtMost(50.0)), "p99, measured elsewhere: kernel Reno 88, quinn 56, KCP 46 ms"),
    (3.0, Some(Goal::AtMost(105.0)), "p99, measured elsewhere: kernel Reno 180, quinn 155, KCP 104 ms"),
];

const SEEDS: u64 = 21;
/// As long as the runs of the kernel that are told beside.
const BULK: Duration = Duration::from_secs(12);
const MESSAGES: usize = 2_000;
const MESSAGE_BYTES: usize = 200;
const MESSAGE_INTERVAL: Duration = Duration::from_millis(100);
/// What sealing puts around a segment; the link adds IP and UDP itself.
const SEALING_BYTES: usize = DATAGRAM_HEADER_BYTES + 1 + DATAGRAM_TAG_BYTES;

/// Two connections, 0 and 1, with a link out of each.
struct Path {
    now: Instant,
    sides: [Connection; 2],
    links: [Link; 2],
}

impl Path {
    fn new(loss_percent: f64, seed: u64) -> Self {
        let now = Instant::now();
        let config = LinkConfig {
            delay: Duration::from_millis(25),
            rate_bps: Some(20_000_000),
            queue_bytes: 125_000,
            loss: loss_percent / 100.0,
            ..LinkConfig::default()
        };
        Self {
            now,
            sides: [Connection::new(now), Connection::new(now)],
            links: [Link::new(config, 2 * seed), Link::new(config, 2 * seed + 1)],
        }
    }

    /// What the reader gets of a stream that always has more to send.
    fn goodput_mbit(&mut self, time: Duration) -> f64 {
        let until = self.now + time;
        let piece = vec![7; 64 * 1024];
        let mut sink = vec![0; 64 * 1024];
        let mut received = 0;
        let stream = self.sides[0].open().expect("no stream is open yet");
        while self.now < until {
            while self.sides[0].write(stream, &piece) == piece.len() {}
            self.step(until);
            loop {
                let read = self.sides[1].read(stream, &mut sink).bytes;
                received += read;
                if read == 0 {
                    break;
                }
            }
        }
        received as f64 * 8.0 / time.as_secs_f64() / 1e6
    }

    /// How long each message takes to the reader, on the stream of messages.
    fn message_delays_ms(&mut self, count: usize) -> Vec<f64> {
        let (mut written, mut delays, mut received) = (Vec::new(), Vec::new(), 0);
        let mut sink = vec![0; 64 * 1024];
        while delays.len() < count {
            let next = written.last().map_or(self.now, |last: &Instant| *last + MESSAGE_INTERVAL);
            if written.len() < count && self.now >= next {
                self.sides[0].write(StreamId::MESSAGES, &[7; MESSAGE_BYTES]);
                written.push(self.now);
            }
            self.step(if written.len() < count { next.max(self.now + TICK) } else { self.now + MESSAGE_INTERVAL });
            received += self.sides[1].read(StreamId::MESSAGES, &mut sink).bytes;
            while delays.len() < received / MESSAGE_BYTES {
                let delay = self.now - written[delays.len()];
                delays.push(delay.as_secs_f64() * 1e3);
            }
        }
        delays
    }

    /// To the next arrival or timer, but not beyond `until`.
    fn step(&mut self, until: Instant) {
        self.flush();
        let arrivals = self.links.iter().filter_map(Link::poll_timeout);
        let timers = self.sides.iter().filter_map(Connection::poll_timeout);
        let next = arrivals.chain(timers).fold(until, Instant::min);
        // A timer that was due already has nothing more to do at this instant.
        self.now = next.max(self.now + TICK).min(until.max(self.now));
        for side in 0..2 {
            while let Some(datagram) = self.links[1 - side].poll(self.now) {
                self.sides[side].handle_segment(self.now, &datagram[SEALING_BYTES..]).expect("the peer is honest");
            }
            self.sides[side].handle_timeout(self.now);
            while self.sides[side].poll_event().is_some() {}
        }
        self.flush();
    }

    fn flush(&mut self) {
        let mut buffer = [0; SEALING_BYTES + SEGMENT_MAX_BYTES];
        for side in 0..2 {
            while let Some(length) = self.sides[side].poll_transmit(self.now, &mut buffer[SEALING_BYTES..]) {
                self.links[side].send(self.now, buffer[..SEALING_BYTES + length].to_vec());
            }
        }
    }
}

/// The step of the virtual clock: far below what any figure here shows.
const TICK: Duration = Duration::from_micros(10);
