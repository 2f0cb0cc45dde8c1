//! How busy a server is: written by the parts that know, read by whoever asks.

use std::fmt;
use std::ops::AddAssign;
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::hub::{Hub, HubStatistics};
use common::relay::RelayStatistics;

/// What the UDP socket did since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketStatistics {
    /// Times the system gave datagrams, one or more.
    pub receive_calls: u64,
    /// Times the system took datagrams, one or more.
    pub send_calls: u64,
    /// Datagrams that came, whatever they held.
    pub datagrams_received: u64,
    /// Datagrams the system took to send.
    pub datagrams_sent: u64,
    /// Datagrams that came and were longer than any of ours; dropped.
    pub oversized: u64,
    /// Times the system answered a receive with an error.
    pub receive_errors: u64,
    /// Datagrams the system did not take, for example for want of a route; dropped.
    pub send_dropped: u64,
    /// Times a datagram had to wait because the send buffer was full.
    pub send_waits: u64,
}

impl AddAssign for SocketStatistics {
    fn add_assign(&mut self, other: Self) {
        self.receive_calls += other.receive_calls;
        self.send_calls += other.send_calls;
        self.datagrams_received += other.datagrams_received;
        self.datagrams_sent += other.datagrams_sent;
        self.oversized += other.oversized;
        self.receive_errors += other.receive_errors;
        self.send_dropped += other.send_dropped;
        self.send_waits += other.send_waits;
    }
}

/// How busy a server is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerStatistics {
    /// Control connections that are open, unfinished ones included.
    pub connections: usize,
    /// Control connections that were accepted since the start.
    pub connections_accepted: u64,
    /// Control connections that were closed at once, because their source or the server had its fill.
    pub connections_refused: u64,
    /// Accepts that failed for want of something, for example file descriptors.
    pub accepts_failed: u64,
    /// Whether it serves.
    pub health: Health,
    /// What the hub counted.
    pub hub: HubStatistics,
    /// Members in all rooms.
    pub members: usize,
    /// Media workers that had to shed datagrams of late.
    pub overloaded_workers: usize,
    /// What the relay counted.
    pub relay: RelayStatistics,
    /// Rooms that are open.
    pub rooms: usize,
    /// What the UDP socket did.
    pub socket: SocketStatistics,
}

/// What a server does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// A part of it broke; it serves nobody.
    Broken,
    /// Running meetings go on, new ones are refused.
    Draining,
    /// All that it is there for.
    #[default]
    Serving,
    /// It ended as it was told to.
    Stopped,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broken => "broken",
            Self::Draining => "draining",
            Self::Serving => "serving",
            Self::Stopped => "stopped",
        })
    }
}

/// Where every part writes its own figures. Nobody holds the lock for longer than a copy.
#[derive(Debug)]
pub(crate) struct Board {
    server: Mutex<ServerStatistics>,
    /// Each worker writes its own, so that none waits for another.
    workers: Vec<Mutex<(RelayStatistics, SocketStatistics)>>,
}

impl Board {
    /// A board for a server with so many media workers.
    pub(crate) fn new(workers: usize) -> Self {
        let workers = std::iter::repeat_with(Mutex::default).take(workers).collect();
        Self { server: Mutex::default(), workers }
    }

    /// All figures, those of the workers added up.
    pub(crate) fn read(&self) -> ServerStatistics {
        let mut all = *self.lock();
        for worker in &self.workers {
            let (relay, socket) = *lock(worker);
            all.relay += relay;
            all.socket += socket;
        }
        all
    }

    /// The acceptor's figure.
    pub(crate) fn set_connections(&self, connections: usize) {
        self.lock().connections = connections;
    }

    /// A seat was given.
    pub(crate) fn count_accepted_connection(&self) {
        self.lock().connections_accepted += 1;
    }

    /// A seat was refused.
    pub(crate) fn count_refused_connection(&self) {
        self.lock().connections_refused += 1;
    }

    /// An accept failed.
    pub(crate) fn count_failed_accept(&self) {
        self.lock().accepts_failed += 1;
    }

    /// The hub's figures.
    pub(crate) fn set_hub(&self, hub: &Hub) {
        let mut board = self.lock();
        (board.rooms, board.members) = hub.occupancy();
        board.hub = hub.statistics();
        board.overloaded_workers = hub.overloaded_shards();
        board.health = if hub.draining() { Health::Draining } else { Health::Serving };
    }

    /// The hub serves no more.
    pub(crate) fn set_ended(&self, health: Health) {
        self.lock().health = health;
    }

    /// A media worker's figures.
    pub(crate) fn set_media(&self, shard: usize, relay: RelayStatistics, socket: SocketStatistics) {
        *lock(&self.workers[shard]) = (relay, socket);
    }

    fn lock(&self) -> MutexGuard<'_, ServerStatistics> {
        lock(&self.server)
    }
}

/// Figures are whole even where a writer panicked: each write is a plain copy.
fn lock<T>(figures: &Mutex<T>) -> MutexGuard<'_, T> {
    figures.lock().unwrap_or_else(PoisonError::into_inner)
}
