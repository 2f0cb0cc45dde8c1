//! Media through the relay, datagram by datagram: groups, allowances, queues, who watches and who is heard.
#![expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]

use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::ids::{ControlId, Ssrc, StreamKind};
use crate::limits::{
    AUDIO_AGAIN_MAX_AGE, AUDIO_QUEUE_DATAGRAMS, DATAGRAM_BASE_BYTES, DATAGRAM_MAX_BYTES, GROUP_MAX_DATAGRAMS,
    VIDEO_BYTES_BURST, VIDEO_QUEUE_DATAGRAMS,
};
use crate::seal::{Opener, Sealer, Secret};
use crate::sequence::{FrameId, MediaTime, SendTime, SequenceNumber};
use crate::wire::audio::{AudioDetail, AudioPacket, Sound};
use crate::wire::control::CipherSuite;
use crate::wire::feedback::AGE_MISSING;
use crate::wire::media::{BlockRun, MediaHeader, VideoHeader};

const SUITE: CipherSuite = CipherSuite::Aes256Gcm;

/// A room whose members seal and open by themselves.
struct Room {
    now: Instant,
    relay: Relay,
    members: Vec<(Sealer, Opener)>,
    sequences: [SequenceNumber; 2],
}

/// What a member got.
#[derive(Debug, PartialEq)]
struct Got {
    kind: Kind,
    ssrc: Ssrc,
    sequence: SequenceNumber,
    /// Of video.
    frame: Option<FrameId>,
    /// It was marked as a repair, or as sent again.
    again: bool,
    plaintext_bytes: usize,
}

fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 4_000 + index as u16))
}

impl Room {
    fn new(members: usize) -> Self {
        let now = Instant::now();
        let mut room = Self { now, relay: Relay::new(now), members: Vec::new(), sequences: [SequenceNumber(0); 2] };
        (0..members).for_each(|_| room.join());
        while room.receive().is_some() {}
        room
    }

