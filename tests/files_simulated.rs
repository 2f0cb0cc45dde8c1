//! Files through a whole simulated meeting: one upload for many, over links that differ and that lose, with people who
//! come late, stop, and vanish.

use std::time::Duration;

use common::ids::{MemberId, RoomCode, TransferId};
use common::limits::RECONNECT_GRACE;
use common::link::LinkConfig;
use common::wire::message::{FileState, Recipients};
use sim::meeting::Meeting;
use sim::sources::file;

const SEED: u64 = 5;

/// A meeting of Ada and so many others, without cameras and microphones.
fn meeting(path: LinkConfig, others: usize) -> (Meeting, RoomCode) {
    let mut meeting = Meeting::new(path, 11);
    let (_, code) = meeting.host("Ada");
    for name in ["Bo", "Cy", "Di", "Ed", "Flo"].into_iter().take(others) {
        meeting.join(name, code);
    }
    meeting.participants.iter_mut().for_each(|participant| participant.media = false);
    (meeting, code)
}

fn good() -> LinkConfig {
    LinkConfig { delay: Duration::from_millis(10), ..LinkConfig::default() }
}

fn with_rate(link: LinkConfig, megabits: u64) -> LinkConfig {
    LinkConfig { rate_bps: Some(megabits * 1_000_000), queue_bytes: 60_000, ..link }
}

fn has_file(meeting: &Meeting, who: usize) -> bool {
    !meeting.participants[who].seen.files.is_empty()
}

fn check_file(meeting: &Meeting, who: usize, bytes: usize) {
    let files = &meeting.participants[who].seen.files;
    assert!(files.len() == 1 && files[0].2 == file(SEED, bytes), "participant {who} has the file");
}

fn id(meeting: &Meeting, who: usize) -> MemberId {
    meeting.participants[who].id()
}

/// Until a receiver has so much of the only file.
fn run_until_half(meeting: &mut Meeting, who: usize, bytes: usize) {
    let part = |meeting: &Meeting| meeting.participants[who].parts.values().map(Vec::len).sum::<usize>();
    assert!(meeting.run_until(Duration::from_secs(60), |meeting| part(meeting) >= bytes));
}

#[test]
fn one_upload_serves_five_receivers_of_different_speed_over_lossy_links() {
    const BYTES: usize = 3_000_000;
    let lossy = LinkConfig { loss: 0.01, ..good() };
    let (mut meeting, _) = meeting(lossy, 5);
    for (who, megabits) in [(1, 50), (2, 20), (3, 10), (4, 5), (5, 2)] {
        meeting.participants[who].down.configure(with_rate(lossy, megabits));
    }
    meeting.participants[0].offer(Recipients::Everyone, SEED, BYTES);
    let mut there = Vec::new();
    for who in 1..=5 {
        assert!(meeting.run_until(Duration::from_secs(120), |meeting| has_file(meeting, who)), "{who}");
        there.push(meeting.now);
        check_file(&meeting, who, BYTES);
    }
    assert!(there.is_sorted(), "each at its own pace");
    assert_eq!(meeting.participants[0].seen.wanted, [(TransferId(1), 0)]);
    let statistics = meeting.relay.statistics();
    assert_eq!(statistics.file_bytes_received, BYTES as u64, "the link of the sender carried it once");
    assert_eq!(statistics.file_bytes_sent, 5 * BYTES as u64);
    meeting.run(Duration::from_secs(1));
    let verified = |(.., state): &&(_, _, FileState)| *state == FileState::Verified;
    assert_eq!(meeting.participants[0].seen.file_states.iter().filter(verified).count(), 5);
}

