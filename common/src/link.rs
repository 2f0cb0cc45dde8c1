//! A network path that is as bad as it is told to be, by a seed: delay, jitter, loss, a narrow rate with a drop-tail
//! queue, duplicates.
//!
//! The simulator of the tests is made of these, and so is the impairment switch of the client, which lets a person
//! feel what a number means.

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
    /// Bits a second the path carries, `None` for no limit. Counts the bytes of the datagram and [`OVERHEAD_BYTES`].
    pub rate_bps: Option<u64>,
    /// Bytes that wait for a limited rate; what does not fit is dropped (drop-tail).
    pub queue_bytes: usize,
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
            rate_bps: None,
            queue_bytes: 128 * 1024,
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

    /// Reads `loss=PERCENT,delay=MS,jitter=MS,rate=KBIT_PER_S`, each of them optional.
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
    rng: StdRng,
    losing: bool,
    /// When the last bit of what was sent so far will have left the narrow place.
    busy_until: Option<Instant>,
    last_arrival: Option<Instant>,
    /// What is on its way, by arrival and order of sending.
    flying: BTreeMap<(Instant, u64), Vec<u8>>,
    sent: u64,
    lost: u64,
}

impl Link {
    /// A path without anything on it.
    pub fn new(config: LinkConfig, seed: u64) -> Self {
        Self {
            config,
            rng: StdRng::seed_from_u64(seed),
            losing: false,
            busy_until: None,
            last_arrival: None,
            flying: BTreeMap::new(),
            sent: 0,
            lost: 0,
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

    /// Puts a datagram on the path.
    pub fn send(&mut self, now: Instant, datagram: Vec<u8>) {
        self.sent += 1;
        let leaves = self.leaves_queue(now, datagram.len());
        let Some(leaves) = leaves.filter(|_| !self.loses() && self.flying.len() < FLYING_MAX) else {
            self.lost += 1;
            return;
        };
        let arrival = self.arrival(leaves);
        if self.rng.random_bool(self.config.duplicate) {
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

    /// When the last bit leaves the narrow place, or `None` when the queue before it is full.
    fn leaves_queue(&mut self, now: Instant, bytes: usize) -> Option<Instant> {
        let Some(rate_bps) = self.config.rate_bps else {
            return Some(now);
        };
        let bits = |bytes: usize| bytes as f64 * 8.0;
        let starts = self.busy_until.filter(|busy| *busy > now).unwrap_or(now);
        let queued_bits = starts.duration_since(now).as_secs_f64() * rate_bps as f64;
        if queued_bits + bits(bytes) > bits(self.config.queue_bytes) && starts > now {
            return None;
        }
        let leaves = starts + Duration::from_secs_f64(bits(bytes + OVERHEAD_BYTES) / rate_bps as f64);
        self.busy_until = Some(leaves);
        Some(leaves)
    }

    /// A Gilbert model: losses come in runs of `loss_burst` datagrams in the mean, `loss` of all.
    fn loses(&mut self) -> bool {
        let LinkConfig { loss, loss_burst, .. } = self.config;
        let stays = 1.0 - 1.0 / loss_burst.max(1.0);
        let begins = if loss >= 1.0 { 1.0 } else { loss * (1.0 - stays) / (1.0 - loss) };
        let independent = loss_burst <= 1.0;
        let chance = if independent {
            loss
        } else if self.losing {
            stays
        } else {
            begins.min(1.0)
        };
        self.losing = self.rng.random_bool(chance.clamp(0.0, 1.0));
        self.losing
    }

    fn arrival(&mut self, leaves: Instant) -> Instant {
        let spread = 2.0 * self.config.jitter.as_secs_f64() * self.rng.random::<f64>();
        let earliest = self.config.delay.saturating_sub(self.config.jitter);
        let arrival = leaves + earliest + Duration::from_secs_f64(spread);
        let in_order = self.last_arrival.map_or(arrival, |last| arrival.max(last));
        self.last_arrival = Some(in_order);
        in_order
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
    fn a_text_that_makes_no_sense_is_refused_with_an_example() {
        for text in ["loss", "loss=abc", "loss=101", "delay=-1", "colour=3", "rate=0"] {
            let error = text.parse::<LinkConfig>().unwrap_err();
            assert!(error.to_string().contains("loss=3,delay=40"), "{text}");
        }
        let config: LinkConfig = "loss=3,delay=40,jitter=10,rate=2000".parse().unwrap();
        assert_eq!((config.loss, config.rate_bps), (0.03, Some(2_000_000)));
    }
}
