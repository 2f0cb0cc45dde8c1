//! What the peers carry: a stream that always has more, or small messages at a steady pace; and what is counted of it
//! where it arrives. The peers only move bytes, so that all are measured by the same rule.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::{NANOS_PER_SEC, nanos};

/// What one connection carries.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Traffic {
    /// As much as the path takes for so long; what has arrived by then counts.
    Bulk {
        /// From the first byte written on.
        secs: f64,
    },
    /// So many messages of [`MESSAGE_BYTES`], one every [`MESSAGE_INTERVAL`].
    Messages {
        /// Of one connection.
        count: usize,
    },
}

/// Bytes of a message: a line of chat, or a command of a transfer.
pub(crate) const MESSAGE_BYTES: usize = 200;
/// Ten a second: faster than people type, slower than any path here.
pub(crate) const MESSAGE_INTERVAL: Duration = Duration::from_millis(100);
/// Bytes written at a time in bulk.
const PIECE_BYTES: usize = 64 * 1024;
/// Bytes of the time at which something was written, in front of it.
const STAMP_BYTES: usize = 8;
/// How long the last bytes may take; longer than any back-off that a run of this length reaches.
const PATIENCE_NANOS: u64 = 15 * NANOS_PER_SEC;

/// The sender's side of one connection.
#[derive(Debug)]
pub(crate) struct Source {
    traffic: Traffic,
    began: u64,
    /// Of the whole stream.
    written: u64,
    buffer: Vec<u8>,
}

impl Source {
    /// Begins at once in bulk; messages of connection `index` out of `connections` begin a share of the interval later.
    pub(crate) fn new(traffic: Traffic, index: usize, connections: usize) -> Self {
        let interval = MESSAGE_INTERVAL.as_nanos() as u64;
        let (later, bytes) = match traffic {
            Traffic::Bulk { .. } => (0, PIECE_BYTES),
            Traffic::Messages { .. } => (interval * index as u64 / connections.max(1) as u64, MESSAGE_BYTES),
        };
        let began = nanos() + later;
        let mut buffer = vec![0; bytes];
        buffer[..STAMP_BYTES].copy_from_slice(&began.to_be_bytes());
        Self { traffic, began, written: 0, buffer }
    }

    /// What it makes.
    pub(crate) fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// What is to be written now; nothing while the next message is not due, or when all was written.
    pub(crate) fn pending(&mut self) -> &[u8] {
        let position = (self.written % self.buffer.len() as u64) as usize;
        if self.due_at().is_none_or(|due| nanos() < due) {
            return &[];
        }
        if position == 0 && matches!(self.traffic, Traffic::Messages { .. }) {
            self.buffer[..STAMP_BYTES].copy_from_slice(&nanos().to_be_bytes());
        }
        &self.buffer[position..]
    }

    /// So much of it was taken.
    pub(crate) fn wrote(&mut self, bytes: usize) {
        self.written += bytes as u64;
    }

    /// When there is something to write, or `None` when there never is again.
    pub(crate) fn due_at(&self) -> Option<u64> {
        match self.traffic {
            Traffic::Bulk { .. } => (nanos() < self.bulk_ends_at()).then_some(self.began),
            Traffic::Messages { count } => {
                let next = self.written / MESSAGE_BYTES as u64;
                (next < count as u64).then(|| self.began + next * MESSAGE_INTERVAL.as_nanos() as u64)
            }
        }
    }

    /// Time until [`Self::due_at`], `None` when nothing is to come.
    pub(crate) fn wait(&self) -> Option<Duration> {
        self.due_at().map(|due| Duration::from_nanos(due.saturating_sub(nanos())))
    }

    /// Bytes of the whole stream that were written.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    fn bulk_ends_at(&self) -> u64 {
        match self.traffic {
            Traffic::Bulk { secs } => self.began + (secs * NANOS_PER_SEC as f64) as u64,
            Traffic::Messages { .. } => self.began,
        }
    }

    /// Whether the sender may go: bulk at the end of its time, messages when all `acknowledged`, or when the last one
    /// has had all the time it gets.
    pub(crate) fn is_over(&self, acknowledged: bool) -> bool {
        match self.traffic {
            Traffic::Bulk { .. } => nanos() >= self.bulk_ends_at(),
            Traffic::Messages { count } => {
                let last = self.began + count as u64 * MESSAGE_INTERVAL.as_nanos() as u64;
                self.due_at().is_none() && acknowledged || nanos() >= last + PATIENCE_NANOS
            }
        }
    }
}

/// The receiver's side of one connection.
#[derive(Debug)]
pub(crate) struct Sink {
    traffic: Traffic,
    created: u64,
    /// When the sender wrote its first byte.
    began: Option<u64>,
    received: u64,
    /// The beginning of the message that is being received.
    stamp: [u8; STAMP_BYTES],
    delays_ms: Vec<f64>,
}

