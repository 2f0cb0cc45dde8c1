//! What each attacker gets, and that nobody else pays for it.
#![expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]

use proptest::prelude::*;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

fn source(last: u32) -> Source {
    IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0a00_0000 + last)).into()
}

/// One source in a /24 of its own.
fn far(number: u32) -> Source {
    source(number << 8)
}

fn code(number: u32) -> RoomCode {
    RoomCode::new(number % RoomCode::COUNT).unwrap()
}

/// Tries one code after another as fast as the door lets it; answers how many were tried within `time`.
fn guess_for(
    door: &mut Door,
    start: Instant,
    who: Source,
    time: Duration,
    mut meanwhile: impl FnMut(&mut Door, Instant),
) -> u32 {
    let (mut now, mut tried) = (start, 0);
    while now < start + time {
        match door.closed_for(now, who) {
            Some(wait) => now += wait,
            None => {
                door.wrong_code(now, who, code(tried));
                tried += 1;
                meanwhile(door, now);
            }
        }
    }
    tried
}

#[test]
fn ten_different_wrong_codes_close_the_door_to_their_source_until_one_is_there_again() {
    let (mut door, start) = (Door::default(), Instant::now());
    for number in 0..10 {
        assert_eq!(door.closed_for(start, source(1)), None);
        door.wrong_code(start, source(1), code(number));
    }
    assert_eq!(door.closed_for(start, source(1)), Some(WRONG_CODE_WAIT));
    assert_eq!(door.closed_for(start, source(2)), None, "the neighbour in the same network");
    assert_eq!(door.bans(start), Bans { sources: 1, longest: WRONG_CODE_WAIT });
    let later = start + WRONG_CODE_WAIT;
    assert_eq!(door.closed_for(later, source(1)), None);
    door.wrong_code(later, source(1), code(10));
    assert_eq!(door.closed_for(later, source(1)), Some(WRONG_CODE_WAIT), "it was one");
    assert_eq!(door.statistics().bans, 2);
}

#[test]
fn the_same_wrong_code_again_is_no_new_guess() {
    let (mut door, start) = (Door::default(), Instant::now());
    for round in 0..100 {
        for number in 0..WRONG_CODES_REMEMBERED as u32 {
            door.wrong_code(start + MINUTE / 60 * round, source(1), code(number));
        }
    }
    assert_eq!(door.closed_for(start, source(1)), None);
}

#[test]
fn each_right_code_gives_one_wrong_one_back() {
    let (mut door, start) = (Door::default(), Instant::now());
    for number in 0..10 {
        door.wrong_code(start, source(1), code(number));
    }
    let open = start + WRONG_CODE_WAIT;
    door.wrong_code(open, source(2), code(1));
    for _ in 0..3 {
        door.right_code(open, source(1));
    }
    // One came back by waiting and three were given.
    for number in 20..24 {
        assert_eq!(door.closed_for(open, source(1)), None);
        door.wrong_code(open, source(1), code(number));
    }
    assert!(door.closed_for(open, source(1)).is_some());
}

#[test]
fn a_class_in_which_every_third_mistypes_and_then_types_right_comes_in() {
    let (mut door, mut now) = (Door::default(), Instant::now());
    for pupil in 0..45 {
        now += Duration::from_secs(4);
        if pupil % 3 == 0 {
            assert_eq!(door.closed_for(now, source(1)), None, "pupil {pupil}");
            door.wrong_code(now, source(1), code(pupil));
        }
        assert_eq!(door.closed_for(now, source(1)), None, "pupil {pupil}");
        door.right_code(now, source(1));
    }
}

#[test]
fn a_lone_guesser_tries_a_hundred_and_six_on_the_first_day_and_ninety_six_on_any_other() {
    let (mut door, start) = (Door::default(), Instant::now());
    assert_eq!(guess_for(&mut door, start, source(1), DAY, |_, _| ()), 10 + 95);
    assert_eq!(guess_for(&mut door, start + DAY, source(1), DAY, |_, _| ()), 96);
}

#[test]
fn who_knows_one_code_and_uses_it_after_every_guess_gets_a_hundred_and_twenty_a_day() {
    let (mut door, start) = (Door::default(), Instant::now());
    let launder = |door: &mut Door, now| (0..3).for_each(|_| door.right_code(now, source(1)));
    assert!(guess_for(&mut door, start, source(1), DAY, launder) <= 10 + 96 + 10 + 24);
    assert!(guess_for(&mut door, start + DAY, source(1), DAY, launder) <= 120);
}

#[test]
fn a_million_wrong_codes_from_a_hundred_thousand_sources_keep_no_right_code_waiting() {
    let (mut door, start) = (Door::default(), Instant::now());
    let mut taken = 0;
    for number in 0..1_000_000 {
        let (now, guesser) = (start + DAY / 1_000_000 * number, far(number % 100_000));
        if door.closed_for(now, guesser).is_none() {
            door.wrong_code(now, guesser, code(number));
            taken += 1;
        }
        if number % 1_000 == 0 {
            assert_eq!(door.closed_for(now, source(u32::MAX >> 8)), None);
        }
        assert!(door.records.len() <= WRONG_CODE_SOURCES_MAX);
    }
    assert!(taken <= 120 * 100_000);
}

