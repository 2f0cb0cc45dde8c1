//! Shows the window with made-up people, to look at a view without a meeting: `window_demo [SCENE]`.
//!
//! Scenes are `home`, `waiting`, `ended`, `meeting`, `knock`, `people`, `chat`, `private`, `files`, `analytics`,
//! `leave` and `settings`. The last ones only prepare the meeting: click to open what is to be seen.

use std::collections::VecDeque;
use std::f64::consts::TAU;
use std::sync::mpsc;
use std::time::Duration;

use client::devices::{DeviceChoice, Picture};
use client::engine::protocol::{ChatLine, Command, Event, FrameSlots, Joined};
use client::ui::{DeviceLists, EngineLink, Start, run};
use common::ids::{ChatId, KnockId, MemberId, RoomCode, Ssrc, StreamKind, TransferId};
use common::picture::blocks::AssemblerStatistics;
use common::picture::freezes::FreezeStatistics;
use common::reno::{Phase, RenoStatistics};
use common::stats::{HopStatistics, InboundMedia, InboundStream, NetworkSnapshot, OutboundStream, RemoteInbound};
use common::voice::playout::PlayoutStatistics;
use common::wire::control::{MediaState, Member, Reach};
use common::wire::message::{FileOffer, FileState, Recipients};

/// A clip that stands in for four cameras: JPEG pictures, one after the other.
const CLIP: &[u8] = include_bytes!("../../assets/face_864x480_30fps.mjpeg");
const ANA: MemberId = MemberId(1);
const BO: MemberId = MemberId(2);
const CLEO: MemberId = MemberId(3);
const DAN: MemberId = MemberId(4);
const EVE: MemberId = MemberId(5);

fn main() -> Result<(), String> {
    let scene = std::env::args().nth(1).unwrap_or_default();
    let start = Start {
        name: "Ana".into(),
        server: None,
        command: None,
        devices: DeviceLists {
            cameras: vec!["Integrated camera".into()],
            microphones: vec!["Headset".into()],
            camera: DeviceChoice::Synthetic,
            ..DeviceLists::default()
        },
    };
    run(start, |ctx| {
        let frames = FrameSlots::default();
        let (events_in, events) = mpsc::sync_channel(2_048);
        let slots = frames.clone();
        // The demo ends with the process; nothing waits for this thread.
        std::thread::spawn(move || {
            let mut events: VecDeque<Event> = scene_events(&scene).into();
            while let Some(event) = events.pop_front() {
                if events_in.send(event).is_err() {
                    return;
                }
            }
            play(&slots, &events_in, &ctx);
        });
        EngineLink { commands: Box::new(|_: Command| true), events: Box::new(move || events.try_recv().ok()), frames }
    })
}

