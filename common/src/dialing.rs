//! To which address of a server to connect, and when: Happy Eyeballs (RFC 8305).
//!
//! Families take turns (§4), an attempt that has not finished after [`ATTEMPT_DELAY`] gets company (§5), one that failed
//! is replaced at once, and the first that finishes ends it all. Addresses may come in while attempts are under way.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long an attempt has the field to itself (RFC 8305 §8, Connection Attempt Delay).
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// How much longer once the other end has answered: time for a handshake over a long path, so that a server which is
/// only far away is not asked for two. One that answers and then says nothing holds nobody up for longer than that.
pub const ANSWERED_DELAY: Duration = Duration::from_millis(500);
/// Addresses of one server that wait for their turn: the last of them is tried within 4 s, and a server has two to five.
pub const ADDRESSES_MAX: usize = 16;

/// Attempts to reach one server.
#[derive(Clone, Debug, Default)]
pub struct Dialing {
    waiting: VecDeque<SocketAddr>,
    /// In the order of the attempts, those that failed included.
    tried: Vec<SocketAddr>,
    under_way: usize,
    /// When the next attempt is due though others are under way.
    next_at: Option<Instant>,
}

impl Dialing {
    /// Takes in addresses, the likeliest first, for example in the order of RFC 6724. They come before those that wait:
    /// what was found last is newest. An address that is known already counts once.
    pub fn add(&mut self, addresses: impl IntoIterator<Item = SocketAddr>) {
        let mut fresh: Vec<SocketAddr> = Vec::new();
        for address in addresses {
            if !fresh.contains(&address) && !self.tried.contains(&address) {
                fresh.push(address);
            }
        }
        fresh.extend(self.waiting.iter().filter(|address| !fresh.contains(address)).copied().collect::<Vec<_>>());
        let first = match self.tried.last() {
            Some(last) => !last.is_ipv6(),
            None => fresh.first().is_some_and(SocketAddr::is_ipv6),
        };
        self.waiting = in_turn(fresh, first).take(ADDRESSES_MAX).collect();
    }

    /// The address to connect to now, if it is time for one more.
    pub fn poll_attempt(&mut self, now: Instant) -> Option<SocketAddr> {
        if self.under_way > 0 && self.next_at.is_some_and(|at| now < at) {
            return None;
        }
        let address = self.waiting.pop_front()?;
        self.tried.push(address);
        self.under_way += 1;
        self.next_at = Some(now + ATTEMPT_DELAY);
        Some(address)
    }

    /// The other end of an attempt has answered and is being talked to.
    pub fn handle_answered(&mut self, now: Instant) {
        self.next_at = self.next_at.max(Some(now + ANSWERED_DELAY));
    }

    /// An attempt came to nothing.
    pub fn handle_failed(&mut self, now: Instant) {
        self.under_way = self.under_way.saturating_sub(1);
        self.next_at = Some(now);
    }

    /// When to call [`Dialing::poll_attempt`] next, if an address waits.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_at.filter(|_| !self.waiting.is_empty())
    }

    /// No attempt is under way and no address waits.
    pub fn is_over(&self) -> bool {
        self.under_way == 0 && self.waiting.is_empty()
    }

    /// All addresses that are known, those that were tried before those that wait.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.tried.iter().chain(&self.waiting).copied()
    }
}

