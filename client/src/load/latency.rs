//! Many durations in a fixed memory, and their percentiles.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Durations of up to a minute, to three digits.
#[derive(Clone, Debug)]
pub(super) struct Latencies(Histogram<u64>);

/// Longer ones count as this long, µs: nobody waits a minute.
const LONGEST_MICROS: u64 = 60_000_000;
/// 1 % of a figure is not seen, 0.1 % not measured.
const DIGITS: u8 = 3;

impl Latencies {
    pub(super) fn new() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST_MICROS, DIGITS).expect("1 to a minute with 3 digits is a histogram"))
    }

    pub(super) fn record(&mut self, latency: Duration) {
        self.0.saturating_record(latency.as_micros() as u64);
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    pub(super) fn percentiles(&self) -> Percentiles {
        let at = |quantile| Duration::from_micros(self.0.value_at_quantile(quantile));
        Percentiles { count: self.0.len(), p50: at(0.5), p99: at(0.99), max: Duration::from_micros(self.0.max()) }
    }
}

/// How long something took, of many times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Percentiles {
    /// How many times it was measured; without any, the others are zero.
    pub count: u64,
    /// Half of them took no longer.
    pub p50: Duration,
    /// All but one of a hundred took no longer.
    pub p99: Duration,
    /// None took longer.
    pub max: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(measured: Duration, exact: u64) -> bool {
        measured.as_micros().abs_diff(u128::from(exact)) <= u128::from(exact / 500 + 1)
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_list() {
        let mut latencies = Latencies::new();
        (1..=1_000).rev().for_each(|micros| latencies.record(Duration::from_micros(micros * 10)));
        let Percentiles { count, p50, p99, max } = latencies.percentiles();
        assert_eq!(count, 1_000);
        assert!(close(p50, 5_000) && close(p99, 9_900) && close(max, 10_000), "{p50:?} {p99:?} {max:?}");
    }

    #[test]
    fn nothing_measured_has_no_percentiles() {
        assert_eq!(Latencies::new().percentiles(), Percentiles::default());
    }

    #[test]
    fn what_takes_longer_than_a_minute_counts_as_a_minute() {
        let mut latencies = Latencies::new();
        latencies.record(Duration::from_secs(1_000));
        assert!(close(latencies.percentiles().max, LONGEST_MICROS));
    }

    #[test]
    fn two_lists_are_added() {
        let (mut one, mut two) = (Latencies::new(), Latencies::new());
        one.record(Duration::from_millis(1));
        two.record(Duration::from_millis(3));
        one.add(&two);
        assert_eq!(one.percentiles().count, 2);
        assert!(close(one.percentiles().max, 3_000));
    }
}
