//! Spreads a window over its round trip, so that it does not arrive at the narrow place at once
//! (RFC 9002 §7.7; RFC 7661 §4.4.1 and RFC 9406 §4.2 rely on it).

use std::time::{Duration, Instant};

/// A bucket of bytes that fills at the pace of the window.
#[derive(Debug)]
pub(super) struct Pacing {
    /// What may be sent at `at`, bytes; below zero after a burst that was not paced.
    tokens: f64,
    at: Instant,
}

/// How the window and the round trip stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) cwnd: u64,
    pub(super) smss: u64,
    pub(super) round_trip: Option<Duration>,
    pub(super) slow_start: bool,
}

/// The pace lies above the window per round trip, so that it is the window that limits (RFC 9002 §7.7: "N").
const FACTOR: f64 = 1.25;
/// In slow start, the window of the next round trip is twice as large.
const FACTOR_SLOW_START: f64 = 2.0;
/// Segments that may leave at once: the initial window (RFC 9002 §7.7).
const BURST_SEGMENTS: u64 = 10;
/// As much as this may leave at once, too: twice what timers of an operating system are late by.
const BURST_TIME: Duration = Duration::from_millis(2);

impl Pace {
    /// Bytes a second, or `None` before the round trip is known.
    pub(super) fn rate(&self) -> Option<f64> {
        let factor = if self.slow_start { FACTOR_SLOW_START } else { FACTOR };
        let round_trip = self.round_trip?.as_secs_f64();
        (round_trip > 0.0).then(|| factor * self.cwnd as f64 / round_trip)
    }

    fn burst(&self, rate: f64) -> f64 {
        (rate * BURST_TIME.as_secs_f64()).max((BURST_SEGMENTS * self.smss) as f64)
    }
}

impl Pacing {
    pub(super) fn new(now: Instant) -> Self {
        Self { tokens: 0.0, at: now }
    }

    /// When a segment may be sent: not after `now` if that is now.
    pub(super) fn next_send(&mut self, now: Instant, pace: &Pace) -> Instant {
        let Some(rate) = pace.rate() else { return now };
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.tokens = (self.tokens + passed * rate).min(pace.burst(rate));
        if self.tokens >= 0.0 { now } else { now + Duration::from_secs_f64(-self.tokens / rate) }
    }

    /// So many bytes were sent.
    pub(super) fn on_sent(&mut self, bytes: usize) {
        self.tokens -= bytes as f64;
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests take any instant as their zero")]
mod tests {
    use super::*;

    const PACE: Pace =
        Pace { cwnd: 100_000, smss: 1_000, round_trip: Some(Duration::from_millis(100)), slow_start: false };

    /// Bytes sent in a time, a segment whenever it may be.
    fn sent(pacing: &mut Pacing, from: Instant, time: Duration, pace: &Pace) -> usize {
        let (mut now, mut bytes) = (from, 0);
        loop {
            now = pacing.next_send(now, pace);
            if now > from + time {
                return bytes;
            }
            pacing.on_sent(1_000);
            bytes += 1_000;
        }
    }

    #[test]
    fn a_window_takes_four_fifths_of_a_round_trip() {
        let zero = Instant::now();
        let mut pacing = Pacing::new(zero);
        let bytes = sent(&mut pacing, zero, Duration::from_secs(1), &PACE);
        assert!(bytes.abs_diff(1_250_000) <= 12_000, "{bytes}");
    }

    #[test]
    fn after_a_pause_no_more_than_the_initial_window_leaves_at_once() {
        let zero = Instant::now();
        let mut pacing = Pacing::new(zero);
        let late = zero + Duration::from_secs(10);
        assert_eq!(sent(&mut pacing, late, Duration::ZERO, &PACE), 11_000);
    }

    #[test]
    fn a_path_without_a_known_round_trip_is_not_paced() {
        let zero = Instant::now();
        let mut pacing = Pacing::new(zero);
        pacing.on_sent(1_000_000);
        assert_eq!(pacing.next_send(zero, &Pace { round_trip: None, ..PACE }), zero);
    }
}
