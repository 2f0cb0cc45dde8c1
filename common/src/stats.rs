//! What the network does, as numbers to be drawn: names follow W3C webrtc-stats, in snake case.

use std::time::Duration;

use crate::ids::{MemberId, Ssrc};
use crate::media::ladder::VideoTarget;
use crate::reno::RenoStatistics;

/// One look at everything an [`crate::endpoint::Endpoint`] measures; taken four times a second for the plots.
#[derive(Clone, Debug, Default)]
pub struct NetworkSnapshot {
    /// Time since the endpoint began.
    pub uptime: Duration,
    /// Last round trip to the server on the data plane, `None` before the first.
    pub round_trip_time: Option<Duration>,
    /// Streams that arrive here.
    pub inbound: Vec<InboundStream>,
    /// Streams that are sent from here.
    pub outbound: Vec<OutboundStream>,
    /// The reliable channel to the server, our sending side.
    pub reno: RenoStatistics,
    /// What the ladder asks of the camera.
    pub video_target: VideoTarget,
    /// All datagrams received in the last second, in bits per second with IP and UDP headers.
    pub received_bitrate_bps: u64,
    /// All datagrams sent in the last second, in bits per second with IP and UDP headers.
    pub sent_bitrate_bps: u64,
    /// Datagrams dropped since the start because they did not open, were seen before, or were malformed.
    pub datagrams_discarded: u64,
}

/// A media stream that arrives (webrtc-stats `inbound-rtp`).
#[derive(Clone, Debug, PartialEq)]
pub struct InboundStream {
    /// Which.
    pub ssrc: Ssrc,
    /// Packets that arrived, since the stream began.
    pub packets_received: u64,
    /// Packets that did not, since the stream began; doubled ones can make it negative.
    pub packets_lost: i64,
    /// Share of packets lost over the last second, 0.0..=1.0.
    pub fraction_lost: f32,
    /// Interarrival jitter (RFC 3550 §6.4.1).
    pub jitter: Duration,
    /// Payload and headers down to UDP and IP, over the last second, in bits per second.
    pub bitrate_bps: u64,
    /// What only audio or only video has.
    pub media: InboundMedia,
}

/// The part of [`InboundStream`] that depends on what the stream carries. Counts run since the stream began.
#[derive(Clone, Debug, PartialEq)]
pub enum InboundMedia {
    /// Blocks of audio.
    Audio {
        /// Blocks that were played as they came.
        blocks_played: u64,
        /// Blocks made up because theirs was missing (webrtc-stats `concealedSamples` / 480).
        blocks_concealed: u64,
        /// Blocks that came too late or too early to be played (webrtc-stats `packetsDiscarded`).
        packets_discarded: u64,
        /// How long a block waits between arriving and being played (webrtc-stats `jitterBufferDelay`).
        playout_delay: Duration,
    },
    /// Video frames.
    Video {
        /// Frames of which at least one part arrived, handed to the decoder.
        frames_received: u64,
        /// Of these, frames with a part missing.
        frames_incomplete: u64,
        /// Frames over the last second.
        frames_per_second: f32,
        /// Index into [`crate::media::ladder::Rung::ALL`] of the last frame.
        rung: u8,
        /// JPEG quality 1..=100 of the last frame.
        quality: u8,
    },
}

/// A media stream that is sent, with what its receivers say of it (webrtc-stats `outbound-rtp` and
/// `remote-inbound-rtp`).
#[derive(Clone, Debug, PartialEq)]
pub struct OutboundStream {
    /// Which.
    pub ssrc: Ssrc,
    /// Packets sent since the stream began.
    pub packets_sent: u64,
    /// Payload and headers down to UDP and IP, over the last second, in bits per second.
    pub bitrate_bps: u64,
    /// The newest report of each receiver; [`MemberId::SERVER`] is the first hop.
    pub remote: Vec<RemoteInbound>,
}

/// How one receiver gets one of our streams.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteInbound {
    /// Who receives; [`MemberId::SERVER`] is the server.
    pub reporter: MemberId,
    /// Share of packets lost in the reported interval, 0.0..=1.0.
    pub fraction_lost: f32,
    /// Packets lost since the stream began.
    pub packets_lost: i64,
    /// Interarrival jitter (RFC 3550 §6.4.1).
    pub jitter: Duration,
    /// What arrived there, in bits per second.
    pub bitrate_bps: u64,
}
