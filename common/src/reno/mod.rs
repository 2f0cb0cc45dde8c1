//! An application-layer TCP Reno: streams of bytes over datagrams, under one congestion window.
//!
//! | file              | knows                                                    | after                              |
//! |-------------------|----------------------------------------------------------|------------------------------------|
//! | `connection.rs`   | how the others work together: the interface              |                                    |
//! | `sender.rs`       | how what governs the sending works together              |                                    |
//! | `congestion.rs`   | Reno: `cwnd` and `ssthresh`                              | RFC 5681, 6582, 3465, 7661         |
//! | `hystart.rs`      | when to leave slow start                                 | RFC 9406                           |
//! | `controller.rs`   | what Reno and those in its place can do                  |                                    |
//! | `radio.rs`        | Reno for links that lose without a queue                 | TCP Veno                           |
//! | `yielding.rs`     | the window of a file beside a call                       | RFC 6817                           |
//! | `queueing.rs`     | how long segments wait on their way                      | RFC 6817                           |
//! | `rtt.rs`          | the round trip and the timeouts made of it               | RFC 6298                           |
//! | `rack.rs`         | how long a segment may be overtaken                      | RFC 8985                           |
//! | `recovery.rs`     | one answer for a round of losses, and taking it back     | RFC 6582, 6675, 4015               |
//! | `pacing.rs`       | the window spread over the round trip                    | RFC 9002 §7.7                      |
//! | `path_mtu.rs`     | how long a segment the path carries                      | RFC 8899                           |
//! | `scoreboard.rs`   | what is on the way, what is lost                         | RFC 6675                           |
//! | `connection/incarnation.rs` | how a channel that failed is opened anew                 |                                    |
//! | `timer.rs`        | when to act without having heard                         | RFC 6298, 8985, 9293               |
//! | `outbox.rs`       | which stream is served next                              |                                    |
//! | `send_queue.rs`   | one stream: written, sent, acknowledged                  |                                    |
//! | `inbox.rs`        | which streams the peer sends, and what to tell it        |                                    |
//! | `recv_queue.rs`   | one stream: received, in order, read                     |                                    |
//! | `acknowledger.rs` | which segments arrived, when to tell                     | RFC 5681 §4.2, 9000 §13.2          |
//! | `trace.rs`        | what happened, for a plot                                | qlog                               |
//! | `ranges.rs`, `minimum.rs` | sets of numbers, the least of late               |                                    |
//!
//! Where it leaves the letter of TCP: segments have numbers of their own that are never used twice, and bytes have
//! offsets in their stream, so an acknowledgement is never ambiguous and a loss never holds up another stream. Both
//! are QUIC's (RFC 9002), as are the rules that follow from them; the window is TCP Reno's. `docs/RENO.md` explains
//! the whole.

mod acknowledger;
#[cfg(test)]
mod behaviour;
mod congestion;
pub mod connection;
mod controller;
mod hystart;
mod inbox;
mod minimum;
mod outbox;
mod pacing;
mod path_mtu;
mod queueing;
mod rack;
mod radio;
mod ranges;
mod recovery;
mod recv_queue;
mod rtt;
mod scoreboard;
mod send_queue;
mod sender;
#[cfg(test)]
mod simulation;
mod timer;
mod trace;
mod yielding;

use std::time::Duration;

pub use connection::{Connection, Event, Read};
pub use trace::{Trace, Traced};

use crate::limits::DATAGRAM_MAX_BYTES;
pub use crate::wire::segment::{SEGMENT_BASE_BYTES, SEGMENT_MAX_BYTES, StreamId};

/// What a channel can be told to do otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How the window follows losses.
    pub algorithm: Algorithm,
    /// The longest datagram that leaves uncut: [`DATAGRAM_MAX_BYTES`] for a socket that forbids fragmentation, else
    /// [`crate::limits::DATAGRAM_BASE_BYTES`].
    pub datagram_max_bytes: usize,
}

impl Default for Config {
    /// Reno, and a socket that forbids fragmentation.
    fn default() -> Self {
        Self { algorithm: Algorithm::Reno, datagram_max_bytes: DATAGRAM_MAX_BYTES }
    }
}

/// Which congestion controller a channel has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// Does not take losses without a queue for congestion.
    Radio,
    /// TCP Reno.
    #[default]
    Reno,
}

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
    /// The window is held below Reno's because a call uses the path (after RFC 6817).
    Yielding,
}

/// What can be seen of a Reno sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RenoStatistics {
    /// Which controller it is.
    pub algorithm: Algorithm,
    /// Congestion window, bytes.
    pub cwnd_bytes: u64,
    /// Slow start threshold, bytes; `None` before the first loss ("arbitrarily high", RFC 5681 §3.1).
    pub ssthresh_bytes: Option<u64>,
    /// Bytes of the longest segment (SMSS).
    pub smss_bytes: u64,
    /// The pace at which segments leave, bits a second; `None` before the round trip is known.
    pub pacing_rate_bps: Option<u64>,
    /// Sent and neither acknowledged nor found lost, bytes.
    pub flight_size_bytes: u64,
    /// Smoothed round-trip time (RFC 6298), `None` before the first sample.
    pub srtt: Option<Duration>,
    /// Round-trip time variation (RFC 6298).
    pub rttvar: Duration,
    /// The shortest round trip of the last half minute, `None` before the first sample.
    pub rtt_min: Option<Duration>,
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
    /// Times that was taken back, because what was thought lost arrived.
    pub spurious_losses: u64,
    /// Retransmission timeouts.
    pub timeouts: u64,
    /// Bytes of stream data acknowledged by the peer.
    pub bytes_acknowledged: u64,
}
