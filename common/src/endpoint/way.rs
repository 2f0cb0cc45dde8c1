//! The way to the server: which of its addresses datagrams go to, and the pings that tell whether that works.
//!
//! An answered ping proves a way in both directions, whatever else is lost or comes. While pings are answered, everything
//! goes to one address. When they are not for [`WAY_SUSPECT_AFTER`], *everything* goes to one address of the server after
//! the other, a turn each, and the first to which a ping is answered is the way from there on. Nothing is ever sent two
//! ways at a time: the server answers to where the newest datagram came from, and would be pulled to and fro.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::limits::{
    PING_INTERVAL, PING_INTERVAL_HURRIED, PING_INTERVAL_UNANSWERED, SERVER_ADDRESSES_MAX, UNMEASURED_AFTER,
    WAY_HURRY_FOR, WAY_SUSPECT_AFTER, WAY_TURN_MAX, WAY_TURN_MIN,
};

/// The addresses of the server, and the round trip to it.
#[derive(Debug)]
pub(super) struct Way {
    /// At most [`SERVER_ADDRESSES_MAX`]; empty where whoever sends knows where to.
    addresses: Vec<SocketAddr>,
    /// Where datagrams go.
    current: usize,
    /// The address to which a ping was answered last.
    proven: Option<SocketAddr>,
    /// When the next address gets its turn, while none is known to work.
    turn_ends: Option<Instant>,
    /// Pings that were not answered, oldest first.
    pings: VecDeque<Ping>,
    next_ping: Instant,
    ping_due: bool,
    /// When a ping was answered last, or when it all began.
    answered: Instant,
    /// When the newest datagram came that opened, or when it all began.
    heard: Instant,
    round_trip: Option<Duration>,
    moved: bool,
}

#[derive(Clone, Copy, Debug)]
struct Ping {
    sent: Instant,
    to: Option<SocketAddr>,
}

/// Pings whose answer is waited for: hurried ones of three seconds, longer than any answer takes.
const PINGS_MAX: usize = 32;

