//! One meeting: who is in, who waits at the door, and who may do what.

mod denials;
mod views;

use std::collections::BTreeMap;
use std::time::Instant;

use crate::door::Source;
use crate::ids::{ControlId, KnockId, MemberId, RoomCode};
use crate::limits::KNOCKS_PER_ROOM;
use crate::names;
use crate::wire::control::{Action, MediaState, Member, Reach, Refusal};

use denials::Denials;
pub use views::Views;

/// A meeting. Everything that concerns admission is decided here, by member id; no name decides anything.
#[derive(Debug)]
pub struct Room {
    code: RoomCode,
    host: MemberId,
    locked: bool,
    /// At most [`crate::limits::ROOM_MEMBERS_MAX`].
    members_max: usize,
    since: Instant,
    members: BTreeMap<MemberId, Seat>,
    knocks: BTreeMap<KnockId, Knock>,
    denials: Denials,
    views: Views,
    last_member: u16,
    last_knock: u32,
}

/// Somebody who is in.
#[derive(Clone, Debug)]
pub struct Seat {
    /// Display name, cleaned.
    pub name: String,
    /// Which devices are on.
    pub media: MediaState,
    /// Since when the member is in.
    pub since: Instant,
    /// The member's control connection is broken, and its place is kept.
    pub away: bool,
    /// Which ways of the member's data plane work.
    pub reach: Reach,
}

/// Somebody who waits. A knock has no connection id, no key and no roster: those come with a [`Seat`].
#[derive(Clone, Debug)]
pub struct Knock {
    /// The guest's control connection.
    pub control: ControlId,
    /// Display name, cleaned.
    pub name: String,
    /// Where the guest connects from.
    pub source: Source,
    /// Since when the guest waits.
    pub since: Instant,
}

impl Room {
    /// A room with its host in it, for at most `members_max` people.
    pub fn new(code: RoomCode, host: Seat, members_max: usize) -> Self {
        let id = MemberId(1);
        Self {
            code,
            host: id,
            locked: false,
            members_max,
            since: host.since,
            members: BTreeMap::from([(id, host)]),
            knocks: BTreeMap::new(),
            denials: Denials::default(),
            views: Views::default(),
            last_member: id.0,
            last_knock: 0,
        }
    }

    /// The room's six digits.
    pub fn code(&self) -> RoomCode {
        self.code
    }

    /// Who has the host role.
    pub fn host(&self) -> MemberId {
        self.host
    }

    /// Since when it is open.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Whether the door is closed to new knocks.
    pub fn locked(&self) -> bool {
        self.locked
    }

    /// Closes or opens the door.
    pub fn set_locked(&mut self, locked: bool) {
        self.locked = locked;
    }

    /// Everybody who is in, the longest present first.
    pub fn members(&self) -> &BTreeMap<MemberId, Seat> {
        &self.members
    }

    /// Everybody who waits, the longest waiting first.
    pub fn knocks(&self) -> &BTreeMap<KnockId, Knock> {
        &self.knocks
    }

    /// Who wants to see whom.
    pub fn views(&mut self) -> &mut Views {
        &mut self.views
    }

    /// The roster as members see it.
    pub fn roster(&self) -> Vec<Member> {
        self.members.keys().filter_map(|id| self.member(*id)).collect()
    }

    /// One line of the roster.
    pub fn member(&self, id: MemberId) -> Option<Member> {
        let seat = self.members.get(&id)?;
        Some(Member {
            id,
            name: seat.name.clone(),
            host: id == self.host,
            media: seat.media,
            away: seat.away,
            reach: seat.reach,
        })
    }

    /// Whether `actor` may do `action` here: the one place that decides.
    pub fn may(&self, actor: MemberId, action: Action) -> bool {
        let role = match self.members.contains_key(&actor) {
            true if actor == self.host => Role::Host,
            true => Role::Guest,
            false => Role::Stranger,
        };
        may(role, action) && action != Action::Remove(actor)
    }