/// One of each family after the other, each in its order, beginning with IPv6 or IPv4.
fn in_turn(addresses: Vec<SocketAddr>, ipv6_first: bool) -> impl Iterator<Item = SocketAddr> {
    let (mut turn, mut other): (VecDeque<_>, VecDeque<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == ipv6_first);
    std::iter::from_fn(move || {
        let address = turn.pop_front();
        std::mem::swap(&mut turn, &mut other);
        // Where one family has come to its end, the other goes on alone.
        address.or_else(|| turn.pop_front())
    })
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| address(text)).collect()
    }

    fn dialing(texts: &[&str]) -> Dialing {
        let mut dialing = Dialing::default();
        dialing.add(addresses(texts));
        dialing
    }

    /// What is tried in how many milliseconds, by a server of which nothing is heard.
    fn schedule(mut dialing: Dialing) -> Vec<(u128, SocketAddr)> {
        let start = Instant::now();
        let mut now = start;
        let mut tried = Vec::new();
        loop {
            while let Some(address) = dialing.poll_attempt(now) {
                tried.push(((now - start).as_millis(), address));
            }
            match dialing.poll_timeout() {
                Some(at) => now = at,
                None => return tried,
            }
        }
    }

    #[test]
    fn families_take_turns_a_quarter_of_a_second_apart() {
        let tried = schedule(dialing(&["[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::3]:1", "192.0.2.1:1"]));
        let order = addresses(&["[2001:db8::1]:1", "192.0.2.1:1", "[2001:db8::2]:1", "[2001:db8::3]:1"]);
        assert_eq!(tried, [0, 250, 500, 750].into_iter().zip(order).collect::<Vec<_>>());
    }

    #[test]
    fn the_family_that_the_system_prefers_is_first() {
        let tried = schedule(dialing(&["192.0.2.1:1", "192.0.2.2:1", "[2001:db8::1]:1"]));
        let order: Vec<_> = tried.into_iter().map(|(_, address)| address).collect();
        assert_eq!(order, addresses(&["192.0.2.1:1", "[2001:db8::1]:1", "192.0.2.2:1"]));
    }

    #[test]
    fn a_failed_attempt_is_followed_by_the_next_at_once() {
        let now = Instant::now();
        let mut dialing = dialing(&["192.0.2.1:1", "192.0.2.2:1"]);
        assert_eq!(dialing.poll_attempt(now), Some(address("192.0.2.1:1")));
        assert_eq!(dialing.poll_attempt(now), None);
        let later = now + Duration::from_millis(3);
        dialing.handle_failed(later);
        assert_eq!(dialing.poll_attempt(later), Some(address("192.0.2.2:1")));
        assert!(!dialing.is_over());
        dialing.handle_failed(later);
        assert!(dialing.is_over());
    }

    #[test]
    fn a_server_that_answers_has_time_for_its_handshake_and_no_more() {
        let now = Instant::now();
        let mut dialing = dialing(&["192.0.2.1:1", "192.0.2.2:1"]);
        dialing.poll_attempt(now);
        let answered = now + Duration::from_millis(200);
        dialing.handle_answered(answered);
        assert_eq!(dialing.poll_attempt(now + ATTEMPT_DELAY), None);
        assert_eq!(dialing.poll_timeout(), Some(answered + ANSWERED_DELAY));
        assert_eq!(dialing.poll_attempt(answered + ANSWERED_DELAY), Some(address("192.0.2.2:1")));
    }

    #[test]
    fn what_is_looked_up_later_comes_before_what_was_known() {
        let now = Instant::now();
        let mut dialing = dialing(&["192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"]);
        assert_eq!(dialing.poll_attempt(now), Some(address("192.0.2.1:1")));
        dialing.add(addresses(&["192.0.2.9:1", "192.0.2.1:1", "192.0.2.3:1"]));
        let order: Vec<_> = schedule(dialing).into_iter().map(|(_, address)| address).collect();
        assert_eq!(order, addresses(&["192.0.2.9:1", "192.0.2.3:1", "192.0.2.2:1"]));
    }

    #[test]
    fn no_name_has_more_addresses_than_are_tried_in_four_seconds_and_both_families_have_their_share() {
        let many = (0..200).map(|last| SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, last], 1)));
        let mut dialing = Dialing::default();
        dialing.add(many.chain([address("192.0.2.1:1")]));
        let tried = schedule(dialing);
        assert_eq!(tried.len(), ADDRESSES_MAX);
        assert!(tried.last().unwrap().0 < 4_000);
        assert_eq!(tried[1].1, address("192.0.2.1:1"));
    }

    #[test]
    fn nothing_known_is_nothing_to_do() {
        let mut dialing = Dialing::default();
        assert!(dialing.is_over());
        assert_eq!(dialing.poll_attempt(Instant::now()), None);
        assert_eq!(dialing.poll_timeout(), None);
    }
}
