//! The bytes of the wire, as they are checked in: a change of the format is a change of `golden/datagrams.txt`.
//!
//! Every line of that file is `name = hex`. Each is written again by the shipped encoder and must come out the same.
//! Who changes the format on purpose takes over the line that the failing test prints, and raises
//! [`common::wire::control::PROTOCOL_VERSION`].

use common::ids::{ChatId, ConnectionId, KnockId, MemberId, RoomCode, Ssrc, StreamKind, TransferId};
use common::limits::{DATAGRAM_HEADER_BYTES, DATAGRAM_MAX_BYTES, DATAGRAM_TAG_BYTES};
use common::seal::{Direction, Opener, Sealer, Secret, exporter_context};
use common::sequence::{FrameId, MediaTime, SendTime, SequenceNumber};
use common::wire::audio::BLOCK_BYTES;
use common::wire::audio::{AudioCopy, AudioPacket, Sound};
use common::wire::control::{
    self, Action, Admission, CipherSuite, ClientMessage, Guest, MediaState, Member, Notice, Reach, Refusal,
    ServerMessage, Snapshot, View,
};
use common::wire::datagram::{DatagramHeader, Kind};
use common::wire::feedback::{AGE_MISSING, Feedback, VIDEO_UNLIMITED};
use common::wire::media::{BlockRun, MediaHeader, Report, ReportBlock, VideoHeader};
use common::wire::message::{
    self, Delivery, DownloadHeader, FileOffer, FileState, FileTrouble, Message, Recipients, UploadHeader,
};
use common::wire::segment::{Incarnation, SEGMENT_MAX_BYTES, SegmentWriter, StreamId};
use common::wire::ticket::{ResumptionSecret, ServerRun, Ticket};
use std::time::Duration;

const GOLDEN: &str = include_str!("golden/datagrams.txt");

type Vector = (&'static str, Vec<u8>);

#[test]
fn the_shipped_encoders_write_what_is_checked_in() {
    let written = vectors();
    let golden: Vec<&str> = golden_lines().collect();
    for (index, (name, bytes)) in written.iter().enumerate() {
        let line = format!("{name} = {}", hex(bytes));
        assert_eq!(golden.get(index).copied().unwrap_or("(no such line)"), line, "line {} of the vectors", index + 1);
    }
    assert_eq!(golden.len(), written.len(), "one line for each vector");
}

#[test]
fn the_checked_in_datagrams_open() {
    for (name, suite) in SEALED {
        let mut datagram = golden_bytes(name);
        let header = DatagramHeader::parse(&datagram).expect("the header is whole");
        let (plaintext, newest) = Opener::new(suite, &secret()).open(header, &mut datagram).expect("the tag fits");
        assert_eq!((&*plaintext, newest), (&PING[..], true), "{name}");
    }
}

fn golden_lines() -> impl Iterator<Item = &'static str> {
    GOLDEN.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn golden_bytes(name: &str) -> Vec<u8> {
    let digits = golden_lines()
        .filter_map(|line| line.split_once(" = "))
        .find(|(found, _)| *found == name)
        .map(|(_, digits)| digits)
        .expect("the vector is there");
    (0..digits.len() / 2).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).expect("two digits")).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn vectors() -> Vec<Vector> {
    let parts =
        [clear_vectors(), sealed_vectors(), media_vectors(), segment_vectors(), control_vectors(), message_vectors()];
    parts.into_iter().flatten().collect()
}

/// Kind 5 and eight bytes.
const PING: [u8; 9] = [5, 0, 0, 0, 0, 0, 1, 0x86, 0xa0];

const SEALED: [(&str, CipherSuite); 2] = [
    ("sealed_ping_aes_256_gcm", CipherSuite::Aes256Gcm),
    ("sealed_ping_chacha20_poly1305", CipherSuite::ChaCha20Poly1305),
];

const CONNECTION: ConnectionId = ConnectionId(0x0102_0304_0506_0708);

