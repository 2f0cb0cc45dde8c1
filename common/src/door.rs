//! Who may try a room code: wrong ones are counted for each source and for the whole server.
//!
//! Six digits are 20 bits: no secret. The counters make guessing slow (five tries an hour from a source find one
//! known room in 11 years), and admission by a person makes a found room worthless to a stranger.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::limits::{
    WRONG_CODE_BAN, WRONG_CODE_SOURCES_MAX, WRONG_CODE_WINDOW, WRONG_CODES_PER_MINUTE, WRONG_CODES_PER_SOURCE,
};

/// Where a connection comes from: an IPv4 address, or the /64 a person gets of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source(u128);

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(v4.to_ipv6_mapped().to_bits()),
            IpAddr::V6(v6) => Self(v6.to_bits() & !u128::from(u64::MAX)),
        }
    }
}

/// Counts wrong codes and closes the door to those who guess.
#[derive(Debug, Default)]
pub struct Door {
    sources: BTreeMap<Source, Guesses>,
    /// Times of the wrong codes of the last minute, at most [`WRONG_CODES_PER_MINUTE`].
    recent: VecDeque<Instant>,
    closed_until: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Guesses {
    wrong: u32,
    last: Instant,
}

impl Door {
    /// How long this source still has to wait before it may try a code, or `None` when it may try now.
    pub fn closed_for(&mut self, now: Instant, source: Source) -> Option<Duration> {
        let for_all = self.closed_until.and_then(|until| until.checked_duration_since(now));
        let for_source = self.sources.get(&source).and_then(|guesses| {
            let until = guesses.last + WRONG_CODE_BAN;
            (guesses.wrong >= WRONG_CODES_PER_SOURCE).then(|| until.checked_duration_since(now)).flatten()
        });
        for_all.max(for_source).filter(|wait| !wait.is_zero())
    }

    /// Takes down that a source tried a code that no room has.
    pub fn wrong_code(&mut self, now: Instant, source: Source) {
        let guesses = self.sources.entry(source).or_insert(Guesses { wrong: 0, last: now });
        if now.saturating_duration_since(guesses.last) >= WRONG_CODE_BAN {
            guesses.wrong = 0;
        }
        *guesses = Guesses { wrong: guesses.wrong + 1, last: now };
        self.forget_the_oldest(now);
        self.count_for_all(now);
    }

    fn count_for_all(&mut self, now: Instant) {
        let window_start = now.checked_sub(WRONG_CODE_WINDOW);
        while self.recent.front().is_some_and(|time| window_start.is_some_and(|start| *time <= start)) {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        if self.recent.len() >= WRONG_CODES_PER_MINUTE as usize {
            self.recent.clear();
            self.closed_until = Some(now + WRONG_CODE_WINDOW);
        }
    }

    fn forget_the_oldest(&mut self, now: Instant) {
        if self.sources.len() <= WRONG_CODE_SOURCES_MAX {
            return;
        }
        self.sources.retain(|_, guesses| now.saturating_duration_since(guesses.last) < WRONG_CODE_BAN);
        while self.sources.len() > WRONG_CODE_SOURCES_MAX {
            let oldest = self.sources.iter().min_by_key(|(_, guesses)| guesses.last).map(|(source, _)| *source);
            oldest.and_then(|source| self.sources.remove(&source));
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]
mod tests {
    use super::*;

    fn source(last: u32) -> Source {
        IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0a00_0000 + last)).into()
    }

    #[test]
    fn five_wrong_codes_close_the_door_to_their_source_for_an_hour() {
        let (mut door, start) = (Door::default(), Instant::now());
        for _ in 0..5 {
            assert_eq!(door.closed_for(start, source(1)), None);
            door.wrong_code(start, source(1));
        }
        assert_eq!(door.closed_for(start, source(1)), Some(WRONG_CODE_BAN));
        assert_eq!(door.closed_for(start, source(2)), None);
        let later = start + WRONG_CODE_BAN;
        assert_eq!(door.closed_for(later, source(1)), None);
        door.wrong_code(later, source(1));
        assert_eq!(door.closed_for(later, source(1)), None, "the count begins anew");
    }

    #[test]
    fn sixty_wrong_codes_a_minute_close_the_door_to_all_for_a_minute() {
        let (mut door, start) = (Door::default(), Instant::now());
        for number in 0..59 {
            door.wrong_code(start, source(number));
        }
        let next = start + Duration::from_secs(59);
        assert_eq!(door.closed_for(next, source(1_000)), None);
        door.wrong_code(next, source(60));
        assert_eq!(door.closed_for(next, source(1_000)), Some(WRONG_CODE_WINDOW));
        assert_eq!(door.closed_for(next + WRONG_CODE_WINDOW, source(1_000)), None);
    }

    #[test]
    fn fewer_than_sixty_a_minute_never_close_it() {
        let (mut door, start) = (Door::default(), Instant::now());
        for second in 0..600 {
            let now = start + Duration::from_millis(1_100) * second;
            door.wrong_code(now, source(second));
            assert_eq!(door.closed_for(now, source(100_000)), None);
        }
    }

    #[test]
    fn all_addresses_of_one_ipv6_network_are_one_source() {
        let [a, b, c] = ["2001:db8::1", "2001:db8::2:3:4:5", "2001:db8:0:1::1"]
            .map(|text| Source::from(text.parse::<IpAddr>().unwrap()));
        assert!(a == b && a != c);
        assert_eq!(Source::from("::ffff:10.0.0.1".parse::<IpAddr>().unwrap()), source(1));
    }
}
