#![expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]
#![expect(clippy::wildcard_enum_match_arm, reason = "each test waits for one event among all")]

use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::endpoint::{Endpoint, Event};
use crate::hub::Grant;
use crate::ids::ControlId;
use crate::limits::{DATAGRAM_MAX_BYTES, OFFERS_PER_MEMBER};
use crate::relay::{Relay, RelayLimits, SpoolTrouble};
use crate::seal::{Secret, Secrets};
use crate::wire::control::CipherSuite;
use crate::wire::message::{FileState, FileTrouble, Message, Recipients};

/// A room, its relay and a disk, without a network in between.
struct Bench {
    now: Instant,
    relay: Relay,
    members: Vec<Endpoint>,
    disk: BTreeMap<SpoolId, (u64, Vec<u8>)>,
    /// The disk does nothing.
    stuck: bool,
    /// Bytes of uploads that the senders have written to their streams.
    sent: u64,
    content: Vec<u8>,
}

const TRANSFER: TransferId = TransferId(1);

fn id(index: usize) -> MemberId {
    MemberId(index as u16 + 1)
}

impl Bench {
    fn new(members: u8, content: usize) -> Self {
        Self::with_quota(members, content, u64::MAX)
    }

    fn with_quota(members: u8, content: usize, spool_room_bytes: u64) -> Self {
        let now = Instant::now();
        let limits = RelayLimits { spool_room_bytes, ..RelayLimits::default() };
        let content = (0..content).map(|at| (at * 31 % 251) as u8).collect();
        let relay = Relay::with_limits(now, limits);
        let disk = BTreeMap::new();
        let mut bench = Self { now, relay, members: Vec::new(), disk, stuck: false, sent: 0, content };
        (0..members).for_each(|index| bench.enter(index));
        bench.exchange();
        bench
    }

    fn enter(&mut self, index: u8) {
        let secrets = Secrets { up: Secret([index; Secret::BYTES]), down: Secret([index ^ 0x80; Secret::BYTES]) };
        let (member, connection_id) = (id(usize::from(index)), ConnectionId(100 + u64::from(index)));
        let (room, suite) = (RoomId(1), CipherSuite::Aes256Gcm);
        let grant = Grant { control: ControlId(u64::from(index)), room, member, connection_id, suite };
        self.relay.admit(self.now, grant, &secrets);
        let mut endpoint = Endpoint::new(self.now, member, connection_id, suite, &secrets);
        endpoint.handle_timeout(self.now);
        self.members.push(endpoint);
    }

    fn leave(&mut self, index: usize) {
        self.relay.revoke(ConnectionId(100 + index as u64));
    }

    /// Carries datagrams and pieces until nothing moves any more.
    fn exchange(&mut self) {
        let mut buffer = [0; DATAGRAM_MAX_BYTES];
        for _ in 0..200 {
            for (index, endpoint) in self.members.iter_mut().enumerate() {
                endpoint.handle_timeout(self.now);
                while let Some(bytes) = endpoint.poll_transmit(self.now, &mut buffer) {
                    self.relay.handle_datagram(self.now, address(index), &mut buffer[..bytes]);
                }
            }
            self.spool();
            self.relay.handle_timeout(self.now);
            while let Some(transmit) = self.relay.poll_transmit(self.now, &mut buffer) {
                let index = usize::from(transmit.to.port());
                self.members[index].handle_datagram(self.now, &mut buffer[..transmit.bytes]);
            }
            self.now += Duration::from_millis(10);
        }
    }

