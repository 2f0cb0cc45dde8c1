//! The receiver's end: when each packet number arrived, and when to tell.

use std::time::{Duration, Instant};

use crate::limits::{FEEDBACK_INTERVAL, FEEDBACK_INTERVAL_EARLY, FEEDBACK_INTERVAL_QUIET, FEEDBACK_PACKETS_MAX};
use crate::sequence::SendTime;
use crate::wire::datagram::Kind;
use crate::wire::feedback::{AGE_MISSING, AGE_UNIT_MICROS, Age, Feedback};

/// Arrivals of one hop.
///
/// A packet is told of in two feedbacks after it arrived, so that one that is lost takes nothing with it.
#[derive(Clone, Debug)]
pub struct Arrivals {
    epoch: Instant,
    /// The highest number that arrived, `None` before the first.
    newest: Option<u64>,
    /// When the number `n` arrived stands at `n % FEEDBACK_PACKETS_MAX`: since `epoch`. Empty until the first arrives.
    times: Vec<Option<Duration>>,
    /// Numbers from here on are told of: the first that the feedback before the last one was about, and the last one.
    told_from: [u64; 2],
    due: Option<Instant>,
    early: Early,
}

/// A feedback out of turn: something is missing among audio, and comes again in time if its sender hears of it at once.
#[derive(Clone, Copy, Debug, Default)]
struct Early {
    /// A number was left out since it was asked last.
    gap: bool,
    /// When audio came last.
    audio: Option<Instant>,
    told: Option<Instant>,
    due: Option<Instant>,
}

/// Nothing is told out of turn before: the round trip is not known yet, and playout begins with a longer delay anyway.
const BEGINNING: Duration = Duration::from_secs(1);
/// Where no audio came for so long, it is hardly audio that is missing.
const AUDIO_FLOWS: Duration = Duration::from_millis(50);

impl Arrivals {
    /// Nothing arrived yet.
    pub fn new(now: Instant) -> Self {
        Self { epoch: now, newest: None, times: Vec::new(), told_from: [0; 2], due: None, early: Early::default() }
    }

    /// A datagram that opened, each once. Answers whether [`Self::poll_timeout`] changed.
    pub fn note(&mut self, now: Instant, number: u64, kind: Kind) -> bool {
        if self.times.is_empty() {
            self.times = vec![None; FEEDBACK_PACKETS_MAX];
        }
        let newest = self.newest.unwrap_or(number);
        self.early.gap |= number > newest + 1;
        self.early.audio = if kind == Kind::Audio { Some(now) } else { self.early.audio };
        if number + FEEDBACK_PACKETS_MAX as u64 <= newest {
            return false;
        }
        let skipped = (newest + 1).max((number + 1).saturating_sub(FEEDBACK_PACKETS_MAX as u64))..number;
        skipped.for_each(|missing| self.times[index(missing)] = None);
        self.times[index(number)] = Some(now.saturating_duration_since(self.epoch));
        self.newest = Some(newest.max(number));
        self.schedule(now, kind)
    }

    fn schedule(&mut self, now: Instant, kind: Kind) -> bool {
        let interval = match kind {
            Kind::Video => FEEDBACK_INTERVAL,
            Kind::Audio | Kind::Segment => FEEDBACK_INTERVAL_QUIET,
            Kind::Report | Kind::Ping | Kind::Pong | Kind::Feedback => return false,
        };
        let due = now + interval;
        let sooner = self.due.is_none_or(|earlier| due < earlier);
        if sooner {
            self.due = Some(due);
        }
        sooner
    }

    /// Tells at once if a datagram is missing since this was called last, where audio comes and what is sent again comes
    /// in time. Answers whether it does.
    pub fn hurry(&mut self, now: Instant, in_time: impl FnOnce() -> bool) -> bool {
        let flows = |audio| now.saturating_duration_since(audio) <= AUDIO_FLOWS;
        let missing = std::mem::take(&mut self.early.gap) && self.early.audio.is_some_and(flows);
        let began = now.saturating_duration_since(self.epoch) >= BEGINNING;
        let wanted = missing && began && in_time();
        if wanted {
            let next = self.early.told.map_or(now, |told| now.max(told + FEEDBACK_INTERVAL_EARLY));
            self.early.due.get_or_insert(next);
        }
        wanted
    }

    /// When [`Self::poll_feedback`] has something to say.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.due, self.early.due].into_iter().flatten().min()
    }

    /// Writes a feedback to the front of `buffer`, at least [`Feedback::MAX_BYTES`] long, if one is due; answers its
    /// length. `video_wanted` is as [`Feedback`] has it.
    pub fn poll_feedback(&mut self, now: Instant, video_wanted: u16, buffer: &mut [u8]) -> Option<usize> {
        let in_turn = self.due.take_if(|due| *due <= now).is_some();
        let early = self.early.due.take_if(|due| *due <= now || in_turn).is_some();
        if early {
            self.early.told = Some(now);
        } else if !in_turn {
            return None;
        }
        let newest = self.newest?;
        let clock = now.saturating_duration_since(self.epoch);
        let [from, last] = self.told_from;
        let oldest = from.max((newest + 1).saturating_sub(FEEDBACK_PACKETS_MAX as u64)).min(newest);
        let ages = (oldest..=newest).rev().map(|number| age(clock, self.times[index(number)]));
        let length = Feedback::write(newest, SendTime(clock.as_micros() as u32), video_wanted, ages, buffer);
        // One out of turn takes nothing from the two that are in turn.
        if in_turn {
            self.told_from = [last, newest + 1];
        }
        Some(length)
    }
}

