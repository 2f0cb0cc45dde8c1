//! Which blocks each packet of our picture brought, until it is known what became of it.

use std::collections::VecDeque;

use crate::limits::DEPARTURES_MAX;
use crate::path::Fate;
use crate::picture::blocks::{CodedFrame, LostBlocks};

/// Tags end below this one; those from it on are the voice's.
pub(super) const TAGS_END: u32 = 1 << 31;

/// Packets whose fate is not known, by tags that go up by one.
#[derive(Debug)]
pub(super) struct SentParts {
    /// Oldest first, at most [`DEPARTURES_MAX`]: of more, nobody tells. `None` once the fate is known.
    sent: VecDeque<Option<LostBlocks>>,
    /// Tag of the first of them; 0 is none.
    first: u32,
}

impl SentParts {
    pub(super) fn new() -> Self {
        Self { sent: VecDeque::new(), first: 1 }
    }

    /// Part `index` of a frame leaves; answers its tag.
    pub(super) fn note(&mut self, frame: &CodedFrame, index: usize) -> u32 {
        if self.sent.len() >= DEPARTURES_MAX {
            self.sent.pop_front();
            self.first += 1;
        }
        // Two thousand million packets on, half a year from the start, nothing is left of the first ones.
        if self.first + self.sent.len() as u32 >= TAGS_END {
            *self = Self::new();
        }
        self.sent.push_back(Some(LostBlocks::of(frame, index..index + 1)));
        self.first + self.sent.len() as u32 - 1
    }

    /// What became of a packet is known; answers what it brought if that did not arrive.
    pub(super) fn settle(&mut self, tag: u32, fate: Fate) -> Option<LostBlocks> {
        if let Fate::Missing(_) = fate {
            // It may come after all, and the next frame is soon enough.
            return None;
        }
        let index = tag.checked_sub(self.first)?;
        let blocks = self.sent.get_mut(index as usize)?.take();
        while self.sent.front().is_some_and(Option::is_none) {
            self.sent.pop_front();
            self.first += 1;
        }
        blocks.filter(|_| fate == Fate::Lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::blocks::CodedPart;
    use crate::picture::ladder::Rung;
    use crate::sequence::MediaTime;
    use crate::wire::media::BlockRun;

    fn frame() -> CodedFrame {
        let part = |row| CodedPart { quality: 50, runs: vec![BlockRun { row, column: 0, blocks: 4 }], scan: vec![1] };
        CodedFrame { rung: Rung::ALL[0], timestamp: MediaTime(7), parts: (0..9).map(part).collect() }
    }

    #[test]
    fn only_what_did_not_arrive_is_answered_and_once() {
        let mut parts = SentParts::new();
        let tags: Vec<_> = (0..4).map(|index| parts.note(&frame(), index)).collect();
        assert_eq!(tags, [1, 2, 3, 4]);
        assert_eq!(parts.settle(1, Fate::Arrived), None);
        let lost = parts.settle(3, Fate::Lost).unwrap();
        assert_eq!((lost.runs[0].row, lost.timestamp), (2, MediaTime(7)));
        for tag in [0, 1, 3, 5, u32::MAX] {
            assert_eq!(parts.settle(tag, Fate::Lost), None);
        }
        assert!(parts.settle(2, Fate::Lost).is_some());
        assert_eq!((parts.sent.len(), parts.first), (1, 4));
    }

    #[test]
    fn packets_that_nobody_tells_of_are_bounded() {
        let mut parts = SentParts::new();
        let last = (0..3 * DEPARTURES_MAX).map(|_| parts.note(&frame(), 0)).last();
        assert_eq!((last, parts.sent.len()), (Some(3 * DEPARTURES_MAX as u32), DEPARTURES_MAX));
        assert!(parts.settle(3 * DEPARTURES_MAX as u32, Fate::Lost).is_some());
        parts.first = TAGS_END - 10;
        assert_eq!(parts.note(&frame(), 0), 1);
    }
}