    fn spool(&mut self) {
        while !self.stuck
            && let Some(effect) = self.relay.poll_spool(self.now)
        {
            let fact = match effect {
                SpoolEffect::Free { id, below } => {
                    let (first, bytes) = self.disk.get_mut(&id).expect("it was written");
                    bytes.drain(..(below - *first) as usize);
                    *first = below;
                    continue;
                }
                SpoolEffect::Remove { id } => {
                    self.disk.remove(&id);
                    continue;
                }
                SpoolEffect::Read { id, reader, offset, buffer } => {
                    let (first, bytes) = &self.disk[&id];
                    let from = (offset - first) as usize;
                    SpoolFact::Read { reader, bytes: bytes[from..from + buffer.len()].to_vec() }
                }
                SpoolEffect::Write { id, offset, bytes } => {
                    let (first, kept) = self.disk.entry(id).or_insert((offset, Vec::new()));
                    assert_eq!(*first + kept.len() as u64, offset, "without a gap");
                    kept.extend(&bytes);
                    SpoolFact::Written { id, bytes }
                }
            };
            self.relay.handle_spool(self.now, fact);
        }
    }

    fn offer(&mut self, from: usize, transfer: TransferId, to: Recipients) {
        let offer =
            FileOffer { transfer, to, name: "a".into(), size: self.content.len() as u64, hash: [transfer.0 as u8; 32] };
        self.members[from].send_message(&Message::FileOffer(offer)).unwrap();
        self.exchange();
    }

    fn accept(&mut self, who: usize, from: usize, offset: u64) {
        let accept = Message::FileAccept { to: id(from), transfer: TRANSFER, offset };
        self.members[who].send_message(&accept).unwrap();
        self.exchange();
    }

    fn events(&mut self, who: usize) -> Vec<Event> {
        std::iter::from_fn(|| self.members[who].poll_event()).collect()
    }

    /// The offsets that the server wants of a sender.
    fn wanted(&mut self, who: usize) -> Vec<u64> {
        let wanted = |event| match event {
            Event::Message(delivery) => match delivery.message {
                Message::FileWanted { offset, .. } => Some(offset),
                _ => None,
            },
            _ => None,
        };
        self.events(who).into_iter().filter_map(wanted).collect()
    }

    /// Sends all of the file from an offset on, in as many rounds as it takes.
    fn upload(&mut self, who: usize, offset: u64) -> StreamId {
        let stream = self.members[who].open_file(TRANSFER, offset).unwrap();
        self.send(who, stream, offset, self.content.len() as u64);
        self.members[who].finish_file(stream);
        self.exchange();
        stream
    }

    /// Sends a part of the file. Gives up where nothing moves.
    fn send(&mut self, who: usize, stream: StreamId, from: u64, to: u64) {
        let (mut at, mut idle) = (from as usize, 0);
        while at < to as usize && idle < 3 {
            let taken = self.members[who].write_file(stream, &self.content[at..to as usize]);
            (at, idle) = (at + taken, if taken == 0 { idle + 1 } else { 0 });
            self.sent += taken as u64;
            self.exchange();
        }
    }

    /// What came at a receiver of its only file: the offset, the bytes, and whether that was all.
    fn received(&mut self, who: usize) -> Option<(u64, Vec<u8>, Ended)> {
        let mut file = None;
        let mut buffer = vec![0; 1 << 20];
        for _ in 0..100 {
            for event in self.events(who) {
                match event {
                    Event::FileOpened { stream, offset, .. } => file = Some((stream, offset, Vec::new(), Ended::No)),
                    Event::FileReset(_) => file.iter_mut().for_each(|file| file.3 = Ended::Reset),
                    _ => {}
                }
            }
            if let Some((stream, _, bytes, ended)) = &mut file {
                let read = self.members[who].read_file(*stream, &mut buffer);
                bytes.extend(&buffer[..read.bytes]);
                if read.finished {
                    *ended = Ended::Whole;
                }
            }
            self.exchange();
            if file.as_ref().is_some_and(|file| file.3 != Ended::No) {
                break;
            }
        }
        file.map(|(_, offset, bytes, ended)| (offset, bytes, ended))
    }

    /// All from an offset on came at a receiver.
    fn expect(&mut self, who: usize, from: usize) {
        let (offset, bytes, ended) = self.received(who).expect("a file came");
        assert_eq!((offset, bytes.len(), ended), (from as u64, self.content.len() - from, Ended::Whole));
        assert!(bytes == self.content[from..]);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    No,
    Reset,
    Whole,
}

/// The port is the member's place in the list.
fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], index as u16))
}

