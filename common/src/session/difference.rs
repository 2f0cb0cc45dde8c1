//! What happened in a room while nobody told us: the difference between what we knew and how it is, as the events
//! that we would have heard.

use std::collections::BTreeMap;

use super::{Event, Session, known_rung};
use crate::ids::MemberId;
use crate::wire::control::{Action, ClientMessage, Guest, LeaveReason, Member, Snapshot};

impl Session {
    /// The room as it is after we came back to it.
    pub(super) fn compare(&mut self, snapshot: Snapshot) {
        let Snapshot { secret, members, locked, knocks, wanted } = snapshot;
        if let Some(ticket) = &mut self.ticket {
            ticket.secret = secret;
        }
        let members: BTreeMap<_, _> = members.into_iter().map(|member| (member.id, member)).collect();
        self.compare_rosters(members);
        if std::mem::replace(&mut self.locked, locked) != locked {
            self.event(Event::Locked(locked));
        }
        self.compare_knocks(knocks);
        self.want_video(wanted.map(known_rung));
    }

    fn compare_rosters(&mut self, members: BTreeMap<MemberId, Member>) {
        let before = std::mem::replace(&mut self.members, members.clone());
        let host = |members: &BTreeMap<MemberId, Member>| members.values().find(|member| member.host).map(|m| m.id);
        for member in members.values().filter(|member| !before.contains_key(&member.id)) {
            self.event(Event::MemberJoined(member.clone()));
        }
        for member in before.keys().filter(|member| !members.contains_key(member)) {
            // Why is not told any more.
            self.event(Event::MemberLeft { member: *member, reason: LeaveReason::Left });
        }
        if let Some(host) = host(&members).filter(|now| host(&before) != Some(*now)) {
            self.host_changed(host);
        }
        for (before, member) in members.values().filter_map(|member| Some((before.get(&member.id)?, member))) {
            self.compare_member(before, member);
        }
    }

    fn compare_member(&mut self, before: &Member, member: &Member) {
        if before.reach != member.reach {
            self.compare_reach(before, member);
        }
        if Some(member.id) == self.you {
            return self.repeat_media(before, member);
        }
        if before.media != member.media {
            self.event(Event::MediaChanged { member: member.id, media: member.media });
        }
        if before.away != member.away {
            let event = if member.away { Event::MemberAway } else { Event::MemberBack };
            self.event(event(member.id));
        }
    }

    fn compare_reach(&mut self, before: &Member, member: &Member) {
        let mut reach = member.reach;
        if Some(member.id) == self.you && before.reach.hears != reach.hears {
            reach.hears = before.reach.hears;
            self.send(ClientMessage::SetHears(reach.hears));
            if let Some(you) = self.members.get_mut(&member.id) {
                you.reach = reach;
            }
        }
        if before.reach != reach {
            self.event(Event::ReachChanged { member: member.id, reach });
        }
    }

    /// Of our own devices we know better than the server.
    fn repeat_media(&mut self, ours: &Member, theirs: &Member) {
        if ours.media != theirs.media {
            self.send(ClientMessage::SetMedia(ours.media));
            if let Some(you) = self.members.get_mut(&ours.id) {
                you.media = ours.media;
            }
        }
    }

    fn compare_knocks(&mut self, guests: Vec<Guest>) {
        let guests: BTreeMap<_, _> = guests.into_iter().map(|guest| (guest.knock, guest.name)).collect();
        let before = std::mem::replace(&mut self.knocks, guests.clone());
        for knock in before.keys().filter(|knock| !guests.contains_key(knock)) {
            self.event(Event::KnockGone(*knock));
        }
        for (knock, name) in guests.into_iter().filter(|(knock, _)| !before.contains_key(knock)) {
            self.event(Event::KnockArrived { knock, name });
        }
    }

    /// Whether the room does not show yet what `action` was to bring about.
    pub(super) fn still_due(&self, action: Action) -> bool {
        match action {
            Action::Admit(knock) | Action::Deny(knock) => self.knocks.contains_key(&knock),
            Action::AdmitAll | Action::End => true,
            Action::Lock(locked) => self.locked != locked,
            Action::Remove(member) => self.members.contains_key(&member),
            Action::RequestMute(member) => self.members.get(&member).is_some_and(|member| member.media.microphone),
        }
    }
}