impl Sink {
    /// Nothing has arrived yet.
    pub(crate) fn new(traffic: Traffic) -> Self {
        Self { traffic, created: nanos(), began: None, received: 0, stamp: [0; STAMP_BYTES], delays_ms: Vec::new() }
    }

    /// Bytes of the stream arrived, in order.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        let now = nanos();
        match self.traffic {
            Traffic::Bulk { .. } => self.take_bulk(now, bytes),
            Traffic::Messages { .. } => bytes.iter().for_each(|byte| self.take_of_message(now, *byte)),
        }
    }

    fn take_bulk(&mut self, now: u64, bytes: &[u8]) {
        for (place, byte) in self.stamp.iter_mut().skip(self.received as usize).zip(bytes) {
            *place = *byte;
        }
        if self.began.is_none() && self.received as usize + bytes.len() >= STAMP_BYTES {
            self.began = Some(u64::from_be_bytes(self.stamp));
        }
        if !self.bulk_ended(now) {
            self.received += bytes.len() as u64;
        }
    }

    fn take_of_message(&mut self, now: u64, byte: u8) {
        let position = (self.received % MESSAGE_BYTES as u64) as usize;
        if let Some(place) = self.stamp.get_mut(position) {
            *place = byte;
        }
        self.received += 1;
        if position == MESSAGE_BYTES - 1 {
            let delay = now.saturating_sub(u64::from_be_bytes(self.stamp));
            self.delays_ms.push(delay as f64 / 1e6);
        }
    }

    fn bulk_ended(&self, now: u64) -> bool {
        let Traffic::Bulk { secs } = self.traffic else { return false };
        self.began.is_some_and(|began| now >= began + (secs * NANOS_PER_SEC as f64) as u64)
    }

    /// Whether all arrived, or will not.
    pub(crate) fn is_over(&self) -> bool {
        let now = nanos();
        let expected = match self.traffic {
            Traffic::Bulk { secs } => (secs * NANOS_PER_SEC as f64) as u64,
            Traffic::Messages { count } if self.delays_ms.len() >= count => return true,
            Traffic::Messages { count } => count as u64 * MESSAGE_INTERVAL.as_nanos() as u64,
        };
        self.bulk_ended(now) || now >= self.created + expected + PATIENCE_NANOS
    }

    /// What arrived.
    pub(crate) fn into_received(self) -> Received {
        let (secs, count) = match self.traffic {
            Traffic::Bulk { secs } => (secs, 0),
            Traffic::Messages { count } => (0.0, count),
        };
        let goodput_mbit = if secs > 0.0 { self.received as f64 * 8.0 / secs / 1e6 } else { 0.0 };
        let missing = count.saturating_sub(self.delays_ms.len());
        Received { bytes: self.received, goodput_mbit, missing, delays_ms: self.delays_ms, cpu_secs: 0.0 }
    }
}

/// What the receiver of a flow tells in the end, over all its connections.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Received {
    /// Of streams, in order.
    pub(crate) bytes: u64,
    /// Bytes in the time of the traffic; 0 of messages.
    pub(crate) goodput_mbit: f64,
    /// Messages that never came.
    pub(crate) missing: usize,
    /// Of each message, one way.
    pub(crate) delays_ms: Vec<f64>,
    /// User and system time of the process.
    pub(crate) cpu_secs: f64,
}

impl Received {
    /// Adds what another connection received.
    pub(crate) fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.goodput_mbit += other.goodput_mbit;
        self.missing += other.missing;
        self.delays_ms.extend(other.delays_ms);
    }
}

/// What the sender of a flow tells in the end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sent {
    /// User and system time of the process.
    pub(crate) cpu_secs: f64,
    /// What explains a figure, in the words of the transport.
    pub(crate) remarks: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bulk_counts_every_byte_and_knows_when_it_began() {
        let traffic = Traffic::Bulk { secs: 60.0 };
        let (mut source, mut sink) = (Source::new(traffic, 0, 1), Sink::new(traffic));
        for bytes in [3, 5, 100_000] {
            let piece: Vec<u8> = source.pending().iter().copied().take(bytes).collect();
            source.wrote(piece.len());
            sink.take(&piece);
        }
        assert_eq!((sink.received, sink.began), (source.written(), Some(source.began)));
        assert!(!sink.is_over() && !source.is_over(true));
    }

    #[test]
    fn every_message_has_its_delay_however_it_is_cut() {
        let traffic = Traffic::Messages { count: 1 };
        let (mut source, mut sink) = (Source::new(traffic, 0, 1), Sink::new(traffic));
        while source.due_at().is_some() {
            let piece: Vec<u8> = source.pending().iter().copied().take(7).collect();
            source.wrote(piece.len());
            sink.take(&piece);
        }
        assert!(source.pending().is_empty() && source.is_over(true) && sink.is_over());
        let received = sink.into_received();
        assert_eq!((received.delays_ms.len(), received.missing, received.bytes), (1, 0, 200));
    }
}
