//! Writes a few good inputs for each target into `seeds/`, for a fuzzer to start from and for
//! `tests/hostile_input.rs` to spoil.

use std::path::Path;
use std::time::Duration;

use common::ids::{
    ChatId, ConnectionId, KnockId, MemberId, RoomCode, Ssrc, StreamKind, TransferId,
};
use common::limits::AUDIO_BLOCK_SAMPLES;
use common::picture::jpeg;
use common::voice::pack::{Packed, Packer};
use common::reno::{SEGMENT_MAX_BYTES, StreamId};
use common::sequence::{FrameId, MediaTime, SendTime, SequenceNumber};
use common::wire::audio::{AudioDetail, AudioCopy, AudioPacket, Sound};
use common::wire::control::{Reach, 
    self, Action, Admission, CipherSuite, ClientMessage, Guest, MediaState, Member, Notice,
    PROTOCOL_VERSION, Refusal, ServerMessage, Snapshot, View,
};
use common::wire::datagram::Kind;
use common::wire::feedback::{AGE_MISSING, Feedback, VIDEO_UNLIMITED};
use common::wire::media::{BlockRun, MediaHeader, Report, ReportBlock, VideoHeader};
use common::wire::message::{
    self, Delivery, DownloadHeader, FileOffer, FileState, Message, Recipients,
};
use common::wire::segment::{Incarnation, SegmentWriter};
use common::wire::ticket::{ResumptionSecret, ServerRun, Ticket};

fn main() -> std::io::Result<()> {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let targets = [
        ("audio_layers", layers()),
        ("control_frame", control_frames()),
        ("control_plane", control_planes()),
        ("datagram", datagrams()),
        ("framing", framings()),
        ("jpeg_scan", pictures()),
        ("media_header", media()),
        ("names", names()),
        ("segment", segments()),
    ];
    for (target, inputs) in targets {
        let folder = seeds.join(target);
        std::fs::create_dir_all(&folder)?;
        for (name, bytes) in inputs {
            std::fs::write(folder.join(name), bytes)?;
        }
    }
    Ok(())
}