/// Shows the clip as everybody's camera, each a little later than the one before.
fn play(slots: &FrameSlots, events: &mpsc::SyncSender<Event>, ctx: &eframe::egui::Context) {
    let jpegs = jpegs();
    for number in 0.. {
        for (member, delay) in [(ANA, 0), (BO, 40), (CLEO, 80), (DAN, 120)] {
            let picture = decode(jpegs[(number + delay) % jpegs.len()]);
            slots.put(member, picture);
            if events.send(Event::Frame(member)).is_err() {
                return;
            }
        }
        ctx.request_repaint();
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Cuts the clip at the start of each picture (SOI, ISO 10918-1 table B.1).
fn jpegs() -> Vec<&'static [u8]> {
    let starts: Vec<_> = (0..CLIP.len() - 2).filter(|at| CLIP[*at..].starts_with(&[0xff, 0xd8, 0xff])).collect();
    let ends = starts.iter().skip(1).copied().chain([CLIP.len()]);
    starts.iter().zip(ends).map(|(start, end)| &CLIP[*start..end]).collect()
}

fn decode(jpeg: &[u8]) -> Picture {
    let image = turbojpeg::decompress(jpeg, turbojpeg::PixelFormat::RGBA).expect("the clip is whole");
    Picture { width: image.width, height: image.height, rgba: image.pixels }
}

fn scene_events(scene: &str) -> Vec<Event> {
    let code = RoomCode::new(42_917).expect("below a million");
    match scene {
        "home" => vec![],
        "waiting" => vec![Event::Knocking { code }],
        "ended" => vec![Event::Ended { reason: "The host ended the meeting.".into(), expected: true, rejoin: false }],
        "knock" => {
            let knock = |(id, name): (u32, &str)| Event::KnockArrived { knock: KnockId(id), name: name.into() };
            let mut events = meeting(code);
            events.extend([(1, "Frida Nakamura"), (2, "Gustav")].map(knock));
            events
        }
        _ => [meeting(code), chat(), files(), statistics()].concat(),
    }
}

fn meeting(code: RoomCode) -> Vec<Event> {
    let member = |id, name: &str, camera, microphone| Member {
        away: false,
        reach: Reach::WHOLE,
        id,
        name: name.into(),
        host: id == ANA,
        media: MediaState { camera, microphone },
    };
    let joined = Joined {
        code,
        you: ANA,
        members: vec![
            member(ANA, "Ana", true, true),
            member(BO, "Bo Lindqvist", true, true),
            member(CLEO, "Cleo", true, false),
            member(DAN, "Dan", true, true),
            member(EVE, "Eve Okafor", false, false),
        ],
        locked: false,
        addresses: vec!["192.168.1.20:7600".into()],
        addresses_note: None,
        server_is_ours: false,
    };
    vec![
        Event::Joined(joined),
        Event::Speaking(vec![BO]),
        Event::Notice("No microphone was found. The others cannot hear you.".into()),
    ]
}

fn chat() -> Vec<Event> {
    let line = |(from, id, to, text): (MemberId, u32, Recipients, &str)| {
        Event::Chat(ChatLine { from, id: ChatId(id), to, text: text.into() })
    };
    let everyone = Recipients::Everyone;
    let mut events: Vec<_> = [
        (BO, 1, everyone, "Good morning! Can everybody hear me?"),
        (CLEO, 1, everyone, "Loud and clear."),
        (CLEO, 2, everyone, "I stay muted, there is a drill next door."),
        (ANA, 1, everyone, "Welcome. The slides are on their way, please accept the file."),
        (BO, 2, Recipients::Member(ANA), "Should we tell them about the budget today?"),
        (ANA, 2, Recipients::Member(BO), "Not yet. Let us wait for the numbers."),
    ]
    .map(line)
    .into();
    events.extend([(1, 4), (2, 1)].map(|(id, delivered)| Event::ChatDelivered { id: ChatId(id), delivered }));
    events
}

fn files() -> Vec<Event> {
    let offer = |from, transfer, to, name: &str, size| Event::FileOffered {
        from,
        offer: FileOffer { transfer: TransferId(transfer), to, name: name.into(), size, hash: [0; 32] },
    };
    let mut events = vec![
        offer(BO, 1, Recipients::Everyone, "agenda.pdf", 184_320),
        offer(ANA, 1, Recipients::Everyone, "slides-autumn.pdf", 48_000_000),
        offer(CLEO, 1, Recipients::Member(ANA), "budget draft.xlsx", 2_400_000),
    ];
    events.push(Event::FileChanged {
        from: BO,
        transfer: TransferId(1),
        receiver: ANA,
        state: FileState::Verified,
        path: Some("/home/ana/Downloads/agenda.pdf".into()),
    });
    events
}

/// Two minutes of a network that gets worse in the middle, with a file on its way.
fn statistics() -> Vec<Event> {
    let mut events = Vec::new();
    for quarter in 0..480_u64 {
        let progress = |receiver, rate: u64| Event::FileChanged {
            from: ANA,
            transfer: TransferId(1),
            receiver,
            state: FileState::Receiving((quarter * rate / 4).min(47_000_000)),
            path: None,
        };
        events.extend([progress(BO, 310_000), progress(CLEO, 120_000)]);
        events.push(Event::Statistics(Box::new(snapshot(quarter))));
    }
    events.push(Event::FileChanged {
        from: ANA,
        transfer: TransferId(1),
        receiver: DAN,
        state: FileState::Verified,
        path: None,
    });
    events
}

fn snapshot(quarter: u64) -> NetworkSnapshot {
    let secs = quarter as f64 / 4.0;
    let wave = |period: f64| (secs * TAU / period).sin();
    let trouble = (1.0 - ((secs - 60.0) / 12.0).powi(2)).max(0.0);
    let round_trip = 23.0 + 2.0 * wave(3.1) + 1.5 * wave(0.9) + 40.0 * trouble;
    let stream = |member, kind, loss: f64| InboundStream {
        ssrc: Ssrc::new(member, kind),
        packets_received: quarter * 25,
        packets_lost: 0,
        retransmitted_packets_received: 0,
        fraction_lost: Some(loss as f32),
        jitter: Some(Duration::from_secs_f64((2.0 + wave(5.0 + f64::from(member.0)).abs() + 9.0 * trouble) / 1e3)),
        bitrate_bps: (790_000.0 + 30_000.0 * wave(7.0)) as u64,
        media: media(kind),
    };
    NetworkSnapshot {
        uptime: Duration::from_millis(250 * quarter),
        round_trip_time: Some(Duration::from_secs_f64(round_trip / 1e3)),
        inbound: vec![
            stream(BO, StreamKind::Audio, 0.06 * trouble),
            stream(BO, StreamKind::Video, 0.045 * trouble),
            stream(CLEO, StreamKind::Video, 0.003 * wave(9.0).abs()),
            stream(DAN, StreamKind::Audio, 0.0),
        ],
        outbound: vec![outbound(StreamKind::Audio, trouble), outbound(StreamKind::Video, trouble)],
        reno: reno(quarter),
        received_bitrate_bps: (2_450_000.0 + 300_000.0 * wave(11.0) - 600_000.0 * trouble) as u64,
        sent_bitrate_bps: (1_350_000.0 + 150_000.0 * wave(6.0)) as u64,
        uplink: HopStatistics {
            available_bitrate_bps: Some((2_900_000.0 - 900_000.0 * trouble + 40_000.0 * wave(4.0)) as u64),
            queueing_delay: Some(Duration::from_secs_f64((3.0 + wave(2.0) + 4.0 * trouble) / 1e3)),
            ..HopStatistics::default()
        },
        downlink: HopStatistics {
            queueing_delay: Some(Duration::from_secs_f64((4.0 + wave(3.0) + 38.0 * trouble) / 1e3)),
            ..HopStatistics::default()
        },
        ..NetworkSnapshot::default()
    }
}

fn media(kind: StreamKind) -> InboundMedia {
    match kind {
        StreamKind::Audio => InboundMedia::Audio {
            playout: PlayoutStatistics::default(),
            fraction_concealed: 0.001,
            playout_delay: Duration::from_millis(38),
            mean_opinion_score: Some(4.3),
        },
        StreamKind::Video => InboundMedia::Video {
            frames: AssemblerStatistics::default(),
            freezes: FreezeStatistics::default(),
            frames_per_second: 29.8,
            rung: 3,
            quality: 62,
        },
    }
}

fn outbound(kind: StreamKind, trouble: f64) -> OutboundStream {
    OutboundStream {
        ssrc: Ssrc::new(ANA, kind),
        packets_sent: 12_000,
        bitrate_bps: 790_000,
        remote: vec![RemoteInbound {
            reporter: MemberId::SERVER,
            fraction_lost: (0.01 * trouble) as f32,
            packets_lost: 2,
            jitter: Duration::from_secs_f64((1.5 + 2.0 * trouble) / 1e3),
            bitrate_bps: 785_000,
        }],
    }
}

/// Slow start to the first loss, then the saw teeth of congestion avoidance.
fn reno(quarter: u64) -> RenoStatistics {
    let (cwnd_kb, ssthresh_kb, phase) = match quarter {
        0..24 => (14.0 * 1.14_f64.powf(quarter as f64), None, Phase::SlowStart),
        _ => match (quarter - 24) % 76 {
            tooth @ 0..4 => (160.0 - 18.0 * tooth as f64, Some(80.0), Phase::FastRecovery),
            tooth => (80.0 + 1.1 * tooth as f64, Some(80.0), Phase::CongestionAvoidance),
        },
    };
    RenoStatistics {
        cwnd_bytes: (cwnd_kb * 1e3) as u64,
        ssthresh_bytes: ssthresh_kb.map(|kb| (kb * 1e3) as u64),
        flight_size_bytes: (cwnd_kb * 880.0) as u64,
        srtt: Some(Duration::from_micros(24_300)),
        rttvar: Duration::from_micros(1_900),
        rto: Duration::from_millis(200),
        phase,
        segments_sent: 40_120,
        segments_retransmitted: 61,
        loss_events: 6,
        timeouts: 0,
        bytes_acknowledged: 37_000_000,
        ..RenoStatistics::default()
    }
}