#[test]
fn while_many_networks_guess_a_wrong_code_costs_five_and_a_right_one_nothing() {
    let (mut door, start) = (Door::default(), Instant::now());
    for number in 0..GUESSING_NETWORKS as u32 {
        assert!(!door.guessing(start));
        door.wrong_code(start, far(number), code(number));
    }
    assert!(door.guessing(start) && door.statistics().alerts == 1);
    let guest = far(1_000);
    for number in 0..2 {
        assert_eq!(door.closed_for(start, guest), None);
        door.wrong_code(start, guest, code(number));
    }
    assert_eq!(door.closed_for(start, guest), Some(WRONG_CODE_WAIT));
    let day = guess_for(&mut door, start + WRONG_CODE_WAIT, guest, DAY, |door, now| {
        (0..GUESSING_NETWORKS as u32).for_each(|number| door.wrong_code(now, far(number), code(number)));
    });
    assert!(day < 120, "{day}");
    let (mut door, later) = (Door::default(), start + GUESSING_WINDOW);
    for number in 0..GUESSING_NETWORKS as u32 {
        door.wrong_code(start, far(number), code(number));
    }
    assert!(!door.guessing(later), "it ends by itself");
}

#[test]
fn one_network_alone_never_makes_the_others_pay() {
    let (mut door, start) = (Door::default(), Instant::now());
    let site = |number: u64| -> Source {
        let v6 = std::net::Ipv6Addr::from_bits(0x2001_0db8_0001 << 80 | u128::from(number) << 64);
        IpAddr::V6(v6).into()
    };
    for number in 0..60_000 {
        door.wrong_code(start, site(number), code(number as u32));
    }
    for number in 0..256 {
        door.wrong_code(start, source(number), code(number));
    }
    assert!(!door.guessing(start));
    assert_eq!(door.recent.len(), 2);
}

#[test]
fn a_banned_source_is_not_forgotten_because_others_come() {
    let (mut door, start) = (Door::default(), Instant::now());
    (0..10).for_each(|number| door.wrong_code(start, source(1), code(number)));
    for number in 0..2 * WRONG_CODE_SOURCES_MAX as u32 {
        door.wrong_code(start, source(1_000 + number), code(1));
    }
    assert_eq!((door.records.len(), door.order.len()), (WRONG_CODE_SOURCES_MAX, WRONG_CODE_SOURCES_MAX));
    assert!(door.closed_for(start, source(1)).is_some());
    door.wrong_code(start + DAY, source(1), code(1));
    assert_eq!(door.records.len(), 1, "after a day nothing is held against anybody else");
}

#[test]
fn who_is_forgiven_begins_anew() {
    let (mut door, start) = (Door::default(), Instant::now());
    for who in 1..4 {
        (0..10).for_each(|number| door.wrong_code(start, source(who), code(number)));
    }
    door.wrong_code(start, source(9), code(1));
    assert_eq!(door.forgive(start, Some(source(9))), 0, "it was not banned");
    assert_eq!(door.forgive(start, Some(source(1))), 1);
    assert_eq!(door.closed_for(start, source(1)), None);
    assert_eq!(door.bans(start).sources, 2);
    assert_eq!(door.forgive(start, None), 2);
    assert_eq!((door.bans(start), door.order.len()), (Bans::default(), 0));
}

#[test]
fn all_addresses_of_one_ipv6_network_are_one_source() {
    let [a, b, c] = ["2001:db8::1", "2001:db8::2:3:4:5", "2001:db8:0:1::1"]
        .map(|text| Source::from(text.parse::<IpAddr>().unwrap()));
    assert!(a == b && a != c);
    assert!(a.network() == c.network() && source(1).network() == source(2).network());
    assert!(far(1).network() != far(2).network());
    assert_eq!(Source::from("::ffff:10.0.0.1".parse::<IpAddr>().unwrap()), source(1));
}

#[derive(Clone, Copy, Debug)]
enum Deed {
    Right,
    Secret,
    Wait(u32),
    Wrong(u32),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        (0..60u32).prop_map(Deed::Wrong),
        Just(Deed::Right),
        Just(Deed::Secret),
        (0..2_000u32).prop_map(Deed::Wait),
    ]
}

impl Deed {
    fn be_done(self, door: &mut Door, now: &mut Instant, who: Source) {
        match self {
            Self::Right => door.right_code(*now, who),
            Self::Secret => door.wrong_secret(*now, who),
            Self::Wait(secs) => *now += Duration::from_secs(secs.into()),
            Self::Wrong(number) => door.wrong_code(*now, who, code(number)),
        }
    }
}

proptest! {
    /// The guest's answers are the same with the attacker and without.
    #[test]
    fn whatever_one_source_does_another_source_notices_nothing(
        deeds in proptest::collection::vec((any::<bool>(), deed()), 0..200),
    ) {
        let (mut both, mut alone, mut now) = (Door::default(), Door::default(), Instant::now());
        let (attacker, guest) = (far(1), far(2));
        for (by_attacker, deed) in deeds {
            let before = now;
            deed.be_done(&mut both, &mut now, if by_attacker { attacker } else { guest });
            if !by_attacker {
                deed.be_done(&mut alone, &mut before.clone(), guest);
            }
            prop_assert_eq!(both.closed_for(now, guest), alone.closed_for(now, guest));
        }
    }

    /// However a source mixes what it does, its wrong codes are bounded by time.
    #[test]
    fn no_mixture_gets_more_than_its_share(deeds in proptest::collection::vec(deed(), 0..400)) {
        let (mut door, start) = (Door::default(), Instant::now());
        let (mut now, mut different) = (start, 0);
        for (number, deed) in deeds.into_iter().enumerate() {
            if let Deed::Wrong(_) = deed {
                different += u32::from(door.closed_for(now, source(1)).is_none());
                door.wrong_code(now, source(1), code(number as u32));
            } else {
                deed.be_done(&mut door, &mut now, source(1));
            }
        }
        let waits = (now - start).as_secs_f64() / WRONG_CODE_WAIT.as_secs_f64();
        prop_assert!(f64::from(different) <= 20.0 + waits * 1.25 + 1.0);
    }
}