#[test]
fn one_upload_serves_all_receivers_and_one_who_comes_later() {
    let mut bench = Bench::new(4, 300_000);
    bench.offer(0, TRANSFER, Recipients::Everyone);
    bench.accept(1, 0, 0);
    bench.accept(2, 0, 0);
    assert_eq!(bench.wanted(0), [0]);
    bench.upload(0, 0);
    bench.expect(1, 0);
    bench.expect(2, 0);
    bench.accept(3, 0, 200_000);
    assert_eq!(bench.wanted(0), []);
    bench.expect(3, 200_000);
    assert_eq!(bench.sent, 300_000);
    assert_eq!(bench.relay.statistics().spool_bytes, 300_000);
}

#[test]
fn a_member_who_was_not_offered_a_file_does_not_get_it_from_the_spool() {
    let mut bench = Bench::new(3, 50_000);
    bench.offer(0, TRANSFER, Recipients::Member(id(1)));
    bench.accept(1, 0, 0);
    bench.upload(0, 0);
    bench.events(2);
    bench.accept(2, 0, 0);
    let events = bench.events(2);
    let refused = Message::FileWithdraw { to: Recipients::Member(id(2)), transfer: TRANSFER, why: None };
    assert!(matches!(&events[..], [Event::Message(delivery)] if delivery.message == refused), "{events:?}");
    bench.expect(1, 0);
}

#[test]
fn who_came_after_an_offer_may_have_the_file_once_it_is_offered_again() {
    let mut bench = Bench::new(2, 20_000);
    bench.offer(0, TRANSFER, Recipients::Everyone);
    bench.enter(2);
    bench.accept(2, 0, 0);
    assert_eq!(bench.wanted(0), []);
    bench.offer(0, TRANSFER, Recipients::Everyone);
    bench.accept(2, 0, 0);
    assert_eq!(bench.wanted(0), [0]);
    bench.upload(0, 0);
    bench.expect(2, 0);
}

#[test]
fn a_number_of_an_offer_stands_for_one_file() {
    let mut bench = Bench::new(3, 20_000);
    bench.offer(0, TRANSFER, Recipients::Member(id(1)));
    bench.offer(0, TRANSFER, Recipients::Member(id(2)));
    assert_eq!(bench.events(2), []);
}

#[test]
fn a_member_has_a_bounded_number_of_offers_open() {
    let mut bench = Bench::new(2, 1_000);
    for number in 0..2 * OFFERS_PER_MEMBER as u32 {
        bench.offer(0, TransferId(number), Recipients::Everyone);
    }
    let offers = bench.events(1).into_iter().filter(|event| matches!(event, Event::Message(_))).count();
    assert_eq!(offers, OFFERS_PER_MEMBER);
    let done = Message::FileProgress { to: id(0), transfer: TransferId(0), state: FileState::Declined };
    bench.members[1].send_message(&done).unwrap();
    bench.exchange();
    bench.offer(0, TransferId(100), Recipients::Everyone);
    assert_eq!(bench.events(1).len(), 1);
}

#[test]
fn an_upload_that_nobody_asked_for_is_stopped() {
    let mut bench = Bench::new(2, 50_000);
    bench.offer(0, TRANSFER, Recipients::Everyone);
    let stream = bench.upload(0, 0);
    assert!(bench.events(0).contains(&Event::FileStopped(stream)));
    assert!(bench.disk.is_empty());
}

#[test]
fn an_upload_that_ends_with_its_header_is_a_broken_one() {
    let mut bench = Bench::new(2, 50_000);
    bench.offer(0, TRANSFER, Recipients::Everyone);
    bench.accept(1, 0, 0);
    let stream = bench.members[0].open_file(TRANSFER, 0).unwrap();
    bench.members[0].finish_file(stream);
    bench.exchange();
    assert_eq!(bench.received(1).map(|file| file.2), Some(Ended::Reset));
}

