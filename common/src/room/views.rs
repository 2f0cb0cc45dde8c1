//! Who in a room wants to see whom, and how large: so that no picture is sent that nobody looks at.

use std::collections::BTreeMap;

use crate::ids::MemberId;
use crate::picture::ladder::Rung;
use crate::wire::control::View;

/// The views of one room.
#[derive(Debug, Default)]
pub struct Views {
    /// What each member said last, without repetition; nothing of those who never said.
    said: BTreeMap<MemberId, BTreeMap<MemberId, u8>>,
    /// What each sender was told last. One who was told nothing sends the largest picture.
    told: BTreeMap<MemberId, Option<u8>>,
}

/// The index of the largest picture there is.
const LARGEST: u8 = Rung::ALL.len() as u8 - 1;

impl Views {
    /// From here on `viewer` wants to see these members, and no one else.
    pub fn set(&mut self, viewer: MemberId, views: &[View]) {
        let sizes = views.iter().filter(|view| view.member != viewer);
        self.said.insert(viewer, sizes.map(|view| (view.member, view.rung.min(LARGEST))).collect());
    }

    /// A member is gone.
    pub fn remove(&mut self, member: MemberId) {
        self.said.remove(&member);
        self.told.remove(&member);
        for views in self.said.values_mut() {
            views.remove(&member);
        }
    }

    /// Whom a member said to want to see, in the order of their ids.
    pub fn of(&self, viewer: MemberId) -> Vec<MemberId> {
        self.said.get(&viewer).map(|views| views.keys().copied().collect()).unwrap_or_default()
    }

    /// What a sender was told last.
    pub fn told(&self, sender: MemberId) -> Option<u8> {
        self.told.get(&sender).copied().unwrap_or(Some(LARGEST))
    }

    /// Those of `members` who are to send another size of picture than they were told, and which: the largest that
    /// anybody has use for, or `None` when nobody looks.
    pub fn changes(&mut self, members: &[MemberId]) -> Vec<(MemberId, Option<u8>)> {
        let mut changes = Vec::new();
        for sender in members {
            let wanted = self.wanted(*sender, members);
            if self.told.insert(*sender, wanted).unwrap_or(Some(LARGEST)) != wanted {
                changes.push((*sender, wanted));
            }
        }
        changes
    }

    /// Whoever never said what to see gets what there is: the largest picture if all others are like that, else what
    /// those others need. So a newcomer, who is about to say it, makes no camera change its size.
    fn wanted(&self, sender: MemberId, members: &[MemberId]) -> Option<u8> {
        let mut silent = false;
        let mut largest = None;
        for viewer in members.iter().filter(|viewer| **viewer != sender) {
            match self.said.get(viewer) {
                Some(views) => largest = largest.max(views.get(&sender).copied()),
                None => silent = true,
            }
        }
        let alone = members.len() < 2;
        let nobody_said = members.iter().all(|viewer| *viewer == sender || !self.said.contains_key(viewer));
        if alone || nobody_said { Some(LARGEST) } else { largest.or(silent.then_some(0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBERS: [MemberId; 3] = [MemberId(1), MemberId(2), MemberId(3)];

    fn view(member: u16, rung: u8) -> View {
        View { member: MemberId(member), rung }
    }

    #[test]
    fn nobody_is_told_anything_while_nobody_says_anything() {
        assert_eq!(Views::default().changes(&MEMBERS), []);
    }

    #[test]
    fn a_sender_hears_of_the_largest_tile_and_of_nobody_looking() {
        let mut views = Views::default();
        views.set(MemberId(2), &[view(1, 0)]);
        views.set(MemberId(3), &[view(1, 2), view(2, 1)]);
        views.set(MemberId(1), &[]);
        assert_eq!(views.changes(&MEMBERS), [(MemberId(1), Some(2)), (MemberId(2), Some(1)), (MemberId(3), None)]);
        assert_eq!(views.changes(&MEMBERS), [], "each is told once");
        views.remove(MemberId(3));
        assert_eq!(views.changes(&MEMBERS[..2]), [(MemberId(1), Some(0)), (MemberId(2), None)]);
    }

    #[test]
    fn a_newcomer_who_has_not_said_yet_changes_no_size() {
        let mut views = Views::default();
        views.set(MemberId(2), &[view(1, 1)]);
        assert_eq!(views.changes(&MEMBERS[..2]), [(MemberId(1), Some(1))]);
        assert_eq!(views.changes(&MEMBERS), [(MemberId(3), Some(0))], "only the newcomer's own picture is new");
        assert_eq!(views.of(MemberId(2)), [MemberId(1)]);
    }

    #[test]
    fn a_size_that_does_not_exist_counts_as_the_largest_and_nobody_watches_himself() {
        let mut views = Views::default();
        views.set(MemberId(2), &[view(1, 200), view(2, 3)]);
        assert_eq!(views.of(MemberId(2)), [MemberId(1)]);
        assert_eq!(views.wanted(MemberId(1), &MEMBERS[..2]), Some(LARGEST));
    }
}
