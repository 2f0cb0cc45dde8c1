//! How much goes through a stream: sums over the last second.

use std::time::{Duration, Instant};

/// IPv4 and UDP headers: what a datagram weighs on the wire beyond its own bytes.
pub const IP_UDP_HEADER_BYTES: usize = 28;

/// Bits per second over the last second.
#[derive(Clone, Debug, Default)]
pub struct BitrateMeter(LastSecond);

impl BitrateMeter {
    /// Counts a datagram of `bytes`, headers of IP and UDP included.
    pub fn add(&mut self, now: Instant, bytes: usize) {
        self.0.add(now, bytes as u64);
    }

    /// What was counted in the second before `now`; a meter younger than a second climbs to its rate.
    pub fn bits_per_second(&self, now: Instant) -> u64 {
        8 * self.0.sum(now)
    }

    /// The same, or what was counted in the last two to three tenths of a second if that is faster: where something begins,
    /// that shows at once.
    pub fn rising_bits_per_second(&self, now: Instant) -> u64 {
        8 * self.0.sum(now).max(self.0.rate_of_late(now))
    }
}

/// A sum over a second that slides, in slots of 100 ms.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastSecond {
    /// When slot 0 began: the first addition.
    epoch: Option<Instant>,
    /// The newest slot that was added to.
    newest: u64,
    /// Slot `n` stands at `n % SLOTS`; those between `newest - SLOTS` and `newest` hold.
    sums: [u64; SLOTS],
}

/// One more than a second has, so that the oldest can leave gradually.
const SLOTS: usize = 11;
const SLOT_MICROS: u64 = 100_000;

impl LastSecond {
    pub(crate) fn add(&mut self, now: Instant, amount: u64) {
        let epoch = *self.epoch.get_or_insert(now);
        let slot = (micros_between(epoch, now) / SLOT_MICROS).max(self.newest);
        if slot - self.newest >= SLOTS as u64 {
            self.sums = [0; SLOTS];
        } else {
            for passed in self.newest + 1..=slot {
                self.sums[index(passed)] = 0;
            }
        }
        self.newest = slot;
        self.sums[index(slot)] += amount;
    }

    /// The slot that is only partly inside the second counts with its part.
    pub(crate) fn sum(&self, now: Instant) -> u64 {
        let Some(epoch) = self.epoch else { return 0 };
        let micros = micros_between(epoch, now).max(self.newest * SLOT_MICROS);
        let (current, into) = (micros / SLOT_MICROS, micros % SLOT_MICROS);
        let whole: u64 = (0..10).map(|age| self.slot(current, age)).sum();
        whole + self.slot(current, 10) * (SLOT_MICROS - into) / SLOT_MICROS
    }

    /// What would come together in a second, by the newest slot and two whole ones before it.
    fn rate_of_late(&self, now: Instant) -> u64 {
        let Some(epoch) = self.epoch else { return 0 };
        let micros = micros_between(epoch, now).max(self.newest * SLOT_MICROS);
        let (current, into) = (micros / SLOT_MICROS, micros % SLOT_MICROS);
        let sum: u64 = (0..3).map(|age| self.slot(current, age)).sum();
        sum * 1_000_000 / (2 * SLOT_MICROS + into)
    }

    fn slot(&self, current: u64, age: u64) -> u64 {
        let holds = |slot: &u64| *slot <= self.newest && slot + SLOTS as u64 > self.newest;
        let slot = current.checked_sub(age).filter(holds);
        slot.map_or(0, |slot| self.sums[index(slot)])
    }
}

fn index(slot: u64) -> usize {
    (slot % SLOTS as u64) as usize
}

fn micros_between(earlier: Instant, later: Instant) -> u64 {
    let elapsed: Duration = later.saturating_duration_since(earlier);
    elapsed.as_micros() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_time;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn a_steady_stream_shows_its_rate() {
        let start = virtual_time();
        let mut meter = BitrateMeter::default();
        for i in 0..3_000 {
            meter.add(start + i * MILLI, 125);
            if i >= 1_100 {
                let rate = meter.bits_per_second(start + i * MILLI);
                assert!((995_000..=1_005_000).contains(&rate), "{rate} at {i} ms");
            }
        }
    }

    #[test]
    fn what_begins_shows_in_three_tenths_of_a_second_and_what_ends_after_one() {
        let start = virtual_time();
        let mut meter = BitrateMeter::default();
        (0..300).for_each(|i| meter.add(start + i * MILLI, 125));
        let (slow, rising) =
            (meter.bits_per_second(start + 299 * MILLI), meter.rising_bits_per_second(start + 299 * MILLI));
        assert!((295_000..=305_000).contains(&slow), "{slow}");
        assert!((995_000..=1_005_000).contains(&rising), "{rising}");
        (300..1_200).for_each(|i| meter.add(start + i * MILLI, 125));
        let ended = start + 1_700 * MILLI;
        assert_eq!(meter.rising_bits_per_second(ended), meter.bits_per_second(ended));
        assert!((490_000..=510_000).contains(&meter.bits_per_second(ended)));
    }

    #[test]
    fn what_is_older_than_a_second_is_forgotten() {
        let start = virtual_time();
        let mut meter = BitrateMeter::default();
        assert_eq!(meter.bits_per_second(start), 0);
        meter.add(start, 1_000);
        assert_eq!(meter.bits_per_second(start + 900 * MILLI), 8_000);
        assert_eq!(meter.bits_per_second(start + 1_100 * MILLI), 0);
        meter.add(start + 3_600_000 * MILLI, 10);
        assert_eq!(meter.bits_per_second(start + 3_600_050 * MILLI), 80);
    }

    #[test]
    fn a_clock_that_steps_back_does_no_harm() {
        let start = virtual_time();
        let mut meter = BitrateMeter::default();
        meter.add(start + 500 * MILLI, 1);
        meter.add(start, 1);
        assert_eq!(meter.bits_per_second(start), 16);
    }
}
