//! What to do where somebody else keeps the queue full: whoever yields to a queue there gets nothing.

use std::time::{Duration, Instant};

use super::{Standing, Told};

/// A window as Reno's (RFC 5681), in the form of a rate, while the queue stays full whatever we do.
#[derive(Clone, Debug, Default)]
pub(super) struct Competition {
    pressed: Option<Pressed>,
    window: Option<Window>,
}

/// The queue is long and the target near the bottom.
#[derive(Clone, Copy, Debug)]
struct Pressed {
    /// Packets that left since then count, in the time of their departures.
    since: Duration,
    /// How long the queue was then.
    queue: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    bytes: f64,
    /// A loss halves it once in a while, not for each packet.
    halved_at: Instant,
    /// Since when the queue has been short.
    calm_since: Option<Instant>,
    queue: f64,
}

/// A queue above the least of a minute that is not ours, if we send next to nothing.
const PRESSING: Duration = Duration::from_millis(60);
/// So long pressed, and the fight begins.
const PATIENCE: Duration = Duration::from_secs(2);
/// A queue fell if this share of it is left.
const FALLEN: f64 = 0.85;
/// A queue that is gone, seconds.
const CALM: f64 = 0.020;
/// So long calm, and it is over.
const PEACE: Duration = Duration::from_millis(700);
/// A window begins with at least this.
const WINDOW_START: f64 = 6_000.0;
const WINDOW_MIN: f64 = 4_000.0;
const SEGMENT: f64 = 1_200.0;
const HALVING_INTERVAL: Duration = Duration::from_millis(300);

impl Competition {
    pub(super) fn is_on(&self) -> bool {
        self.window.is_some()
    }

    /// Bytes that may be on the way, while there is a fight. `bottom` is the target, bits per second, when that is about
    /// as low as it gets.
    pub(super) fn window(
        &mut self,
        now: Instant,
        told: &Told<'_>,
        standing: Standing,
        bottom: Option<f64>,
    ) -> Option<f64> {
        let Some(window) = &mut self.window else {
            self.look_for_pressure(now, told, standing, bottom);
            return None;
        };
        window.grow(now, told, standing);
        if window.is_over(now) {
            *self = Self::default();
            return None;
        }
        Some(window.bytes)
    }

    fn look_for_pressure(&mut self, now: Instant, told: &Told<'_>, standing: Standing, bottom: Option<f64>) {
        let queue = standing.of_minute;
        let at_bottom = bottom.is_some() || self.pressed.is_some();
        if queue <= PRESSING || !at_bottom {
            self.pressed = None;
            return;
        }
        // A queue that falls is our own, and drains.
        let falls = |pressed: &Pressed| queue < pressed.queue.mul_f64(FALLEN);
        let left = told.arrived.last().map_or(Duration::ZERO, |packet| packet.sent);
        let since = left + told.round_trip.unwrap_or_default();
        let pressed = self.pressed.filter(|pressed| !falls(pressed)).unwrap_or(Pressed { since, queue });
        self.pressed = Some(Pressed { queue: queue.max(pressed.queue), ..pressed });
        if left > pressed.since + PATIENCE {
            let bytes = WINDOW_START.max(bottom.unwrap_or_default() / 8.0 * 0.3);
            self.window = Some(Window { bytes, halved_at: now, calm_since: None, queue: PRESSING.as_secs_f64() });
        }
    }
}

impl Window {
    fn grow(&mut self, now: Instant, told: &Told<'_>, standing: Standing) {
        if told.lost > 0 && now.saturating_duration_since(self.halved_at) > HALVING_INTERVAL {
            self.bytes = WINDOW_MIN.max(self.bytes / 2.0);
            self.halved_at = now;
        }
        let arrived: f64 = told.arrived.iter().map(|packet| f64::from(packet.bytes)).sum();
        // A window that is not used tells nothing (RFC 7661 §4.2).
        if 2.0 * told.in_flight as f64 >= self.bytes {
            self.bytes += SEGMENT * arrived / self.bytes;
        }
        self.queue += 0.3 * (standing.of_minute.as_secs_f64() - self.queue);
        let calm = self.queue < CALM;
        self.calm_since = calm.then(|| self.calm_since.unwrap_or(now));
    }

    fn is_over(&self, now: Instant) -> bool {
        self.calm_since.is_some_and(|since| now.saturating_duration_since(since) > PEACE)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Arrived;
    use super::*;
    use crate::virtual_time;

    const STEP: Duration = Duration::from_millis(50);

    /// Whether a fight begins at the bottom while the queue is `queue` milliseconds after so many steps.
    fn fights(steps: u32, queue: impl Fn(u32) -> u64) -> bool {
        let mut competition = Competition::default();
        (0..steps).any(|step| {
            let packet = Arrived { sent: step * STEP, arrived: step * STEP, bytes: 100, train: 0 };
            let told = Told { arrived: &[packet], round_trip: Some(2 * STEP), ..Told::default() };
            let queue = Duration::from_millis(queue(step));
            let standing = Standing { newest: queue, of_minute: queue };
            competition.window(virtual_time() + step * STEP, &told, standing, Some(100e3));
            competition.is_on()
        })
    }

    #[test]
    fn a_queue_that_stays_whatever_we_leave_is_fought_for() {
        assert!(fights(60, |_| 200));
        assert!(!fights(60, |_| 50), "one as short as this is none");
    }

    #[test]
    fn a_queue_of_our_own_that_drains_begins_no_fight() {
        // A second of it, of which 300 ms go in a second.
        assert!(!fights(200, |step| 1_000_u64.saturating_sub(15 * u64::from(step))));
    }
}
