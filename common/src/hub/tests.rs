//! A hub with numbered clients.
#![expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]

mod door;

use super::*;
use crate::limits::{RECONNECT_GRACE, RESUMPTION_BURST, WRONG_CODES_PER_SOURCE};
use crate::wire::control::{Guest, Notice, Snapshot, View};
use crate::wire::ticket::{ResumptionSecret, Ticket};

/// A hub with numbered clients, and what each of them was sent.
struct Bench {
    hub: Hub,
    now: Instant,
    sent: BTreeMap<ControlId, Vec<ServerMessage>>,
    granted: Vec<Grant>,
    revoked: Vec<ConnectionId>,
    closed: Vec<ControlId>,
    watched: Vec<(ConnectionId, Vec<MemberId>)>,
}

impl Bench {
    fn new() -> Self {
        Self {
            hub: Hub::new([3; 32], true),
            now: Instant::now(),
            sent: BTreeMap::new(),
            granted: Vec::new(),
            revoked: Vec::new(),
            closed: Vec::new(),
            watched: Vec::new(),
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.hub.poll_output() {
            match output {
                Output::Admit(grant) => self.granted.push(grant),
                Output::Close(control) => self.closed.push(control),
                Output::Revoke(id) => self.revoked.push(id),
                Output::Send(control, message) => self.sent.entry(control).or_default().push(message),
                Output::Watch(id, members) => self.watched.push((id, members)),
            }
        }
    }

    fn tell(&mut self, control: u64, message: ClientMessage) {
        self.hub.handle_message(self.now, ControlId(control), message);
        self.drain();
    }

    fn connect(&mut self, control: u64) {
        self.hub.handle_connected(self.now, ControlId(control), IpAddr::from([10, 0, 0, control as u8]));
        self.tell(control, ClientMessage::Hello { version: PROTOCOL_VERSION, aes: true });
    }

    /// Client 1 hosts; answers the code.
    fn host(&mut self) -> RoomCode {
        self.connect(1);
        self.tell(1, ClientMessage::Create { name: "Ada".into() });
        let Some(ServerMessage::Admitted(admission)) = self.sent[&ControlId(1)].last() else { panic!("no room") };
        admission.code
    }

    /// The code of the room of client 1.
    fn host_code(&self) -> RoomCode {
        self.hub.codes.keys().next().copied().expect("there is a room")
    }

    fn knock(&mut self, control: u64, code: RoomCode, name: &str) {
        self.connect(control);
        self.tell(control, ClientMessage::Knock { code, name: name.into() });
    }

    fn act(&mut self, control: u64, action: Action) {
        self.tell(control, ClientMessage::Act(action));
    }

    fn last(&self, control: u64) -> &ServerMessage {
        self.sent.get(&ControlId(control)).and_then(|messages| messages.last()).expect("something was sent")
    }

    /// The ticket of whoever was admitted on this connection.
    fn ticket(&self, control: u64) -> Ticket {
        let admission = |message: &ServerMessage| {
            if let ServerMessage::Admitted(admission) = message { Some(admission.clone()) } else { None }
        };
        let Admission { run, connection_id, secret, .. } =
            self.sent[&ControlId(control)].iter().find_map(admission).expect("it was admitted");
        Ticket { run, connection_id, secret }
    }

    fn lose(&mut self, control: u64) {
        self.hub.handle_disconnected(self.now, ControlId(control));
        self.drain();
    }

    /// Comes by a new connection; answers what the room is like then.
    fn resume(&mut self, control: u64, ticket: Ticket) -> Snapshot {
        self.connect(control);
        self.tell(control, ClientMessage::Resume(ticket));
        let resumed = |message: &ServerMessage| {
            if let ServerMessage::Resumed(snapshot) = message { Some(snapshot.clone()) } else { None }
        };
        let sent = self.sent.get(&ControlId(control)).expect("something was sent");
        sent.iter().find_map(resumed).unwrap_or_else(|| panic!("not resumed: {sent:?}"))
    }

    /// Ada hosts on 1 and Bo is in on 2; answers Bo's ticket.
    fn two(&mut self) -> Ticket {
        let code = self.host();
        self.knock(2, code, "Bo");
        self.act(1, Action::AdmitAll);
        self.ticket(2)
    }

    /// Time passes, and these say that they are there.
    fn wait_with(&mut self, time: Duration, present: &[u64]) {
        let step = Duration::from_secs(5);
        let end = self.now + time;
        while self.now < end {
            self.wait(step.min(end - self.now));
            present.iter().for_each(|control| self.tell(*control, ClientMessage::Ping));
        }
    }

    fn drain_within(&mut self, patience: Duration) {
        self.hub.drain(self.now, patience);
        self.drain();
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.hub.handle_timeout(self.now);
        self.drain();
    }
}

#[test]
fn a_guest_waits_until_the_host_admits() {
    let mut bench = Bench::new();
    let code = bench.host();
    bench.knock(2, code, "Bo");
    assert_eq!(bench.last(2), &ServerMessage::Knocking);
    assert_eq!(bench.last(1), &ServerMessage::KnockArrived { knock: KnockId(1), name: "Bo".into() });
    assert_eq!(bench.granted.len(), 1, "a waiting guest has no data plane");
    bench.act(1, Action::Admit(KnockId(1)));
    let ServerMessage::Admitted(admission) = bench.last(2) else { panic!("not admitted") };
    assert_eq!((admission.you, admission.members.len()), (MemberId(2), 2));
    assert_eq!(bench.granted[1].connection_id, admission.connection_id);
    assert!(bench.sent[&ControlId(1)].iter().any(|message| matches!(message, ServerMessage::MemberJoined(_))));
    assert_eq!(bench.last(1), &ServerMessage::KnockGone(KnockId(1)));
}

#[test]
fn seed_hole_a_waiting_guest_cannot_admit_himself() {
    let mut bench = Bench::new();
    let code = bench.host();
    bench.knock(2, code, "Bo");
    bench.act(2, Action::Admit(KnockId(1)));
    assert!(bench.closed.contains(&ControlId(2)), "who acts without being in is let go");
    assert_eq!(bench.granted.len(), 1);
    assert_eq!(bench.last(1), &ServerMessage::KnockGone(KnockId(1)));
}

#[test]
fn seed_hole_a_guest_who_is_in_cannot_admit_another() {
    let mut bench = Bench::new();
    let code = bench.host();
    bench.knock(2, code, "Bo");
    bench.act(1, Action::Admit(KnockId(1)));
    bench.knock(3, code, "Cy");
    for action in [Action::Admit(KnockId(2)), Action::AdmitAll, Action::Deny(KnockId(2)), Action::End] {
        bench.act(2, action);
        assert_eq!(bench.last(2), &ServerMessage::NotAllowed(action));
    }
    assert_eq!(bench.granted.len(), 2);
}

#[test]
fn seed_hole_admission_goes_by_id_and_never_by_display_name() {
    let mut bench = Bench::new();
    let code = bench.host();
    bench.knock(2, code, "Bo");
    // Bo gives up, and somebody else comes under his name before the host clicks.
    bench.tell(2, ClientMessage::Leave);
    bench.knock(3, code, "Bo");
    bench.act(1, Action::Admit(KnockId(1)));
    assert_eq!(bench.last(1), &ServerMessage::NotAllowed(Action::Admit(KnockId(1))));
    assert_eq!(bench.granted.len(), 1, "the second Bo was not admitted by the click for the first");
}

#[test]
fn a_denied_guest_is_told_and_closed() {
    let mut bench = Bench::new();
    let code = bench.host();
    bench.knock(2, code, "Bo");
    bench.act(1, Action::Deny(KnockId(1)));
    assert_eq!(bench.last(2), &ServerMessage::Refused(Refusal::Denied));
    assert!(bench.closed.contains(&ControlId(2)));
}

#[test]
fn nobody_answers_for_two_minutes() {
    let mut bench = Bench::new();
    let code = bench.host();
    bench.knock(2, code, "Bo");
    for _ in 0..24 {
        bench.tell(1, ClientMessage::Ping);
        bench.tell(2, ClientMessage::Ping);
        bench.wait(Duration::from_secs(5));
    }
    assert_eq!(bench.last(2), &ServerMessage::Refused(Refusal::NoAnswer));
    assert_eq!(bench.last(1), &ServerMessage::KnockGone(KnockId(1)));
}

#[test]
fn a_removed_member_loses_the_data_plane_at_once() {
    let mut bench = Bench::new();
    let code = bench.host();
    bench.knock(2, code, "Bo");
    bench.act(1, Action::AdmitAll);
    let id = bench.granted[1].connection_id;
    bench.act(1, Action::Remove(MemberId(2)));
    assert_eq!(bench.revoked, [id]);
    assert_eq!(bench.last(2), &ServerMessage::Ended(EndReason::Removed));
    assert_eq!(bench.last(1), &ServerMessage::MemberLeft { member: MemberId(2), reason: LeaveReason::Removed });
}

#[test]
fn when_the_host_leaves_the_longest_present_becomes_host_and_hears_of_the_knocks() {
    let mut bench = Bench::new();
    let code = bench.host();
    bench.knock(2, code, "Bo");
    bench.act(1, Action::AdmitAll);
    bench.knock(3, code, "Cy");
    bench.tell(1, ClientMessage::Leave);
    assert!(bench.sent[&ControlId(2)].contains(&ServerMessage::HostChanged(MemberId(2))));
    assert_eq!(bench.last(2), &ServerMessage::KnockArrived { knock: KnockId(2), name: "Cy".into() });
    bench.act(2, Action::AdmitAll);
    assert!(matches!(bench.last(3), ServerMessage::Admitted(_)));
}

#[test]
fn the_end_reaches_members_and_waiting_guests_and_frees_the_code() {
    let mut bench = Bench::new();
    let code = bench.host();
    bench.knock(2, code, "Bo");
    bench.act(1, Action::AdmitAll);
    bench.knock(3, code, "Cy");
    bench.act(1, Action::End);
    assert_eq!(bench.last(2), &ServerMessage::Ended(EndReason::EndedByHost));
    assert_eq!(bench.last(3), &ServerMessage::Refused(Refusal::RoomEnded));
    assert_eq!((bench.hub.occupancy(), bench.revoked.len()), ((0, 0), 2));
    bench.knock(4, code, "Di");
    assert_eq!(bench.last(4), &ServerMessage::Refused(Refusal::WrongCode));
}

#[test]
fn silence_closes_a_connection() {
    let mut bench = Bench::new();
    bench.hub.handle_connected(bench.now, ControlId(9), IpAddr::from([10, 0, 0, 9]));
    let code = bench.host();
    bench.knock(2, code, "Bo");
    bench.wait(HELLO_TIMEOUT);
    assert_eq!(bench.closed, [ControlId(9)]);
    bench.tell(1, ClientMessage::Ping);
    bench.wait(CONTROL_IDLE_TIMEOUT - HELLO_TIMEOUT);
    assert_eq!(bench.closed, [ControlId(9), ControlId(2)]);
    assert!(bench.hub.poll_timeout().is_some());
    bench.wait(CONTROL_IDLE_TIMEOUT);
    assert_eq!(bench.closed[2..], [ControlId(1)]);
    assert_eq!(bench.hub.occupancy(), (1, 1), "a member's place is kept");
}

#[test]
fn another_version_is_told_which_one_the_server_speaks() {
    let mut bench = Bench::new();
    bench.hub.handle_connected(bench.now, ControlId(1), IpAddr::from([10, 0, 0, 1]));
    bench.tell(1, ClientMessage::Hello { version: 99, aes: true });
    assert_eq!(bench.last(1), &ServerMessage::Refused(Refusal::VersionMismatch { server: PROTOCOL_VERSION }));
}

#[test]
fn a_flood_of_messages_closes_its_connection() {
    let mut bench = Bench::new();
    bench.host();
    for _ in 0..=CONTROL_MESSAGE_BURST {
        bench.tell(1, ClientMessage::Ping);
    }
    assert!(bench.closed.contains(&ControlId(1)));
    assert_eq!(bench.hub.occupancy(), (0, 0));
}

#[test]
fn the_same_seed_draws_the_same_code_and_another_another() {
    let codes: Vec<_> = [[1; 32], [1; 32], [2; 32]].map(|seed| Hub::new(seed, true).draw_code()).into();
    assert!(codes[0] == codes[1] && codes[0] != codes[2]);
}

#[test]
fn a_server_that_drains_takes_no_new_room_and_lets_guests_into_those_it_has() {
    let mut bench = Bench::new();
    let code = bench.host();
    bench.drain_within(Duration::from_secs(60));
    let notice = |secs| ServerMessage::Notice(Notice::Draining { secs });
    assert_eq!(bench.last(1), &notice(60));
    bench.connect(2);
    bench.tell(2, ClientMessage::Create { name: "Cy".into() });
    assert_eq!(bench.last(2), &ServerMessage::Refused(Refusal::Draining));
    bench.wait(Duration::from_secs(10));
    bench.tell(1, ClientMessage::Ping);
    bench.knock(3, code, "Bo");
    bench.act(1, Action::AdmitAll);
    let heard = &bench.sent[&ControlId(3)];
    assert!(matches!(heard[heard.len() - 2], ServerMessage::Admitted(_)));
    assert_eq!(bench.last(3), &notice(50), "who comes in hears how long is left");
}

#[test]
fn a_drain_is_over_when_the_last_room_is_gone_or_its_time_is_up() {
    let mut bench = Bench::new();
    let start = bench.now;
    assert!(!bench.hub.drained(start));
    bench.host();
    bench.drain_within(Duration::from_secs(60));
    assert!(!bench.hub.drained(start));
    assert!(bench.hub.poll_timeout().is_some());
    assert!(!bench.hub.drained(start + Duration::from_millis(59_999)));
    assert!(bench.hub.drained(start + Duration::from_secs(60)));
    bench.tell(1, ClientMessage::Leave);
    assert!(bench.hub.drained(start), "nobody is left to wait for");
}

#[test]
fn a_drain_without_rooms_wakes_the_shell_and_a_second_one_changes_its_time() {
    let mut bench = Bench::new();
    bench.drain_within(Duration::from_secs(60));
    assert_eq!(bench.hub.poll_timeout(), Some(bench.now + Duration::from_secs(60)));
    assert!(bench.hub.drained(bench.now));
    bench.drain_within(Duration::from_secs(5));
    assert_eq!(bench.hub.poll_timeout(), Some(bench.now + Duration::from_secs(5)));
}

#[test]
fn an_operator_sees_rooms_by_number_and_takes_members_out() {
    let mut bench = Bench::new();
    let code = bench.host();
    bench.wait(Duration::from_secs(10));
    bench.knock(2, code, "Bo");
    bench.act(1, Action::AdmitAll);
    bench.knock(3, code, "Cy");
    let rooms = bench.hub.rooms(bench.now);
    let room = rooms[0].room;
    let age = Duration::from_secs(10);
    assert_eq!(rooms, [RoomSummary { room, members: 2, knocking: 1, age, locked: false }]);
    let members = bench.hub.members(bench.now, room).unwrap();
    let lines: Vec<_> = members.iter().map(|line| (line.name.as_str(), line.host, line.age)).collect();
    assert_eq!(lines, [("Ada", true, age), ("Bo", false, Duration::ZERO)]);
    assert!(bench.hub.expel(room, MemberId(1)));
    bench.drain();
    assert_eq!(bench.last(1), &ServerMessage::Ended(EndReason::RemovedByOperator));
    assert_eq!(bench.last(2), &ServerMessage::KnockArrived { knock: KnockId(2), name: "Cy".into() }, "Bo is the host");
    assert!(!bench.hub.expel(room, MemberId(1)) && !bench.hub.end_room(RoomId(99)));
    assert!(bench.hub.end_room(room));
    bench.drain();
    assert_eq!(bench.last(2), &ServerMessage::Ended(EndReason::EndedByOperator));
    assert_eq!(bench.hub.members(bench.now, room), None);
}

#[test]
fn limits_of_the_operator_hold() {
    let mut bench = Bench::new();
    bench.hub = Hub::with_limits([3; 32], true, HubLimits { rooms: 1, members_per_room: 2, ..HubLimits::default() });
    let code = bench.host();
    bench.connect(9);
    bench.tell(9, ClientMessage::Create { name: "Eve".into() });
    assert_eq!(bench.last(9), &ServerMessage::Refused(Refusal::ServerFull));
    bench.knock(2, code, "Bo");
    bench.act(1, Action::AdmitAll);
    bench.knock(3, code, "Cy");
    assert_eq!(bench.last(3), &ServerMessage::Refused(Refusal::RoomFull));
}

#[test]
fn what_happens_at_the_door_is_counted() {
    let mut bench = Bench::new();
    let code = bench.host();
    bench.knock(2, code, "Bo");
    bench.act(1, Action::AdmitAll);
    bench.knock(3, code, "Cy");
    bench.act(1, Action::Deny(KnockId(2)));
    let statistics = bench.hub.statistics();
    assert_eq!((statistics.rooms_opened, statistics.knocks, statistics.admissions), (1, 2, 1));
    assert_eq!(statistics.refusals.of(Refusal::Denied), 1);
}

#[test]
fn what_a_member_watches_goes_to_the_relay_and_to_those_who_are_watched() {
    let mut bench = Bench::new();
    let code = bench.host();
    bench.knock(2, code, "Bo");
    bench.tell(1, ClientMessage::Act(Action::AdmitAll));
    let watch = |member, rung| ClientMessage::Watch(vec![View { member: MemberId(member), rung }]);
    // 9 is nobody.
    bench.tell(2, watch(9, 3));
    bench.tell(2, watch(1, 1));
    let guest = bench.granted[1].connection_id;
    assert_eq!(bench.watched, [(guest, vec![MemberId(9)]), (guest, vec![MemberId(1)])]);
    let told = |control: u64| {
        let wanted = |message: &ServerMessage| {
            if let ServerMessage::VideoWanted(rung) = message { Some(*rung) } else { None }
        };
        bench.sent[&ControlId(control)].iter().filter_map(wanted).collect::<Vec<_>>()
    };
    assert_eq!((told(1), told(2)), (vec![None, Some(1)], vec![]));
}

#[test]
fn an_overloaded_server_opens_no_rooms_until_it_is_over() {
    let mut bench = Bench::new();
    bench.hub.handle_overload(0, true);
    bench.connect(1);
    bench.tell(1, ClientMessage::Create { name: "Ada".into() });
    assert_eq!(bench.sent[&ControlId(1)], [ServerMessage::Refused(Refusal::ServerFull)]);
    bench.hub.handle_overload(0, false);
    bench.connect(2);
    bench.tell(2, ClientMessage::Create { name: "Bo".into() });
    assert!(matches!(bench.sent[&ControlId(2)][0], ServerMessage::Admitted(_)));
}

const BO: MemberId = MemberId(2);

#[test]
fn a_member_whose_connection_broke_is_away_and_comes_back_to_the_same_data_plane() {
    let mut bench = Bench::new();
    let ticket = bench.two();
    bench.lose(2);
    assert_eq!(bench.last(1), &ServerMessage::MemberAway(BO));
    assert_eq!(bench.hub.occupancy(), (1, 2));
    bench.wait_with(RECONNECT_GRACE - Duration::from_secs(1), &[1]);
    let snapshot = bench.resume(3, ticket);
    let roster: Vec<_> = snapshot.members.iter().map(|member| (member.id, member.away)).collect();
    assert_eq!(roster, [(MemberId(1), false), (BO, false)]);
    assert!(bench.sent[&ControlId(1)].contains(&ServerMessage::MemberBack(BO)));
    assert_eq!((bench.granted.len(), bench.revoked.len()), (2, 0), "the relay is not told of any of it");
    bench.act(3, Action::End);
    assert_eq!(bench.last(3), &ServerMessage::NotAllowed(Action::End), "the new connection is Bo's");
    let statistics = bench.hub.statistics();
    assert_eq!((statistics.connections_lost, statistics.resumptions), (1, 1));
}

#[test]
fn who_does_not_come_back_in_time_is_lost_and_the_place_with_it() {
    let mut bench = Bench::new();
    let ticket = bench.two();
    bench.lose(2);
    bench.wait_with(RECONNECT_GRACE, &[1]);
    let left = ServerMessage::MemberLeft { member: BO, reason: LeaveReason::Lost };
    assert!(bench.sent[&ControlId(1)].contains(&left));
    assert_eq!(bench.revoked, [ticket.connection_id]);
    bench.connect(3);
    bench.tell(3, ClientMessage::Resume(ticket));
    assert_eq!(bench.last(3), &ServerMessage::Refused(Refusal::PlaceGone));
}

#[test]
fn who_comes_as_somebody_who_is_away_gets_in_and_the_old_place_goes() {
    let mut bench = Bench::new();
    let ticket = bench.two();
    let code = bench.host_code();
    bench.lose(2);
    bench.knock(3, code, "Bo");
    assert_eq!(bench.last(3), &ServerMessage::Knocking);
    bench.act(1, Action::AdmitAll);
    assert!(bench.sent[&ControlId(1)].contains(&ServerMessage::MemberLeft { member: BO, reason: LeaveReason::Lost }));
    assert_eq!(bench.revoked, [ticket.connection_id]);
    assert_eq!(bench.hub.occupancy(), (1, 2));
    bench.connect(4);
    bench.tell(4, ClientMessage::Resume(ticket));
    assert_eq!(bench.last(4), &ServerMessage::Refused(Refusal::PlaceGone));
}

#[test]
fn who_comes_back_in_time_keeps_the_name_from_whoever_waits_with_it() {
    let mut bench = Bench::new();
    let ticket = bench.two();
    let code = bench.host_code();
    bench.lose(2);
    bench.knock(3, code, "Bo");
    bench.resume(4, ticket);
    bench.act(1, Action::AdmitAll);
    assert_eq!(bench.last(3), &ServerMessage::Refused(Refusal::NameTaken));
    assert!(bench.revoked.is_empty());
}

#[test]
fn a_new_connection_takes_over_from_one_that_nobody_knows_to_be_dead() {
    let mut bench = Bench::new();
    let ticket = bench.two();
    let before = bench.sent[&ControlId(1)].len();
    bench.resume(3, ticket);
    assert_eq!(bench.closed, [ControlId(2)]);
    bench.act(2, Action::End);
    bench.lose(2);
    assert_eq!(bench.sent[&ControlId(1)].len(), before, "the others heard of nothing");
    bench.tell(1, ClientMessage::Leave);
    assert_eq!(bench.last(3), &ServerMessage::HostChanged(BO));
}

#[test]
fn a_secret_opens_once_and_only_an_answer_that_got_lost_lets_it_open_again() {
    let mut bench = Bench::new();
    let first = bench.two();
    bench.resume(3, first);
    // The answer did not arrive, so the member comes with the same one.
    bench.lose(3);
    let snapshot = bench.resume(4, first);
    bench.tell(4, ClientMessage::Ping);
    bench.lose(4);
    bench.connect(5);
    bench.tell(5, ClientMessage::Resume(first));
    assert_eq!(bench.last(5), &ServerMessage::Refused(Refusal::PlaceGone));
    bench.resume(6, Ticket { secret: snapshot.secret, ..first });
}

#[test]
fn a_wrong_secret_counts_like_a_wrong_code_and_does_not_touch_the_place() {
    let mut bench = Bench::new();
    let ticket = bench.two();
    let wrong = Ticket { secret: ResumptionSecret([0; ResumptionSecret::BYTES]), ..ticket };
    for _ in 0..WRONG_CODES_PER_SOURCE {
        bench.connect(9);
        bench.tell(9, ClientMessage::Resume(wrong));
        assert_eq!(bench.last(9), &ServerMessage::Refused(Refusal::PlaceGone));
    }
    let code = bench.host_code();
    bench.knock(9, code, "Eve");
    assert!(matches!(bench.last(9), ServerMessage::Refused(Refusal::TryLater { .. })));
    assert!(!bench.closed.contains(&ControlId(2)), "Bo has noticed nothing");
    bench.resume(3, ticket);
}

#[test]
fn a_place_that_nobody_has_any_more_is_no_wrong_code() {
    let mut bench = Bench::new();
    let ticket = bench.two();
    let code = bench.host_code();
    bench.lose(2);
    bench.wait_with(RECONNECT_GRACE, &[1]);
    for _ in 0..2 * WRONG_CODES_PER_SOURCE {
        bench.connect(9);
        bench.tell(9, ClientMessage::Resume(ticket));
    }
    bench.knock(9, code, "Bo");
    assert_eq!(bench.last(9), &ServerMessage::Knocking);
}

#[test]
fn a_ticket_of_an_earlier_run_is_told_that_the_server_was_restarted() {
    let mut bench = Bench::new();
    let ticket = bench.two();
    bench.hub = Hub::new([4; 32], true);
    bench.connect(3);
    bench.tell(3, ClientMessage::Resume(ticket));
    assert_eq!(bench.last(3), &ServerMessage::Refused(Refusal::ServerRestarted));
}

#[test]
fn an_away_host_stays_the_host_and_hears_of_those_who_knocked_meanwhile() {
    let mut bench = Bench::new();
    bench.two();
    let (code, ticket) = (bench.host_code(), bench.ticket(1));
    bench.lose(1);
    bench.knock(4, code, "Cy");
    bench.act(2, Action::AdmitAll);
    assert_eq!(bench.last(2), &ServerMessage::NotAllowed(Action::AdmitAll));
    let snapshot = bench.resume(5, ticket);
    assert_eq!(snapshot.knocks, [Guest { knock: KnockId(2), name: "Cy".into() }]);
    bench.act(5, Action::AdmitAll);
    assert!(matches!(bench.last(4), ServerMessage::Admitted(_)));
}

#[test]
fn after_the_grace_the_host_role_passes_on_with_the_knocks() {
    let mut bench = Bench::new();
    bench.two();
    let code = bench.host_code();
    bench.lose(1);
    bench.knock(4, code, "Cy");
    bench.wait_with(RECONNECT_GRACE, &[2, 4]);
    let heard = &bench.sent[&ControlId(2)];
    assert!(heard.contains(&ServerMessage::HostChanged(BO)));
    assert!(heard.contains(&ServerMessage::KnockArrived { knock: KnockId(2), name: "Cy".into() }));
}

#[test]
fn a_room_of_which_everybody_is_away_lives_as_long_as_a_place() {
    let mut bench = Bench::new();
    let ticket = bench.two();
    bench.lose(1);
    bench.lose(2);
    assert!(bench.hub.poll_timeout().is_some(), "somebody has to look for their end");
    bench.wait(RECONNECT_GRACE / 2);
    bench.resume(3, ticket);
    bench.lose(3);
    bench.wait(RECONNECT_GRACE / 2);
    assert_eq!(bench.hub.occupancy(), (1, 1), "Ada's time is up, Bo's is not");
    bench.wait(RECONNECT_GRACE / 2);
    assert_eq!((bench.hub.occupancy(), bench.revoked.len()), ((0, 0), 2));
    assert_eq!(bench.hub.poll_timeout(), None);
}

#[test]
fn the_end_and_the_host_reach_those_who_are_away() {
    let mut bench = Bench::new();
    let ticket = bench.two();
    bench.act(1, Action::RequestMute(BO));
    bench.lose(2);
    bench.act(1, Action::RequestMute(BO));
    bench.resume(3, ticket);
    assert_eq!(bench.last(3), &ServerMessage::MuteRequested);
    bench.lose(3);
    bench.act(1, Action::Remove(BO));
    assert_eq!(bench.last(1), &ServerMessage::MemberLeft { member: BO, reason: LeaveReason::Removed });
    assert_eq!(bench.revoked, [ticket.connection_id]);
    bench.lose(1);
    assert!(bench.hub.end_room(bench.granted[0].room));
    bench.drain();
    assert_eq!((bench.hub.occupancy(), bench.revoked.len()), ((0, 0), 2));
}

#[test]
fn who_is_away_counts_for_the_room_for_the_operator_and_for_a_drain() {
    let mut bench = Bench::new();
    bench.hub = Hub::with_limits([3; 32], true, HubLimits { members_per_room: 2, ..HubLimits::default() });
    let ticket = bench.two();
    let code = bench.host_code();
    bench.lose(2);
    bench.knock(4, code, "Cy");
    assert_eq!(bench.last(4), &ServerMessage::Refused(Refusal::RoomFull));
    let away: Vec<_> = bench.hub.members(bench.now, bench.granted[0].room).unwrap().iter().map(|m| m.away).collect();
    assert_eq!(away, [false, true]);
    bench.drain_within(Duration::from_secs(60));
    bench.tell(1, ClientMessage::Leave);
    assert!(!bench.hub.drained(bench.now), "Bo may still come back");
    bench.resume(5, ticket);
    assert_eq!(bench.last(5), &ServerMessage::Notice(Notice::Draining { secs: 60 }));
    bench.lose(5);
    bench.wait(RECONNECT_GRACE);
    assert!(bench.hub.drained(bench.now));
}

#[test]
fn the_rooms_of_a_source_count_while_their_hosts_are_away() {
    let mut bench = Bench::new();
    bench.hub = Hub::with_limits([3; 32], true, HubLimits { rooms_per_source: 1, ..HubLimits::default() });
    bench.host();
    bench.lose(1);
    bench.connect(1);
    bench.tell(1, ClientMessage::Create { name: "Ada".into() });
    assert_eq!(bench.last(1), &ServerMessage::Refused(Refusal::TooManyRooms));
}

#[test]
fn who_comes_and_goes_without_end_is_slowed_down() {
    let mut bench = Bench::new();
    let mut ticket = bench.two();
    let mut control = 2;
    for _ in 0..RESUMPTION_BURST {
        bench.lose(control);
        control += 1;
        ticket.secret = bench.resume(control, ticket).secret;
        bench.tell(control, ClientMessage::Ping);
    }
    bench.lose(control);
    bench.connect(99);
    bench.tell(99, ClientMessage::Resume(ticket));
    assert!(bench.closed.contains(&ControlId(99)));
    assert!(!bench.sent.contains_key(&ControlId(99)), "no word that would end the meeting");
    bench.wait(Duration::from_secs(1));
    bench.resume(100, ticket);
}
