//! An application-layer TCP Reno: streams of bytes over datagrams, under one congestion window.
//!
//! | file              | knows                                                    | after                        |
//! |-------------------|----------------------------------------------------------|------------------------------|
//! | `connection.rs`   | how the others work together: the interface              |                              |
//! | `congestion.rs`   | `cwnd` and `ssthresh`                                    | RFC 5681, 6582, 3465, 7661   |
//! | `rtt.rs`          | the round trip and the timeouts made of it               | RFC 6298                     |
//! | `scoreboard.rs`   | what is on the way, what is lost                         | RFC 6675, 9002               |
//! | `timer.rs`        | when to act without having heard                         | RFC 6298, 8985, 9293         |
//! | `outbox.rs`       | which stream is served next                              |                              |
//! | `send_queue.rs`   | one stream: written, sent, acknowledged                  |                              |
//! | `inbox.rs`        | which streams the peer sends, and what to tell it        |                              |
//! | `recv_queue.rs`   | one stream: received, in order, read                     |                              |
//! | `acknowledger.rs` | which segments arrived, when to tell                     | RFC 5681 §4.2, 9000 §13.2    |
//! | `ranges.rs`       | sets of numbers                                          |                              |
//!
//! Where it leaves the letter of TCP: segments have numbers of their own that are never used twice, and bytes have
//! offsets in their stream, so an acknowledgement is never ambiguous and a loss never holds up another stream. Both
//! are QUIC's (RFC 9002), as are the rules that follow from them; the window is TCP Reno's.

mod acknowledger;
#[cfg(test)]
mod behaviour;
mod congestion;
pub mod connection;
mod inbox;
mod outbox;
mod ranges;
mod recv_queue;
mod rtt;
mod scoreboard;
mod send_queue;
#[cfg(test)]
mod simulation;
mod timer;

use std::time::Duration;

pub use connection::{Connection, Event, Read};

pub use crate::wire::segment::{SEGMENT_MAX_BYTES, StreamId};

/// The peer did what no honest one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Violation;

/// The phases of Reno, as they are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// The window doubles each round trip (RFC 5681 §3.1).
    #[default]
    SlowStart,
    /// The window grows by one segment each round trip (RFC 5681 §3.1).
    CongestionAvoidance,
    /// Between a loss and the acknowledgement of all that was outstanding then (RFC 6582, RFC 6675).
    FastRecovery,
    /// After a retransmission timeout, until what was outstanding then is acknowledged (RFC 5681 §3.1).
    TimeoutRecovery,
}

/// What can be seen of a Reno sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RenoStatistics {
    /// Congestion window, bytes.
    pub cwnd_bytes: u64,
    /// Slow start threshold, bytes; `None` before the first loss ("arbitrarily high", RFC 5681 §3.1).
    pub ssthresh_bytes: Option<u64>,
    /// Sent and neither acknowledged nor found lost, bytes.
    pub flight_size_bytes: u64,
    /// Smoothed round-trip time (RFC 6298), `None` before the first sample.
    pub srtt: Option<Duration>,
    /// Round-trip time variation (RFC 6298).
    pub rttvar: Duration,
    /// Retransmission timeout with its back-off.
    pub rto: Duration,
    /// Where Reno is.
    pub phase: Phase,
    /// Segments with data sent, retransmissions included.
    pub segments_sent: u64,
    /// Segments whose data was sent again.
    pub segments_retransmitted: u64,
    /// Times the window was halved for loss.
    pub loss_events: u64,
    /// Retransmission timeouts.
    pub timeouts: u64,
    /// Bytes of stream data acknowledged by the peer.
    pub bytes_acknowledged: u64,
}