#[test]
fn who_has_all_but_the_end_and_who_takes_an_empty_file_get_the_end() {
    for bytes in [0, 50_000] {
        let mut bench = Bench::new(2, bytes);
        bench.offer(0, TRANSFER, Recipients::Everyone);
        bench.accept(1, 0, bytes as u64);
        assert_eq!(bench.wanted(0), []);
        bench.expect(1, bytes);
    }
}

#[test]
fn more_bytes_than_were_offered_reach_nobody() {
    let mut bench = Bench::new(2, 50_000);
    bench.offer(0, TRANSFER, Recipients::Everyone);
    bench.content.extend([7; 10_000]);
    bench.accept(1, 0, 0);
    bench.upload(0, 0);
    let (_, bytes, ended) = bench.received(1).unwrap();
    assert!(bytes.len() <= 50_000 && ended != Ended::No, "{} {ended:?}", bytes.len());
}

#[test]
fn a_sender_who_leaves_has_sent_what_the_server_has() {
    let mut bench = Bench::new(3, 200_000);
    bench.offer(0, TRANSFER, Recipients::Everyone);
    bench.accept(1, 0, 0);
    bench.accept(2, 0, 0);
    // The disk is behind: what the sender knows to be received is nowhere but in the channel.
    bench.stuck = true;
    bench.upload(0, 0);
    bench.leave(0);
    bench.stuck = false;
    bench.expect(1, 0);
    bench.expect(2, 0);
    assert_eq!(bench.relay.statistics().spool_bytes, 0, "nobody is left to ask for it");
    assert!(bench.disk.is_empty());
}

#[test]
fn of_a_sender_who_leaves_in_the_middle_receivers_get_what_there_is_and_the_end() {
    let mut bench = Bench::new(2, 400_000);
    bench.offer(0, TRANSFER, Recipients::Everyone);
    bench.accept(1, 0, 0);
    let stream = bench.members[0].open_file(TRANSFER, 0).unwrap();
    bench.send(0, stream, 0, 100_000);
    bench.leave(0);
    let (offset, _, ended) = bench.received(1).unwrap();
    assert_eq!((offset, ended), (0, Ended::Reset));
    assert!(bench.disk.is_empty());
}

#[test]
fn a_receiver_who_stops_costs_nothing_and_goes_on_where_it_was() {
    let mut bench = Bench::new(2, 3_000_000);
    bench.offer(0, TRANSFER, Recipients::Everyone);
    bench.accept(1, 0, 0);
    assert_eq!(bench.wanted(0), [0]);
    let stream = bench.members[0].open_file(TRANSFER, 0).unwrap();
    bench.send(0, stream, 0, 1_000_000);
    let paused = Message::FileProgress { to: id(0), transfer: TRANSFER, state: FileState::Paused(500_000) };
    bench.members[1].send_message(&paused).unwrap();
    bench.exchange();
    assert!(bench.events(0).contains(&Event::FileStopped(stream)), "nobody wants it for now");
    bench.events(1);
    bench.accept(1, 0, 500_000);
    let held = bench.disk.values().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
    assert_eq!(
        bench.received(1).unwrap().1.len() as u64,
        held - 500_000,
        "what the spool has comes without the sender"
    );
    assert_eq!(bench.wanted(0), [held]);
}

