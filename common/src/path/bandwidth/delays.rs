//! How long packets wait in queues, from how long they take: the clocks of both ends differ by something constant, so
//! only what is above the least of late is known.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Arrived, Standing};
use crate::limits::DEPARTURES_MAX;

/// One-way delays of a hop.
#[derive(Clone, Debug, Default)]
pub(super) struct Delays {
    /// The least of each second, microseconds between two clocks, with the second; at most [`SECONDS_LONG`].
    least: VecDeque<(u64, i64)>,
    /// The least wait that each of the last feedbacks showed, with the time of its newest packet.
    recent: VecDeque<(Duration, Duration)>,
    /// The standing queue, smoothed, seconds.
    standing: f64,
    /// Times in which the narrow place was seen at work: until when, and for how long since the entry before.
    work: VecDeque<(Duration, Duration)>,
}

/// The least delay of this time is the path without a queue: not so long that a change of the path is taken for one.
const SECONDS: u64 = 15;
/// The same for seeing whether somebody else keeps the queue full.
const SECONDS_LONG: u64 = 60;
/// The last packets of a feedback, of which the quickest shows the queue as it is now.
const NEWEST: usize = 4;
/// A queue stands if no packet of this time found it shorter: the packets of one frame wait for each other, and before the
/// next one comes that is over.
const STANDING: Duration = Duration::from_millis(100);
/// A wait as short as this may be jitter, and shows no work.
const JITTER: Duration = Duration::from_millis(4);
/// What [`Delays::busy`] looks back on.
const WORK_WINDOW: Duration = Duration::from_millis(1_000);
/// Feedbacks of that time at the shortest interval, those out of turn included.
const RECENT_MAX: usize = 16;
/// Weight of a feedback in the smoothed queue.
const WEIGHT: f64 = 0.5;

impl Delays {
    pub(super) fn note(&mut self, packet: &Arrived) {
        let (second, delay) = (packet.sent.as_secs(), delay(packet));
        match self.least.back_mut() {
            Some((at, least)) if *at >= second => *least = delay.min(*least),
            Some(_) | None => self.least.push_back((second, delay)),
        }
        while self.least.front().is_some_and(|(at, _)| at + SECONDS_LONG < second) {
            self.least.pop_front();
        }
        self.note_work(packet);
    }

    /// While a packet waited, the narrow place was at work.
    fn note_work(&mut self, packet: &Arrived) {
        let before = self.work.back().map_or(Duration::ZERO, |(until, _)| *until);
        if packet.arrived <= before {
            return;
        }
        let waited = self.above_least(packet).saturating_sub(JITTER);
        let began = packet.arrived.saturating_sub(waited).max(before);
        self.work.push_back((packet.arrived, packet.arrived - began));
        while self.work.len() > DEPARTURES_MAX
            || self.work.front().is_some_and(|(at, _)| *at + WORK_WINDOW < packet.arrived)
        {
            self.work.pop_front();
        }
    }

    /// Share of the last second in which the narrow place was seen at work, whoever it worked for.
    pub(super) fn busy(&self) -> f64 {
        let (Some((first, _)), Some((last, _))) = (self.work.front(), self.work.back()) else { return 0.0 };
        let at_work: Duration = self.work.iter().skip(1).map(|(_, worked)| *worked).sum();
        let span = last.saturating_sub(*first).max(WORK_WINDOW / 2);
        at_work.as_secs_f64() / span.as_secs_f64()
    }

    fn least_of(&self, seconds: u64) -> Option<i64> {
        let newest = self.least.back()?.0;
        self.least.iter().filter(|(at, _)| at + seconds >= newest).map(|(_, least)| *least).min()
    }

    /// Smooths the standing queue with that of a feedback, whose packets were all noted.
    pub(super) fn end_of_feedback(&mut self, arrived: &[Arrived]) -> Standing {
        let above = |packets: &[Arrived], seconds| {
            let quickest = packets.iter().map(delay).min()?;
            Some(Duration::from_micros((quickest - self.least_of(seconds)?).max(0) as u64))
        };
        let queue = above(arrived, SECONDS).unwrap_or_default();
        let newest = above(&arrived[arrived.len().saturating_sub(NEWEST)..], SECONDS).unwrap_or_default();
        let of_minute = above(arrived, SECONDS_LONG).unwrap_or_default();
        let at = arrived.last().map_or(Duration::ZERO, |packet| packet.arrived);
        self.recent.push_back((at, queue));
        while self.recent.len() > RECENT_MAX || self.recent.front().is_some_and(|(old, _)| *old + STANDING < at) {
            self.recent.pop_front();
        }
        let least = self.recent.iter().map(|(_, queue)| *queue).min().unwrap_or_default();
        self.standing += WEIGHT * (least.as_secs_f64() - self.standing);
        Standing { newest, of_minute }
    }

    /// How long a packet waited.
    pub(super) fn above_least(&self, packet: &Arrived) -> Duration {
        let least = self.least_of(SECONDS).unwrap_or_else(|| delay(packet));
        Duration::from_micros((delay(packet) - least).max(0) as u64)
    }

    /// Seconds.
    pub(super) fn standing(&self) -> f64 {
        self.standing
    }
}

fn delay(packet: &Arrived) -> i64 {
    packet.arrived.as_micros() as i64 - packet.sent.as_micros() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(sent: u64, delay: u64) -> Arrived {
        let sent = Duration::from_millis(sent);
        Arrived { sent, arrived: sent + Duration::from_millis(delay), bytes: 1_000, train: 0 }
    }

    fn standing(delays: &mut Delays, packets: &[Arrived]) -> Standing {
        packets.iter().for_each(|packet| delays.note(packet));
        delays.end_of_feedback(packets)
    }

    #[test]
    fn the_quickest_packet_shows_the_queue() {
        let mut delays = Delays::default();
        standing(&mut delays, &[packet(0, 500)]);
        let queue = standing(&mut delays, &[packet(100, 590), packet(110, 520), packet(120, 530)]);
        assert_eq!((queue.newest, delays.standing()), (Duration::from_millis(20), 0.01));
    }

    #[test]
    fn a_path_that_became_longer_is_the_path_after_a_while() {
        let mut delays = Delays::default();
        standing(&mut delays, &[packet(0, 500)]);
        let soon = standing(&mut delays, &[packet(10_000, 600)]);
        let later = standing(&mut delays, &[packet(20_000, 600)]);
        assert_eq!((soon.newest, later.newest), (Duration::from_millis(100), Duration::ZERO));
        assert_eq!(later.of_minute, Duration::from_millis(100));
    }
}
