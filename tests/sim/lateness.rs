//! Networks of several kinds for one voice, and the playout buffer at their end: how long it waits, and how much it makes up.

use std::fmt;
use std::time::{Duration, Instant};

use common::sequence::{MediaTime, SequenceNumber};
use common::voice::pcm::{Block, SILENT_BLOCK};
use common::voice::playout::{PlayoutBuffer, PlayoutStatistics};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Before this, the buffer still learns what the network is like.
const LEARNING: Duration = Duration::from_secs(10);
const BLOCK_MICROS: u64 = 10_000;
const BLOCK_SAMPLES: usize = SILENT_BLOCK.len();

/// A way for packets to be late or lost, and what is wanted of the buffer there.
pub struct Network {
    /// As the tables have it.
    pub name: &'static str,
    /// How long somebody speaks.
    pub time: Duration,
    /// The card's clock runs slow by this much.
    pub drift_ppm: i64,
    /// The delay of the packet sent at that time, in microseconds from the fastest; `None` where it is lost.
    path: Path,
    /// Copies of the blocks so many before are in each packet.
    copies: &'static [usize],
    /// What is wanted of the buffer there.
    pub goal: Goal,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What is wanted at most, where anything is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Goal {
    /// Behind the fastest packet.
    pub delay_ms: Option<f64>,
    /// Made up.
    pub concealed_percent: Option<f64>,
    /// Between the longest and the shortest wait.
    pub spread_ms: Option<f64>,
}

/// What came of it, once the buffer knew the network.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The delay that the buffer aimed at.
    pub target_ms: f64,
    /// From arriving to being played.
    pub buffer_ms: f64,
    /// Behind the fastest packet.
    pub delay_ms: f64,
    /// Made up, of what should have been heard.
    pub concealed_percent: f64,
    /// Put in or left out to correct the delay, of what should have been heard.
    pub stretched_percent: f64,
    /// Between the shortest and the longest mean wait of a second.
    pub spread_ms: f64,
}

/// All kinds of networks, as this seed has them.
pub fn networks(seed: u64) -> Vec<Network> {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let network = |name: &'static str, path: Path, copies: &'static [usize], goal: Goal| Network {
        name,
        time: minutes(4),
        drift_ppm: 0,
        path,
        copies,
        goal,
    };
    let goal = |delay_ms: f64, percent: f64| Goal {
        delay_ms: Some(delay_ms),
        concealed_percent: Some(percent),
        spread_ms: None,
    };
    let drift = |name: &'static str, drift_ppm: i64, path: Path| Network {
        time: minutes(10),
        drift_ppm,
        goal: Goal { spread_ms: Some(20.0), ..goal(30.0, 0.0) },
        ..network(name, path, &[], Goal::default())
    };
    vec![
        network("clean", even(), &[], goal(30.0, 0.0)),
        network("rfc8868", jitter(5_000.0, seed), &[], goal(30.0, 0.0)),
        network("4-times-rfc8868", jitter(20_000.0, seed), &[], Goal::default()),
        network("wifi-stalls", stalls(3_000.0, 0.5, 20_000..80_000, seed), &[], Goal::default()),
        network("bad-wifi-stalls", stalls(5_000.0, 1.0, 40_000..200_000, seed), &[], goal(180.0, 0.25)),
        network("bufferbloat", saw(seed), &[], Goal::default()),
        network("route-steps", steps(seed), &[], Goal::default()),
        network("loss-5", loss(0.05, seed), &[], Goal::default()),
        network("loss-5-copies-1", loss(0.05, seed), &[1], goal(50.0, 0.5)),
        network("loss-5-copies-1-3", loss(0.05, seed), &[1, 3], goal(60.0, 0.5)),
        network("loss-10-copies-1-3", loss(0.1, seed), &[1, 3], goal(60.0, 1.0)),
        drift("drift-slow", 200, even()),
        drift("drift-fast", -200, even()),
        drift("drift-slow-rfc8868", 200, jitter(5_000.0, seed)),
        drift("drift-fast-rfc8868", -200, jitter(5_000.0, seed)),
    ]
}

type Path = Box<dyn FnMut(u64) -> Option<u64>>;

fn even() -> Path {
    Box::new(|_| Some(0))
}

/// |N(0, sigma)| cut off at three sigma (RFC 8868 §3.1).
fn jitter(sigma_micros: f64, seed: u64) -> Path {
    let mut random = StdRng::seed_from_u64(seed);
    Box::new(move |_| Some((normal(&mut random).abs() * sigma_micros) as u64))
}

fn loss(share: f64, seed: u64) -> Path {
    let mut random = StdRng::seed_from_u64(seed);
    Box::new(move |_| {
        let late = normal(&mut random).abs() * 5_000.0;
        (!random.random_bool(share)).then_some(late as u64)
    })
}

/// Exponential delays, and so many times a second nothing comes through for a while; then all of it comes at once.
fn stalls(mean_micros: f64, per_second: f64, micros: std::ops::Range<u64>, seed: u64) -> Path {
    let mut random = StdRng::seed_from_u64(seed);
    let exponential = |mean: f64, random: &mut StdRng| -mean * (1.0 - random.random::<f64>()).ln();
    let (mut next, mut open) = (0.0, 0);
    Box::new(move |sent| {
        while sent as f64 >= next {
            open = open.max(next as u64 + random.random_range(micros.clone()));
            next += exponential(1e6 / per_second, &mut random);
        }
        let late = exponential(mean_micros, &mut random) as u64;
        Some(late.max(open.saturating_sub(sent)))
    })
}