impl Way {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            addresses: Vec::new(),
            current: 0,
            proven: None,
            turn_ends: None,
            pings: VecDeque::with_capacity(PINGS_MAX),
            next_ping: now,
            ping_due: false,
            answered: now,
            heard: now,
            round_trip: None,
            moved: false,
        }
    }

    /// The server has these addresses, the likeliest first. The one in use stays as long as it works.
    pub(super) fn set_addresses(&mut self, now: Instant, addresses: impl IntoIterator<Item = SocketAddr>) {
        let working = self.to().filter(|_| !self.suspect(now));
        self.addresses.clear();
        for address in working.into_iter().chain(addresses) {
            if self.addresses.len() < SERVER_ADDRESSES_MAX && !self.addresses.contains(&address) {
                self.addresses.push(address);
            }
        }
        self.current = 0;
        if working.is_none() {
            self.begin_turn(now);
        }
    }

    /// Where datagrams go.
    pub(super) fn to(&self) -> Option<SocketAddr> {
        self.addresses.get(self.current).copied()
    }

    /// A datagram came that opened.
    pub(super) fn handle_heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// When that was the last time, or when it all began.
    pub(super) fn heard(&self) -> Instant {
        self.heard
    }

    /// The last round trip, unless it was too long ago to tell anything.
    pub(super) fn round_trip(&self, now: Instant) -> Option<Duration> {
        self.round_trip.filter(|_| self.unanswered_for(now) < UNMEASURED_AFTER)
    }

    fn unanswered_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.answered)
    }

    /// Where many datagrams are lost, some still come: then more pings have to be lost before this counts for anything.
    fn suspect(&self, now: Instant) -> bool {
        let quiet = now.saturating_duration_since(self.heard) >= WAY_SUSPECT_AFTER / 2;
        self.unanswered_for(now) >= if quiet { WAY_SUSPECT_AFTER } else { UNMEASURED_AFTER }
    }

    /// When to call [`Self::handle_timeout`].
    pub(super) fn poll_timeout(&self) -> Instant {
        self.turn_ends.map_or(self.next_ping, |ends| self.next_ping.min(ends))
    }

    /// Pings, and gives the next address its turn.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let due = self.turn_ends.is_none_or(|ends| now >= ends);
        if due && self.addresses.len() > 1 && self.suspect(now) {
            self.current = (self.current + 1) % self.addresses.len();
            self.begin_turn(now);
        } else if due {
            self.turn_ends = None;
        }
        if now >= self.next_ping {
            self.ping_due = true;
            self.next_ping = now + self.ping_interval(now);
        }
    }

    /// Long enough for an answer to come within it.
    fn begin_turn(&mut self, now: Instant) {
        let turn = match self.unanswered_for(now) < WAY_HURRY_FOR {
            true => (2 * self.round_trip.unwrap_or_default()).clamp(WAY_TURN_MIN, WAY_TURN_MAX),
            false => WAY_TURN_MAX,
        };
        (self.turn_ends, self.next_ping) = (Some(now + turn), now);
    }

    /// An answer is as late as the way is long, but comes as often as pings go.
    fn ping_interval(&self, now: Instant) -> Duration {
        let unanswered = self.unanswered_for(now);
        if unanswered < PING_INTERVAL + PING_INTERVAL / 2 {
            PING_INTERVAL
        } else if unanswered < WAY_HURRY_FOR {
            PING_INTERVAL_HURRIED
        } else {
            PING_INTERVAL_UNANSWERED
        }
    }

    /// Whether a ping is to be sent now. It is taken for sent.
    pub(super) fn take_ping(&mut self, now: Instant) -> bool {
        let due = std::mem::take(&mut self.ping_due);
        if due {
            if self.pings.len() >= PINGS_MAX {
                self.pings.pop_front();
            }
            self.pings.push_back(Ping { sent: now, to: self.to() });
        }
        due
    }

    /// A ping is answered, the first of those waited for of which `is_it` holds; an answer to no such ping tells nothing.
    /// The address it went to is the one that works.
    pub(super) fn handle_answer(&mut self, now: Instant, is_it: impl Fn(Instant) -> bool) {
        let Some(place) = self.pings.iter().position(|ping| is_it(ping.sent)) else { return };
        // What was sent before it and is not answered was overtaken, or is lost.
        let Some(ping) = self.pings.drain(..=place).next_back() else { return };
        self.answered = now;
        self.round_trip = Some(now.saturating_duration_since(ping.sent));
        self.turn_ends = None;
        if let Some(answering) = self.addresses.iter().position(|address| Some(*address) == ping.to) {
            self.current = answering;
            self.moved |= self.proven.is_some() && self.proven != ping.to;
            self.proven = ping.to;
        }
    }

    /// Whether another address works than the one before; said once.
    pub(super) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_time;

    const MILLI: Duration = Duration::from_millis(1);
    const ROUND_TRIP: Duration = Duration::from_millis(40);

    fn address(last: u8) -> SocketAddr {
        ([10, 0, 0, last], 7878).into()
    }

    /// A way with a server behind it that answers at some of its addresses.
    struct Bench {
        start: Instant,
        now: Instant,
        way: Way,
        answering: Vec<SocketAddr>,
        /// Something comes whether pings are answered or not.
        media_comes: bool,
        /// Answers on their way: when they arrive, and to what.
        answers: VecDeque<(Instant, Instant)>,
        pings: usize,
    }

    impl Bench {
        fn new(addresses: &[SocketAddr]) -> Self {
            let now = virtual_time();
            let mut way = Way::new(now);
            way.set_addresses(now, addresses.iter().copied());
            let answering = addresses[..1].to_vec();
            Self { start: now, now, way, answering, media_comes: false, answers: VecDeque::new(), pings: 0 }
        }

        /// Lets so much time pass, or as much as it takes until `done`; answers how much it was.
        fn run_until(&mut self, most: Duration, done: impl Fn(&Way) -> bool) -> Duration {
            let began = self.now;
            while self.now < began + most && !done(&self.way) {
                self.now += MILLI;
                while self.answers.front().is_some_and(|(at, _)| *at <= self.now) {
                    let sent = self.answers.pop_front().unwrap().1;
                    self.way.handle_heard(self.now);
                    self.way.handle_answer(self.now, |ping| ping == sent);
                }
                if self.media_comes {
                    self.way.handle_heard(self.now);
                }
                if self.way.poll_timeout() <= self.now {
                    self.way.handle_timeout(self.now);
                }
                if self.way.take_ping(self.now) {
                    self.pings += 1;
                    if self.way.to().is_some_and(|to| self.answering.contains(&to)) {
                        self.answers.push_back((self.now + ROUND_TRIP, self.now));
                    }
                }
            }
            self.now - began
        }

        fn run(&mut self, time: Duration) {
            self.run_until(time, |_| false);
        }
    }

    #[test]
    fn a_way_that_works_is_kept_and_pinged_twice_a_second() {
        let mut bench = Bench::new(&[address(1), address(2)]);
        bench.run(Duration::from_secs(10));
        assert_eq!(bench.way.to(), Some(address(1)));
        assert_eq!(bench.way.round_trip(bench.now), Some(ROUND_TRIP));
        assert!((19..=21).contains(&bench.pings) && !bench.way.take_moved(), "{} pings", bench.pings);
    }

    #[test]
    fn another_address_is_found_within_two_seconds_there_and_back() {
        let mut bench = Bench::new(&[address(1), address(2)]);
        for works in [2, 1, 2] {
            bench.run(Duration::from_millis(3_210));
            bench.answering = vec![address(works)];
            let proven = Some(address(works));
            let took = bench.run_until(Duration::from_secs(10), |way| way.proven == proven);
            assert!(took <= Duration::from_secs(2), "{took:?}");
            assert!(bench.way.take_moved() && bench.way.to() == proven);
        }
    }

    #[test]
    fn the_last_of_eight_addresses_is_found_too_and_more_are_not_tried() {
        let all: Vec<_> = (1..=9).map(address).collect();
        let mut bench = Bench::new(&all);
        bench.run(Duration::from_secs(2));
        bench.answering = vec![address(8), address(9)];
        let took = bench.run_until(Duration::from_secs(20), |way| way.proven == Some(address(8)));
        assert!(took <= Duration::from_secs(5), "{took:?}");
    }

    #[test]
    fn an_address_that_never_answered_gives_way_to_one_that_does() {
        let mut bench = Bench::new(&[address(1), address(2)]);
        bench.answering = vec![address(2)];
        let took = bench.run_until(Duration::from_secs(10), |way| way.proven.is_some());
        assert!(took <= Duration::from_secs(2) && !bench.way.take_moved(), "{took:?}");
    }

    #[test]
    fn what_still_comes_makes_lost_pings_count_for_less() {
        let mut bench = Bench::new(&[address(1), address(2)]);
        bench.run(Duration::from_secs(2));
        (bench.answering, bench.media_comes) = (vec![], true);
        let moves = |way: &Way| way.to() == Some(address(2));
        let took = bench.run_until(Duration::from_secs(10), moves);
        assert!(took > Duration::from_secs(2) && took < Duration::from_secs(4), "{took:?}");
    }

    #[test]
    fn what_is_not_answered_is_not_pinged_ten_times_a_second_for_ever() {
        let mut bench = Bench::new(&[address(1)]);
        bench.run(Duration::from_secs(2));
        bench.answering.clear();
        bench.run(Duration::from_secs(10));
        let before = bench.pings;
        bench.run(Duration::from_secs(10));
        let five_a_second = (Duration::from_secs(10).as_millis() / PING_INTERVAL_UNANSWERED.as_millis()) as usize;
        assert_eq!((bench.pings - before, bench.way.to()), (five_a_second, Some(address(1))));
        assert_eq!(bench.way.round_trip(bench.now), None, "what was measured long ago is unknown");
    }

    #[test]
    fn a_round_trip_longer_than_the_time_between_pings_is_measured() {
        let now = virtual_time();
        let mut way = Way::new(now);
        way.handle_timeout(now);
        assert!(way.take_ping(now));
        way.handle_timeout(now + PING_INTERVAL);
        assert!(way.take_ping(now + PING_INTERVAL));
        way.handle_answer(now + 900 * MILLI, |sent| sent == now);
        assert_eq!(way.round_trip(now + 900 * MILLI), Some(900 * MILLI));
        way.handle_answer(now + 950 * MILLI, |sent| sent == now);
        assert_eq!(way.round_trip(now + 950 * MILLI), Some(900 * MILLI), "an answer that came before tells nothing");
    }

    #[test]
    fn control_that_finds_another_address_moves_a_dead_way_at_once_and_a_living_one_not() {
        let mut bench = Bench::new(&[address(1)]);
        bench.run(Duration::from_secs(2));
        bench.way.set_addresses(bench.now, [address(2), address(3)]);
        assert_eq!(bench.way.to(), Some(address(1)));
        bench.answering = vec![address(3)];
        bench.run(Duration::from_millis(4_000));
        assert_eq!(bench.way.to(), Some(address(3)), "after {:?}", bench.now - bench.start);
        bench.answering = vec![address(4)];
        bench.run(Duration::from_millis(1_600));
        bench.way.set_addresses(bench.now, [address(4), address(5)]);
        let took = bench.run_until(Duration::from_secs(5), |way| way.proven == Some(address(4)));
        assert!(took <= 2 * ROUND_TRIP, "{took:?}");
    }
}
