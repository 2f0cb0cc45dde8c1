//! The sender's end: what left, and what became of it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::limits::DEPARTURES_MAX;
use crate::sequence::SendTime;
use crate::wire::feedback::Feedback;

/// A datagram that left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// When, since the hop began.
    pub at: Duration,
    /// Its bytes on the wire, IP and UDP included.
    pub bytes: u16,
    /// Which burst it belongs to, that left at one pace; 0 for what belongs to none.
    pub train: u16,
    /// Whatever the sender wants to know it by when it hears of it again.
    pub tag: u32,
}

impl Departure {
    /// Whether it brought video: nothing else leaves in bursts.
    pub fn is_video(&self) -> bool {
        self.train != 0
    }
}

/// What a feedback says of one datagram, each time that changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It arrived.
    Arrived {
        /// The datagram.
        departure: Departure,
        /// When, by the receiver's clock, whose zero is of no importance.
        at: Duration,
        /// It was called lost before.
        late: bool,
    },
    /// It did not, and three that left later did (RFC 9002 §6.1.1).
    Lost(Departure),
    /// It did not yet, and one that left later did; said once of each, before it is lost.
    Missing(Departure),
    /// Nobody told: the feedbacks about it were lost themselves.
    Unheard(Departure),
}

/// Datagrams of one hop whose fate is not known, and a few whose fate is.
#[derive(Clone, Debug)]
pub struct Departures {
    epoch: Instant,
    /// In the order of their packet numbers, without gaps; at most [`DEPARTURES_MAX`].
    sent: VecDeque<(Departure, State)>,
    /// Packet number of the first of them.
    first: u64,
    /// The highest number that a feedback was about.
    newest_told: Option<u64>,
    /// Bytes that are neither arrived nor lost.
    in_flight: usize,
    /// The receiver's clock of the newest feedback, without its wrapping.
    clock: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unknown,
    Arrived,
    Lost,
    Missing,
}

impl State {
    fn is_in_flight(self) -> bool {
        matches!(self, Self::Unknown | Self::Missing)
    }
}

/// What is added to the receiver's clock: a whole turn of its 32 bits.
const CLOCK_START: Duration = Duration::from_micros(1 << 32);
/// So many packets that left later have to arrive before one counts as lost.
const REORDERING: u64 = 3;

impl Departures {
    /// Nothing left yet.
    pub fn new(now: Instant) -> Self {
        Self { epoch: now, sent: VecDeque::new(), first: 0, newest_told: None, in_flight: 0, clock: None }
    }

    /// The datagram with this packet number leaves; numbers come one after another.
    pub fn note(&mut self, now: Instant, number: u64, bytes: usize, train: u16, tag: u32) {
        let next = self.first + self.sent.len() as u64;
        if number != next {
            self.sent.clear();
            (self.first, self.in_flight) = (number, 0);
        }
        if self.sent.len() >= DEPARTURES_MAX {
            self.drop_first();
        }
        let at = now.saturating_duration_since(self.epoch);
        let departure = Departure { at, bytes: u16::try_from(bytes).unwrap_or(u16::MAX), train, tag };
        self.in_flight += usize::from(departure.bytes);
        self.sent.push_back((departure, State::Unknown));
    }

    /// Bytes on the way, as far as is known.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Time of this hop, as [`Departure::at`] has it.
    pub fn time(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.epoch)
    }

    /// Lays a feedback beside what left, oldest datagram first, and says what is new. Answers the round trip that the
    /// newest datagram shows, without the time for which the receiver kept it, or `None` if the feedback was overtaken by
    /// a later one: it says nothing about the present.
    pub fn handle_feedback(
        &mut self,
        now: Instant,
        feedback: Feedback<'_>,
        mut say: impl FnMut(Outcome),
    ) -> Option<Duration> {
        let known = self.first..self.first + self.sent.len() as u64;
        if !known.contains(&feedback.newest) {
            return None;
        }
        let clock = self.unwrap_clock(feedback.clock);
        let mut round_trip = None;
        for (number, age) in feedback.packets().filter(|(number, _)| known.contains(number)) {
            let (departure, state) = &mut self.sent[(number - self.first) as usize];
            let age = age.map(|micros| Duration::from_micros(micros.into()));
            if number == feedback.newest {
                let gone = now.saturating_duration_since(self.epoch).saturating_sub(departure.at);
                round_trip = age.map(|age| gone.saturating_sub(age));
            }
            if *state == State::Unknown && age.is_none() && number < feedback.newest {
                *state = State::Missing;
                say(Outcome::Missing(*departure));
            }
            let news = match (*state, age) {
                (State::Unknown | State::Missing | State::Lost, Some(age)) => {
                    let at = clock.saturating_sub(age);
                    Outcome::Arrived { departure: *departure, at, late: *state == State::Lost }
                }
                (State::Missing, None) if number + REORDERING <= feedback.newest => Outcome::Lost(*departure),
                (State::Arrived, _) | (State::Unknown | State::Missing | State::Lost, None) => continue,
            };
            if state.is_in_flight() {
                self.in_flight = self.in_flight.saturating_sub(departure.bytes.into());
            }
            *state = if matches!(news, Outcome::Lost(_)) { State::Lost } else { State::Arrived };
            say(news);
        }
        let newer = self.newest_told.is_none_or(|told| feedback.newest > told);
        self.newest_told = self.newest_told.max(Some(feedback.newest));
        // What a feedback does not go back to is not told of again.
        while self.first < feedback.oldest() && !self.sent.is_empty() {
            self.drop_first().into_iter().for_each(|departure| say(Outcome::Unheard(departure)));
        }
        round_trip.filter(|_| newer)
    }

    /// The clock without its wrapping; a whole turn ahead, so that no age leads below its zero.
    fn unwrap_clock(&mut self, clock: SendTime) -> Duration {
        let before = self.clock.unwrap_or(CLOCK_START + Duration::from_micros(clock.0.into()));
        let passed = clock.micros_since(SendTime(before.as_micros() as u32));
        let unwrapped = (before.as_micros() as i64).saturating_add(i64::from(passed)).max(0);
        let unwrapped = Duration::from_micros(unwrapped as u64);
        self.clock = Some(self.clock.unwrap_or_default().max(unwrapped));
        unwrapped
    }

    /// Answers it if its fate is unknown.
    fn drop_first(&mut self) -> Option<Departure> {
        let (departure, state) = self.sent.pop_front()?;
        self.first += 1;
        if !state.is_in_flight() {
            return None;
        }
        self.in_flight = self.in_flight.saturating_sub(departure.bytes.into());
        Some(departure)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]