    /// Puts a guest at the door.
    ///
    /// # Errors
    /// Why the guest cannot wait there.
    pub fn knock(&mut self, knock: Knock) -> Result<KnockId, Refusal> {
        if self.locked {
            return Err(Refusal::RoomLocked);
        }
        self.denials.check(knock.since, knock.source, &knock.name)?;
        if self.members.len() >= self.members_max && self.away_like(&knock.name).is_none() {
            return Err(Refusal::RoomFull);
        }
        if self.has_name_like(&knock.name) {
            return Err(Refusal::NameTaken);
        }
        if self.knocks.len() >= KNOCKS_PER_ROOM {
            return Err(Refusal::TooManyKnocks);
        }
        self.last_knock += 1;
        let id = KnockId(self.last_knock);
        self.knocks.insert(id, knock);
        Ok(id)
    }

    /// Takes a guest from a full door so that one from `source` can wait there: the newest of the source with the most
    /// guests, if that keeps as many as `source` then has. One source fills a door only while nobody else comes.
    pub fn make_way_for(&mut self, source: Source) -> Option<(KnockId, Knock)> {
        let count = |source| self.knocks.values().filter(|knock| knock.source == source).count();
        let (id, most) =
            self.knocks.iter().map(|(id, knock)| (*id, count(knock.source))).max_by_key(|(_, most)| *most)?;
        // Of equals the last one is the newest.
        let fair = most > count(source) + 1;
        fair.then(|| self.knocks.remove(&id).map(|knock| (id, knock))).flatten()
    }

    fn has_name_like(&self, name: &str) -> bool {
        let seated = self.members.values().filter(|seat| !seat.away).map(|seat| &seat.name);
        let waiting = self.knocks.values().map(|knock| &knock.name);
        names::is_reserved(name) || seated.chain(waiting).any(|other| names::look_alike(name, other))
    }

    /// The member who is away and whose name a waiting guest has: most likely the same person, whose program was
    /// closed or died and knows nothing of its place. To be removed before the guest is admitted.
    pub fn returns_as(&self, id: KnockId) -> Option<MemberId> {
        self.away_like(&self.knocks.get(&id)?.name)
    }

    fn away_like(&self, name: &str) -> Option<MemberId> {
        let mut away = self.members.iter().filter(|(_, seat)| seat.away);
        away.find(|(_, seat)| names::look_alike(name, &seat.name)).map(|(id, _)| *id)
    }

    /// Lets a waiting guest in: the only way from a [`Knock`] to a [`Seat`].
    ///
    /// # Errors
    /// The refused guest and the reason when the room is full, or when the name belongs to a member who was away and
    /// came back meanwhile; the knock is gone then, too. `None` when nobody with this id waits.
    pub fn admit(&mut self, now: Instant, id: KnockId) -> Option<Result<MemberId, (Knock, Refusal)>> {
        let knock = self.knocks.remove(&id)?;
        if self.members.values().any(|seat| names::look_alike(&knock.name, &seat.name)) {
            return Some(Err((knock, Refusal::NameTaken)));
        }
        let next = self.last_member.checked_add(1).filter(|_| self.members.len() < self.members_max);
        let Some(next) = next else {
            return Some(Err((knock, Refusal::RoomFull)));
        };
        self.last_member = next;
        let seat =
            Seat { name: knock.name, media: MediaState::default(), since: now, away: false, reach: Reach::WHOLE };
        self.members.insert(MemberId(next), seat);
        Some(Ok(MemberId(next)))
    }

    /// Turns a waiting guest away and remembers who it was.
    pub fn deny(&mut self, now: Instant, id: KnockId) -> Option<Knock> {
        let knock = self.knocks.remove(&id)?;
        self.denials.add(now, knock.source, knock.name.clone());
        Some(knock)
    }

    /// Takes a guest from the door who gave up, broke off, or waited too long.
    pub fn forget_knock(&mut self, id: KnockId) -> Option<Knock> {
        self.knocks.remove(&id)
    }

    /// Takes a member out. The host role passes to whoever has been there longest, and rather to somebody who is not
    /// away; answers that member when it did.
    pub fn remove(&mut self, id: MemberId) -> Option<MemberId> {
        self.members.remove(&id);
        self.views.remove(id);
        if id != self.host {
            return None;
        }
        let present = self.members.iter().find(|(_, seat)| !seat.away);
        let successor = *present.or_else(|| self.members.iter().next())?.0;
        self.host = successor;
        Some(successor)
    }

