//! How busy a server is: written by the parts that know, read by whoever asks.

use std::sync::{Mutex, MutexGuard, PoisonError};

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

/// How busy a server is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerStatistics {
    /// Control connections that are open, unfinished ones included.
    pub connections: usize,
    /// Members in all rooms.
    pub members: usize,
    /// What the relay counted.
    pub relay: RelayStatistics,
    /// Rooms that are open.
    pub rooms: usize,
    /// What the UDP socket did.
    pub socket: SocketStatistics,
}

/// Where every part writes its own figures. Nobody holds the lock for longer than a copy.
#[derive(Debug, Default)]
pub(crate) struct Board(Mutex<ServerStatistics>);

impl Board {
    /// All figures.
    pub(crate) fn read(&self) -> ServerStatistics {
        *self.lock()
    }

    /// The acceptor's figure.
    pub(crate) fn set_connections(&self, connections: usize) {
        self.lock().connections = connections;
    }

    /// The hub's figures.
    pub(crate) fn set_occupancy(&self, (rooms, members): (usize, usize)) {
        let mut board = self.lock();
        board.rooms = rooms;
        board.members = members;
    }

    /// A media worker's figures.
    pub(crate) fn set_media(&self, _shard: usize, relay: RelayStatistics, socket: SocketStatistics) {
        let mut board = self.lock();
        board.relay = relay;
        board.socket = socket;
    }

    /// Figures are whole even where a writer panicked: each write is a plain copy.
    fn lock(&self) -> MutexGuard<'_, ServerStatistics> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