#[test]
fn a_full_spool_closes_the_window_and_frees_what_everybody_has_passed() {
    const QUOTA: u64 = 24 << 20;
    let mut bench = Bench::with_quota(2, 40 << 20, QUOTA);
    bench.offer(0, TRANSFER, Recipients::Everyone);
    bench.accept(1, 0, 0);
    let stream = bench.members[0].open_file(TRANSFER, 0).unwrap();
    bench.send(0, stream, 0, 40 << 20);
    let held = bench.relay.statistics().spool_bytes;
    assert!(held <= QUOTA && held > QUOTA - (1 << 20), "{held}");
    assert!(bench.sent < QUOTA + (4 << 20), "the sender was held back: {}", bench.sent);
    // Nothing was read, so nothing was passed. Reading sets it going again.
    let mut buffer = vec![0; 1 << 20];
    let opened = bench.events(1).into_iter().find_map(|event| match event {
        Event::FileOpened { stream, .. } => Some(stream),
        _ => None,
    });
    let mut read = 0;
    while read < 38 << 20 {
        let bytes = bench.members[1].read_file(opened.unwrap(), &mut buffer).bytes;
        assert!(buffer[..bytes] == bench.content[read..read + bytes]);
        read += bytes;
        let sent = bench.sent;
        bench.send(0, stream, sent, 40 << 20);
        bench.exchange();
        assert!(bench.relay.statistics().spool_bytes <= QUOTA);
    }
}

#[test]
fn a_full_disk_is_told_to_the_sender_and_to_the_receivers_and_may_be_tried_again() {
    let mut bench = Bench::new(2, 400_000);
    bench.offer(0, TRANSFER, Recipients::Everyone);
    bench.accept(1, 0, 0);
    bench.stuck = true;
    let stream = bench.members[0].open_file(TRANSFER, 0).unwrap();
    bench.send(0, stream, 0, 100_000);
    let Some(SpoolEffect::Write { id: spool, .. }) = bench.relay.poll_spool(bench.now) else {
        panic!("nothing written")
    };
    bench.relay.handle_spool(bench.now, SpoolFact::Failed { id: spool, trouble: SpoolTrouble::Full });
    bench.exchange();
    let failed = Message::FileFailed { from: id(0), transfer: TRANSFER, trouble: FileTrouble::ServerFull };
    let told = |event: &Event| matches!(event, Event::Message(delivery) if delivery.message == failed);
    assert!(bench.events(0).iter().any(told));
    let receiver = bench.events(1);
    assert!(receiver.iter().any(told), "{receiver:?}");
    assert!(receiver.iter().any(|event| matches!(event, Event::FileReset(_))), "{receiver:?}");
    assert_eq!(bench.relay.statistics().spool_bytes, 0);
    // It stands, and is asked for anew.
    bench.stuck = false;
    bench.accept(1, 0, 0);
    assert_eq!(bench.wanted(0), [0]);
}

/// The sender says that it has its file no more.
fn say_gone(bench: &mut Bench) -> Message {
    let why = Some(FileTrouble::SourceGone);
    let gone = Message::FileWithdraw { to: Recipients::Everyone, transfer: TRANSFER, why };
    bench.members[0].send_message(&gone).unwrap();
    bench.exchange();
    gone
}

fn says(message: &Message) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::Message(delivery) if delivery.message == *message)
}

#[test]
fn of_a_file_that_is_gone_everybody_is_told_and_nobody_gets_it_any_more() {
    let mut bench = Bench::new(3, 400_000);
    bench.offer(0, TRANSFER, Recipients::Everyone);
    bench.accept(1, 0, 0);
    let stream = bench.members[0].open_file(TRANSFER, 0).unwrap();
    bench.send(0, stream, 0, 100_000);
    bench.members[0].reset_file(stream);
    let gone = say_gone(&mut bench);
    assert!(bench.events(2).iter().any(says(&gone)));
    let told = bench.events(1);
    assert!(told.iter().any(says(&gone)) && told.iter().any(|event| matches!(event, Event::FileReset(_))), "{told:?}");
    bench.events(0);
    bench.accept(2, 0, 0);
    assert_eq!(bench.wanted(0), [], "nobody asks for what is gone");
    assert!(bench.events(2).iter().any(|event| matches!(event, Event::Message(_))), "who is late is told");
    assert_eq!(bench.relay.statistics().spool_bytes, 0);
}