fn secret() -> Secret {
    Secret(std::array::from_fn(|index| index as u8))
}

fn clear_vectors() -> Vec<Vector> {
    let header = DatagramHeader { epoch: 2, connection_id: CONNECTION, packet_number: 0x0a0b_0c0d_0e0f };
    let context = |direction| exporter_context(CONNECTION, direction, 0).to_vec();
    vec![
        ("outer_header", header.to_bytes().to_vec()),
        ("exporter_context_up", context(Direction::Up)),
        ("exporter_context_down", context(Direction::Down)),
    ]
}

/// The first datagram of a connection: packet number 0 under the secret 00 01 02 … 2b.
fn sealed_vectors() -> Vec<Vector> {
    let seal = |(name, suite)| {
        let mut buffer = [0; DATAGRAM_MAX_BYTES];
        buffer[Sealer::PLAINTEXT_OFFSET..][..PING.len()].copy_from_slice(&PING);
        let length = Sealer::new(suite, &secret(), CONNECTION).seal(&mut buffer, PING.len());
        let length = length.expect("the key is fresh");
        assert_eq!(length, DATAGRAM_HEADER_BYTES + PING.len() + DATAGRAM_TAG_BYTES);
        (name, buffer[..length].to_vec())
    };
    SEALED.map(seal).into()
}

fn media(kind: StreamKind) -> MediaHeader {
    MediaHeader {
        ssrc: Ssrc::new(MemberId(3), kind),
        sequence: SequenceNumber(0x1122),
        send_time: SendTime(0x3344_5566),
        timestamp: MediaTime(0x7788_99aa),
    }
}

/// A plaintext: the kind, and what `write` puts behind it.
fn plaintext(kind: Kind, write: impl FnOnce(&mut [u8]) -> usize) -> Vec<u8> {
    let mut buffer = [0; DATAGRAM_MAX_BYTES];
    buffer[0] = kind as u8;
    let length = write(&mut buffer[1..]);
    buffer[..=length].to_vec()
}

fn media_vectors() -> Vec<Vector> {
    vec![
        ("audio_of_samples", audio_of_samples()),
        ("audio_packed_with_two_copies", plaintext(Kind::Audio, write_packed_audio)),
        ("audio_sent_again", audio_sent_again()),
        ("video_header_two_runs", plaintext(Kind::Video, write_video_header)),
        ("report_one_block", plaintext(Kind::Report, |buffer| Report::write(MemberId(5), &[report_block()], buffer))),
        ("feedback_of_three", plaintext(Kind::Feedback, write_feedback)),
    ]
}

/// Up to the samples.
fn audio_of_samples() -> Vec<u8> {
    let sound = Sound::L16(&[0; BLOCK_BYTES]);
    let packet = AudioPacket { media: media(StreamKind::Audio), level: 30, again: false, sound, copies: [None; 2] };
    let mut bytes = plaintext(Kind::Audio, |buffer| packet.write(buffer));
    bytes.truncate(1 + AudioPacket::HEADER_BYTES);
    bytes
}

fn write_packed_audio(buffer: &mut [u8]) -> usize {
    let sound = Sound::Packed { base: b"base", enhancement: b"enhancement" };
    let copies = [(1, &b"one"[..]), (3, b"three")].map(|(offset, base)| Some(AudioCopy { offset, base }));
    AudioPacket { media: media(StreamKind::Audio), level: 30, again: false, sound, copies }.write(buffer)
}

fn audio_sent_again() -> Vec<u8> {
    let mut packet = plaintext(Kind::Audio, write_packed_audio);
    AudioPacket::mark_again(&mut packet[1..]);
    packet
}

fn write_video_header(buffer: &mut [u8]) -> usize {
    let header =
        VideoHeader { media: media(StreamKind::Video), frame: FrameId(9), part: 1, parts: 2, rung: 3, quality: 60 };
    let run = |row, column, blocks| BlockRun { row, column, blocks };
    header.write(&[run(4, 0, 20), run(5, 7, 2)], buffer)
}

