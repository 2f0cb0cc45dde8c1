#![expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]

use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::endpoint::{Endpoint, Event};
use crate::ids::{ChatId, ControlId};
use crate::limits::{AUDIO_BLOCK_SAMPLES, DATAGRAM_MAX_BYTES};
use crate::seal::Secret;
use crate::voice::pcm::Block;
use crate::wire::control::CipherSuite;
use crate::wire::message::{Message, Recipients};

/// A relay and members of rooms, without a network in between.
struct Bench {
    now: Instant,
    relay: Relay,
    members: Vec<(SocketAddr, Endpoint)>,
}

fn secrets(seed: u8) -> Secrets {
    Secrets { up: Secret([seed; Secret::BYTES]), down: Secret([seed ^ 0x80; Secret::BYTES]) }
}

fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, index as u8 + 1], 4_000))
}

fn loud() -> Block {
    std::array::from_fn(|sample| if sample % 100 < 50 { 8_000 } else { -8_000 })
}

impl Bench {
    /// One member for each room number, with member ids from 1 in each room.
    fn new(rooms: &[u32]) -> Self {
        let now = Instant::now();
        let mut bench = Self { now, relay: Relay::new(now), members: Vec::new() };
        for (index, room) in rooms.iter().enumerate() {
            let member = rooms[..index].iter().filter(|other| *other == room).count() as u16 + 1;
            let grant = Grant {
                control: ControlId(index as u64),
                room: RoomId(*room),
                member: MemberId(member),
                connection_id: ConnectionId(100 + index as u64),
                suite: CipherSuite::Aes256Gcm,
            };
            let secrets = secrets(index as u8);
            bench.relay.admit(now, grant, &secrets);
            let endpoint = Endpoint::new(now, grant.member, grant.connection_id, grant.suite, &secrets);
            bench.members.push((address(index), endpoint));
        }
        // Everybody's first ping tells the relay an address.
        (0..rooms.len()).for_each(|index| bench.members[index].1.handle_timeout(now));
        bench.exchange();
        bench
    }

    /// Carries datagrams until nobody has one more to send; answers how many each member got.
    fn exchange(&mut self) -> Vec<usize> {
        let mut got = vec![0; self.members.len()];
        let mut buffer = [0; DATAGRAM_MAX_BYTES];
        loop {
            let mut moved = false;
            for (from, endpoint) in &mut self.members {
                while let Some(bytes) = endpoint.poll_transmit(self.now, &mut buffer) {
                    self.relay.handle_datagram(self.now, *from, &mut buffer[..bytes]);
                    moved = true;
                }
            }
            while let Some(transmit) = self.relay.poll_transmit(self.now, &mut buffer) {
                let index = self.members.iter().position(|(at, _)| *at == transmit.to).expect("a member's address");
                self.members[index].1.handle_datagram(self.now, &mut buffer[..transmit.bytes]);
                got[index] += 1;
                moved = true;
            }
            if !moved {
                return got;
            }
        }
    }

    fn events(&mut self, index: usize) -> Vec<Event> {
        std::iter::from_fn(|| self.members[index].1.poll_event()).collect()
    }
}

#[test]
fn everybody_else_in_the_room_gets_a_block_of_audio() {
    let mut bench = Bench::new(&[1, 1, 1]);
    let now = bench.now;
    bench.members[0].1.push_audio(now, &loud());
    assert_eq!(bench.exchange(), [0, 1, 1]);
    let speakers = bench.events(1);
    assert!(speakers.contains(&Event::Speaking(vec![MemberId(1)])), "{speakers:?}");
}

#[test]
fn seed_hole_media_stays_in_its_own_meeting() {
    let mut bench = Bench::new(&[1, 1, 2, 2]);
    let now = bench.now;
    bench.members[0].1.push_audio(now, &loud());
    assert_eq!(bench.exchange(), [0, 1, 0, 0]);
}

#[test]
fn seed_hole_media_from_an_unknown_source_is_not_relayed() {
    let mut bench = Bench::new(&[1, 1]);
    let (now, strange) = (bench.now, secrets(77));
    let mut buffer = [0; DATAGRAM_MAX_BYTES];
    // A stranger who knows a member's connection id, and one who knows nothing.
    for connection in [ConnectionId(100), ConnectionId(999)] {
        let mut stranger = Endpoint::new(now, MemberId(1), connection, CipherSuite::Aes256Gcm, &strange);
        stranger.push_audio(now, &loud());
        stranger.handle_timeout(now);
        while let Some(bytes) = stranger.poll_transmit(now, &mut buffer) {
            bench.relay.handle_datagram(now, address(9), &mut buffer[..bytes]);
        }
    }
    assert_eq!(bench.relay.statistics().datagrams_discarded, 4);
    assert_eq!(bench.relay.poll_transmit(now, &mut buffer), None, "nobody hears of it, and nobody is answered");
}

