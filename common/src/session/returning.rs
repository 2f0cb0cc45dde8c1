//! When to try to connect anew, and until when.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::ids::ConnectionId;
use crate::limits::{RECONNECT_DELAY_MAX, RECONNECT_DELAY_MIN, RECONNECT_GRACE};

/// The attempts to come back of one session.
#[derive(Debug)]
pub(super) struct Returning {
    rng: StdRng,
    delay: Duration,
    /// When the place is given up.
    pub(super) until: Instant,
    /// When to try next; `None` while an attempt is under way.
    pub(super) next: Option<Instant>,
}

impl Returning {
    /// Attempts that begin at `now`. The id of the connection, which differs from member to member, keeps those whom
    /// one broken network threw out from coming back at the same instants.
    pub(super) fn new(now: Instant, connection: ConnectionId) -> Self {
        let rng = StdRng::seed_from_u64(connection.0);
        let mut returning = Self { rng, delay: RECONNECT_DELAY_MIN, until: now + RECONNECT_GRACE, next: None };
        returning.schedule(now);
        returning
    }

    /// Sets the time of the next attempt: half of the delay, and a part of the other half.
    pub(super) fn schedule(&mut self, now: Instant) {
        let part = self.rng.random_range(0.5..=1.0);
        self.next = Some(now + self.delay.mul_f64(part));
        self.delay = (self.delay * 2).min(RECONNECT_DELAY_MAX);
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]
mod tests {
    use super::*;

    #[test]
    fn attempts_come_less_and_less_often_and_each_member_has_times_of_its_own() {
        let now = Instant::now();
        let times = |connection| {
            let mut returning = Returning::new(now, ConnectionId(connection));
            let mut at = now;
            let mut waits = Vec::new();
            while at < returning.until {
                let next = returning.next.unwrap();
                waits.push(next - at);
                at = next;
                returning.schedule(at);
            }
            waits
        };
        let waits = times(1);
        assert!(waits[0] <= RECONNECT_DELAY_MIN && waits.iter().all(|wait| *wait <= RECONNECT_DELAY_MAX));
        assert!((10..30).contains(&waits.len()), "{} attempts", waits.len());
        assert_ne!(waits, times(2));
    }
}
