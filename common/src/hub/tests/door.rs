//! Attackers at the door of a hub, and the people who are not to notice them.

use proptest::prelude::*;

use super::*;
use crate::limits::{DENIALS_PER_SOURCE, GUESSING_NETWORKS, KNOCKS_PER_ROOM, WRONG_CODE_WAIT};

/// An address that many share.
const SCHOOL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

impl Bench {
    fn connect_from(&mut self, control: u64, address: IpAddr) {
        self.hub.handle_connected(self.now, ControlId(control), address);
        self.tell(control, ClientMessage::Hello { version: PROTOCOL_VERSION, aes: true });
    }

    fn knock_from(&mut self, control: u64, address: IpAddr, code: RoomCode, name: &str) {
        self.connect_from(control, address);
        self.tell(control, ClientMessage::Knock { code, name: name.into() });
    }

    fn try_later(&self, control: u64) -> bool {
        matches!(self.last(control), ServerMessage::Refused(Refusal::TryLater { .. }))
    }
}

/// Any code but this one.
fn other_than(code: RoomCode, number: u32) -> RoomCode {
    let own: u32 = code.to_string().parse().unwrap();
    RoomCode::new((own + 1 + number) % RoomCode::COUNT).unwrap()
}

fn far(number: u32) -> IpAddr {
    std::net::Ipv4Addr::from_bits(0x6440_0000 + (number << 8)).into()
}

#[test]
fn a_wrong_code_is_told_at_once_and_the_eleventh_is_not_even_tried() {
    let mut bench = Bench::new();
    let code = bench.host();
    for number in 0..WRONG_CODES_PER_SOURCE as u32 {
        bench.knock(2, other_than(code, number), "Eve");
        assert_eq!(bench.last(2), &ServerMessage::Refused(Refusal::WrongCode));
    }
    bench.knock(2, code, "Eve");
    assert_eq!(bench.last(2), &ServerMessage::Refused(Refusal::TryLater { secs: 900 }));
    bench.knock(3, code, "Bo");
    assert_eq!(bench.last(3), &ServerMessage::Knocking);
    assert_eq!(bench.hub.statistics().door.bans, 1);
}

#[test]
fn five_pupils_mistype_and_the_sixth_gets_to_the_door() {
    let mut bench = Bench::new();
    let code = bench.host();
    for pupil in 0..5 {
        // Who does not see his mistake makes it again.
        for _ in 0..3 {
            bench.knock_from(10, SCHOOL, other_than(code, pupil), "Bo");
            assert_eq!(bench.last(10), &ServerMessage::Refused(Refusal::WrongCode));
        }
    }
    bench.knock_from(20, SCHOOL, code, "Cy");
    assert_eq!(bench.last(20), &ServerMessage::Knocking);
}

#[test]
fn the_operator_opens_a_door_that_a_class_has_closed() {
    let mut bench = Bench::new();
    let limits = HubLimits { wrong_codes_per_source: 2, wrong_code_wait: WRONG_CODE_WAIT / 3, ..HubLimits::default() };
    bench.hub = Hub::with_limits([3; 32], true, limits);
    let code = bench.host();
    (0..2).for_each(|number| bench.knock_from(10, SCHOOL, other_than(code, number), "Bo"));
    bench.knock_from(11, SCHOOL, code, "Cy");
    assert_eq!(bench.last(11), &ServerMessage::Refused(Refusal::TryLater { secs: 300 }));
    assert_eq!(bench.hub.bans(bench.now).sources, 1);
    assert_eq!(bench.hub.forgive(bench.now, Some([192, 0, 2, 2].into())), 0);
    assert_eq!(bench.hub.forgive(bench.now, Some(SCHOOL)), 1);
    bench.knock_from(12, SCHOOL, code, "Cy");
    assert_eq!(bench.last(12), &ServerMessage::Knocking);
}

