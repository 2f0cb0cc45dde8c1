//! A network path that is as bad as it is told to be, by a seed: loss, duplicates, a narrow rate with a drop-tail
//! queue, delay, jitter, reordering; a datagram meets them in this order.
//!
//! The simulator of the tests is made of these, and so are the emulated link of the lab and the impairment switch of
//! the client, which lets a person feel what a number means.
//!
//! Each kind of misfortune has a generator of its own, and each is drawn once for every datagram that is offered. So
//! the n-th datagram meets the same fate under a seed, whatever came before it and whenever.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// How bad a path is, one way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkConfig {
    /// Time from one end to the other, without the queue.
    pub delay: Duration,
    /// Each datagram takes up to this much more or less than `delay`, uniformly; order is kept.
    pub jitter: Duration,
    /// Share of datagrams lost, 0.0..=1.0.
    pub loss: f64,
    /// Mean number of datagrams lost in a row, at least 1.0, which is independent loss (Gilbert model).
    pub loss_burst: f64,
    /// Share of datagrams that arrive twice, 0.0..=1.0.
    pub duplicate: f64,
    /// Share of datagrams held back by up to [`Self::reorder_by`], uniformly, while others overtake; 0.0..=1.0.
    pub reorder: f64,
    /// The longest that a datagram is held back.
    pub reorder_by: Duration,
    /// Bits a second the path carries, `None` for no limit. Counts the bytes of the datagram and its overhead.
    pub rate_bps: Option<u64>,
    /// Bytes that wait for a limited rate, with their overhead and with the datagram that is being carried; what does
    /// not fit is dropped (drop-tail).
    pub queue_bytes: usize,
    /// Bytes of headers around each datagram that a limited rate carries too: [`OVERHEAD_BYTES`], or none where the
    /// datagrams are whole IP packets.
    pub overhead_bytes: usize,
}

impl Default for LinkConfig {
    /// A path that does nothing at all to what it carries.
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: 0.0,
            loss_burst: 1.0,
            duplicate: 0.0,
            reorder: 0.0,
            reorder_by: Duration::ZERO,
            rate_bps: None,
            queue_bytes: 128 * 1024,
            overhead_bytes: OVERHEAD_BYTES,
        }
    }
}

/// IPv4 (20) and UDP (8) headers, which a limited rate carries too.
pub const OVERHEAD_BYTES: usize = 28;

/// Why a text is no [`LinkConfig`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidLink(String);

impl fmt::Display for InvalidLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}' is not understood; write for example loss=3,delay=40,jitter=10,rate=2000 (percent, ms, ms, kbit/s)",
            self.0
        )
    }
}

impl std::error::Error for InvalidLink {}

impl FromStr for LinkConfig {
    type Err = InvalidLink;

    /// Reads `loss=PERCENT,delay=MS,jitter=MS,rate=KBIT_PER_S`, each of them optional. Also understood:
    /// `burst=DATAGRAMS,duplicate=PERCENT,reorder=PERCENT,hold=MS,queue=BYTES`.
    fn from_str(text: &str) -> Result<Self, InvalidLink> {
        let mut config = Self::default();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let invalid = || InvalidLink(part.trim().to_owned());
            let (key, value) = part.split_once('=').ok_or_else(invalid)?;
            let value: f64 = value.trim().parse().map_err(|_| invalid())?;
            config.set(key.trim(), value).ok_or_else(invalid)?;
        }
        Ok(config)
    }
}

impl LinkConfig {
    fn set(&mut self, key: &str, value: f64) -> Option<()> {
        let millis = Duration::try_from_secs_f64(value / 1e3).ok().filter(|time| *time <= DELAY_MAX);
        match key {
            "loss" if (0.0..=100.0).contains(&value) => self.loss = value / 100.0,
            "delay" => self.delay = millis?,
            "jitter" => self.jitter = millis?,
            "hold" => self.reorder_by = millis?,
            "burst" if value >= 1.0 => self.loss_burst = value,
            "duplicate" if (0.0..=100.0).contains(&value) => self.duplicate = value / 100.0,
            "reorder" if (0.0..=100.0).contains(&value) => self.reorder = value / 100.0,
            "queue" if value >= 0.0 => self.queue_bytes = value as usize,
            "rate" if value >= 1.0 => self.rate_bps = Some((value * 1e3) as u64),
            _ => return None,
        }
        Some(())
    }
}