#[test]
fn who_accepts_late_is_served_from_the_spool() {
    const BYTES: usize = 1_000_000;
    let (mut meeting, _) = meeting(good(), 2);
    meeting.participants[2].accepts = false;
    let transfer = meeting.participants[0].offer(Recipients::Everyone, SEED, BYTES);
    assert!(meeting.run_until(Duration::from_secs(30), |meeting| has_file(meeting, 1)));
    let ada = id(&meeting, 0);
    meeting.participants[2].accept(ada, transfer);
    assert!(meeting.run_until(Duration::from_secs(30), |meeting| has_file(meeting, 2)));
    check_file(&meeting, 2, BYTES);
    assert_eq!(meeting.relay.statistics().file_bytes_received, BYTES as u64);
}

#[test]
fn a_small_quota_slows_the_sender_and_loses_nothing() {
    const BYTES: usize = 40_000_000;
    const QUOTA: u64 = 20_000_000;
    let mut meeting = Meeting::new(good(), 12);
    meeting.limit_spool(QUOTA);
    let (_, code) = meeting.host("Ada");
    meeting.join("Bo", code);
    meeting.participants.iter_mut().for_each(|participant| participant.media = false);
    meeting.participants[1].down.configure(with_rate(good(), 20));
    meeting.participants[0].offer(Recipients::Everyone, SEED, BYTES);
    assert!(meeting.run_until(Duration::from_secs(90), |meeting| has_file(meeting, 1)));
    check_file(&meeting, 1, BYTES);
    assert!(meeting.spool.peak_bytes as u64 <= QUOTA, "{}", meeting.spool.peak_bytes);
    assert_eq!(meeting.relay.statistics().file_bytes_received, BYTES as u64);
}

#[test]
fn who_stops_reading_holds_up_nobody_for_long_and_is_served_when_he_reads_again() {
    const BYTES: usize = 40_000_000;
    let mut meeting = Meeting::new(good(), 13);
    meeting.limit_spool(20_000_000);
    let (_, code) = meeting.host("Ada");
    meeting.join("Bo", code);
    meeting.join("Cy", code);
    meeting.participants.iter_mut().for_each(|participant| participant.media = false);
    meeting.participants[1].reads = false;
    meeting.participants[0].offer(Recipients::Everyone, SEED, BYTES);
    assert!(meeting.run_until(Duration::from_secs(60), |meeting| has_file(meeting, 2)), "Cy does not wait for Bo");
    check_file(&meeting, 2, BYTES);
    meeting.participants[1].read_on();
    assert!(meeting.run_until(Duration::from_secs(60), |meeting| has_file(meeting, 1)));
    check_file(&meeting, 1, BYTES);
    assert_eq!(meeting.participants[0].seen.wanted.len(), 2, "once more, from where Bo was");
}

#[test]
fn who_vanishes_costs_the_others_nothing_and_goes_on_where_he_was() {
    const BYTES: usize = 4_000_000;
    let (mut meeting, code) = meeting(good(), 2);
    for who in 1..=2 {
        meeting.participants[who].down.configure(with_rate(good(), 8));
    }
    meeting.participants[0].offer(Recipients::Everyone, SEED, BYTES);
    run_until_half(&mut meeting, 1, 1_000_000);
    meeting.kill(1);
    assert!(meeting.run_until(Duration::from_secs(60), |meeting| has_file(meeting, 2)));
    check_file(&meeting, 2, BYTES);

    // Bo is back as somebody new, with what he had, once his name is free again.
    meeting.run(RECONNECT_GRACE);
    let part = meeting.participants[1].parts.values().next().expect("Bo had begun").clone();
    let had = part.len() as u64;
    meeting.run(RECONNECT_GRACE);
    let bo = meeting.join("Bo", code);
    meeting.participants[bo].accepts = false;
    let ada = id(&meeting, 0);
    let transfer = TransferId(1);
    meeting.participants[bo].parts.insert((ada, transfer), part);
    meeting.participants[0].offer_again(transfer);
    meeting.run(Duration::from_secs(1));
    meeting.participants[bo].accept(ada, transfer);
    assert!(meeting.run_until(Duration::from_secs(60), |meeting| has_file(meeting, bo)));
    check_file(&meeting, bo, BYTES);
    assert!(had > 0);
    assert_eq!(meeting.relay.statistics().file_bytes_received, BYTES as u64, "the spool had the rest");
}