type Inputs = Vec<(&'static str, Vec<u8>)>;

/// A message without the bytes of its length.
fn body<M>(message: &M, encode: impl Fn(&M) -> Vec<u8>, prefix: usize) -> Vec<u8> {
    encode(message).split_off(prefix)
}

fn code() -> RoomCode {
    RoomCode::new(42_917).expect("it has six digits")
}

fn admission() -> ServerMessage {
    let member = |id, name: &str| Member {
        id: MemberId(id),
        name: name.to_owned(),
        host: id == 1,
        media: MediaState::default(),
        away: false,
        reach: Reach::WHOLE,
    };
    ServerMessage::Admitted(Admission {
        code: code(),
        you: MemberId(2),
        connection_id: ConnectionId(0x0123_4567_89ab_cdef),
        suite: CipherSuite::Aes256Gcm,
        members: vec![member(1, "Ada"), member(2, "Bo")],
        locked: false,
        run: ServerRun(7),
        secret: ResumptionSecret([9; ResumptionSecret::BYTES]),
    })
}

fn resumed() -> ServerMessage {
    let guest = |knock| Guest {
        knock: KnockId(knock),
        name: "Cy".to_owned(),
    };
    ServerMessage::Resumed(Snapshot {
        secret: ResumptionSecret([8; ResumptionSecret::BYTES]),
        members: Vec::new(),
        locked: true,
        knocks: vec![guest(3), guest(4)],
        wanted: Some(1),
    })
}

fn from_client() -> Vec<ClientMessage> {
    vec![
        ClientMessage::Hello {
            version: PROTOCOL_VERSION,
            aes: true,
        },
        ClientMessage::Knock {
            code: code(),
            name: "Bo".to_owned(),
        },
        ClientMessage::Act(Action::Admit(KnockId(3))),
        ClientMessage::Ping,
        ClientMessage::Watch(vec![View {
            member: MemberId(2),
            rung: 1,
        }]),
        ClientMessage::Resume(Ticket {
            run: ServerRun(7),
            connection_id: ConnectionId(0x0123_4567_89ab_cdef),
            secret: ResumptionSecret([9; ResumptionSecret::BYTES]),
        }),
    ]
}

fn from_server() -> Vec<ServerMessage> {
    vec![
        ServerMessage::Knocking,
        admission(),
        ServerMessage::Refused(Refusal::TryLater { secs: 60 }),
        ServerMessage::Notice(Notice::Draining { secs: 30 }),
        ServerMessage::VideoWanted(Some(1)),
        ServerMessage::KnockArrived {
            knock: KnockId(3),
            name: "Bo".to_owned(),
        },
        resumed(),
        ServerMessage::MemberAway(MemberId(2)),
    ]
}

fn chat() -> Message {
    Message::Chat {
        id: ChatId(1),
        to: Recipients::Everyone,
        text: "hello, everybody".to_owned(),
    }
}

fn offer() -> Message {
    Message::FileOffer(FileOffer {
        transfer: TransferId(1),
        to: Recipients::Member(MemberId(1)),
        name: "plan.pdf".to_owned(),
        size: 1_000,
        hash: [9; 32],
    })
}

fn progress() -> Message {
    Message::FileProgress {
        to: MemberId(1),
        transfer: TransferId(1),
        state: FileState::Receiving(500),
    }
}

fn delivery(message: Message) -> Delivery {
    Delivery {
        from: MemberId(1),
        message,
    }
}

fn control_frames() -> Inputs {
    let client = |index: usize| body(&from_client()[index], control::encode, 4);
    let server = |index: usize| body(&from_server()[index], control::encode, 4);
    let channel = |message: Message| body(&delivery(message), message::encode, 2);
    vec![
        ("hello", client(0)),
        ("knock", client(1)),
        ("admit", client(2)),
        ("admitted", server(1)),
        ("refused", server(2)),
        ("resume", client(5)),
        ("resumed", server(6)),
        ("chat", channel(chat())),
        ("offer", channel(offer())),
        ("progress", channel(progress())),
    ]
}

/// Instructions for `control_plane.rs`.
fn control_planes() -> Inputs {
    let connect = |who| [0, who];
    let usual = |who: u8, which: u8| [5, which * 8 + who];
    let resume = |who: u8, ticket_of: u8| [4, ticket_of * 8 + who];
    let lose = |who| [1, who];
    let wait = |tenths| [3, tenths];
    let meeting = [
        connect(1), usual(1, 0), connect(2), usual(2, 1), usual(1, 2),
    ];
    let hub = |then: &[[u8; 2]]| [&[0][..], meeting.as_flattened(), then.as_flattened()].concat();
    let heard = |message: &ServerMessage| {
        let body = body(message, control::encode, 4);
        [&[7][..], &(body.len() as u16).to_be_bytes(), &body].concat()
    };
    let member = [heard(&ServerMessage::MemberAway(MemberId(2))), vec![0, 3, 1, 6, 0b0110_0011]].concat();
    vec![
        ("back", hub(&[lose(2), connect(3), resume(3, 2), usual(3, 5)])),
        ("lost", hub(&[lose(1), lose(2), wait(150), connect(3), resume(3, 2), wait(255), wait(60)])),
        ("taken_over", hub(&[connect(3), resume(3, 2), lose(2), usual(3, 4), usual(1, 3)])),
        ("returning", [&[1][..], &member, &[3, 3, 3, 4, 8, 0, 3, 2, 3, 1, 6, 0xff]].concat()),
        ("given_up", [&[1, 0][..], &[3; 60]].concat()),
    ]
}

fn framings() -> Inputs {
    let seed = 7_u64.to_be_bytes().to_vec();
    let with_seed = |messages: Vec<Vec<u8>>| [seed.clone(), messages.concat()].concat();
    vec![
        (
            "client",
            with_seed(from_client().iter().map(control::encode).collect()),
        ),
        (
            "server",
            with_seed(from_server().iter().map(control::encode).collect()),
        ),
        (
            "channel",
            with_seed(
                [chat(), offer(), progress()]
                    .map(|message| message::encode(&delivery(message)))
                    .to_vec(),
            ),
        ),
    ]
}

fn media_header(kind: StreamKind) -> MediaHeader {
    MediaHeader {
        ssrc: Ssrc::new(MemberId(1), kind),
        sequence: SequenceNumber(5),
        send_time: SendTime(1_000),
        timestamp: MediaTime(960),
    }
}

fn audio(sound: Sound<'_>, copies: [Option<AudioCopy<'_>>; 2]) -> Vec<u8> {
    let media = media_header(StreamKind::Audio);
    let packet = AudioPacket {
        media,
        level: 30,
        again: false,
        sound,
        copies,
    };
    let mut body = vec![0; packet.bytes()];
    packet.write(&mut body);
    body
}

