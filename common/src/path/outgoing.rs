//! The sender's end of a hop as a whole: what left, what became of it, and what the path carries.

use std::time::{Duration, Instant};

use super::departures::{Departure, Departures, Outcome};
use crate::path::bandwidth::{Arrived, Bandwidth, Told};
use crate::path::meter::IP_UDP_HEADER_BYTES;
use crate::wire::datagram::Kind;
use crate::wire::feedback::Feedback;

/// Sends over a hop, and hears what became of it.
#[derive(Clone, Debug)]
pub struct Outgoing {
    departures: Departures,
    bandwidth: Bandwidth,
    /// Of the feedback that is being read; kept for its memory.
    arrived: Vec<Arrived>,
    /// The last train of video.
    train: u16,
    /// When its first and its last packet left.
    train_at: Option<(Instant, Instant)>,
}

/// What became of a datagram that its sender gave a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrived.
    Arrived,
    /// It did not, or nobody told.
    Lost,
    /// It did not yet, and a later one did. It left so long ago. Said once at most, and before it is lost.
    Missing(Duration),
}

/// Packets of video that leave no further apart than this are one train. The pacer keeps within it, and between two
/// frames there is more.
pub const TRAIN_GAP: Duration = Duration::from_millis(12);

/// A train ends after so long, and the next packet begins another one: where many pictures go over a path there is no gap
/// between their frames.
const TRAIN_MAX: Duration = Duration::from_millis(50);

impl Outgoing {
    /// A hop over which nothing went yet, and what is guessed of it.
    pub fn new(now: Instant, bandwidth: Bandwidth) -> Self {
        Self { departures: Departures::new(now), bandwidth, arrived: Vec::new(), train: 0, train_at: None }
    }

    /// What the path carries.
    pub fn bandwidth(&self) -> &Bandwidth {
        &self.bandwidth
    }

    /// A sealed datagram leaves. By `tag` its sender wants to know it when it hears of it again; 0 for not at all.
    pub fn on_sent(&mut self, now: Instant, number: u64, kind: Kind, datagram_bytes: usize, tag: u32) {
        let train = if kind == Kind::Video { self.train_of(now) } else { 0 };
        self.departures.note(now, number, datagram_bytes + IP_UDP_HEADER_BYTES, train, tag);
        if matches!(kind, Kind::Audio | Kind::Video | Kind::Segment) {
            self.bandwidth.on_sent(now);
        }
    }

    fn train_of(&mut self, now: Instant) -> u16 {
        let goes_on = self.train_at.filter(|(first, last)| {
            now.saturating_duration_since(*last) <= TRAIN_GAP && now.saturating_duration_since(*first) <= TRAIN_MAX
        });
        if goes_on.is_none() {
            self.train = self.train.wrapping_add(1).max(1);
        }
        self.train_at = Some((goes_on.map_or(now, |(first, _)| first), now));
        self.train
    }

    /// The other end tells what arrived; says the fate of what has a tag.
    pub fn handle_feedback(&mut self, now: Instant, feedback: Feedback<'_>, mut say: impl FnMut(Departure, Fate)) {
        let time = self.departures.time(now);
        let (arrived, mut lost) = (&mut self.arrived, 0);
        arrived.clear();
        let round_trip = self.departures.handle_feedback(now, feedback, |outcome| {
            let (departure, fate) = match outcome {
                Outcome::Arrived { departure, at, .. } => {
                    let (sent, bytes, train) = (departure.at, departure.bytes, departure.train);
                    arrived.push(Arrived { sent, arrived: at, bytes, train });
                    (departure, Fate::Arrived)
                }
                Outcome::Lost(departure) => {
                    lost += 1;
                    (departure, Fate::Lost)
                }
                Outcome::Missing(departure) => (departure, Fate::Missing(time.saturating_sub(departure.at))),
                Outcome::Unheard(departure) => (departure, Fate::Lost),
            };
            if departure.tag != 0 {
                say(departure, fate);
            }
        });
        let told = Told { arrived: &self.arrived, lost, in_flight: self.departures.in_flight(), round_trip };
        self.bandwidth.handle_feedback(now, &told);
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.bandwidth.poll_timeout()
    }

    /// Does what is due when no feedback comes.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.bandwidth.handle_timeout(now);
    }

    /// Time of this hop.
    pub fn time(&self, now: Instant) -> Duration {
        self.departures.time(now)
    }
}
