//! Sequence numbers of audio, as its receivers get them.

use crate::sequence::SequenceNumber;

/// Numbers a member's audio for its receivers, who see no gap where the relay left something out on purpose.
#[derive(Debug, Default)]
pub(super) struct Numbering {
    /// What the numbers told are behind the sender's.
    behind: u16,
    newest: Option<SequenceNumber>,
    leaving_out: bool,
}

impl Numbering {
    /// Whether the packet before this one was forwarded.
    pub(super) fn forwards(&self) -> bool {
        !self.leaving_out
    }

    /// A packet is not forwarded if `out`.
    pub(super) fn leave_out(&mut self, out: bool) {
        self.leaving_out |= out;
    }

    /// The number under which a packet is forwarded. What was lost on its way here remains a gap.
    pub(super) fn number(&mut self, sequence: SequenceNumber) -> SequenceNumber {
        if std::mem::take(&mut self.leaving_out)
            && let Some(newest) = self.newest
        {
            self.behind = sequence.minus(newest.next().0).0;
        }
        let number = sequence.minus(self.behind);
        if self.newest.is_none_or(|newest| number.distance(newest) > 0) {
            self.newest = Some(number);
        }
        number
    }
}