fn write_feedback(buffer: &mut [u8]) -> usize {
    let ages = [3, AGE_MISSING, 700].into_iter();
    Feedback::write(0x0102_0304_0506, SendTime(0x0708_090a), VIDEO_UNLIMITED, ages, buffer)
}

fn report_block() -> ReportBlock {
    ReportBlock {
        ssrc: Ssrc::new(MemberId(3), StreamKind::Video),
        fraction_lost: 13,
        packets_lost: -2,
        packets_received: 1_000,
        jitter: 55,
        bitrate_bps: 1_234_567,
    }
}

fn segment_vectors() -> Vec<Vector> {
    let acknowledging = |segment: &mut SegmentWriter<'_>| {
        segment.acknowledgement(Duration::from_micros(24), 0x1122_3344, [9..10, 2..4].into_iter());
        segment.data(StreamId(0x0708_090a), 0x0b0c, (b"by", b"e"), true);
    };
    let telling = |segment: &mut SegmentWriter<'_>| {
        segment.data(StreamId::MESSAGES, 77, (b"hi", b""), false);
        segment.probe(StreamId(4));
        segment.reset(StreamId(5));
        segment.stop(StreamId(6));
        segment.streams(40);
        segment.window(StreamId(3), 1 << 20);
    };
    vec![
        ("segment_acknowledgement_and_end", segment(acknowledging)),
        ("segment_of_every_other_frame", segment(telling)),
    ]
}