/// A queue that fills to 250 ms within six seconds and empties at once.
fn saw(seed: u64) -> Path {
    let mut jitter = jitter(5_000.0, seed);
    Box::new(move |sent| jitter(sent).map(|late| late + sent % 6_000_000 / 24))
}

/// A way that is 80 ms longer every other half minute.
fn steps(seed: u64) -> Path {
    let mut jitter = jitter(5_000.0, seed);
    Box::new(move |sent| jitter(sent).map(|late| late + if sent / 30_000_000 % 2 == 0 { 0 } else { 80_000 }))
}

fn normal(random: &mut StdRng) -> f64 {
    loop {
        let (a, b): (f64, f64) = (random.random(), random.random());
        let normal = (-2.0 * (1.0 - a).ln()).sqrt() * (std::f64::consts::TAU * b).cos();
        if normal.abs() <= 3.0 {
            return normal;
        }
    }
}

/// Arrival in microseconds, and which block; packets do not overtake each other.
fn arrivals(network: &mut Network) -> Vec<(u64, usize)> {
    let blocks = network.time.as_micros() as u64 / BLOCK_MICROS;
    let mut arrivals = Vec::new();
    let mut free_at = 0;
    for block in 0..blocks as usize {
        let sent = block as u64 * BLOCK_MICROS;
        if let Some(late) = (network.path)(sent) {
            free_at = (sent + late).max(free_at + 300);
            let blocks = network.copies.iter().filter_map(|offset| block.checked_sub(*offset)).chain([block]);
            arrivals.extend(blocks.map(|block| (free_at, block)));
        }
    }
    arrivals
}

/// Plays a voice over the network and measures from the end of the learning on.
///
/// # Panics
/// When it takes no longer than the learning.
pub fn hear(network: &mut Network, voice: &[Block]) -> Heard {
    let arrivals = arrivals(network);
    let start = Instant::now();
    let step_nanos = 10_000_000_u64.checked_add_signed(10 * network.drift_ppm).expect("a small part of it");
    let steps = network.time.as_nanos() as u64 / step_nanos;
    let mut buffer = PlayoutBuffer::new();
    let mut seconds = vec![buffer.statistics()];
    let mut waiting = arrivals.iter().peekable();
    for step in 0..steps {
        // The card's clock has nothing to do with the sender's: it begins 3.7 ms later.
        let elapsed = 3_700 + step * step_nanos / 1_000;
        while let Some((at, block)) = waiting.next_if(|(at, _)| *at <= elapsed) {
            let (sequence, timestamp) = (SequenceNumber(*block as u16), MediaTime((block * BLOCK_SAMPLES) as u32));
            let now = start + Duration::from_micros(*at);
            buffer.handle_block(now, sequence, timestamp, &voice[block % voice.len()]);
        }
        buffer.pull(start + Duration::from_micros(elapsed), &mut SILENT_BLOCK.clone());
        if step % 100 == 99 {
            seconds.push(buffer.statistics());
        }
    }
    // The last block of each packet is its own.
    let packets = arrivals.chunk_by(|(at, _), (other, _)| at == other).filter_map(<[_]>::last);
    let late: Vec<u64> = packets.map(|(at, block)| at - *block as u64 * BLOCK_MICROS).collect();
    let late_ms = late.iter().sum::<u64>() as f64 / late.len() as f64 / 1_000.0;
    Heard::of(&seconds[LEARNING.as_secs() as usize..], late_ms)
}

impl Heard {
    /// Of what was counted second by second, on a network that is so late in the mean.
    fn of(seconds: &[PlayoutStatistics], late_ms: f64) -> Self {
        let [first, .., last] = seconds else { panic!("two seconds at least") };
        let played = |from: &PlayoutStatistics, to: &PlayoutStatistics| {
            (to.jitter_buffer_emitted_count - from.jitter_buffer_emitted_count) as f64
        };
        let waited = |from: &PlayoutStatistics, to: &PlayoutStatistics| {
            (to.jitter_buffer_delay - from.jitter_buffer_delay).as_secs_f64() * 1_000.0 / played(from, to)
        };
        let target = last.jitter_buffer_target_delay - first.jitter_buffer_target_delay;
        let concealed = (last.concealed_samples - first.concealed_samples) as f64;
        let stretched = (last.inserted_samples_for_deceleration - first.inserted_samples_for_deceleration)
            + (last.removed_samples_for_acceleration - first.removed_samples_for_acceleration);
        let all = concealed + played(first, last);
        let of_seconds = || seconds.windows(2).map(|pair| waited(&pair[0], &pair[1])).filter(|wait| wait.is_finite());
        Self {
            target_ms: target.as_secs_f64() * 1_000.0 / played(first, last),
            buffer_ms: waited(first, last),
            delay_ms: waited(first, last) + late_ms,
            concealed_percent: 100.0 * concealed / all,
            stretched_percent: 100.0 * stretched as f64 / all,
            spread_ms: of_seconds().fold(0.0, f64::max) - of_seconds().fold(f64::MAX, f64::min),
        }
    }

    /// The mean of several runs; the spread is the widest.
    pub fn mean<'a>(runs: impl Iterator<Item = &'a Self> + Clone) -> Self {
        let mean = |value: fn(&Self) -> f64| runs.clone().map(value).sum::<f64>() / runs.clone().count() as f64;
        Self {
            target_ms: mean(|run| run.target_ms),
            buffer_ms: mean(|run| run.buffer_ms),
            delay_ms: mean(|run| run.delay_ms),
            concealed_percent: mean(|run| run.concealed_percent),
            stretched_percent: mean(|run| run.stretched_percent),
            spread_ms: runs.clone().map(|run| run.spread_ms).fold(0.0, f64::max),
        }
    }
}
