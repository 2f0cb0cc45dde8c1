//! Whom the host of a room turned away: by source and name, so that the next person behind the same address is asked
//! about.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::door::Source;
use crate::limits::{
    DENIAL_WAIT, DENIALS_PER_GUEST, DENIALS_PER_SOURCE, DENIALS_REMEMBERED, DENIALS_REMEMBERED_PER_SOURCE,
};
use crate::names;
use crate::wire::control::Refusal;

/// The denials of a room.
#[derive(Debug, Default)]
pub(super) struct Denials {
    /// The one denied longest ago first, at most [`DENIALS_REMEMBERED`].
    guests: VecDeque<Denied>,
}

#[derive(Debug)]
struct Denied {
    source: Source,
    name: String,
    times: u32,
    /// When nothing is held against its source any more, as it was after this denial.
    source_clear_at: Instant,
}

impl Denials {
    /// Whether the host is to be asked about this guest.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn check(&self, now: Instant, source: Source, name: &str) -> Result<(), Refusal> {
        if self.of(source, name).is_some_and(|at| self.guests[at].times >= DENIALS_PER_GUEST) {
            return Err(Refusal::DeniedBefore);
        }
        let wait = self.wait(now, source);
        if wait.is_zero() { Ok(()) } else { Err(Refusal::KnockLater { secs: wait.as_secs_f64().ceil() as u32 }) }
    }

    /// The host turned this guest away.
    pub(super) fn add(&mut self, now: Instant, source: Source, name: String) {
        let before = self.of(source, &name).and_then(|at| self.guests.remove(at));
        let times = before.as_ref().map_or(0, |denied| denied.times) + 1;
        let clear_at = before.map(|denied| denied.source_clear_at).max(self.clear_at(source)).unwrap_or(now);
        // However many were denied at once: the next one waits for one of them.
        let source_clear_at = (clear_at.max(now) + DENIAL_WAIT).min(now + DENIAL_WAIT * DENIALS_PER_SOURCE);
        self.make_room(source);
        self.guests.push_back(Denied { source, name, times, source_clear_at });
    }

    fn of(&self, source: Source, name: &str) -> Option<usize> {
        self.guests.iter().position(|denied| denied.source == source && names::look_alike(name, &denied.name))
    }

    fn clear_at(&self, source: Source) -> Option<Instant> {
        self.guests.iter().filter(|denied| denied.source == source).map(|denied| denied.source_clear_at).max()
    }

    fn wait(&self, now: Instant, source: Source) -> Duration {
        let held = self.clear_at(source).map_or(Duration::ZERO, |clear_at| clear_at.saturating_duration_since(now));
        held.saturating_sub(DENIAL_WAIT * (DENIALS_PER_SOURCE - 1))
    }

    fn make_room(&mut self, source: Source) {
        if self.guests.iter().filter(|denied| denied.source == source).count() >= DENIALS_REMEMBERED_PER_SOURCE {
            let oldest = self.guests.iter().position(|denied| denied.source == source);
            oldest.and_then(|at| self.guests.remove(at));
        }
        if self.guests.len() >= DENIALS_REMEMBERED {
            self.guests.pop_front();
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn source(last: u8) -> Source {
        IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)).into()
    }

    #[test]
    fn twice_denied_is_denied_for_good_and_the_next_one_from_there_is_asked_about() {
        let (mut denials, now) = (Denials::default(), Instant::now());
        for _ in 0..DENIALS_PER_GUEST {
            assert_eq!(denials.check(now, source(1), "Bo"), Ok(()));
            denials.add(now, source(1), "Bo".into());
        }
        let later = now + Duration::from_secs(86_400);
        assert_eq!(denials.check(later, source(1), "bo"), Err(Refusal::DeniedBefore), "a look-alike is the same");
        assert_eq!(denials.check(now, source(1), "Cy"), Ok(()));
        assert_eq!(denials.check(now, source(2), "Bo"), Ok(()), "another Bo");
    }

    #[test]
    fn who_rings_under_ever_new_names_is_asked_about_once_a_minute() {
        let (mut denials, start) = (Denials::default(), Instant::now());
        let (mut rings, mut now) = (0, start);
        for number in 0..6_000 {
            now += Duration::from_millis(100);
            let name = format!("Guest {number}");
            match denials.check(now, source(1), &name) {
                Ok(()) => {
                    rings += 1;
                    denials.add(now, source(1), name);
                }
                Err(refusal) => assert!(matches!(refusal, Refusal::KnockLater { secs: 1..=60 }), "{refusal:?}"),
            }
            assert_eq!(denials.check(now, source(2), "Ada"), Ok(()));
        }
        assert_eq!(rings, DENIALS_PER_SOURCE + 9);
        assert_eq!(denials.guests.len(), rings as usize);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_one_source_does_not_make_the_room_forget_another() {
        let (mut denials, now) = (Denials::default(), Instant::now());
        denials.add(now, source(9), "Eve".into());
        denials.add(now, source(9), "Eve".into());
        for number in 0..1_000 {
            denials.add(now, source(1), format!("Guest {number}"));
        }
        assert_eq!(denials.guests.len(), 1 + DENIALS_REMEMBERED_PER_SOURCE);
        assert_eq!(denials.check(now, source(9), "Eve"), Err(Refusal::DeniedBefore));
        for number in 0..1_000u32 {
            let source = IpAddr::V4(Ipv4Addr::from_bits(number)).into();
            denials.add(now, source, "Bo".into());
        }
        assert_eq!(denials.guests.len(), DENIALS_REMEMBERED);
    }
}
