//! What the network does, as numbers to be drawn: names follow W3C webrtc-stats, in snake case.

use std::time::Duration;

use crate::ids::{MemberId, Ssrc};
use crate::picture::blocks::AssemblerStatistics;
use crate::picture::freezes::FreezeStatistics;
use crate::picture::ladder::VideoTarget;
use crate::reno::RenoStatistics;
use crate::voice::playout::PlayoutStatistics;

/// One look at everything an [`crate::endpoint::Endpoint`] measures; taken four times a second for the plots. What was not
/// measured for [`crate::limits::UNMEASURED_AFTER`] is `None`, or not there: nobody is shown a number that was true once.
#[derive(Clone, Debug, Default)]
pub struct NetworkSnapshot {
    /// Time since the endpoint began.
    pub uptime: Duration,
    /// Nothing came from the server for so long, all of [`crate::limits::DATA_SILENCE_AFTER`] or more.
    pub silent_for: Option<Duration>,
    /// Last round trip to the server on the data plane, `None` before the first and where it was long ago.
    pub round_trip_time: Option<Duration>,
    /// The way from here to the server.
    pub uplink: HopStatistics,
    /// The way from the server to here.
    pub downlink: HopStatistics,
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

/// One way between this member and the server, whatever goes over it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HopStatistics {
    /// What may be sent, in bits per second (webrtc-stats `availableOutgoingBitrate`); `None` where the other end decides,
    /// before it told anything, and where that was long ago.
    pub available_bitrate_bps: Option<u64>,
    /// How much longer packets wait than the quickest did of late: the queue in front of the narrow place.
    pub queueing_delay: Option<Duration>,
    /// Share of the last second's datagrams that were lost, 0.0..=1.0.
    pub fraction_lost: Option<f32>,
    /// Somebody else keeps the queue full, and we fight for a share; only known where we send.
    pub competing: bool,
}

/// A media stream that arrives (webrtc-stats `inbound-rtp`).
#[derive(Clone, Debug, PartialEq)]
pub struct InboundStream {
    /// Which.
    pub ssrc: Ssrc,
    /// Packets that arrived, since the stream began, without those that were sent again.
    pub packets_received: u64,
    /// Packets that did not, since the stream began, whether they were sent again or not; doubled ones can make it negative.
    pub packets_lost: i64,
    /// Packets that arrived when they were sent again, since the stream began.
    pub retransmitted_packets_received: u64,
    /// Share of packets lost over the last second, 0.0..=1.0.
    pub fraction_lost: Option<f32>,
    /// Interarrival jitter (RFC 3550 §6.4.1).
    pub jitter: Option<Duration>,
    /// Payload and headers down to UDP and IP, over the last second, in bits per second.
    pub bitrate_bps: u64,
    /// What only audio or only video has.
    pub media: InboundMedia,
}

/// The part of [`InboundStream`] that depends on what the stream carries. Counts run since the stream began.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum InboundMedia {
    /// Blocks of audio.
    Audio {
        /// What became of its samples.
        playout: PlayoutStatistics,
        /// Share of the last second that was made up, 0.0..=1.0: what is left of the loss after copies and repairs.
        fraction_concealed: f32,
        /// How long a block waits right now between arriving and being played.
        playout_delay: Duration,
        /// How such a voice is liked, 1.0..=4.5 ([`crate::voice::mos`]): by what was concealed in the last second, and the
        /// way there, for which our half is measured and the speaker's taken to be as long. `None` without a round
        /// trip, and where nothing comes.
        mean_opinion_score: Option<f32>,
    },
    /// Video frames.
    Video {
        /// What became of frames and parts.
        frames: AssemblerStatistics,
        /// When the picture stood still that should have moved.
        freezes: FreezeStatistics,
        /// Frames over the last second.
        frames_per_second: f32,
        /// Index into [`crate::picture::ladder::Rung::ALL`] of the last frame.
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
    /// Packets sent since the stream began, without those that were sent again.
    pub packets_sent: u64,
    /// Payload and headers down to UDP and IP, over the last second, in bits per second.
    pub bitrate_bps: u64,
    /// The newest report of each receiver of whom one came of late; [`MemberId::SERVER`] is the first hop.
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