    /// Takes down whether a member's control connection is broken.
    pub fn set_away(&mut self, id: MemberId, away: bool) {
        if let Some(seat) = self.members.get_mut(&id) {
            seat.away = away;
        }
    }

    /// Takes down which ways of a member's data plane work; answers that when it is another thing than before.
    pub fn change_reach(&mut self, id: MemberId, change: impl FnOnce(&mut Reach)) -> Option<Reach> {
        let seat = self.members.get_mut(&id)?;
        let before = seat.reach;
        change(&mut seat.reach);
        (seat.reach != before).then_some(seat.reach)
    }

    /// Takes down which devices a member has on.
    pub fn set_media(&mut self, id: MemberId, media: MediaState) {
        if let Some(seat) = self.members.get_mut(&id) {
            seat.media = media;
        }
    }
}

/// What somebody is in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// In, without the host role.
    Guest,
    /// In, with the host role.
    Host,
    /// Not in: never was, still waits, or is gone.
    Stranger,
}

/// Whether somebody in this role may do `action`. Exhaustive on purpose: a new action has to be placed here.
pub fn may(actor: Role, action: Action) -> bool {
    match action {
        Action::Admit(_)
        | Action::AdmitAll
        | Action::Deny(_)
        | Action::End
        | Action::Lock(_)
        | Action::Remove(_)
        | Action::RequestMute(_) => match actor {
            Role::Host => true,
            Role::Guest | Role::Stranger => false,
        },
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]
mod tests {
    use super::*;
    use crate::limits::{DENIALS_PER_GUEST, ROOM_MEMBERS_MAX};
    use std::net::{IpAddr, Ipv4Addr};

    fn seat(name: &str) -> Seat {
        Seat {
            name: name.into(),
            media: MediaState::default(),
            since: Instant::now(),
            away: false,
            reach: Reach::WHOLE,
        }
    }

    fn knock(control: u64, name: &str) -> Knock {
        let source = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)).into();
        Knock { control: ControlId(control), name: name.into(), source, since: Instant::now() }
    }

    fn room() -> Room {
        Room::new(RoomCode::new(1).unwrap(), seat("Ada"), ROOM_MEMBERS_MAX)
    }

    fn actions() -> [Action; 7] {
        let (knock, member) = (KnockId(1), MemberId(2));
        [
            Action::Admit(knock),
            Action::AdmitAll,
            Action::Deny(knock),
            Action::End,
            Action::Lock(true),
            Action::Remove(member),
            Action::RequestMute(member),
        ]
    }

    #[test]
    fn only_the_host_may() {
        for action in actions() {
            assert!(may(Role::Host, action));
            assert!(!may(Role::Guest, action) && !may(Role::Stranger, action), "{action:?}");
        }
    }

    #[test]
    fn a_host_does_not_remove_himself() {
        let room = room();
        assert!(!room.may(room.host(), Action::Remove(room.host())));
    }

    #[test]
    fn a_guest_is_in_only_after_admit() {
        let mut room = room();
        let id = room.knock(knock(2, "Bo")).unwrap();
        assert_eq!(room.members().len(), 1);
        let member = room.admit(Instant::now(), id).unwrap().unwrap();
        assert_eq!(room.member(member).unwrap().name, "Bo");
        assert!(room.admit(Instant::now(), id).is_none(), "a knock opens the door once");
        for action in actions() {
            assert!(!room.may(member, action));
        }
    }

    #[test]
    fn a_look_alike_of_a_member_or_of_a_waiting_guest_is_refused() {
        let mut room = room();
        assert_eq!(room.knock(knock(2, "АDA")), Err(Refusal::NameTaken));
        room.knock(knock(3, "Bo")).unwrap();
        assert_eq!(room.knock(knock(4, "bo")), Err(Refusal::NameTaken));
        assert_eq!(room.knock(knock(5, "Host")), Err(Refusal::NameTaken));
    }

    #[test]
    fn who_is_away_leaves_the_name_and_the_seat_to_whoever_is_let_in_as_the_same() {
        let mut room = Room::new(RoomCode::new(1).unwrap(), seat("Ada"), 2);
        let first = room.knock(knock(2, "Bo")).unwrap();
        let bo = room.admit(Instant::now(), first).unwrap().unwrap();
        assert_eq!(room.knock(knock(3, "bo")), Err(Refusal::RoomFull));
        room.set_away(bo, true);
        assert_eq!(room.knock(knock(3, "Cy")), Err(Refusal::RoomFull));
        let again = room.knock(knock(4, "bo")).unwrap();
        assert_eq!(room.returns_as(again), Some(bo));
        room.set_away(bo, false);
        assert_eq!(room.returns_as(again), None);
        assert!(matches!(room.admit(Instant::now(), again), Some(Err((_, Refusal::NameTaken)))));
    }

    #[test]
    fn twice_denied_is_denied_for_good_and_others_behind_the_address_are_asked_about() {
        let mut room = room();
        for _ in 0..DENIALS_PER_GUEST {
            let id = room.knock(knock(2, "Bo")).unwrap();
            assert!(room.deny(Instant::now(), id).is_some());
        }
        assert_eq!(room.knock(knock(2, "Bo")), Err(Refusal::DeniedBefore));
        assert!(room.knock(knock(3, "Cy")).is_ok());
    }

    #[test]
    fn one_source_fills_a_door_only_while_nobody_else_comes() {
        let mut room = room();
        let from = |last: u8| Source::from(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)));
        let letter = |number: usize| char::from(b'a' + number as u8);
        let of_class = |number| knock(number as u64, &format!("Pupil {}", letter(number)));
        assert!((0..KNOCKS_PER_ROOM).all(|number| room.knock(of_class(number)).is_ok()));
        assert!(room.make_way_for(from(1)).is_none(), "the class gives no way to itself");
        for number in 0..KNOCKS_PER_ROOM / 2 {
            let guest = || Knock { source: from(2), ..knock(100, &format!("Guest {}", letter(number))) };
            assert_eq!(room.knock(guest()), Err(Refusal::TooManyKnocks));
            let (id, displaced) = room.make_way_for(from(2)).unwrap();
            assert_eq!((id.0 as usize, displaced.source), (KNOCKS_PER_ROOM - number, from(1)), "the newest");
            room.knock(guest()).unwrap();
        }
        assert!(room.make_way_for(from(2)).is_none(), "each has half");
        assert_eq!(room.make_way_for(from(3)).unwrap().1.source, from(2), "the newest of those with the most");
    }

    #[test]
    fn the_door_holds_a_bounded_number_of_guests_and_none_when_locked() {
        let mut room = room();
        for number in 0..KNOCKS_PER_ROOM {
            room.knock(knock(number as u64, &format!("Guest {}", char::from(b'a' + number as u8)))).unwrap();
        }
        assert_eq!(room.knock(knock(99, "Zoe")), Err(Refusal::TooManyKnocks));
        room.set_locked(true);
        assert_eq!(room.knock(knock(99, "Zoe")), Err(Refusal::RoomLocked));
    }

    #[test]
    fn the_host_role_passes_to_the_longest_present() {
        let mut room = room();
        let ids: Vec<_> = ["Bo", "Cy"].map(|name| room.knock(knock(2, name)).unwrap()).into();
        let members: Vec<_> = ids.into_iter().map(|id| room.admit(Instant::now(), id).unwrap().unwrap()).collect();
        assert_eq!(room.remove(members[1]), None);
        assert_eq!(room.remove(MemberId(1)), Some(members[0]));
        assert!(room.may(members[0], Action::End));
        assert_eq!(room.remove(members[0]), None);
    }

    #[test]
    fn the_host_role_rather_passes_to_somebody_who_is_not_away() {
        let mut room = room();
        let ids: Vec<_> = ["Bo", "Cy"].map(|name| room.knock(knock(2, name)).unwrap()).into();
        let members: Vec<_> = ids.into_iter().map(|id| room.admit(Instant::now(), id).unwrap().unwrap()).collect();
        room.set_away(members[0], true);
        assert_eq!(room.remove(MemberId(1)), Some(members[1]));
        assert_eq!(room.remove(members[1]), Some(members[0]), "somebody has to have it");
    }
}
