//! Actions that the server may not have done yet: those of the last seconds, and those asked for while the connection
//! is broken.
//!
//! The server does what it is told in order, so the answer to a ping says that it has done everything before. What is
//! left when a connection breaks was done or not: the room itself tells, once it is seen again, and what shows in it
//! is not asked for twice.

use std::collections::VecDeque;

use crate::limits::ACTIONS_KEPT_MAX;
use crate::wire::control::Action;

/// The newest actions of one session, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Actions {
    /// Each with the number of the ping that came after it.
    kept: VecDeque<(Action, u32)>,
    pings: u32,
    pongs: u32,
}

impl Actions {
    /// Keeps an action; answers `false`, and does not keep it, when there are too many.
    pub(super) fn keep(&mut self, action: Action) -> bool {
        if let Action::Lock(_) = action {
            // Only the last one says how the door is to be.
            self.kept.retain(|(other, _)| !matches!(other, Action::Lock(_)));
        }
        if self.kept.len() >= ACTIONS_KEPT_MAX {
            return false;
        }
        self.kept.push_back((action, self.pings));
        true
    }

    /// A ping was sent behind everything that was kept before.
    pub(super) fn ping(&mut self) {
        self.pings += 1;
    }

    /// A ping was answered.
    pub(super) fn pong(&mut self) {
        self.pongs = (self.pongs + 1).min(self.pings);
        let pongs = self.pongs;
        self.kept.retain(|(_, ping)| *ping >= pongs);
    }

    /// Whether a ping has not been answered yet.
    pub(super) fn unanswered(&self) -> bool {
        self.pings != self.pongs
    }

    /// A new connection: gives back what was not confirmed on the old one.
    pub(super) fn restart(&mut self) -> VecDeque<Action> {
        let kept = std::mem::take(self).kept;
        kept.into_iter().map(|(action, _)| action).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::KnockId;

    #[test]
    fn what_was_sent_before_an_answered_ping_is_done() {
        let mut actions = Actions::default();
        assert!(actions.keep(Action::Admit(KnockId(1))));
        actions.ping();
        actions.keep(Action::Admit(KnockId(2)));
        actions.ping();
        actions.pong();
        assert!(actions.unanswered());
        assert_eq!(actions.restart(), [Action::Admit(KnockId(2))]);
        assert!(!actions.unanswered());
    }

    #[test]
    fn only_the_last_word_about_the_door_is_kept_and_not_without_bound() {
        let mut actions = Actions::default();
        for locked in [true, false, true] {
            actions.keep(Action::Lock(locked));
        }
        let kept = (1..).take_while(|id| actions.keep(Action::Deny(KnockId(*id)))).count();
        assert_eq!(kept, ACTIONS_KEPT_MAX - 1);
        assert_eq!(actions.restart()[0], Action::Lock(true));
    }
}