/// Longer delays are typing errors.
const DELAY_MAX: Duration = Duration::from_secs(10);

/// One direction of a path.
#[derive(Debug)]
pub struct Link {
    config: LinkConfig,
    fates: Fates,
    /// When the last bit of what was sent so far will have left the narrow place.
    busy_until: Option<Instant>,
    last_arrival: Option<Instant>,
    /// What is on its way, by arrival and order of sending.
    flying: BTreeMap<(Instant, u64), Vec<u8>>,
    sent: u64,
    lost: u64,
    queue_drops: u64,
}

impl Link {
    /// A path without anything on it.
    pub fn new(config: LinkConfig, seed: u64) -> Self {
        Self {
            config,
            fates: Fates::new(seed),
            busy_until: None,
            last_arrival: None,
            flying: BTreeMap::new(),
            sent: 0,
            lost: 0,
            queue_drops: 0,
        }
    }

    /// Changes the path from here on; what is on its way arrives as it would have.
    pub fn configure(&mut self, config: LinkConfig) {
        self.config = config;
    }

    /// How many datagrams were sent, and how many of them will never arrive.
    pub fn counts(&self) -> (u64, u64) {
        (self.sent, self.lost)
    }

    /// How many of the lost datagrams (and copies) found the queue full.
    pub fn queue_drops(&self) -> u64 {
        self.queue_drops
    }

    /// How long a datagram that is sent right now would wait for those before it.
    pub fn waiting(&self, now: Instant) -> Duration {
        self.busy_until.map_or(Duration::ZERO, |busy| busy.saturating_duration_since(now))
    }

    /// Puts a datagram on the path.
    pub fn send(&mut self, now: Instant, datagram: Vec<u8>) {
        self.sent += 1;
        let fate = self.fates.next(&self.config);
        let arrival = if fate.lost { None } else { self.carry(now, &fate, datagram.len()) };
        let Some(arrival) = arrival else {
            self.lost += 1;
            return;
        };
        let copy = if fate.doubled { self.carry(now, &fate, datagram.len()) } else { None };
        if let Some(arrival) = copy {
            self.flying.insert((arrival, 2 * self.sent + 1), datagram.clone());
        }
        self.flying.insert((arrival, 2 * self.sent), datagram);
    }

    /// The next datagram that has arrived by `now`.
    pub fn poll(&mut self, now: Instant) -> Option<Vec<u8>> {
        let entry = self.flying.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }

    /// When the next datagram arrives.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.flying.first_key_value().map(|((arrival, _), _)| *arrival)
    }

    /// When a datagram arrives, or `None` when there is no room for it.
    fn carry(&mut self, now: Instant, fate: &Fate, bytes: usize) -> Option<Instant> {
        let leaves = self.leaves_queue(now, bytes + self.config.overhead_bytes);
        let Some(leaves) = leaves.filter(|_| self.flying.len() < FLYING_MAX) else {
            self.queue_drops += 1;
            return None;
        };
        Some(self.arrival(leaves, fate))
    }

    /// When the last bit leaves the narrow place, or `None` when the queue before it is full. A datagram that finds
    /// nothing before it is always taken.
    fn leaves_queue(&mut self, now: Instant, bytes: usize) -> Option<Instant> {
        let Some(rate_bps) = self.config.rate_bps else {
            return Some(now);
        };
        let starts = self.busy_until.filter(|busy| *busy > now).unwrap_or(now);
        let queued_bytes = starts.duration_since(now).as_nanos() * u128::from(rate_bps) / NANOBITS_PER_BYTE;
        if starts > now && queued_bytes + bytes as u128 > self.config.queue_bytes as u128 {
            return None;
        }
        let leaves = starts + Duration::from_secs_f64(bytes as f64 * 8.0 / rate_bps as f64);
        self.busy_until = Some(leaves);
        Some(leaves)
    }

    /// Jitter keeps the order; a datagram that is held back does not.
    fn arrival(&mut self, leaves: Instant, fate: &Fate) -> Instant {
        let LinkConfig { delay, jitter, reorder_by, .. } = self.config;
        let arrival = leaves + delay.saturating_sub(jitter) + jitter.mul_f64(2.0 * fate.jitter);
        let in_order = self.last_arrival.map_or(arrival, |last| arrival.max(last));
        if let Some(share) = fate.held_back {
            return in_order + reorder_by.mul_f64(share);
        }
        self.last_arrival = Some(in_order);
        in_order
    }
}

