//! Who may try a room code: what a source tries and fails at costs that source, and nobody else.
//!
//! Six digits are 20 bits: no secret. Each source has a few wrong codes to spend and gets one back every quarter of an
//! hour, so that a lone guesser needs 14 years for one known room; admission by a person makes a found room worthless to
//! a stranger. A class behind one address spends little: the same wrong code typed again is no new guess, and a right
//! one gives back. While wrong codes come from many networks at once, each costs more; right ones are taken all the
//! while. The arithmetic is in `docs/decisions/0021-what-fails-costs-its-source.md`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::ids::RoomCode;
use crate::limits::{
    GUESSING_COST, GUESSING_NETWORKS, GUESSING_WINDOW, RIGHT_CODE_WAITS, WRONG_CODE_SOURCES_MAX, WRONG_CODE_WAIT,
    WRONG_CODES_PER_SOURCE, WRONG_CODES_REMEMBERED,
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

impl Source {
    /// What one owner is likely to have of addresses: a /24 of IPv4, a /48 of IPv6 (RFC 6177).
    fn network(self) -> Network {
        let mapped = self.0 >> 32 == 0xffff;
        let bits_of_host = if mapped { 8 } else { 80 };
        Network(self.0 >> bits_of_host << bits_of_host)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network(u128);

/// How many wrong codes a source has to spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoorLimits {
    /// Different wrong codes at once, at least 1.
    pub wrong_codes: u32,
    /// Until one of them is there again.
    pub wait: Duration,
}

impl Default for DoorLimits {
    fn default() -> Self {
        Self { wrong_codes: WRONG_CODES_PER_SOURCE as u32, wait: WRONG_CODE_WAIT }
    }
}

/// The sources whose codes are refused at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bans {
    /// How many.
    pub sources: usize,
    /// Until the last of them may try again; zero without any.
    pub longest: Duration,
}

/// What a door counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DoorStatistics {
    /// Times that a source had spent its wrong codes.
    pub bans: u64,
    /// Times that wrong codes began to come from many networks at once.
    pub alerts: u64,
}

/// Counts wrong codes and closes the door to those who guess.
#[derive(Debug, Default)]
pub struct Door {
    limits: DoorLimits,
    /// At most [`WRONG_CODE_SOURCES_MAX`].
    records: BTreeMap<Source, Record>,
    /// The same sources by when nothing is held against them any more.
    order: BTreeSet<(Instant, Source)>,
    /// Networks of the last minute's wrong codes, each once, at most [`GUESSING_NETWORKS`].
    recent: VecDeque<(Instant, Network)>,
    alert_until: Option<Instant>,
    statistics: DoorStatistics,
}

/// What is held against a source. Both moments are those of the generic cell rate algorithm (ITU-T I.371, annex A): a
/// bucket as the one moment at which it will be full.
#[derive(Clone, Copy, Debug)]
struct Record {
    /// When all wrong codes are there again.
    full_at: Instant,
    /// When all that right codes may give back is there again.
    returns_full_at: Instant,
    /// The newest different wrong codes, the newest first.
    wrong: [Option<RoomCode>; WRONG_CODES_REMEMBERED],
}

impl Record {
    fn new(now: Instant) -> Self {
        Self { full_at: now, returns_full_at: now, wrong: [None; WRONG_CODES_REMEMBERED] }
    }

    fn forgotten_at(&self) -> Instant {
        self.full_at.max(self.returns_full_at)
    }

    fn knows(&self, now: Instant, code: RoomCode) -> bool {
        now < self.forgotten_at() && self.wrong.contains(&Some(code))
    }

    fn remember(&mut self, code: RoomCode) {
        self.wrong.rotate_right(1);
        self.wrong[0] = Some(code);
    }

    fn closed_for(&self, now: Instant, limits: DoorLimits) -> Duration {
        wait(now, self.full_at, limits.wait, limits.wrong_codes)
    }

    fn charge(&mut self, now: Instant, cost: Duration) {
        self.full_at = self.full_at.max(now) + cost;
    }

    fn give_back(&mut self, now: Instant, limits: DoorLimits) {
        let every = limits.wait * RIGHT_CODE_WAITS;
        let owes = self.full_at > now;
        if owes && wait(now, self.returns_full_at, every, limits.wrong_codes).is_zero() {
            self.full_at = now.max(self.full_at.checked_sub(limits.wait).unwrap_or(now));
            self.returns_full_at = self.returns_full_at.max(now) + every;
        }
    }
}

/// How long until there is something in a bucket of `size`, refilled by one `every` so often, that is full at `full_at`.
fn wait(now: Instant, full_at: Instant, every: Duration, size: u32) -> Duration {
    full_at.saturating_duration_since(now).saturating_sub(every * (size.max(1) - 1))
}