mod tests {
    use super::*;
    use crate::wire::feedback::{AGE_MISSING, Age};

    fn ten() -> Departures {
        let start = Instant::now();
        let mut departures = Departures::new(start);
        for number in 0..10 {
            departures.note(start + Duration::from_millis(number), number, 1_000, 0, number as u32);
        }
        departures
    }

    /// What is new, as `+tag`, `-tag` or `!tag` for one that came after all.
    fn hear(departures: &mut Departures, newest: u64, ages: &[Age]) -> Vec<String> {
        let mut buffer = [0; Feedback::MAX_BYTES];
        let length = Feedback::write(newest, SendTime(0), 0, ages.iter().copied(), &mut buffer);
        let mut said = Vec::new();
        let now = departures.epoch + Duration::from_millis(100);
        departures.handle_feedback(now, Feedback::parse(&buffer[..length]).unwrap(), |outcome| {
            said.push(match outcome {
                Outcome::Arrived { departure, late: false, .. } => format!("+{}", departure.tag),
                Outcome::Arrived { departure, .. } => format!("!{}", departure.tag),
                Outcome::Lost(departure) => format!("-{}", departure.tag),
                Outcome::Missing(departure) => format!(".{}", departure.tag),
                Outcome::Unheard(departure) => format!("?{}", departure.tag),
            });
        });
        said
    }

    #[test]
    fn what_was_overtaken_by_three_is_lost_and_said_once() {
        let mut departures = ten();
        assert_eq!(hear(&mut departures, 3, &[1, 1, AGE_MISSING, AGE_MISSING]), [".0", "-0", ".1", "+2", "+3"]);
        assert_eq!(departures.in_flight(), 7_000);
        assert_eq!(hear(&mut departures, 4, &[1, 1, 1, AGE_MISSING, 1]), ["!0", "-1", "+4"]);
        assert_eq!(hear(&mut departures, 4, &[1, 1, 1, AGE_MISSING, 1]), [""; 0]);
        assert_eq!(departures.in_flight(), 5_000);
    }

    #[test]
    fn what_was_overtaken_by_one_is_missing_and_said_once() {
        let mut departures = ten();
        assert_eq!(hear(&mut departures, 2, &[1, AGE_MISSING, 1]), ["+0", ".1", "+2"]);
        assert_eq!(departures.in_flight(), 8_000, "it may come after all");
        assert_eq!(hear(&mut departures, 3, &[1, 1, AGE_MISSING]), ["+3"]);
        assert_eq!(hear(&mut departures, 5, &[1, 1, 1, 1, 1]), ["+1", "+4", "+5"], "and was not late");
    }

    #[test]
    fn a_feedback_about_what_never_left_says_nothing() {
        let mut departures = ten();
        assert_eq!(hear(&mut departures, 10, &[1, 1]), [""; 0]);
        assert_eq!(hear(&mut departures, 9, &[1]), ["+9", "?0", "?1", "?2", "?3", "?4", "?5", "?6", "?7", "?8"]);
        assert_eq!(hear(&mut departures, 8, &[1]), [""; 0]);
        assert_eq!(departures.in_flight(), 0);
    }

    #[test]
    fn the_receivers_clock_may_wrap_and_the_round_trip_is_without_what_it_kept() {
        let mut departures = ten();
        let mut arrivals = Vec::new();
        for (newest, clock) in [(4, u32::MAX - 999), (6, 1_000)] {
            let mut buffer = [0; Feedback::MAX_BYTES];
            let length = Feedback::write(newest, SendTime(clock), 0, [125_u16].into_iter(), &mut buffer);
            let now = departures.epoch + Duration::from_millis(50 + newest);
            let feedback = Feedback::parse(&buffer[..length]).unwrap();
            let round_trip = departures.handle_feedback(now, feedback, |outcome| {
                if let Outcome::Arrived { at, .. } = outcome {
                    arrivals.push(at);
                }
            });
            assert_eq!(round_trip, Some(Duration::from_millis(48)));
        }
        assert_eq!(arrivals[1] - arrivals[0], Duration::from_millis(2));
    }

    #[test]
    fn memory_is_bounded_and_a_gap_of_numbers_begins_anew() {
        let start = Instant::now();
        let mut departures = Departures::new(start);
        for number in 0..2 * DEPARTURES_MAX as u64 {
            departures.note(start, number, 100, 0, 0);
        }
        assert_eq!((departures.sent.len(), departures.in_flight()), (DEPARTURES_MAX, 100 * DEPARTURES_MAX));
        departures.note(start, 1 << 40, 100, 0, 0);
        assert_eq!((departures.sent.len(), departures.in_flight()), (1, 100));
    }
}
