//! A token bucket: so many at once, so many a second in the long run.

use std::time::{Duration, Instant};

/// How much of something one peer may still do right now.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    burst: u32,
    per_sec: u32,
    /// Tokens there were at `since`, in millionths.
    micro_tokens: u64,
    since: Instant,
}

impl Allowance {
    /// A full bucket of `burst` tokens, refilled by `per_sec` tokens a second.
    pub fn new(now: Instant, burst: u32, per_sec: u32) -> Self {
        Self { burst, per_sec, micro_tokens: u64::from(burst) * MICRO, since: now }
    }

    /// Takes `tokens` if they are there; takes nothing and answers `false` if not.
    pub fn take(&mut self, now: Instant, tokens: u32) -> bool {
        self.refill(now);
        let cost = u64::from(tokens) * MICRO;
        let enough = self.micro_tokens >= cost;
        if enough {
            self.micro_tokens -= cost;
        }
        enough
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.since).min(LONGEST_REFILL);
        let added = elapsed.as_micros() as u64 * u64::from(self.per_sec);
        self.micro_tokens = (self.micro_tokens + added).min(u64::from(self.burst) * MICRO);
        self.since = self.since.max(now);
    }
}

const MICRO: u64 = 1_000_000;
/// Keeps the arithmetic far from its limits; every bucket here is full long before.
const LONGEST_REFILL: Duration = Duration::from_secs(3_600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]
    fn a_burst_is_followed_by_the_long_run() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start, 3, 2);
        assert!((0..3).all(|_| allowance.take(start, 1)));
        assert!(!allowance.take(start + Duration::from_millis(499), 1));
        assert!(allowance.take(start + Duration::from_millis(500), 1));
        let much_later = start + Duration::from_secs(100_000);
        assert!(allowance.take(much_later, 3));
        assert!(!allowance.take(much_later, 1));
    }
}