    /// One more member.
    fn join(&mut self) {
        let index = self.members.len();
        let secret = |direction: u8| Secret([index as u8 | direction; Secret::BYTES]);
        let secrets = Secrets { up: secret(0), down: secret(0x80) };
        let connection_id = ConnectionId(index as u64);
        let grant = Grant {
            control: ControlId(index as u64),
            room: RoomId(1),
            member: MemberId(1 + index as u16),
            connection_id,
            suite: SUITE,
        };
        self.relay.admit(self.now, grant, &secrets);
        let ends = (Sealer::new(SUITE, &secrets.up, connection_id), Opener::new(SUITE, &secrets.down));
        self.members.push(ends);
        self.send(index, &[Kind::Ping as u8, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    fn send(&mut self, from: usize, plaintext: &[u8]) {
        let mut buffer = [0; DATAGRAM_MAX_BYTES];
        buffer[Sealer::PLAINTEXT_OFFSET..][..plaintext.len()].copy_from_slice(plaintext);
        let bytes = self.members[from].0.seal(&mut buffer, plaintext.len()).unwrap();
        self.relay.handle_datagram(self.now, address(from), &mut buffer[..bytes]);
    }

    fn media(&mut self, kind: StreamKind) -> MediaHeader {
        let sequence = self.sequences[kind as usize];
        self.sequences[kind as usize] = sequence.next();
        // Whom it claims to come from means nothing.
        let ssrc = Ssrc::new(MemberId(40), kind);
        MediaHeader { ssrc, sequence, send_time: SendTime(0), timestamp: MediaTime(0) }
    }

    fn send_video(&mut self, from: usize, datagram_bytes: usize) {
        let media = self.media(StreamKind::Video);
        let header = VideoHeader { media, frame: FrameId(1), part: 0, parts: 30, rung: 0, quality: 50 };
        let mut plaintext = vec![0x55; datagram_bytes - 31];
        plaintext[0] = Kind::Video as u8;
        header.write(&[BlockRun { row: 0, column: 0, blocks: 1 }], &mut plaintext[1..]);
        self.send(from, &plaintext);
    }

    fn send_audio(&mut self, from: usize, level: u8) {
        self.send_packet(from, level, false);
    }

    fn send_audio_again(&mut self, from: usize) {
        self.send_packet(from, 20, true);
    }

    fn send_packet(&mut self, from: usize, level: u8, again: bool) {
        let sound = Sound::Packed { base: &[1; 70], enhancement: &[2; 200] };
        let packet = AudioPacket { media: self.media(StreamKind::Audio), level, again, sound, copies: [None; 2] };
        let mut plaintext = vec![0; 1 + packet.bytes()];
        plaintext[0] = Kind::Audio as u8;
        packet.write(&mut plaintext[1..]);
        self.send(from, &plaintext);
    }

    /// A member tells that of the last datagrams up to `newest` these did not arrive.
    fn tell(&mut self, from: usize, newest: u64, missing: &[u64]) {
        let mut plaintext = [Kind::Feedback as u8; 1 + Feedback::MAX_BYTES];
        let ages = (0..=newest).rev().map(|number| if missing.contains(&number) { AGE_MISSING } else { 1 });
        let length = Feedback::write(newest, SendTime(0), VIDEO_UNLIMITED, ages, &mut plaintext[1..]);
        self.send(from, &plaintext[..=length]);
    }

    /// The next group the relay sends: to whom, and what.
    fn receive(&mut self) -> Option<(usize, Vec<Got>)> {
        let mut buffer = vec![0; GROUP_MAX_DATAGRAMS * DATAGRAM_MAX_BYTES];
        let transmit = self.relay.poll_transmit(self.now, &mut buffer)?;
        let to = usize::from(transmit.to.port() - 4_000);
        let datagrams = buffer[..transmit.bytes].chunks_mut(transmit.datagram_bytes);
        let got = datagrams.map(|datagram| {
            let header = DatagramHeader::parse(datagram).unwrap();
            let (plaintext, _) = self.members[to].1.open(header, datagram).unwrap();
            let plaintext_bytes = plaintext.len();
            let (kind, body) = Kind::split(plaintext).unwrap();
            let media = MediaHeader::parse(body).ok();
            let (ssrc, sequence) = media
                .map_or((Ssrc::new(MemberId(0), StreamKind::Audio), SequenceNumber(0)), |media| {
                    (media.ssrc, media.sequence)
                });
            let video = VideoHeader::parse(body).ok().filter(|_| kind == Kind::Video).map(|(header, ..)| header);
            let audio = AudioPacket::parse(body).ok().filter(|_| kind == Kind::Audio);
            let again = video.is_some_and(|video| video.again()) || audio.is_some_and(|audio| audio.again);
            let frame = video.map(|video| video.frame);
            Got { kind, ssrc, sequence, frame, again, plaintext_bytes }
        });
        Some((to, got.collect()))
    }

    /// Everything the relay sends, by receiver.
    fn receive_all(&mut self) -> Vec<Vec<Got>> {
        let mut all: Vec<Vec<Got>> = self.members.iter().map(|_| Vec::new()).collect();
        while let Some((to, got)) = self.receive() {
            all[to].extend(got);
        }
        all
    }

    fn counts(&mut self) -> Vec<usize> {
        self.receive_all().iter().map(Vec::len).collect()
    }
}

#[test]
fn the_equal_datagrams_of_a_frame_leave_as_one_group_for_each_receiver() {
    let mut room = Room::new(4);
    for bytes in [1_200; 7].into_iter().chain([500]) {
        room.send_video(0, bytes);
    }
    let groups: Vec<_> = std::iter::from_fn(|| room.receive()).collect();
    assert_eq!(groups.iter().map(|(to, got)| (*to, got.len())).collect::<Vec<_>>(), [(1, 8), (2, 8), (3, 8)]);
    assert!(groups[0].1.iter().all(|got| got.ssrc == Ssrc::new(MemberId(1), StreamKind::Video)));
}

#[test]
fn a_buffer_of_one_datagram_gets_one_datagram() {
    let mut room = Room::new(2);
    (0..3).for_each(|_| room.send_video(0, 300));
    let mut buffer = [0; DATAGRAM_MAX_BYTES];
    let mut lengths = Vec::new();
    while let Some(transmit) = room.relay.poll_transmit(room.now, &mut buffer) {
        lengths.push((transmit.bytes, transmit.datagrams()));
    }
    assert_eq!(lengths, [(300, 1); 3]);
}

#[test]
fn whoever_has_no_room_for_more_gets_audio_without_its_enhancement() {
    let mut room = Room::new(3);
    room.relay.roster.named(ConnectionId(2)).unwrap().audio_detail = AudioDetail::Base;
    for _ in 0..3 {
        room.send_audio(0, 20);
    }
    let lengths: Vec<Vec<usize>> =
        room.receive_all().iter().map(|got| got.iter().map(|got| got.plaintext_bytes).collect()).collect();
    let (whole, base) = (1 + AudioPacket::HEADER_BYTES + 270, 1 + AudioPacket::HEADER_BYTES + 70);
    assert_eq!(lengths, [vec![], vec![whole; 3], vec![base; 3]]);
}

#[test]
fn media_that_no_slot_of_the_relay_holds_is_malformed() {
    let mut room = Room::new(2);
    room.send_video(0, DATAGRAM_BASE_BYTES);
    room.send_video(0, DATAGRAM_BASE_BYTES + 1);
    room.send_video(0, DATAGRAM_MAX_BYTES);
    assert_eq!((room.counts(), room.relay.statistics().datagrams_discarded), (vec![0, 1], 2));
}

#[test]
fn audio_goes_before_video_that_came_first() {
    let mut room = Room::new(3);
    room.send_video(0, 900);
    room.send_audio(0, 20);
    let kinds: Vec<_> = std::iter::from_fn(|| room.receive()).map(|(_, got)| got[0].kind).collect();
    assert_eq!(kinds, [Kind::Audio, Kind::Audio, Kind::Video, Kind::Video]);
}

#[test]
fn a_flood_of_video_is_thinned_and_takes_nothing_from_the_senders_own_voice() {
    let mut room = Room::new(2);
    let burst = VIDEO_BYTES_BURST as usize / 1_228;
    for _ in 0..burst + 500 {
        room.send_video(0, 1_200);
    }
    room.send_audio(0, 20);
    assert_eq!(room.relay.statistics().datagrams_throttled, 500);
    let got = &room.receive_all()[1];
    assert_eq!(got[0].kind, Kind::Audio);
    let repairs = 1;
    assert_eq!(got.len(), 1 + VIDEO_QUEUE_DATAGRAMS + repairs, "and no more waits than one receiver's share");
    room.now += Duration::from_millis(900);
    room.send_video(0, 1_200);
    assert_eq!(room.counts(), [0, 1], "an allowance comes back");
}

#[test]
fn a_slow_receiver_loses_the_oldest_video_and_the_relay_says_that_it_sheds() {
    let mut room = Room::new(2);
    for _ in 0..VIDEO_QUEUE_DATAGRAMS + 10 {
        room.send_video(0, 300);
    }
    for _ in 0..AUDIO_QUEUE_DATAGRAMS {
        room.send_audio(0, 20);
    }
    assert!(room.relay.overloaded(room.now));
    let got = room.receive_all().remove(1);
    assert_eq!(got.len(), AUDIO_QUEUE_DATAGRAMS + VIDEO_QUEUE_DATAGRAMS + 1);
    assert_eq!(got[AUDIO_QUEUE_DATAGRAMS].sequence, SequenceNumber(10), "the ten oldest are gone");
    let last = got.last().map(|got| got.sequence);
    assert_eq!(last, Some(SequenceNumber(0)), "but the one with bytes that no other has comes after all");
    let statistics = room.relay.statistics();
    assert_eq!((statistics.video_shed, statistics.audio_shed), (10, 0));
    assert!(!room.relay.overloaded(room.now + OVERLOAD_HOLD));
}

#[test]
fn video_goes_to_those_who_watch_and_audio_to_all() {
    let mut room = Room::new(4);
    room.relay.watch(room.now, ConnectionId(1), vec![MemberId(3)]);
    room.relay.watch(room.now, ConnectionId(2), vec![]);
    room.send_video(0, 600);
    assert_eq!(room.counts(), [0, 0, 0, 1], "who never said gets everybody");
    room.send_video(2, 600);
    assert_eq!(room.counts(), [1, 1, 0, 1]);
    room.send_audio(0, 20);
    assert_eq!(room.counts(), [0, 1, 1, 1]);
    room.relay.revoke(ConnectionId(3));
    room.relay.watch(room.now, ConnectionId(2), vec![MemberId(1)]);
    room.send_video(0, 600);
    assert_eq!(room.counts(), [0, 0, 1, 0], "the newest of the only block");
}

/// A part with one block of the first row.
fn part(frame: u16, column: u8) -> VideoHeader {
    let media = MediaHeader {
        ssrc: Ssrc::new(MemberId(40), StreamKind::Video),
        sequence: SequenceNumber(frame),
        send_time: SendTime(0),
        timestamp: MediaTime(0),
    };
    VideoHeader { media, frame: FrameId(frame), part: column, parts: 16, rung: 0, quality: 50 }
}

fn send_part(room: &mut Room, from: usize, frame: u16, column: u8) {
    let mut plaintext = vec![0x55; 1_000];
    plaintext[0] = Kind::Video as u8;
    part(frame, column).write(&[BlockRun { row: 0, column, blocks: 1 }], &mut plaintext[1..]);
    room.send(from, &plaintext);
}

/// The relay is woken when it asks for it, for so long.
fn pass(room: &mut Room, time: Duration) -> Vec<Vec<Got>> {
    let end = room.now + time;
    let mut all = room.receive_all();
    while let Some(at) = room.relay.poll_timeout().filter(|at| *at <= end) {
        room.now = room.now.max(at);
        room.relay.handle_timeout(room.now);
        all.iter_mut().zip(room.receive_all()).for_each(|(all, new)| all.extend(new));
    }
    room.now = end;
    all
}

fn video(got: &[Got]) -> Vec<u16> {
    got.iter().filter_map(|got| got.frame).map(|frame| frame.0).collect()
}

#[test]
fn who_comes_late_gets_the_newest_of_every_block_at_a_pace() {
    let mut room = Room::new(2);
    for frame in 0..100 {
        send_part(&mut room, 0, frame, (frame % 16) as u8);
        room.receive_all();
    }
    room.join();
    let got = pass(&mut room, Duration::from_millis(100)).remove(2);
    assert_eq!(video(&got), (84..100).collect::<Vec<_>>());
    assert_eq!(pass(&mut room, Duration::from_secs(1)).iter().map(|got| video(got).len()).sum::<usize>(), 0);
}

#[test]
fn a_picture_ends_with_its_sender_and_is_nobody_elses() {
    let mut room = Room::new(2);
    send_part(&mut room, 0, 1, 0);
    room.receive_all();
    room.relay.revoke(ConnectionId(0));
    room.join();
    assert_eq!(video(&pass(&mut room, Duration::from_millis(100))[2]), []);
}

#[test]
fn a_thin_path_gets_what_it_carries_and_always_the_newest() {
    let mut room = Room::new(2);
    room.relay.roster.named(ConnectionId(1)).unwrap().repairs.set_budget(Some(400_000));
    let (mut bytes, mut frames) = (0, Vec::new());
    // Ten times of that: a whole row, thirty times a second.
    for frame in 0..90 {
        (0..16).for_each(|column| send_part(&mut room, 0, frame, column));
        for got in pass(&mut room, Duration::from_millis(33)) {
            let got = video(&got);
            bytes += 1_031 * got.len();
            frames.extend(got.iter().map(|got| frame - got));
        }
    }
    assert!((120_000..180_000).contains(&bytes), "{bytes} in three seconds");
    assert!(frames.iter().all(|behind| *behind == 0), "frames behind the newest: {frames:?}");
    room.relay.roster.named(ConnectionId(1)).unwrap().repairs.set_budget(None);
    let rest = pass(&mut room, Duration::from_millis(200)).remove(1);
    assert!(rest.len() <= 16, "what nobody sees any more is not caught up with");
}

#[test]
fn what_a_thin_path_is_not_sent_is_not_lost_there_wherever_else_it_was() {
    let mut room = Room::new(2);
    let mut numbers = Vec::new();
    for frame in 0..600_u16 {
        let budget = (100..500).contains(&frame).then_some(50_000);
        room.relay.roster.named(ConnectionId(1)).unwrap().repairs.set_budget(budget);
        // Every tenth does not come to the server, but none at the end.
        if frame % 10 != 3 || frame >= 500 {
            send_part(&mut room, 0, frame, 0);
        }
        let got = pass(&mut room, Duration::from_millis(10)).remove(1);
        numbers.extend(got.iter().filter(|got| !got.again).map(|got| got.sequence));
    }
    let lost = |numbers: &[SequenceNumber]| {
        let expected = numbers.last().unwrap().distance(numbers[0]) as usize + 1;
        expected - numbers.len()
    };
    assert_eq!(lost(&numbers[..90]), 10, "what the uplink lost is seen");
    assert!(numbers.len() > 190, "{numbers:?}");
    assert!(lost(&numbers) <= 12, "{} of {numbers:?}", lost(&numbers));
}

#[test]
fn a_fifth_voice_is_left_out_and_leaves_no_gap_when_it_is_heard_again() {
    let mut room = Room::new(6);
    let mut of_the_fifth = Vec::new();
    for block in 0..300 {
        for speaker in 0..5 {
            // Each sender numbers its own stream.
            room.sequences[StreamKind::Audio as usize] = SequenceNumber(block);
            let loud = if (10..200).contains(&block) { 0 } else { 4 };
            room.send_audio(speaker, if speaker == loud { 5 } else { 30 });
        }
        let got = room.receive_all().remove(5);
        let fifth = Ssrc::new(MemberId(5), StreamKind::Audio);
        of_the_fifth.extend(got.iter().filter(|got| got.ssrc == fifth).map(|got| got.sequence));
        assert!(got.len() <= 5);
        room.now += Duration::from_millis(10);
    }
    assert!(room.relay.statistics().audio_unheard > 100);
    let whole: Vec<_> = (of_the_fifth[0].0..).take(of_the_fifth.len()).map(SequenceNumber).collect();
    assert_eq!(of_the_fifth, whole);
    assert!(of_the_fifth.len() > 50, "it was heard in the end: {}", of_the_fifth.len());
}

#[test]
fn a_relay_with_silent_members_wakes_to_listen_for_them_alone() {
    let mut room = Room::new(50);
    let look = room.relay.poll_timeout();
    room.send_audio(0, 20);
    assert!(room.relay.poll_timeout() < look);
    room.relay.revoke(ConnectionId(0));
    assert_eq!(room.relay.poll_timeout(), look);
    (1..50).for_each(|member| room.relay.revoke(ConnectionId(member)));
    assert_eq!(room.relay.poll_timeout(), None);
}

#[test]
fn who_falls_silent_is_named_once_and_once_more_when_heard_again() {
    let mut room = Room::new(2);
    let mut changes = Vec::new();
    let (start, second) = (room.now, Duration::from_secs(1));
    while room.now < start + 12 * second {
        room.now += Duration::from_millis(250);
        let since = room.now - start;
        room.send_audio(0, 20);
        if !(2 * second..8 * second).contains(&since) {
            room.send_audio(1, 20);
        }
        room.relay.handle_timeout(room.now);
        room.receive_all();
        let unheard = room.relay.statistics().members_unheard;
        assert_eq!(room.relay.hearing_changed(), !room.relay.hearing_changes.is_empty());
        while let Some(change) = room.relay.poll_hearing() {
            changes.push((since.as_secs(), change, unheard));
        }
    }
    let silent = ConnectionId(1);
    assert_eq!(changes, [(5, (silent, false), 1), (8, (silent, true), 0)]);
}

#[test]
fn what_waits_for_one_who_leaves_is_forgotten_and_the_rest_arrives() {
    let mut room = Room::new(3);
    (0..5).for_each(|_| room.send_video(0, 600));
    room.relay.revoke(ConnectionId(1));
    assert_eq!(room.counts(), [0, 0, 5]);
    room.send_video(0, 600);
    assert_eq!(room.counts(), [0, 0, 1]);
}

/// Numbers and marks of the audio in it.
fn audio(got: &[Got]) -> Vec<(u16, bool)> {
    got.iter().filter(|got| got.kind == Kind::Audio).map(|got| (got.sequence.0, got.again)).collect()
}

/// A room of three in which the first says so many blocks; what the second got before, and the packet number of the first
/// of them there.
fn listening(blocks: usize) -> (Room, u64) {
    let mut room = Room::new(3);
    let before = room.relay.roster.named(ConnectionId(1)).unwrap().next_packet_number();
    for _ in 0..blocks {
        room.send_audio(0, 20);
        room.receive_all();
    }
    (room, before)
}

#[test]
fn a_lost_block_is_sent_again_to_the_one_who_lost_it_and_once() {
    let (mut room, first) = listening(3);
    room.tell(1, first + 2, &[first + 1]);
    let got = room.receive_all();
    assert_eq!([audio(&got[1]), audio(&got[2])], [vec![(1, true)], vec![]]);
    room.tell(1, first + 2, &[first + 1]);
    room.tell(1, first + 3, &[first + 1, first + 2]);
    let got = room.receive_all();
    assert_eq!(audio(&got[1]), [], "what was sent again, and what was heard of, is not sent again");
    room.send_audio(0, 20);
    let got = room.receive_all();
    assert_eq!([audio(&got[1]), audio(&got[2])], [vec![(3, false)], vec![(3, false)]]);
}

#[test]
fn a_block_that_nobody_waits_for_any_more_is_not_sent_again() {
    let (mut room, first) = listening(3);
    room.now += AUDIO_AGAIN_MAX_AGE + Duration::from_millis(1);
    room.tell(1, first + 2, &[first + 1]);
    assert_eq!(audio(&room.receive_all()[1]), []);
}

#[test]
fn a_thin_path_is_sent_again_what_it_was_sent() {
    let (mut room, first) = listening(3);
    room.relay.roster.named(ConnectionId(1)).unwrap().audio_detail = AudioDetail::Base;
    room.tell(1, first + 2, &[first]);
    let got = room.receive_all().remove(1);
    let lengths: Vec<_> = got.iter().filter(|got| got.again).map(|got| got.plaintext_bytes).collect();
    assert_eq!(lengths, [1 + AudioPacket::HEADER_BYTES + 70]);
}

#[test]
fn a_gap_on_the_way_here_is_told_at_once() {
    let mut room = Room::new(2);
    room.now += Duration::from_secs(2);
    room.relay.handle_timeout(room.now);
    room.send_audio(0, 20);
    room.members[0].0.seal(&mut [0; DATAGRAM_MAX_BYTES], 100).unwrap();
    room.send_audio(0, 20);
    assert!(room.receive_all()[0].iter().any(|got| got.kind == Kind::Feedback));
}

#[test]
fn what_comes_again_is_handed_on_as_such_and_was_lost_on_the_way_here() {
    let mut room = Room::new(2);
    room.send_audio(0, 20);
    room.media(StreamKind::Audio);
    room.send_audio(0, 20);
    room.receive_all();
    room.sequences[StreamKind::Audio as usize] = SequenceNumber(1);
    room.send_audio_again(0);
    assert_eq!(audio(&room.receive_all()[1]), [(1, true)]);
    let sender = room.relay.roster.named(ConnectionId(0)).unwrap();
    assert_eq!(sender.uplink(StreamKind::Audio).packets_lost(), 1);
}

#[test]
fn who_is_not_heard_is_not_heard_by_sending_again() {
    let mut room = Room::new(6);
    (0..4).for_each(|speaker| room.send_audio(speaker, 20));
    room.receive_all();
    room.send_audio_again(4);
    assert_eq!(audio(&room.receive_all()[5]), []);
}
