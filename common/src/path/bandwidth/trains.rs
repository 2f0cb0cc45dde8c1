//! How fast the narrow place of a path lets the packets of one frame through.

use std::collections::VecDeque;
use std::time::Duration;

use super::Arrived;

/// The rates that the last trains showed.
#[derive(Clone, Debug, Default)]
pub(super) struct Trains {
    running: Option<Train>,
    /// Newest last, at most [`TRAINS`].
    shown: VecDeque<Shown>,
}

/// What one train showed.
#[derive(Clone, Copy, Debug)]
struct Shown {
    /// When it had arrived.
    at: Duration,
    /// Bits per second.
    rate: f64,
    /// It arrived slower than it left.
    stretched: bool,
}

#[derive(Clone, Copy, Debug)]
struct Train {
    id: u16,
    first: Arrived,
    last: Arrived,
    packets: usize,
    /// Behind the first packet, whatever they belong to: all went through the narrow place.
    behind: Count,
    /// Other packets, since the last one of the train.
    between: Count,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    packets: usize,
    bytes: u64,
}

/// Trains whose median counts: a third of a second at 15 frames.
const TRAINS: usize = 8;
/// Packets from which on the distance between the first and the last says something. Voices in between may help, …
const PACKETS_MIN: usize = 4;
/// … with so many bytes behind the first: it is to be long beside a millisecond by which one of them may be late.
const BYTES_MIN: u64 = 1_000;
/// What a train showed holds for so long.
const AGE_MAX: Duration = Duration::from_secs(3);
/// A train is stretched when it took longer to arrive than to leave by one part in so many, …
const STRETCH_DIVISOR: u32 = 7;
/// … and by this, for jitter.
const STRETCH_MIN: Duration = Duration::from_millis(1);
/// Where packets are delayed by chance, two in five trains are stretched; at a narrow place nearly all. The line is drawn at
/// so many of so many.
const STRETCHED: (usize, usize) = (3, 5);
/// Arrivals are told in steps of this.
const RESOLUTION: Duration = Duration::from_micros(16);

impl Trains {
    /// A packet arrived; they come in the order in which they left. `capacity` is what is known so far, bits per second.
    pub(super) fn note(&mut self, packet: &Arrived, capacity: Option<f64>) {
        while self.shown.front().is_some_and(|shown| shown.at + AGE_MAX < packet.arrived) {
            self.shown.pop_front();
        }
        match &mut self.running {
            Some(train) if packet.train == train.id => train.add(packet),
            Some(train) if packet.train == 0 => train.between.add(packet),
            Some(_) | None => self.begin(packet, capacity),
        }
    }

    fn begin(&mut self, packet: &Arrived, capacity: Option<f64>) {
        if let Some(train) = self.running.take().filter(Train::says_something) {
            // A train that arrived as it left shows that the path carries that much, and not that it carries no more.
            let stretched = train.is_stretched();
            let known = if stretched { 0.0 } else { capacity.unwrap_or_default() };
            self.shown.push_back(Shown { at: train.last.arrived, rate: train.rate().max(known), stretched });
            if self.shown.len() > TRAINS {
                self.shown.pop_front();
            }
        }
        self.running = (packet.train != 0).then_some(Train {
            id: packet.train,
            first: *packet,
            last: *packet,
            packets: 1,
            behind: Count::default(),
            between: Count::default(),
        });
    }

    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    pub(super) fn len(&self) -> usize {
        self.shown.len()
    }

    /// Whether more of them arrived slower than they left than would by chance, on a path that only delays packets now
    /// more, now less.
    pub(super) fn are_stretched(&self) -> bool {
        let stretched = self.shown.iter().filter(|shown| shown.stretched).count();
        STRETCHED.1 * stretched > STRETCHED.0 * self.shown.len()
    }

    /// What a quarter of them exceed: most packets of others in between only make a train seem slower.
    pub(super) fn upper_quartile(&self) -> Option<f64> {
        let mut sorted = [f64::INFINITY; TRAINS];
        sorted.iter_mut().zip(&self.shown).for_each(|(place, shown)| *place = shown.rate);
        sorted.sort_unstable_by(f64::total_cmp);
        let last = self.shown.len().checked_sub(1)?;
        Some(sorted[(3 * last).div_ceil(4)])
    }
}

impl Count {
    fn add(&mut self, packet: &Arrived) {
        self.packets += 1;
        self.bytes += u64::from(packet.bytes);
    }
}