fn samples() -> Vec<u8> {
    audio(Sound::L16(&[3; 2 * AUDIO_BLOCK_SAMPLES]), [None; 2])
}

fn packed() -> Packed {
    let mut packer = Packer::default();
    for shift in [0, 1] {
        packer.push(&std::array::from_fn(|i| (i as i16 % 100 - 50) << shift));
    }
    packer.pack(AudioDetail::Exact)
}

/// With copies of the blocks before it.
fn packed_audio() -> Vec<u8> {
    let packed = packed();
    let copy = |offset| {
        Some(AudioCopy {
            offset,
            base: packed.base(),
        })
    };
    audio(packed.sound(), [copy(1), copy(3)])
}

/// The length of the base layer, the base layer, the enhancement.
fn layers() -> Inputs {
    let packed = packed();
    let Sound::Packed { base, enhancement } = packed.sound() else {
        panic!("it packs well");
    };
    let input = |enhancement: &[u8]| [&[base.len() as u8][..], base, enhancement].concat();
    vec![("both", input(enhancement)), ("base", input(&[]))]
}

fn video(part: u8, parts: u8) -> Vec<u8> {
    let header = VideoHeader {
        media: media_header(StreamKind::Video),
        frame: FrameId(2),
        part,
        parts,
        rung: 0,
        quality: 70,
    };
    let run = BlockRun {
        row: part,
        column: 0,
        blocks: 16,
    };
    let mut body = vec![0; 200];
    let length = header.write(&[run], &mut body);
    body.truncate(length);
    body.extend_from_slice(&[0x2a; 40]);
    body
}

fn report() -> Vec<u8> {
    let block = |kind| ReportBlock {
        ssrc: Ssrc::new(MemberId(1), kind),
        fraction_lost: 12,
        packets_lost: 3,
        packets_received: 500,
        jitter: 40,
        bitrate_bps: 800_000,
    };
    let mut body = vec![0; 100];
    let blocks = [block(StreamKind::Audio), block(StreamKind::Video)];
    let length = Report::write(MemberId(2), &blocks, &mut body);
    body.truncate(length);
    body
}

fn feedback() -> Vec<u8> {
    let mut body = vec![0; Feedback::MAX_BYTES];
    let ages = [3, 70, AGE_MISSING, 900].into_iter();
    let length = Feedback::write(3, SendTime(20_000), VIDEO_UNLIMITED, ages, &mut body);
    body.truncate(length);
    body
}

fn media() -> Inputs {
    vec![
        ("feedback", feedback()),
        ("audio", samples()),
        ("audio_packed", packed_audio()),
        ("video", video(0, 9)),
        ("video_again", video(3, 0)),
        ("report", report()),
    ]
}