#[test]
fn seed_hole_no_media_address_is_registered_before_admission() {
    let mut bench = Bench::new(&[1, 1]);
    let now = bench.now;
    // The keys a guest is going to get do nothing before the relay was told to admit.
    let (secrets, connection) = (secrets(50), ConnectionId(500));
    let mut early = Endpoint::new(now, MemberId(3), connection, CipherSuite::Aes256Gcm, &secrets);
    early.handle_timeout(now);
    let mut buffer = [0; DATAGRAM_MAX_BYTES];
    while let Some(bytes) = early.poll_transmit(now, &mut buffer) {
        bench.relay.handle_datagram(now, address(7), &mut buffer[..bytes]);
    }
    let grant = Grant {
        control: ControlId(50),
        room: RoomId(1),
        member: MemberId(3),
        connection_id: connection,
        suite: CipherSuite::Aes256Gcm,
    };
    bench.relay.admit(now, grant, &secrets);
    bench.members[0].1.push_audio(now, &loud());
    // `exchange` fails when something goes to the early guest's address.
    assert_eq!(bench.exchange(), [0, 1]);
}

#[test]
fn a_revoked_member_neither_sends_nor_receives() {
    let mut bench = Bench::new(&[1, 1, 1]);
    let now = bench.now;
    bench.members[0].1.push_audio(now, &loud());
    bench.relay.revoke(ConnectionId(102));
    bench.members[2].1.push_audio(now, &loud());
    assert_eq!(bench.exchange(), [0, 1, 0]);
}

#[test]
fn a_member_cannot_speak_as_another() {
    let now = Instant::now();
    let mut bench = Bench::new(&[1, 1, 1]);
    // Member 2 with the data plane of member 2, who says to be member 3.
    let liar = Endpoint::new(now, MemberId(3), ConnectionId(101), CipherSuite::Aes256Gcm, &secrets(1));
    bench.members[1] = (address(1), liar);
    let now = bench.now;
    bench.members[1].1.push_audio(now, &loud());
    // The first packet number was used up by the real one's ping.
    bench.members[1].1.push_audio(now, &loud());
    assert_eq!(bench.exchange()[0], 1);
    assert!(bench.events(0).contains(&Event::Speaking(vec![MemberId(2)])));
}

#[test]
fn a_private_message_reaches_one_and_is_stamped_with_its_sender() {
    let mut bench = Bench::new(&[1, 1, 1]);
    let chat = Message::Chat { id: ChatId(1), to: Recipients::Member(MemberId(3)), text: "psst".into() };
    bench.members[1].1.send_message(&chat).unwrap();
    bench.exchange();
    let heard: Vec<_> = (0..3).map(|index| bench.events(index)).collect();
    let of = |events: &[Event]| events.iter().filter(|event| matches!(event, Event::Message(_))).count();
    assert_eq!(heard.iter().map(|events| of(events)).collect::<Vec<_>>(), [0, 0, 1]);
    assert!(
        matches!(&heard[2][0], Event::Message(delivery) if delivery.from == MemberId(2) && delivery.message == chat)
    );
}

#[test]
fn a_message_above_the_limit_is_dropped_and_the_channel_lives_on() {
    let mut bench = Bench::new(&[1, 1]);
    let chat = |text: String| Message::Chat { id: ChatId(1), to: Recipients::Everyone, text };
    bench.members[0].1.send_message(&chat("x".repeat(crate::limits::CHAT_MAX_BYTES + 1))).unwrap();
    bench.members[0].1.send_message(&chat("short".into())).unwrap();
    // Acknowledgements may be delayed, so the window opens in a few rounds.
    for _ in 0..10 {
        bench.exchange();
        bench.now += Duration::from_millis(30);
        for index in 0..2 {
            let now = bench.now;
            bench.members[index].1.handle_timeout(now);
        }
        bench.relay.handle_timeout(bench.now);
    }
    let messages = bench.events(1).into_iter().filter(|event| matches!(event, Event::Message(_))).count();
    assert_eq!((messages, bench.relay.statistics().messages_dropped), (1, 1));
}

#[test]
fn random_bytes_are_dropped_without_an_answer() {
    use rand::{Rng, SeedableRng};
    let mut bench = Bench::new(&[1, 1]);
    let mut rng = rand::rngs::StdRng::seed_from_u64(1);
    for length in 0..2_000 {
        let mut datagram = vec![0; length];
        rng.fill_bytes(&mut datagram);
        bench.relay.handle_datagram(bench.now, address(0), &mut datagram);
    }
    assert_eq!(bench.relay.statistics().datagrams_discarded, 2_000);
    assert_eq!(bench.exchange(), [0, 0]);
    assert_eq!(AUDIO_BLOCK_SAMPLES, loud().len());
}

#[test]
fn a_member_is_answered_over_the_path_of_the_newest_datagram() {
    let mut bench = Bench::new(&[1]);
    let mut buffer = [0; DATAGRAM_MAX_BYTES];
    let asked = [Some([192, 0, 2, 1].into()), Some([192, 0, 2, 2].into()), None];
    for local in asked {
        bench.now += crate::limits::PING_INTERVAL;
        let now = bench.now;
        bench.members[0].1.handle_timeout(now);
        let mut newest = Vec::new();
        while let Some(bytes) = bench.members[0].1.poll_transmit(now, &mut buffer) {
            newest.push(buffer[..bytes].to_vec());
        }
        let path = AddressPair { remote: address(7), local };
        newest.iter_mut().for_each(|datagram| bench.relay.handle_datagram(now, path, datagram));
        let transmit = bench.relay.poll_transmit(now, &mut buffer).expect("a pong");
        assert_eq!((transmit.to, transmit.from), (address(7), local));
        while bench.relay.poll_transmit(now, &mut buffer).is_some() {}
    }
}
