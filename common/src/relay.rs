//! Stub with the signatures that shells are written against.
#![expect(missing_docs, clippy::missing_const_for_fn, reason = "stub")]
use std::net::SocketAddr;
use std::time::Instant;

use crate::hub::Grant;
use crate::ids::ConnectionId;
use crate::seal::Secrets;

#[derive(Debug)]
pub struct Relay;

/// A datagram to be sent: the first `bytes` of the buffer, to `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    pub to: SocketAddr,
    pub bytes: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayStatistics {
    pub members: u64,
    pub datagrams_received: u64,
    pub datagrams_sent: u64,
    pub datagrams_discarded: u64,
}

impl Relay {
    pub fn new(_now: Instant) -> Self {
        Self
    }
    pub fn admit(&mut self, _now: Instant, _grant: Grant, _secrets: &Secrets) {}
    pub fn revoke(&mut self, _connection: ConnectionId) {}
    pub fn handle_datagram(&mut self, _now: Instant, _from: SocketAddr, _datagram: &mut [u8]) {}
    pub fn poll_transmit(&mut self, _now: Instant, _buffer: &mut [u8]) -> Option<Transmit> {
        None
    }
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }
    pub fn handle_timeout(&mut self, _now: Instant) {}
    pub fn statistics(&self) -> RelayStatistics {
        RelayStatistics::default()
    }
}
