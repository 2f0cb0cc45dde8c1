//! Made-up people, numbers and files for the tests of the views.

use std::time::Duration;

use common::ids::{MemberId, RoomCode, Ssrc, StreamKind, TransferId};
use common::reno::{Phase, RenoStatistics};
use common::stats::{InboundMedia, InboundStream, NetworkSnapshot, OutboundStream, RemoteInbound};
use common::voice::playout::PlayoutStatistics;
use common::wire::control::{MediaState, Member, Reach};
use common::wire::message::{FileOffer, Recipients};

use super::model::Model;
use crate::engine::protocol::{Event, Joined};

pub(crate) const ANA: MemberId = MemberId(1);
pub(crate) const BO: MemberId = MemberId(2);
pub(crate) const CLEO: MemberId = MemberId(3);

pub(crate) fn member(id: MemberId, name: &str, host: bool) -> Member {
    Member {
        id,
        name: name.into(),
        host,
        media: MediaState { camera: true, microphone: true },
        away: false,
        reach: Reach::WHOLE,
    }
}

/// A meeting of Ana, Bo and Cleo, seen by `you`; Ana is the host.
pub(crate) fn meeting(you: MemberId) -> Model {
    let mut model = Model::default();
    model.apply(Event::Joined(Joined {
        code: RoomCode::new(42_917).expect("below a million"),
        you,
        members: vec![member(ANA, "Ana", true), member(BO, "Bo", false), member(CLEO, "Cleo", false)],
        locked: false,
        addresses: vec!["192.0.2.7:7600".into()],
        addresses_note: None,
        server_is_ours: false,
    }));
    model
}

pub(crate) fn offer(transfer: u32, size: u64) -> FileOffer {
    FileOffer {
        transfer: TransferId(transfer),
        to: Recipients::Everyone,
        name: "slides.pdf".into(),
        size,
        hash: [7; 32],
    }
}

/// A clean network, `quarter` quarters of a second after the start, seen by Ana with Bo and Cleo sending.
pub(crate) fn snapshot(quarter: u64) -> NetworkSnapshot {
    NetworkSnapshot {
        uptime: Duration::from_millis(250 * quarter),
        round_trip_time: Some(Duration::from_millis(12)),
        inbound: vec![inbound(BO), inbound(CLEO)],
        outbound: vec![outbound()],
        reno: RenoStatistics {
            cwnd_bytes: 14_000 + 1_000 * quarter,
            ssthresh_bytes: Some(40_000),
            flight_size_bytes: 12_000,
            srtt: Some(Duration::from_millis(13)),
            rttvar: Duration::from_millis(2),
            rto: Duration::from_millis(200),
            phase: Phase::CongestionAvoidance,
            ..RenoStatistics::default()
        },
        received_bitrate_bps: 1_600_000,
        sent_bitrate_bps: 800_000,
        ..NetworkSnapshot::default()
    }
}

fn inbound(member: MemberId) -> InboundStream {
    InboundStream {
        ssrc: Ssrc::new(member, StreamKind::Audio),
        packets_received: 1_000,
        packets_lost: 0,
        retransmitted_packets_received: 0,
        fraction_lost: Some(0.0),
        jitter: Some(Duration::from_millis(2)),
        bitrate_bps: 790_000,
        media: InboundMedia::Audio {
            playout: PlayoutStatistics { jitter_buffer_emitted_count: 480_000, ..PlayoutStatistics::default() },
            fraction_concealed: 0.0,
            playout_delay: Duration::from_millis(40),
            mean_opinion_score: Some(4.4),
        },
    }
}

fn outbound() -> OutboundStream {
    OutboundStream {
        ssrc: Ssrc::new(ANA, StreamKind::Audio),
        packets_sent: 1_000,
        bitrate_bps: 790_000,
        remote: [MemberId::SERVER, BO, CLEO].map(remote).into(),
    }
}

fn remote(reporter: MemberId) -> RemoteInbound {
    RemoteInbound {
        reporter,
        fraction_lost: 0.0,
        packets_lost: 0,
        jitter: Duration::from_millis(2),
        bitrate_bps: 790_000,
    }
}