/// Nanoseconds times bits a second that make a byte.
const NANOBITS_PER_BYTE: u128 = 8_000_000_000;

/// What happens to one datagram.
#[derive(Clone, Copy, Debug)]
struct Fate {
    lost: bool,
    doubled: bool,
    /// Share of the whole jitter, 0.0..1.0.
    jitter: f64,
    /// Share of the longest holding back, 0.0..1.0.
    held_back: Option<f64>,
}

/// Draws the fate of one datagram after another.
#[derive(Debug)]
struct Fates {
    loss: StdRng,
    doubling: StdRng,
    jitter: StdRng,
    reordering: StdRng,
    /// In a run of losses (Gilbert model).
    losing: bool,
}

impl Fates {
    fn new(seed: u64) -> Self {
        let generator = |purpose| StdRng::seed_from_u64(seed.wrapping_mul(4).wrapping_add(purpose));
        Self {
            loss: generator(0),
            doubling: generator(1),
            jitter: generator(2),
            reordering: generator(3),
            losing: false,
        }
    }

    fn next(&mut self, config: &LinkConfig) -> Fate {
        let (reordered, share): (f64, f64) = (self.reordering.random(), self.reordering.random());
        Fate {
            lost: self.loses(config),
            doubled: self.doubling.random::<f64>() < config.duplicate,
            jitter: self.jitter.random(),
            held_back: (reordered < config.reorder).then_some(share),
        }
    }

    /// A Gilbert model: losses come in runs of `loss_burst` datagrams in the mean, `loss` of all.
    fn loses(&mut self, &LinkConfig { loss, loss_burst, .. }: &LinkConfig) -> bool {
        let stays = 1.0 - 1.0 / loss_burst.max(1.0);
        let begins = if loss >= 1.0 { 1.0 } else { loss * (1.0 - stays) / (1.0 - loss) };
        let independent = loss_burst <= 1.0;
        let chance = if independent {
            loss
        } else if self.losing {
            stays
        } else {
            begins
        };
        self.losing = self.loss.random::<f64>() < chance;
        self.losing
    }
}

/// Datagrams on one path at a time: a second at 10,000 datagrams a second.
const FLYING_MAX: usize = 10_000;

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]
mod tests {
    use super::*;

    fn arrivals(config: LinkConfig, count: usize, spacing: Duration) -> Vec<(usize, Duration)> {
        let start = Instant::now();
        let mut link = Link::new(config, 7);
        for number in 0..count {
            link.send(start + spacing * number as u32, vec![number as u8; 972]);
        }
        let mut found = Vec::new();
        while let Some(at) = link.poll_timeout() {
            let datagram = link.poll(at).unwrap();
            found.push((usize::from(datagram[0]), at - start));
        }
        found
    }

    #[test]
    fn a_default_link_does_nothing() {
        let found = arrivals(LinkConfig::default(), 100, Duration::from_millis(1));
        assert!(found.iter().enumerate().all(|(n, (id, at))| n == *id && *at == Duration::from_millis(n as u64)));
    }

    #[test]
    fn delay_jitter_and_order_are_kept() {
        let config: LinkConfig = "delay=40, jitter=10".parse().unwrap();
        let found = arrivals(config, 250, Duration::from_millis(10));
        assert!(found.is_sorted_by_key(|(_, at)| *at) && found.len() == 250);
        let delays =
            found.iter().enumerate().map(|(n, (_, at))| at.saturating_sub(Duration::from_millis(10) * n as u32));
        assert!(delays.clone().all(|delay| (30..=50).contains(&delay.as_millis())));
        assert!(delays.clone().max() > delays.min().map(|delay| delay + Duration::from_millis(15)));
    }