impl Train {
    fn add(&mut self, packet: &Arrived) {
        self.between.add(packet);
        let Count { packets, bytes } = std::mem::take(&mut self.between);
        self.behind.packets += packets;
        self.behind.bytes += bytes;
        self.packets += 1;
        self.last = *packet;
    }

    /// A short one that is not spread may have fitted into the burst of a token bucket, and says nothing then.
    fn says_something(&self) -> bool {
        let long = self.packets >= PACKETS_MIN;
        let short = self.behind.packets + 1 >= PACKETS_MIN && self.behind.bytes >= BYTES_MIN;
        long || (short && self.is_stretched())
    }

    fn span(&self) -> Duration {
        self.last.arrived.saturating_sub(self.first.arrived).max(RESOLUTION)
    }

    /// Bits per second.
    fn rate(&self) -> f64 {
        self.behind.bytes as f64 * 8.0 / self.span().as_secs_f64()
    }

    fn is_stretched(&self) -> bool {
        let left = self.last.sent.saturating_sub(self.first.sent);
        self.span() > left + left / STRETCH_DIVISOR + STRETCH_MIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrived(train: u16, millis: u64, bytes: u16) -> Arrived {
        Arrived { sent: Duration::ZERO, arrived: Duration::from_millis(millis), bytes, train }
    }

    #[test]
    fn a_train_shows_its_rate_when_the_next_one_begins() {
        let mut trains = Trains::default();
        for packet in 0..6 {
            trains.note(&arrived(1, 10 * packet, 1_250), None);
        }
        assert_eq!(trains.upper_quartile(), None);
        trains.note(&arrived(2, 100, 1_250), None);
        assert_eq!(trains.upper_quartile(), Some(1_000_000.0));
    }

    #[test]
    fn what_went_through_between_counts_and_what_came_behind_does_not() {
        let mut trains = Trains::default();
        for packet in 0..6 {
            trains.note(&arrived(1, 10 * packet, 1_000), None);
            trains.note(&arrived(0, 10 * packet + 5, 250), None);
        }
        trains.note(&arrived(2, 100, 1_000), None);
        assert_eq!(trains.upper_quartile(), Some(1_000_000.0));
    }

    #[test]
    fn voices_between_two_packets_of_a_small_frame_make_them_a_train() {
        let upper_quartile = |voices: u64, bytes| {
            let mut trains = Trains::default();
            for frame in 1..3 {
                let first = 100 * u64::from(frame);
                trains.note(&arrived(frame, first, bytes), None);
                (1..=voices).for_each(|voice| trains.note(&arrived(0, first + 4 * voice, 250), None));
                trains.note(&arrived(frame, first + 12, bytes), None);
            }
            trains.upper_quartile()
        };
        assert_eq!(upper_quartile(2, 1_000), Some(1_000_000.0));
        assert_eq!(upper_quartile(1, 1_000), None, "too few");
        assert_eq!(upper_quartile(2, 400), None, "too short");
    }

    #[test]
    fn a_short_train_that_fits_into_a_burst_shows_nothing() {
        let mut trains = Trains::default();
        for frame in 1..5 {
            for (number, millis) in [(frame, 0), (0, 4), (0, 8), (frame, 12)] {
                let at = Duration::from_millis(100 * u64::from(frame) + millis);
                trains.note(&Arrived { sent: at, arrived: at, bytes: 1_000, train: number }, None);
            }
        }
        assert_eq!(trains.upper_quartile(), None);
    }

    #[test]
    fn a_train_that_arrives_as_it_left_takes_nothing_from_what_is_known() {
        for (known, expected) in [(Some(8e6), 8e6), (Some(0.5e6), 1e6), (None, 1e6)] {
            let mut trains = Trains::default();
            for packet in 0..6 {
                let sent = Duration::from_millis(10 * packet);
                trains.note(&Arrived { sent, ..arrived(1, 10 * packet, 1_250) }, known);
            }
            trains.note(&arrived(2, 100, 1_250), known);
            assert_eq!(trains.upper_quartile(), Some(expected));
        }
    }

    #[test]
    fn a_train_of_a_few_packets_shows_nothing_and_the_middle_one_of_five_counts() {
        let mut trains = Trains::default();
        for (train, gap) in [(1, 10), (2, 1), (3, 10), (4, 20), (5, 20), (6, 10)] {
            let packets = if train == 2 { 3 } else { 6 };
            (0..packets).for_each(|packet| trains.note(&arrived(train, gap * packet, 1_250), None));
        }
        assert_eq!((trains.len(), trains.upper_quartile()), (4, Some(1_000_000.0)));
        trains.forget();
        assert_eq!(trains.upper_quartile(), None);
    }
}