impl Door {
    /// A door that nobody has tried.
    pub fn new(limits: DoorLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// How long this source still has to wait before it may try a code, or `None` when it may try now.
    pub fn closed_for(&self, now: Instant, source: Source) -> Option<Duration> {
        let record = self.records.get(&source)?;
        Some(record.closed_for(now, self.limits)).filter(|wait| !wait.is_zero())
    }

    /// Takes down that a source tried a code that no room has. One of its last few again is no new guess.
    pub fn wrong_code(&mut self, now: Instant, source: Source, code: RoomCode) {
        let known = self.records.get(&source).is_some_and(|record| record.knows(now, code));
        if known || self.closed_for(now, source).is_some() {
            return;
        }
        self.watch(now, source.network());
        let cost = self.limits.wait * if self.guessing(now) { GUESSING_COST } else { 1 };
        self.change(now, source, |record| {
            record.remember(code);
            record.charge(now, cost);
        });
    }

    /// Takes down that a source showed a secret that opens no place. It cannot be guessed, so this is for the source
    /// alone to bear, whatever else goes on.
    pub fn wrong_secret(&mut self, now: Instant, source: Source) {
        if self.closed_for(now, source).is_none() {
            let cost = self.limits.wait;
            self.change(now, source, |record| record.charge(now, cost));
        }
    }

    /// Takes down that a source came to a room's door: one of its wrong codes is given back. Only so many are, and then
    /// one in [`RIGHT_CODE_WAITS`] waits, so that who knows one code does not guess others for nothing.
    pub fn right_code(&mut self, now: Instant, source: Source) {
        if self.records.contains_key(&source) {
            let limits = self.limits;
            self.change(now, source, |record| record.give_back(now, limits));
        }
    }

    /// Forgets what is held against one source, or against all. Answers for how many that opened the door.
    pub fn forgive(&mut self, now: Instant, source: Option<Source>) -> usize {
        let Some(source) = source else {
            let banned = self.bans(now).sources;
            (self.records, self.order) = Default::default();
            self.recent.clear();
            self.alert_until = None;
            return banned;
        };
        let banned = self.closed_for(now, source).is_some();
        self.take_out(source);
        usize::from(banned)
    }

    /// Who is refused right now; looks at every source.
    pub fn bans(&self, now: Instant) -> Bans {
        let waits = self.records.values().map(|record| record.closed_for(now, self.limits));
        waits
            .filter(|wait| !wait.is_zero())
            .fold(Bans::default(), |bans, wait| Bans { sources: bans.sources + 1, longest: bans.longest.max(wait) })
    }

    /// Whether wrong codes come from many networks at once.
    pub fn guessing(&self, now: Instant) -> bool {
        self.alert_until.is_some_and(|until| now < until)
    }

    /// What was counted.
    pub fn statistics(&self) -> DoorStatistics {
        self.statistics
    }

    /// A network counts once a minute, however often it fails.
    fn watch(&mut self, now: Instant, network: Network) {
        let over = |time: Instant| now.saturating_duration_since(time) >= GUESSING_WINDOW;
        while self.recent.front().is_some_and(|(time, _)| over(*time)) {
            self.recent.pop_front();
        }
        if self.recent.iter().any(|(_, other)| *other == network) {
            return;
        }
        self.recent.push_back((now, network));
        if self.recent.len() >= GUESSING_NETWORKS {
            self.statistics.alerts += u64::from(!self.guessing(now));
            self.alert_until = Some(now + GUESSING_WINDOW);
            self.recent.pop_front();
        }
    }

    fn change(&mut self, now: Instant, source: Source, change: impl FnOnce(&mut Record)) {
        // When others come must not decide how long this one is remembered.
        let known = self.take_out(source).filter(|record| now < record.forgotten_at());
        let mut record = known.unwrap_or_else(|| Record::new(now));
        let open_before = record.closed_for(now, self.limits).is_zero();
        change(&mut record);
        let open = record.closed_for(now, self.limits).is_zero();
        self.statistics.bans += u64::from(open_before && !open);
        self.order.insert((record.forgotten_at(), source));
        self.records.insert(source, record);
        self.forget_the_least(now);
    }

    fn take_out(&mut self, source: Source) -> Option<Record> {
        let record = self.records.remove(&source)?;
        self.order.remove(&(record.forgotten_at(), source));
        Some(record)
    }

    /// Those against whom nothing is held, and beyond the bound those against whom the least is: a source that is
    /// banned is not forgotten because others come.
    fn forget_the_least(&mut self, now: Instant) {
        while let Some((forgotten_at, source)) = self.order.first().copied() {
            if now < forgotten_at && self.records.len() <= WRONG_CODE_SOURCES_MAX {
                return;
            }
            self.take_out(source);
        }
    }
}

#[cfg(test)]
mod tests;
