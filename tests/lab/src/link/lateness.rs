//! How late the emulator was: the error of everything that is measured over it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Counts by microsecond.
#[derive(Debug)]
pub(super) struct LatenessCounts {
    counts: Vec<u64>,
    longest: Duration,
}

/// Later than this is counted as this: ten times what makes any run worthless.
const LATEST_MICROS: usize = 20_000;

/// What is told of it.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Lateness {
    /// Half of the packets were not later than this, µs.
    pub(crate) p50_micros: u64,
    /// 99 of 100 packets were not later than this, µs.
    pub(crate) p99_micros: u64,
    /// No packet was later than this, µs.
    pub(crate) longest_micros: u64,
}

impl fmt::Display for Lateness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p99 {} µs, longest {} µs", self.p99_micros, self.longest_micros)
    }
}

impl Default for LatenessCounts {
    fn default() -> Self {
        Self { counts: vec![0; LATEST_MICROS + 1], longest: Duration::ZERO }
    }
}

impl LatenessCounts {
    /// A packet was this late.
    pub(super) fn add(&mut self, late: Duration) {
        self.counts[(late.as_micros() as usize).min(LATEST_MICROS)] += 1;
        self.longest = self.longest.max(late);
    }

    /// What came out.
    pub(super) fn summary(&self) -> Lateness {
        Lateness {
            p50_micros: self.quantile(0.5),
            p99_micros: self.quantile(0.99),
            longest_micros: self.longest.as_micros() as u64,
        }
    }

    fn quantile(&self, share: f64) -> u64 {
        let all: u64 = self.counts.iter().sum();
        let mut left = (all as f64 * share) as u64;
        let mut counts = self.counts.iter();
        let place = counts.position(|count| {
            let here = left < *count;
            left = left.saturating_sub(*count);
            here
        });
        place.unwrap_or(0) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_late_packet_in_a_hundred_shows_in_the_longest_alone() {
        let mut counts = LatenessCounts::default();
        (1..=200).for_each(|micros| counts.add(Duration::from_micros(micros)));
        counts.add(Duration::from_secs(1));
        let summary = counts.summary();
        assert_eq!((summary.p50_micros, summary.p99_micros, summary.longest_micros), (101, 199, 1_000_000));
    }
}