#[test]
fn a_file_that_is_gone_after_the_server_had_it_still_arrives_at_who_was_at_it() {
    let mut bench = Bench::new(2, 400_000);
    bench.offer(0, TRANSFER, Recipients::Everyone);
    bench.accept(1, 0, 0);
    bench.upload(0, 0);
    say_gone(&mut bench);
    bench.expect(1, 0);
    assert_eq!(bench.relay.statistics().spool_bytes, 0);
}

#[test]
fn a_file_that_waits_for_room_in_the_spool_says_so_to_both_ends_until_it_moves() {
    let mut bench = Bench::with_quota(3, 40 << 20, 24 << 20);
    let waits = |waits| Message::FileWaits { from: id(1), transfer: TRANSFER, waits };
    bench.offer(0, TRANSFER, Recipients::Everyone);
    bench.accept(2, 0, 0);
    // It fills the spool, for one who does not read.
    let stream = bench.members[0].open_file(TRANSFER, 0).unwrap();
    bench.send(0, stream, 0, 40 << 20);
    let opened = bench.events(2).into_iter().find_map(|event| match event {
        Event::FileOpened { stream, .. } => Some(stream),
        _ => None,
    });
    bench.members[2].read_file(opened.unwrap(), &mut vec![0; 1 << 20]);
    bench.offer(1, TRANSFER, Recipients::Everyone);
    bench.accept(0, 1, 0);
    let stream = bench.members[1].open_file(TRANSFER, 0).unwrap();
    bench.members[1].write_file(stream, &bench.content[..100_000]);
    let told = |bench: &mut Bench, who, wanted: &Message| {
        (0..10).any(|_| {
            bench.exchange();
            bench.events(who).iter().any(says(wanted))
        })
    };
    bench.now += crate::limits::SPOOL_WAIT_TOLD_AFTER;
    assert!(told(&mut bench, 1, &waits(true)), "its sender");
    assert!(told(&mut bench, 1, &waits(false)), "who does not read has lost his place");
    let of_receiver: Vec<_> =
        bench.events(0).into_iter().filter(|event| says(&waits(true))(event) || says(&waits(false))(event)).collect();
    assert_eq!(of_receiver.len(), 2, "its receiver: {of_receiver:?}");
}

#[test]
fn an_offer_that_is_taken_back_leaves_nothing_in_the_spool() {
    let mut bench = Bench::new(2, 50_000);
    bench.offer(0, TRANSFER, Recipients::Everyone);
    bench.accept(1, 0, 0);
    bench.upload(0, 0);
    let withdraw = Message::FileWithdraw { to: Recipients::Everyone, transfer: TRANSFER, why: None };
    bench.members[0].send_message(&withdraw).unwrap();
    bench.exchange();
    assert!(bench.disk.is_empty());
    assert_eq!(bench.relay.statistics().spool_bytes, 0);
}

#[test]
fn receivers_far_apart_have_an_upload_each_until_one_comes_to_the_other() {
    let mut bench = Bench::new(3, 600_000);
    bench.offer(0, TRANSFER, Recipients::Everyone);
    bench.accept(1, 0, 400_000);
    bench.accept(2, 0, 0);
    assert_eq!(bench.wanted(0), [400_000, 0]);
    bench.upload(0, 400_000);
    let early = bench.upload(0, 0);
    assert!(bench.events(0).contains(&Event::FileStopped(early)), "the rest is there");
    bench.expect(1, 400_000);
    bench.expect(2, 0);
}

#[test]
fn the_server_alone_asks_for_bytes() {
    let mut bench = Bench::new(2, 1_000);
    bench.offer(1, TRANSFER, Recipients::Everyone);
    bench.members[0].send_message(&Message::FileWanted { transfer: TRANSFER, offset: 0 }).unwrap();
    let failed = Message::FileFailed { from: id(0), transfer: TRANSFER, trouble: FileTrouble::ServerFull };
    bench.members[0].send_message(&failed).unwrap();
    bench.exchange();
    assert_eq!(bench.events(1), []);
    assert_eq!(bench.relay.statistics().messages_dropped, 2);
}