fn index(number: u64) -> usize {
    (number % FEEDBACK_PACKETS_MAX as u64) as usize
}

fn age(clock: Duration, arrived: Option<Duration>) -> Age {
    let micros = arrived.map(|arrived| clock.saturating_sub(arrived).as_micros() / u128::from(AGE_UNIT_MICROS));
    micros.and_then(|age| Age::try_from(age).ok()).unwrap_or(AGE_MISSING)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]
mod tests {
    use super::*;
    use crate::wire::feedback::VIDEO_UNLIMITED;

    const MILLI: Duration = Duration::from_millis(1);

    fn told(arrivals: &mut Arrivals, now: Instant) -> Vec<(u64, Option<u32>)> {
        let mut buffer = [0; Feedback::MAX_BYTES];
        let length = arrivals.poll_feedback(now, VIDEO_UNLIMITED, &mut buffer).unwrap();
        Feedback::parse(&buffer[..length]).unwrap().packets().collect()
    }

    #[test]
    fn each_packet_is_told_of_twice_and_what_is_missing_too() {
        let start = Instant::now();
        let mut arrivals = Arrivals::new(start);
        for number in [0, 1, 4, 3] {
            arrivals.note(start + number as u32 * MILLI, number, Kind::Video);
        }
        assert_eq!(arrivals.poll_timeout(), Some(start + FEEDBACK_INTERVAL));
        let late = start + 36 * MILLI;
        let first = [(0, Some(36_000)), (1, Some(34_992)), (2, None), (3, Some(32_992)), (4, Some(32_000))];
        assert_eq!(told(&mut arrivals, late), first);
        assert_eq!(arrivals.poll_timeout(), None);
        arrivals.note(late, 2, Kind::Video);
        let second = told(&mut arrivals, late + 160 * MILLI);
        assert_eq!((second.len(), second[2]), (5, (2, Some(160_000))));
        arrivals.note(late + 160 * MILLI, 5, Kind::Video);
        let third = told(&mut arrivals, late + 320 * MILLI);
        assert_eq!(third, [(5, Some(160_000))]);
    }

    #[test]
    fn what_asks_for_nothing_is_answered_with_nothing() {
        let start = Instant::now();
        let mut arrivals = Arrivals::new(start);
        arrivals.note(start, 0, Kind::Ping);
        arrivals.note(start, 1, Kind::Feedback);
        assert_eq!(arrivals.poll_timeout(), None);
        arrivals.note(start, 2, Kind::Audio);
        assert_eq!(arrivals.poll_timeout(), Some(start + FEEDBACK_INTERVAL_QUIET));
        arrivals.note(start, 3, Kind::Video);
        assert_eq!(arrivals.poll_timeout(), Some(start + FEEDBACK_INTERVAL));
    }

    #[test]
    fn what_is_missing_among_audio_is_told_at_once_and_in_turn_as_well() {
        let start = Instant::now();
        let mut arrivals = Arrivals::new(start.checked_sub(BEGINNING).unwrap());
        let hurried = |arrivals: &mut Arrivals, number: u64, at: Instant, in_time: bool| {
            arrivals.note(at, number, Kind::Audio);
            arrivals.hurry(at, || in_time)
        };
        assert!(!hurried(&mut arrivals, 0, start, true) && !hurried(&mut arrivals, 1, start, true));
        assert!(hurried(&mut arrivals, 3, start + MILLI, true), "2 is missing");
        let told_at = start + MILLI;
        assert_eq!(told(&mut arrivals, told_at), [(0, Some(992)), (1, Some(992)), (2, None), (3, Some(0))]);
        assert!(!hurried(&mut arrivals, 4, told_at, true), "nothing more is missing");
        assert!(!hurried(&mut arrivals, 6, told_at, false), "it would come too late");
        assert!(hurried(&mut arrivals, 8, told_at, true));
        assert_eq!(arrivals.poll_timeout(), Some(told_at + FEEDBACK_INTERVAL_EARLY), "not all the time");
        let in_turn = told(&mut arrivals, start + FEEDBACK_INTERVAL_QUIET);
        assert_eq!((in_turn.len(), in_turn[2]), (9, (2, None)));
        assert_eq!(arrivals.poll_timeout(), None);
    }

    #[test]
    fn what_is_missing_where_no_audio_comes_is_told_in_turn() {
        let start = Instant::now();
        let mut arrivals = Arrivals::new(start.checked_sub(BEGINNING).unwrap());
        for (number, kind, at) in [(0, Kind::Audio, 0), (1, Kind::Video, 60), (3, Kind::Video, 60)] {
            arrivals.note(start + at * MILLI, number, kind);
            assert!(!arrivals.hurry(start + at * MILLI, || true));
        }
    }

    #[test]
    fn a_jump_of_the_numbers_forgets_what_stood_there() {
        let start = Instant::now();
        let mut arrivals = Arrivals::new(start);
        let far = 3 * FEEDBACK_PACKETS_MAX as u64;
        for number in [0, 1, far, far - 2, 1] {
            arrivals.note(start, number, Kind::Video);
        }
        let told = told(&mut arrivals, start + FEEDBACK_INTERVAL);
        assert_eq!(told.len(), FEEDBACK_PACKETS_MAX);
        let arrived: Vec<_> = told.iter().filter(|(_, age)| age.is_some()).map(|(number, _)| *number).collect();
        assert_eq!(arrived, [far - 2, far]);
    }
}
