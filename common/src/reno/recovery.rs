//! Which recovery a sender is in, and whether there was anything to recover from.
//!
//! A round of losses is answered once: what was sent before the answer says nothing new (RFC 6582 §3.2 and RFC 6675 §5
//! remember "recover"; here, as in RFC 9002 §7.3.2, it is a segment number). When all that was given up arrives after
//! all, the answer was wrong and is taken back: Eifel's response (RFC 4015) to what RFC 3522 and RFC 5682 detect by
//! other means, where acknowledgements do not tell which copy they are for.

/// The rounds of one sender.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// The first segment number sent after the last answer. Losses before it belong to the same round.
    point: u64,
    stage: Stage,
    /// Segments given up in this round that did not arrive since.
    given_up: u64,
    /// The window can still be given back.
    undoable: bool,
}

/// What is being recovered from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// Until a segment sent after the loss is acknowledged (RFC 6582, RFC 6675).
    FastRecovery,
    /// Nothing.
    #[default]
    Open,
    /// Until a segment sent after the timeout is acknowledged (RFC 5681 §3.1).
    TimeoutRecovery,
}

impl Recovery {
    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    /// Whether what was sent in segment `number` left before the last answer.
    pub(super) fn began_after(&self, number: u64) -> bool {
        number < self.point
    }

    /// `count` segments were found lost, `newest` the highest number of those that were no repetitions; the next one gets
    /// `next_number`. Answers whether this begins a round.
    pub(super) fn on_lost(&mut self, newest: Option<u64>, count: u64, next_number: u64) -> bool {
        let begins = newest.is_some_and(|newest| newest >= self.point);
        if begins {
            *self = Self { point: next_number, stage: Stage::FastRecovery, given_up: 0, undoable: true };
        }
        self.given_up += count;
        begins
    }

    /// The retransmission timer went off with `outstanding` segments on the way.
    pub(super) fn on_timeout(&mut self, outstanding: u64, next_number: u64) {
        let again = self.stage == Stage::TimeoutRecovery;
        let given_up = if again { self.given_up } else { 0 } + outstanding;
        *self = Self { point: next_number, stage: Stage::TimeoutRecovery, given_up, undoable: true };
    }

    /// `count` segments arrived after they were given up. Answers whether there was nothing to recover from: none of
    /// this round is missing any more, or the timer was too early for a segment that it gave up.
    pub(super) fn on_spurious(&mut self, count: u64) -> bool {
        self.given_up = self.given_up.saturating_sub(count);
        let nothing_lost = self.stage == Stage::TimeoutRecovery || self.given_up == 0;
        let undone = self.undoable && nothing_lost;
        if undone {
            (self.undoable, self.stage) = (false, Stage::Open);
        }
        undone
    }

    /// Segment `newest` was acknowledged. Answers whether that ends a recovery.
    pub(super) fn on_acknowledged(&mut self, newest: u64) -> bool {
        let ends = newest >= self.point && self.stage != Stage::Open;
        if ends {
            self.stage = Stage::Open;
        }
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_with_many_losses_is_answered_once() {
        let mut recovery = Recovery::default();
        assert!(recovery.on_lost(Some(3), 1, 40));
        assert!(!recovery.on_lost(Some(39), 2, 45));
        assert!(!recovery.on_lost(None, 1, 46));
        assert!(!recovery.on_acknowledged(39));
        assert_eq!(recovery.stage(), Stage::FastRecovery);
        assert!(recovery.on_acknowledged(40));
        assert_eq!(recovery.stage(), Stage::Open);
        assert!(recovery.on_lost(Some(41), 1, 60));
    }

    #[test]
    fn a_round_of_which_all_arrives_is_taken_back() {
        let mut recovery = Recovery::default();
        recovery.on_lost(Some(3), 2, 40);
        assert!(!recovery.on_spurious(1));
        assert!(recovery.on_spurious(1));
        assert!(!recovery.on_spurious(1));
        assert_eq!(recovery.stage(), Stage::Open);
    }

    #[test]
    fn a_timeout_is_taken_back_by_the_first_segment_that_it_gave_up() {
        let mut recovery = Recovery::default();
        recovery.on_timeout(20, 40);
        recovery.on_timeout(1, 41);
        assert!(recovery.on_spurious(1));
        assert_eq!(recovery.stage(), Stage::Open);
    }
}
