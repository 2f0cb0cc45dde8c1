//! Control connections that break at random: nobody loses the meeting, and no word of it.

use std::time::Duration;

use common::ids::MemberId;
use common::limits::RECONNECT_GRACE;
use common::link::LinkConfig;
use common::session::Over;
use common::wire::control::Action;
use common::wire::message::Recipients;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sim::meeting::{Break, Meeting};

const NAMES: [&str; 4] = ["Ada", "Bo", "Cy", "Di"];
const ROUNDS: usize = 48;

fn network() -> LinkConfig {
    LinkConfig { delay: Duration::from_millis(30), loss: 0.02, ..LinkConfig::default() }
}

/// Four people without cameras and microphones.
fn four(seed: u64) -> Meeting {
    let mut meeting = Meeting::new(network(), seed);
    let (_, code) = meeting.host(NAMES[0]);
    for name in &NAMES[1..] {
        meeting.join(name, code);
    }
    meeting.participants.iter_mut().for_each(|participant| participant.media = false);
    meeting
}

fn say(meeting: &mut Meeting, index: usize, text: &str) {
    meeting.participants[index].say(Recipients::Everyone, text);
}

/// What `reader` read of what `writer` wrote.
fn read(meeting: &Meeting, reader: usize, writer: usize) -> Vec<&str> {
    let from = meeting.participants[writer].id();
    let lines = meeting.participants[reader].seen.chat.iter();
    lines.filter(|line| line.0 == from).map(|line| line.3.as_str()).collect()
}

#[test]
fn no_word_is_lost_doubled_or_out_of_order_while_connections_break_in_every_way() {
    let mut returns = 0;
    for seed in 0..20 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut meeting = four(seed);
        for round in 0..ROUNDS {
            for index in 0..NAMES.len() {
                say(&mut meeting, index, &round.to_string());
            }
            let unlucky = rng.random_range(0..NAMES.len());
            if rng.random_bool(0.25) && meeting.connected(unlucky) {
                let ways = [Break::Both, Break::Client, Break::Neither, Break::Server];
                let way = ways[rng.random_range(0..ways.len())];
                meeting.cut(unlucky, way, Duration::from_millis(rng.random_range(0..3_000)));
            }
            meeting.run(Duration::from_millis(rng.random_range(50..900)));
        }
        meeting.run(Duration::from_secs(20));
        let spoken: Vec<_> = (0..ROUNDS).map(|round| round.to_string()).collect();
        for (reader, participant) in meeting.participants.iter().enumerate() {
            let (name, seen, members) = (&participant.name, &participant.seen, participant.session.members());
            assert_eq!(seen.over, None, "{name} is still in, seed {seed}");
            assert_eq!(seen.delivered.len(), ROUNDS * 3, "{name} hears of each, seed {seed}");
            assert_eq!(members.len(), 4, "{name}, seed {seed}");
            assert!(members.values().all(|member| !member.away), "{name}, seed {seed}");
            for writer in (0..NAMES.len()).filter(|writer| *writer != reader) {
                assert_eq!(read(&meeting, reader, writer), spoken, "{reader} reads {writer}, seed {seed}");
            }
            returns += seen.returns;
        }
        assert_eq!(meeting.hub.occupancy(), (1, 4));
    }
    assert!(returns > 100, "{returns} returns are too few to tell");
}

#[test]
fn an_away_host_comes_back_as_the_host_and_finds_who_knocked() {
    let mut meeting = four(1);
    let code = meeting.code();
    meeting.cut(0, Break::Both, Duration::from_secs(5));
    let eve = meeting.knock("Eve", code);
    meeting.run(Duration::from_secs(2));
    assert!(meeting.participants[0].seen.knocks.is_empty());
    assert!(meeting.participants[1].session.members()[&MemberId(1)].away);
    // Clicked before the list of guests was there, so not for them.
    meeting.participants[0].session.act(Action::AdmitAll);
    meeting.run(Duration::from_secs(8));
    assert_eq!(meeting.participants[0].seen.knocks.len(), 1);
    assert!(meeting.participants[eve].endpoint.is_none());
    meeting.participants[0].session.act(Action::AdmitAll);
    meeting.run(Duration::from_secs(1));
    assert!(meeting.participants[eve].endpoint.is_some());
}

#[test]
fn who_is_gone_for_too_long_is_out_at_both_ends() {
    let mut meeting = four(2);
    meeting.cut(3, Break::Both, Duration::from_secs(60));
    say(&mut meeting, 3, "still here");
    meeting.run(Duration::from_secs(5));
    assert_eq!(read(&meeting, 0, 3), ["still here"], "the data plane goes on");
    meeting.run(RECONNECT_GRACE);
    assert_eq!(meeting.participants[3].seen.over, Some(Over::NotRestored));
    assert_eq!(meeting.participants[0].session.members().len(), 3);
    assert_eq!(meeting.hub.occupancy(), (1, 3));
}