#[test]
fn two_people_behind_one_address_are_denied_and_the_host_is_asked_about_the_third() {
    let mut bench = Bench::new();
    let code = bench.host();
    for (knock, name) in ["Wrong One", "Wrong Two"].into_iter().enumerate() {
        bench.knock_from(10, SCHOOL, code, name);
        bench.act(1, Action::Deny(KnockId(knock as u32 + 1)));
        assert_eq!(bench.last(10), &ServerMessage::Refused(Refusal::Denied));
    }
    bench.knock_from(11, SCHOOL, code, "Right");
    let arrived = ServerMessage::KnockArrived { knock: KnockId(3), name: "Right".into() };
    assert_eq!((bench.last(11), bench.last(1)), (&ServerMessage::Knocking, &arrived));
    bench.knock_from(12, SCHOOL, code, "Wrong One");
    bench.act(1, Action::Deny(KnockId(4)));
    bench.knock_from(13, SCHOOL, code, "Wrong One");
    assert_eq!(bench.last(13), &ServerMessage::Refused(Refusal::DeniedBefore), "the truth: nobody was asked");
}

#[test]
fn who_is_denied_under_one_name_after_the_other_rings_less_and_less_and_others_are_asked_about() {
    let mut bench = Bench::new();
    let code = bench.host();
    for number in 0..DENIALS_PER_SOURCE {
        bench.knock_from(10, SCHOOL, code, &format!("Guest {number}"));
        bench.act(1, Action::Deny(KnockId(number + 1)));
    }
    bench.knock_from(11, SCHOOL, code, "Another");
    assert_eq!(bench.last(11), &ServerMessage::Refused(Refusal::KnockLater { secs: 60 }));
    bench.knock_from(12, far(1), code, "Another");
    assert_eq!(bench.last(12), &ServerMessage::Knocking);
}

#[test]
fn one_source_at_a_full_door_gives_way_to_another() {
    let mut bench = Bench::new();
    let code = bench.host();
    for number in 0..KNOCKS_PER_ROOM as u64 {
        bench.knock_from(100 + number, SCHOOL, code, &format!("Pupil {}", char::from(b'a' + number as u8)));
    }
    bench.knock_from(200, SCHOOL, code, "Pupil z");
    assert_eq!(bench.last(200), &ServerMessage::Refused(Refusal::TooManyKnocks));
    bench.knock_from(201, far(1), code, "Bo");
    assert_eq!(bench.last(201), &ServerMessage::Knocking);
    assert_eq!(bench.last(119), &ServerMessage::Refused(Refusal::TooManyKnocks));
    assert!(bench.sent[&ControlId(1)].contains(&ServerMessage::KnockGone(KnockId(20))));
}

#[test]
fn who_has_opened_enough_rooms_is_told_that_it_is_the_network_and_not_the_server() {
    let mut bench = Bench::new();
    bench.hub = Hub::with_limits([3; 32], true, HubLimits { rooms_per_source: 1, ..HubLimits::default() });
    for (control, address) in [(10, SCHOOL), (11, SCHOOL), (12, far(1))] {
        bench.connect_from(control, address);
        bench.tell(control, ClientMessage::Create { name: "Ada".into() });
    }
    assert_eq!(bench.last(11), &ServerMessage::Refused(Refusal::TooManyRooms));
    assert!(matches!(bench.last(12), ServerMessage::Admitted(_)));
}

#[test]
fn wrong_secrets_for_a_place_of_ones_own_keep_no_guest_out() {
    let mut bench = Bench::new();
    let code = bench.host();
    bench.knock_from(10, SCHOOL, code, "Eve");
    bench.act(1, Action::AdmitAll);
    let wrong = Ticket { secret: ResumptionSecret([0; ResumptionSecret::BYTES]), ..bench.ticket(10) };
    for guest in 0..119 {
        for _ in 0..10 {
            bench.connect_from(11, SCHOOL);
            bench.tell(11, ClientMessage::Resume(wrong));
            assert_eq!(bench.last(11), &ServerMessage::Refused(Refusal::PlaceGone));
        }
        bench.knock_from(1_000 + guest, far(guest as u32), code, "Bo");
        assert_eq!(bench.last(1_000 + guest), &ServerMessage::Knocking, "guest {guest}");
        bench.tell(1_000 + guest, ClientMessage::Leave);
        bench.tell(1, ClientMessage::Ping);
        bench.wait_with(Duration::from_secs(1), &[1]);
    }
    assert!(!bench.hub.guessing(bench.now));
    bench.knock_from(12, SCHOOL, code, "Eve");
    assert!(bench.try_later(12), "what it fails at costs the attacker");
}

