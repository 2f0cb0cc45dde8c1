//! What the receiver's end of a hop sees of it: how much is lost there, and how long packets wait.

use std::time::{Duration, Instant};

use crate::limits::UNMEASURED_AFTER;
use crate::path::meter::LastSecond;
use crate::sequence::SendTime;

/// Statistics of the datagrams that came over one hop, whatever they carry.
#[derive(Clone, Debug, Default)]
pub struct Reception {
    newest: Option<u64>,
    expected: LastSecond,
    received: LastSecond,
    delay: Delay,
    /// When a datagram came last, and when one that tells of delay.
    heard: Option<Instant>,
    timed: Option<Instant>,
}

impl Reception {
    /// A datagram that opened, each once.
    pub fn handle_packet(&mut self, now: Instant, number: u64) {
        self.heard = Some(now);
        self.received.add(now, 1);
        let ahead = match self.newest {
            Some(newest) => number.saturating_sub(newest),
            None => 1,
        };
        self.expected.add(now, ahead);
        self.newest = self.newest.max(Some(number));
    }

    /// It carried this time of its departure.
    pub fn handle_send_time(&mut self, now: Instant, send_time: SendTime) {
        self.timed = Some(now);
        self.delay.handle_packet(now, send_time);
    }

    /// Share of the last second's datagrams that were lost, 0.0..=1.0; `None` where none came for
    /// [`UNMEASURED_AFTER`].
    pub fn fraction_lost(&self, now: Instant) -> Option<f32> {
        fresh(now, self.heard)?;
        let (expected, received) = (self.expected.sum(now), self.received.sum(now));
        Some(expected.saturating_sub(received) as f32 / expected.max(1) as f32)
    }

    /// How much longer packets are on their way of late than the quickest of the last ten to twenty seconds was; `None`
    /// where none told it for [`UNMEASURED_AFTER`].
    pub fn queueing_delay(&self, now: Instant) -> Option<Duration> {
        fresh(now, self.timed)?;
        Some(self.delay.above_least())
    }
}

/// The moment of a measurement that still tells something.
pub(crate) fn fresh(now: Instant, measured: Option<Instant>) -> Option<Instant> {
    measured.filter(|measured| now.saturating_duration_since(*measured) < UNMEASURED_AFTER)
}

/// Time from departure to arrival, by two clocks that do not agree: only differences mean something.
#[derive(Clone, Debug, Default)]
struct Delay {
    origin: Option<(Instant, SendTime)>,
    /// Smoothed, microseconds against the first packet.
    smoothed: f64,
    /// The least of the window before and of this one.
    least: [Option<f64>; 2],
    window_ends: Option<Instant>,
}

/// Long enough that a queue is gone once in it, short enough that clocks do not run apart by more than a few milliseconds.
const WINDOW: Duration = Duration::from_secs(10);
/// Weight of the newest packet.
const SMOOTHING: f64 = 1.0 / 16.0;

impl Delay {
    fn handle_packet(&mut self, now: Instant, send_time: SendTime) {
        let (began, first) = *self.origin.get_or_insert((now, send_time));
        // Both run for hours: the difference of the wrapped times fits an `i32` as long as the delay does.
        let arrived = SendTime(now.saturating_duration_since(began).as_micros() as u32);
        let delay = f64::from(arrived.micros_since(SendTime(send_time.0.wrapping_sub(first.0))));
        if self.window_ends.is_none_or(|ends| ends <= now) {
            self.smoothed = if self.window_ends.is_none() { delay } else { self.smoothed };
            self.window_ends = Some(now + WINDOW);
            self.least = [self.least[1], None];
        }
        self.smoothed += SMOOTHING * (delay - self.smoothed);
        self.least[1] = Some(self.least[1].map_or(delay, |least| least.min(delay)));
    }

    fn above_least(&self) -> Duration {
        let least = self.least.into_iter().flatten().reduce(f64::min);
        Duration::from_secs_f64(least.map_or(0.0, |least| (self.smoothed - least).max(0.0) / 1e6))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_time;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn what_is_missing_of_the_numbers_is_lost() {
        let (start, mut reception) = (virtual_time(), Reception::default());
        for number in (0..1_000).filter(|number| number % 10 != 3) {
            reception.handle_packet(start + number as u32 * MILLI, number);
        }
        let lost = reception.fraction_lost(start + 1_000 * MILLI).unwrap();
        assert!((lost - 0.1).abs() < 0.01, "{lost}");
        assert_eq!(reception.fraction_lost(start + 3_500 * MILLI), Some(0.0));
        assert_eq!(reception.fraction_lost(start + 5_000 * MILLI), None, "nothing came for long");
    }

    #[test]
    fn what_comes_in_another_order_is_not_lost() {
        let (start, mut reception) = (virtual_time(), Reception::default());
        [7, 9, 8, 11, 10].into_iter().for_each(|number| reception.handle_packet(start, number));
        assert_eq!(reception.fraction_lost(start), Some(0.0));
    }

    #[test]
    fn a_queue_is_what_is_longer_than_the_least() {
        let (start, mut reception) = (virtual_time(), Reception::default());
        let mut at = |millis: u32, wait: u32| {
            let sent = SendTime((u32::MAX - 500_000).wrapping_add(millis * 1_000));
            let arrived = start + (millis + 20 + wait) * MILLI;
            reception.handle_send_time(arrived, sent);
            reception.queueing_delay(arrived).unwrap()
        };
        assert!((0..2_000).step_by(10).all(|millis| at(millis, 0) < MILLI));
        let queue = (2_000..4_000).step_by(10).map(|millis| at(millis, 80)).last().unwrap();
        assert!((queue.as_secs_f64() - 0.080).abs() < 0.001, "{queue:?}");
        let gone = (4_000..6_000).step_by(10).map(|millis| at(millis, 0)).last().unwrap();
        assert!(gone < MILLI, "{gone:?}");
    }

    #[test]
    fn clocks_that_run_apart_are_no_queue() {
        let (start, mut reception) = (virtual_time(), Reception::default());
        for tenth in 0..36_000_u32 {
            // 200 ppm, for an hour.
            let sent = SendTime((u64::from(tenth) * 100_000 * 9_998 / 10_000) as u32);
            let arrived = start + tenth * 100 * MILLI;
            reception.handle_send_time(arrived, sent);
            assert!(reception.queueing_delay(arrived).unwrap() < 5 * MILLI, "{tenth}");
        }
    }
}