#[test]
fn a_pause_is_free_and_the_file_goes_on_at_its_offset() {
    const BYTES: usize = 8_000_000;
    let (mut meeting, _) = meeting(good(), 1);
    meeting.participants[1].down.configure(with_rate(good(), 8));
    meeting.participants[0].up.configure(with_rate(good(), 8));
    let transfer = meeting.participants[0].offer(Recipients::Everyone, SEED, BYTES);
    run_until_half(&mut meeting, 1, 2_000_000);
    let ada = id(&meeting, 0);
    meeting.participants[1].pause(ada, transfer);
    meeting.run(Duration::from_secs(5));
    let taken = meeting.relay.statistics().file_bytes_received;
    meeting.run(Duration::from_secs(20));
    assert_eq!(meeting.relay.statistics().file_bytes_received, taken, "nothing is sent for nobody");
    assert!(taken < 5_000_000, "{taken}");
    meeting.participants[1].accept(ada, transfer);
    assert!(meeting.run_until(Duration::from_secs(60), |meeting| has_file(meeting, 1)));
    check_file(&meeting, 1, BYTES);
    assert_eq!(meeting.participants[0].seen.wanted, [(transfer, 0), (transfer, taken)]);
}

#[test]
fn of_a_sender_who_leaves_those_get_all_for_whom_the_server_has_all() {
    const BYTES: usize = 2_000_000;
    for (upload, whole) in [(50, true), (2, false)] {
        let (mut meeting, _) = meeting(good(), 2);
        meeting.participants[0].up.configure(with_rate(good(), upload));
        meeting.participants[1].down.configure(with_rate(good(), 2));
        meeting.participants[0].offer(Recipients::Everyone, SEED, BYTES);
        run_until_half(&mut meeting, 1, 500_000);
        meeting.kill(0);
        meeting.run(RECONNECT_GRACE + Duration::from_secs(30));
        assert_eq!(has_file(&meeting, 1), whole, "{upload}");
        if whole {
            check_file(&meeting, 1, BYTES);
        } else {
            assert_eq!(meeting.participants[1].seen.broken.len(), 1, "the receiver is told");
        }
        assert_eq!(meeting.spool.bytes(), 0, "nothing is left of it");
    }
}

#[test]
fn a_file_for_one_reaches_nobody_else_even_if_asked_for() {
    const BYTES: usize = 100_000;
    let (mut meeting, _) = meeting(good(), 2);
    let (ada, bo) = (id(&meeting, 0), id(&meeting, 1));
    let transfer = meeting.participants[0].offer(Recipients::Member(bo), SEED, BYTES);
    assert!(meeting.run_until(Duration::from_secs(30), |meeting| has_file(meeting, 1)));
    meeting.participants[2].accept(ada, transfer);
    meeting.run(Duration::from_secs(5));
    assert!(meeting.participants[2].parts.values().all(Vec::is_empty));
    assert_eq!(meeting.relay.statistics().file_bytes_sent, BYTES as u64);
}

#[test]
fn several_files_at_once_share_a_link_and_all_arrive() {
    const BYTES: usize = 1_000_000;
    let (mut meeting, _) = meeting(LinkConfig { loss: 0.01, ..good() }, 2);
    for who in 0..3 {
        meeting.participants[who].offer(Recipients::Everyone, SEED, BYTES);
        meeting.participants[who].offer(Recipients::Everyone, SEED, BYTES);
    }
    let all = |meeting: &Meeting| meeting.participants.iter().all(|participant| participant.seen.files.len() == 4);
    assert!(meeting.run_until(Duration::from_secs(120), all));
    let content = file(SEED, BYTES);
    assert!(meeting.participants.iter().flat_map(|participant| &participant.seen.files).all(|(.., it)| *it == content));
    assert_eq!(meeting.relay.statistics().file_bytes_received, 6 * BYTES as u64);
}