#[test]
fn many_networks_that_guess_keep_no_right_code_out_and_are_known() {
    let mut bench = Bench::new();
    let code = bench.host();
    for number in 0..GUESSING_NETWORKS as u32 {
        bench.knock_from(10, far(number), other_than(code, number), "Eve");
    }
    assert!(bench.hub.guessing(bench.now));
    assert_eq!(bench.hub.statistics().door.alerts, 1);
    bench.knock_from(11, far(1_000), code, "Bo");
    assert_eq!(bench.last(11), &ServerMessage::Knocking);
}

/// What an attacker may do with one connection after another.
#[derive(Clone, Debug)]
enum Deed {
    Create,
    Garbage,
    KnockRight,
    KnockWrong(u32),
    Leave,
    Lose,
    Resume,
    Wait(u64),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        Just(Deed::Create),
        Just(Deed::Garbage),
        Just(Deed::KnockRight),
        (0..100_000u32).prop_map(Deed::KnockWrong),
        Just(Deed::Leave),
        Just(Deed::Lose),
        Just(Deed::Resume),
        (0..3_000u64).prop_map(Deed::Wait),
    ]
}

fn attack(bench: &mut Bench, control: u64, code: RoomCode, deed: &Deed) {
    if !matches!(deed, Deed::Leave | Deed::Lose | Deed::Wait(_)) {
        bench.connect_from(control, SCHOOL);
    }
    match deed {
        Deed::Create => bench.tell(control, ClientMessage::Create { name: format!("Eve {control}") }),
        Deed::Garbage => bench.tell(control, ClientMessage::Ping),
        Deed::KnockRight => bench.tell(control, ClientMessage::Knock { code, name: format!("Eve {control}") }),
        Deed::KnockWrong(number) => {
            bench.tell(control, ClientMessage::Knock { code: other_than(code, *number), name: "Eve".into() });
        }
        Deed::Leave => bench.tell(control - 1, ClientMessage::Leave),
        Deed::Lose => bench.lose(control - 1),
        Deed::Resume => {
            let place = bench.granted.last().expect("the host has one").connection_id;
            let secret = ResumptionSecret([0; ResumptionSecret::BYTES]);
            let ticket = Ticket { run: bench.hub.run, connection_id: place, secret };
            bench.tell(control, ClientMessage::Resume(ticket));
        }
        Deed::Wait(millis) => bench.wait_with(Duration::from_millis(*millis), &[1]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_one_source_does_the_right_code_of_another_is_answered(
        deeds in proptest::collection::vec(deed(), 1..150),
    ) {
        let mut bench = Bench::new();
        let code = bench.host();
        for (number, deed) in deeds.iter().enumerate() {
            let number = number as u64;
            attack(&mut bench, 1_000 + number, code, deed);
            let (guest, host) = (100_000 + number, 200_000 + number);
            bench.knock_from(guest, far(1), code, "Bo");
            prop_assert_eq!(bench.last(guest), &ServerMessage::Knocking);
            bench.tell(guest, ClientMessage::Leave);
            bench.connect_from(host, far(2));
            bench.tell(host, ClientMessage::Create { name: "Cy".into() });
            prop_assert!(matches!(bench.last(host), ServerMessage::Admitted(_)), "{:?}", bench.last(host));
            bench.tell(host, ClientMessage::Leave);
        }
    }
}
