//! What members say before their coming is told. The data plane may be quicker than the control plane, and nobody knows who
//! "#7" is: so the words of somebody who is not introduced wait for that, in their order.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use crate::ids::MemberId;
use crate::limits::{INTRODUCTION_PATIENCE, UNINTRODUCED_MESSAGES_MAX};
use crate::wire::message::Delivery;

/// Who is introduced, and what others have said so far.
#[derive(Debug)]
pub struct Introductions {
    /// Everybody who ever was: words may come from somebody who has left. No more than a room gives ids.
    known: BTreeSet<MemberId>,
    /// With when it came, oldest first; at most [`UNINTRODUCED_MESSAGES_MAX`].
    waiting: VecDeque<(Instant, Delivery)>,
}

impl Introductions {
    /// These are introduced, and the server, which speaks as [`MemberId::SERVER`].
    pub fn new(members: impl IntoIterator<Item = MemberId>) -> Self {
        let known = members.into_iter().chain([MemberId::SERVER]).collect();
        Self { known, waiting: VecDeque::new() }
    }

    /// It is told that this member came in.
    pub fn introduce(&mut self, member: MemberId) {
        self.known.insert(member);
    }

    /// Somebody said something; [`Introductions::poll`] gives it back when it is time.
    pub fn handle(&mut self, now: Instant, delivery: Delivery) {
        self.waiting.push_back((now, delivery));
    }

    /// The next thing that somebody said who is introduced; or anybody who was not within [`INTRODUCTION_PATIENCE`], or when
    /// too much waits.
    pub fn poll(&mut self, now: Instant) -> Option<Delivery> {
        let many = self.waiting.len() > UNINTRODUCED_MESSAGES_MAX;
        let ready = |(came, said): &(Instant, Delivery)| {
            many || self.known.contains(&said.from) || now.saturating_duration_since(*came) >= INTRODUCTION_PATIENCE
        };
        let next = self.waiting.iter().position(ready)?;
        self.waiting.remove(next).map(|(_, said)| said)
    }

    /// When to ask [`Introductions::poll`] though nothing happened.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.front().map(|(came, _)| *came + INTRODUCTION_PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ChatId;
    use crate::virtual_time;
    use crate::wire::message::{Message, Recipients};

    const BO: MemberId = MemberId(2);
    const CY: MemberId = MemberId(3);

    fn said(from: MemberId, id: u32) -> Delivery {
        let message = Message::Chat { id: ChatId(id), to: Recipients::Everyone, text: "hello".into() };
        Delivery { from, message }
    }

    fn all(introductions: &mut Introductions, now: Instant) -> Vec<Delivery> {
        std::iter::from_fn(|| introductions.poll(now)).collect()
    }

    #[test]
    fn words_of_those_who_are_in_are_not_kept_waiting() {
        let now = virtual_time();
        let mut introductions = Introductions::new([BO]);
        for delivery in [said(CY, 1), said(BO, 1), said(MemberId::SERVER, 1)] {
            introductions.handle(now, delivery);
        }
        assert_eq!(all(&mut introductions, now), [said(BO, 1), said(MemberId::SERVER, 1)]);
    }

    #[test]
    fn words_that_came_first_follow_the_introduction_in_their_order() {
        let now = virtual_time();
        let mut introductions = Introductions::new([BO]);
        (1..=3).for_each(|id| introductions.handle(now, said(CY, id)));
        assert_eq!(all(&mut introductions, now), []);
        introductions.introduce(CY);
        assert_eq!(all(&mut introductions, now), [said(CY, 1), said(CY, 2), said(CY, 3)]);
    }

    #[test]
    fn words_of_somebody_who_is_never_introduced_come_in_the_end() {
        let now = virtual_time();
        let mut introductions = Introductions::new([BO]);
        introductions.handle(now, said(CY, 1));
        let due = introductions.poll_timeout().unwrap();
        assert_eq!(all(&mut introductions, now), []);
        assert_eq!(all(&mut introductions, due), [said(CY, 1)]);
        assert_eq!(introductions.poll_timeout(), None);
    }

    #[test]
    fn no_more_waits_than_may_and_nothing_is_lost() {
        let now = virtual_time();
        let mut introductions = Introductions::new([BO]);
        let count = UNINTRODUCED_MESSAGES_MAX as u32 + 5;
        (1..=count).for_each(|id| introductions.handle(now, said(CY, id)));
        assert_eq!(all(&mut introductions, now).len(), 5);
        introductions.introduce(CY);
        assert_eq!(all(&mut introductions, now), (6..=count).map(|id| said(CY, id)).collect::<Vec<_>>());
    }
}