fn segment(put: impl FnOnce(&mut SegmentWriter<'_>)) -> Vec<u8> {
    plaintext(Kind::Segment, |buffer| {
        let room = &mut buffer[..SEGMENT_MAX_BYTES];
        let mut segment = SegmentWriter::new(room, Incarnation(1), 0x02_0304_0506, 0x02_0304_0503)
            .expect("the buffer is a segment long");
        put(&mut segment);
        segment.length()
    })
}

fn control_vectors() -> Vec<Vector> {
    let hello = ClientMessage::Hello { version: 1, aes: true };
    let knock = ClientMessage::Knock { code: code(), name: "Bo".into() };
    let admit = ClientMessage::Act(Action::Admit(KnockId(300)));
    let resume =
        Ticket { run: ServerRun(0x1122_3344_5566_7788), connection_id: CONNECTION, secret: resumption_secret() };
    vec![
        ("client_hello", control::encode(&hello)),
        ("client_knock", control::encode(&knock)),
        ("client_act_admit", control::encode(&admit)),
        ("server_admitted", control::encode(&admitted())),
        ("client_watch", control::encode(&ClientMessage::Watch(vec![View { member: MemberId(3), rung: 2 }]))),
        ("server_notice_draining", control::encode(&ServerMessage::Notice(Notice::Draining { secs: 30 }))),
        ("server_video_wanted", control::encode(&ServerMessage::VideoWanted(Some(1)))),
        ("client_resume", control::encode(&ClientMessage::Resume(resume))),
        ("server_resumed", control::encode(&resumed())),
        ("server_member_away", control::encode(&ServerMessage::MemberAway(MemberId(3)))),
        ("server_member_back", control::encode(&ServerMessage::MemberBack(MemberId(3)))),
        ("client_set_hears", control::encode(&ClientMessage::SetHears(false))),
        ("server_reach_changed", control::encode(&ServerMessage::ReachChanged { member: MemberId(3), reach: REACH })),
        ("server_refused_server_restarted", control::encode(&ServerMessage::Refused(Refusal::ServerRestarted))),
        ("server_refused_knock_later", control::encode(&ServerMessage::Refused(Refusal::KnockLater { secs: 40 }))),
        (
            "server_refused_too_many_connections",
            control::encode(&ServerMessage::Refused(Refusal::TooManyConnections { max: 128 })),
        ),
        ("server_refused_try_later", control::encode(&ServerMessage::Refused(Refusal::TryLater { secs: 70_000 }))),
    ]
}

const REACH: Reach = Reach { heard: false, hears: true };

fn code() -> RoomCode {
    "042917".parse().expect("six digits")
}

fn admitted() -> ServerMessage {
    ServerMessage::Admitted(Admission {
        code: code(),
        you: MemberId(2),
        connection_id: CONNECTION,
        suite: CipherSuite::Aes256Gcm,
        members: vec![Member {
            id: MemberId(1),
            name: "Ada".into(),
            host: true,
            media: MediaState { camera: true, microphone: false },
            away: true,
            reach: REACH,
        }],
        locked: false,
        run: ServerRun(0x1122_3344_5566_7788),
        secret: resumption_secret(),
    })
}

fn resumption_secret() -> ResumptionSecret {
    ResumptionSecret(std::array::from_fn(|index| index as u8))
}

fn resumed() -> ServerMessage {
    ServerMessage::Resumed(Snapshot {
        secret: resumption_secret(),
        members: Vec::new(),
        locked: true,
        knocks: vec![Guest { knock: KnockId(300), name: "Cy".into() }],
        wanted: Some(1),
    })
}

fn message_vectors() -> Vec<Vector> {
    let chat = Message::Chat { id: ChatId(7), to: Recipients::Member(MemberId(2)), text: "Grüße".into() };
    let offer = Message::FileOffer(FileOffer {
        transfer: TransferId(1),
        to: Recipients::Everyone,
        name: "a.txt".into(),
        size: 100_000,
        hash: [0xab; 32],
    });
    let progress =
        Message::FileProgress { to: MemberId(2), transfer: TransferId(1), state: FileState::Receiving(65_536) };
    let (transfer, offset) = (TransferId(0x0304_0506), 0x0708_090a_0b0c);
    let up = UploadHeader { transfer, offset };
    let down = DownloadHeader { from: MemberId(0x0102), transfer, offset };
    let pause = Message::FilePause { to: Recipients::Everyone, transfer: TransferId(1), paused: true };
    let wanted = Message::FileWanted { transfer: TransferId(1), offset: 65_536 };
    let failed = Message::FileFailed { from: MemberId(9), transfer: TransferId(1), trouble: FileTrouble::ServerFull };
    let waits = Message::FileWaits { from: MemberId(9), transfer: TransferId(1), waits: true };
    let missed = Message::ChatMissed { id: ChatId(7), member: MemberId(2) };
    let missing = FileTrouble::ReceiverFull { missing: 70_000 };
    let interrupted = Message::FileProgress {
        to: MemberId(2),
        transfer: TransferId(1),
        state: FileState::Interrupted(65_536, missing),
    };
    let gone =
        Message::FileWithdraw { to: Recipients::Everyone, transfer: TransferId(1), why: Some(FileTrouble::SourceGone) };
    let taken_back = Message::FileWithdraw { to: Recipients::Everyone, transfer: TransferId(1), why: None };
    let of_server = |message| message::encode(&Delivery { from: MemberId::SERVER, message });
    let delivery = Delivery { from: MemberId(9), message: chat.clone() };
    vec![
        ("message_chat", message::encode(&chat)),
        ("message_file_offer", message::encode(&offer)),
        ("message_file_progress", message::encode(&progress)),
        ("delivery_chat", message::encode(&delivery)),
        ("message_file_pause", message::encode(&pause)),
        ("delivery_file_wanted", of_server(wanted)),
        ("delivery_file_failed", of_server(failed)),
        ("delivery_file_waits", of_server(waits)),
        ("delivery_chat_missed", of_server(missed)),
        ("message_file_interrupted", message::encode(&interrupted)),
        ("message_file_gone", message::encode(&gone)),
        ("message_file_taken_back", message::encode(&taken_back)),
        ("upload_header", up.to_bytes().to_vec()),
        ("download_header", down.to_bytes().to_vec()),
    ]
}