/// One segment with the frames that `put` writes.
fn one_segment(number: u64, put: impl FnOnce(&mut SegmentWriter<'_>)) -> Vec<u8> {
    let mut buffer = vec![0; SEGMENT_MAX_BYTES];
    let mut segment =
        SegmentWriter::new(&mut buffer, Incarnation(0), number, 0).expect("the buffer is long enough");
    put(&mut segment);
    let length = segment.length();
    buffer.truncate(length);
    buffer
}

/// An instruction of a script, with bytes behind it.
fn instruction(code: u8, bytes: &[u8]) -> Vec<u8> {
    [&[code][..], &(bytes.len() as u16).to_be_bytes(), bytes].concat()
}

fn acknowledge(largest: u64, ranges: &[std::ops::Range<u64>], number: u64) -> Vec<u8> {
    one_segment(number, |segment| {
        segment.acknowledgement(Duration::from_millis(1), 7_000, ranges.iter().cloned());
        segment.window(StreamId(0), 1 << 20);
        segment.streams(40 + largest as u32);
    })
}

fn segments() -> Inputs {
    let take = |bytes: Vec<u8>| instruction(9, &bytes);
    let data = one_segment(0, |segment| {
        segment.data(StreamId::MESSAGES, 0, (b"hello", b", world"), false);
    });
    let file = one_segment(1, |segment| {
        segment.data(StreamId(1), 0, (&[5; 300], &[]), true);
    });
    let odd = one_segment(2, |segment| {
        segment.probe(StreamId(1));
        segment.reset(StreamId(2));
        segment.stop(StreamId(1));
    });
    vec![
        (
            "acknowledged",
            [
                vec![0, 12],
                take(acknowledge(9, &[0..10], 0)),
                vec![1, 0, 30],
                take(acknowledge(30, &[12..16, 0..10], 1)),
            ]
            .concat(),
        ),
        (
            "received",
            [
                take(data),
                vec![6, 0],
                take(file),
                vec![6, 1, 0, 8],
                take(odd),
            ]
            .concat(),
        ),
        (
            "timeouts",
            vec![0, 250, 0, 250, 0, 250, 2, 0, 250, 3, 4, 0, 250],
        ),
    ]
}

fn datagrams() -> Inputs {
    let say = |kind: Kind, body: &[u8]| instruction(4, &[&[kind as u8], body].concat());
    let on_channel = |number, offset, bytes: &[u8]| {
        one_segment(number, |segment| {
            segment.data(StreamId::MESSAGES, offset, (bytes, &[]), false);
        })
    };
    let up = message::encode(&chat());
    let offered = message::encode(&offer());
    let upload = [0_u8, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let file = one_segment(2, |segment| {
        segment.data(StreamId(1), 0, (&upload, &[7; 500]), true);
    });
    let down = message::encode(&delivery(chat()));
    let header = DownloadHeader {
        from: MemberId(2),
        transfer: TransferId(1),
        offset: 0,
    };
    let arriving = one_segment(1, |segment| {
        segment.data(StreamId(1), 0, (&header.to_bytes(), &[7; 500]), true);
    });
    let tick = vec![1, 30];
    vec![
        (
            "member",
            [
                vec![0],
                say(Kind::Ping, &[1; 8]),
                say(Kind::Segment, &on_channel(0, 0, &up)),
                tick.clone(),
                say(Kind::Segment, &on_channel(1, up.len() as u64, &offered)),
                say(Kind::Segment, &file),
                tick.clone(),
            ]
            .concat(),
        ),
        (
            "member_media",
            [
                vec![0],
                say(Kind::Audio, &packed_audio()),
                say(Kind::Video, &video(0, 2)),
                say(Kind::Video, &video(1, 2)),
                vec![3, 2, 1, 100],
                say(Kind::Report, &report()),
                say(Kind::Feedback, &feedback()),
                tick.clone(),
            ]
            .concat(),
        ),
        (
            "server",
            [
                vec![1],
                say(Kind::Pong, &[0; 8]),
                say(Kind::Segment, &on_channel(0, 0, &down)),
                say(Kind::Segment, &arriving),
                tick.clone(),
            ]
            .concat(),
        ),
        (
            "server_media",
            [
                vec![1],
                say(Kind::Audio, &packed_audio()),
                vec![3, 5],
                say(Kind::Video, &video(0, 2)),
                say(Kind::Video, &video(1, 2)),
                say(Kind::Report, &report()),
                say(Kind::Feedback, &feedback()),
                tick,
            ]
            .concat(),
        ),
        ("stranger", [vec![0], instruction(0, &[0x40; 60])].concat()),
    ]
}

fn pictures() -> Inputs {
    let mut whole = Vec::new();
    jpeg::assemble(64, 16, 70, &[0x2a; 60], &mut whole);
    vec![("baseline", whole)]
}

fn names() -> Inputs {
    [
        ("person", "  Ada \u{202e}Lovelace"),
        ("accents", "e\u{200b}\u{301}\u{ff21}"),
        ("path", "../..\\con.tar.gz. "),
        ("device", "COM1 .txt"),
    ]
    .map(|(name, text)| (name, text.as_bytes().to_vec()))
    .to_vec()
}
