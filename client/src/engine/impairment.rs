//! A bad network, made up at the socket of this participant, for trying out what a meeting does on one.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use common::link::{Link, LinkConfig};

/// How bad, each way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Impairment {
    /// Share of datagrams lost at random, 0.0..=1.0.
    pub loss: f64,
    /// One-way delay.
    pub delay: Duration,
    /// Added to the delay at random, up to this much.
    pub jitter: Duration,
    /// Bits a second; `None` for no limit.
    pub rate_bps: Option<u64>,
}

/// What was typed is no impairment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidImpairment(String);

impl fmt::Display for InvalidImpairment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "“{}” is no impairment: write loss=PERCENT, delay=MS, jitter=MS or rate=KBIT, with commas between.", self.0)
    }
}

impl std::error::Error for InvalidImpairment {}

impl FromStr for Impairment {
    type Err = InvalidImpairment;

    fn from_str(text: &str) -> Result<Self, InvalidImpairment> {
        let mut impairment = Self::default();
        for part in text.split(',').map(str::trim) {
            impairment.set(part).ok_or_else(|| InvalidImpairment(part.to_owned()))?;
        }
        Ok(impairment)
    }
}

/// The longest delay and jitter that can be asked for: with more, no meeting works and queues only grow.
const DELAY_MAX_MS: u64 = 10_000;

impl Impairment {
    fn set(&mut self, part: &str) -> Option<()> {
        let (name, value) = part.split_once('=')?;
        let millis = || {
            let millis = value.parse().ok().filter(|millis| *millis <= DELAY_MAX_MS);
            millis.map(Duration::from_millis)
        };
        match name.trim() {
            "loss" => {
                let percent = value.parse::<f64>().ok()?;
                self.loss = (0.0..=100.0).contains(&percent).then_some(percent / 100.0)?;
            }
            "delay" => self.delay = millis()?,
            "jitter" => self.jitter = millis()?,
            "rate" => {
                let kbit = value.parse::<u64>().ok().filter(|kbit| *kbit > 0)?;
                self.rate_bps = Some(kbit.checked_mul(1_000)?);
            }
            _ => return None,
        }
        Some(())
    }
}

/// Bytes that wait before a limited rate: the queue of a home router, 100 ms at 20 Mbit/s.
const QUEUE_BYTES: usize = 256 * 1024;

/// A link for each way.
#[derive(Debug)]
pub(super) struct BadNetwork {
    pub(super) up: Link,
    pub(super) down: Link,
}

impl BadNetwork {
    pub(super) fn new(impairment: &Impairment) -> Self {
        let link = |seed| {
            Link::new(LinkConfig {
                loss: impairment.loss,
                delay: impairment.delay,
                jitter: impairment.jitter,
                rate_bps: impairment.rate_bps,
                queue_bytes: QUEUE_BYTES,
                seed,
            })
        };
        Self { up: link(1), down: link(2) }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.up.poll_timeout(), self.down.poll_timeout()].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_impairment_reads_as_it_is_typed() {
        let expected = Impairment {
            loss: 0.03,
            delay: Duration::from_millis(40),
            jitter: Duration::from_millis(10),
            rate_bps: Some(2_000_000),
        };
        assert_eq!("loss=3, delay=40,jitter=10,rate=2000".parse(), Ok(expected));
    }

    #[test]
    fn an_impairment_that_makes_no_sense_is_refused() {
        for text in ["", "loss", "loss=101", "loss=-1", "loss=NaN", "delay=x", "rate=0", "cats=3", "delay=99999"] {
            assert!(text.parse::<Impairment>().is_err(), "{text}");
        }
    }
}