    #[test]
    fn about_as_many_are_lost_as_configured_alone_or_in_bursts() {
        for loss_burst in [1.0, 3.0] {
            let config = LinkConfig { loss: 0.05, loss_burst, ..LinkConfig::default() };
            let start = Instant::now();
            let mut link = Link::new(config, 1);
            for number in 0..20_000u32 {
                link.send(start + Duration::from_micros(u64::from(number)), vec![0; 10]);
                link.poll(start + Duration::from_secs(1));
            }
            let (sent, lost) = link.counts();
            let share = lost as f64 / sent as f64;
            assert!((0.04..0.06).contains(&share), "{share}");
        }
    }

    #[test]
    fn a_narrow_link_spaces_datagrams_and_drops_what_its_queue_cannot_hold() {
        // 1,000 bytes with headers at 8 Mbit/s are 1 ms each; the queue holds three.
        let config = LinkConfig { rate_bps: Some(8_000_000), queue_bytes: 3 * 1_000, ..LinkConfig::default() };
        let found = arrivals(config, 10, Duration::ZERO);
        let times: Vec<_> = found.iter().map(|(_, at)| at.as_millis()).collect();
        assert_eq!(times, [1, 2, 3]);
    }

    #[test]
    fn the_nth_datagram_meets_the_same_fate_whenever_it_comes() {
        let lossy = LinkConfig {
            loss: 0.1,
            loss_burst: 2.0,
            duplicate: 0.1,
            reorder: 0.1,
            reorder_by: Duration::from_millis(5),
            ..LinkConfig::default()
        };
        let survivors = |config, spacing| {
            let mut ids: Vec<_> = arrivals(config, 250, spacing).iter().map(|(id, _)| *id).collect();
            ids.sort_unstable();
            ids
        };
        let slow = survivors(lossy, Duration::from_millis(20));
        assert!(slow.len() > 200 && slow.len() < 275);
        assert_eq!(survivors(lossy, Duration::from_micros(1)), slow);
        // Where a narrow queue drops some as well, no other one is lost, doubled or spared for it.
        let narrow = LinkConfig { rate_bps: Some(8_000_000), queue_bytes: 30_000, ..lossy };
        let some = survivors(narrow, Duration::from_micros(500));
        assert!(some.len() < slow.len() && some.iter().all(|id| slow.contains(id)));
    }

    #[test]
    fn only_a_datagram_that_is_held_back_is_overtaken() {
        let config = LinkConfig { reorder: 0.1, reorder_by: Duration::from_millis(20), ..LinkConfig::default() };
        let found = arrivals(config, 250, Duration::from_millis(1));
        let late = found.iter().filter(|(id, at)| at.as_millis() > *id as u128).count();
        assert!((10..50).contains(&late), "{late}");
        assert!(found.iter().all(|(id, at)| *at < Duration::from_millis(*id as u64 + 20)) && found.len() == 250);
    }

    #[test]
    fn a_text_that_makes_no_sense_is_refused_with_an_example() {
        for text in ["loss", "loss=abc", "loss=101", "delay=-1", "colour=3", "rate=0"] {
            let error = text.parse::<LinkConfig>().unwrap_err();
            assert!(error.to_string().contains("loss=3,delay=40"), "{text}");
        }
        let config: LinkConfig = "loss=3,delay=40,jitter=10,rate=2000".parse().unwrap();
        assert_eq!((config.loss, config.rate_bps), (0.03, Some(2_000_000)));
        let config: LinkConfig = "burst=2,duplicate=1,reorder=5,hold=3,queue=30000".parse().unwrap();
        assert_eq!((config.loss_burst, config.duplicate, config.reorder), (2.0, 0.01, 0.05));
        assert_eq!((config.reorder_by, config.queue_bytes), (Duration::from_millis(3), 30_000));
    }
}
