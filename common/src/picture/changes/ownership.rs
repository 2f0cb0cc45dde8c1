//! Which part each block was sent with last, and which parts have few such blocks left.
//!
//! Whoever comes late is sent whole parts, however few of their blocks are the newest. So a picture that is spread over many
//! parts takes long to get, and a few blocks sent again make it compact.

use std::ops::Range;

/// Ownership of the blocks of one picture.
#[derive(Clone, Debug, Default)]
pub(super) struct Ownership {
    /// Index into `counts` of each block's part, or [`NOBODY`].
    parts: Vec<u16>,
    /// Blocks of each part of which it is the newest. There are never more parts than blocks.
    counts: Vec<u16>,
    /// Parts by how few blocks they have, and the blocks of some of them; kept for their memory.
    poorest: Vec<(u16, u16)>,
    left_over: Vec<usize>,
}

const NOBODY: u16 = u16::MAX;

impl Ownership {
    /// Nothing was sent of a picture of so many blocks.
    pub(super) fn begin(&mut self, blocks: usize) {
        self.parts.clear();
        self.parts.resize(blocks, NOBODY);
        self.counts.clear();
    }

    /// A part with these blocks is sent.
    pub(super) fn note(&mut self, blocks: impl Iterator<Item = Range<usize>>) {
        let part = self.counts.iter().position(|count| *count == 0).unwrap_or(self.counts.len());
        if part == self.counts.len() {
            self.counts.push(0);
        }
        for block in blocks.flatten() {
            let Some(owner) = self.parts.get_mut(block) else { continue };
            let before = std::mem::replace(owner, part as u16);
            if let Some(count) = self.counts.get_mut(usize::from(before)) {
                *count -= 1;
            }
            self.counts[part] += 1;
        }
    }

    /// Parts that have any blocks.
    pub(super) fn parts(&self) -> usize {
        self.counts.iter().filter(|count| **count > 0).count()
    }

    /// The blocks of the poorest parts, so many parts that only `keep` are left, but not more than `most` blocks.
    pub(super) fn left_over(&mut self, keep: usize, most: usize) -> &[usize] {
        self.find_poorest(keep, most);
        self.left_over.clear();
        if !self.poorest.is_empty() {
            let poor = |part: u16| self.poorest.iter().any(|(_, poor)| *poor == part);
            let of_poor = self.parts.iter().enumerate().filter(|(_, part)| poor(**part));
            self.left_over.extend(of_poor.map(|(block, _)| block));
        }
        &self.left_over
    }

    fn find_poorest(&mut self, keep: usize, most: usize) {
        let parts = self.counts.iter().zip(0_u16..).filter(|(count, _)| **count > 0);
        self.poorest.clear();
        self.poorest.extend(parts.map(|(count, part)| (*count, part)));
        self.poorest.sort_unstable();
        self.poorest.truncate(self.poorest.len().saturating_sub(keep));
        let mut blocks = 0;
        let few = self.poorest.iter().take_while(|(count, _)| {
            blocks += usize::from(*count);
            blocks <= most
        });
        let few = few.count();
        self.poorest.truncate(few);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn left_over(ownership: &mut Ownership, keep: usize, most: usize) -> Vec<usize> {
        ownership.left_over(keep, most).to_vec()
    }

    #[test]
    fn the_blocks_of_the_poorest_parts_are_left_over() {
        let mut ownership = Ownership::default();
        ownership.begin(100);
        ownership.note([0..40, 60..80].into_iter());
        ownership.note(std::iter::once(38..70));
        ownership.note([0..37, 72..80].into_iter());
        assert_eq!(ownership.parts(), 3);
        // Of the first part 37, 70 and 71 are the newest.
        assert_eq!(left_over(&mut ownership, 2, 10), [37, 70, 71]);
        assert_eq!(left_over(&mut ownership, 2, 2), []);
        assert_eq!(left_over(&mut ownership, 3, 10), []);
        ownership.note([37..38, 70..72].into_iter());
        assert_eq!((ownership.parts(), ownership.counts.len()), (3, 4));
        ownership.note(std::iter::once(0..100));
        assert_eq!((ownership.parts(), left_over(&mut ownership, 0, 100).len()), (1, 100));
    }

    proptest! {
        #[test]
        fn every_block_has_one_owner_at_most(parts in proptest::collection::vec((0..90_usize, 1..40_usize), 0..80)) {
            let mut ownership = Ownership::default();
            ownership.begin(100);
            for (first, count) in parts {
                ownership.note(std::iter::once(first..first + count));
                let owned = ownership.parts.iter().filter(|part| **part != NOBODY).count();
                prop_assert_eq!(ownership.counts.iter().map(|count| usize::from(*count)).sum::<usize>(), owned);
                prop_assert!(ownership.counts.len() <= 101);
                prop_assert_eq!(ownership.left_over(0, 100).len(), owned);
            }
        }
    }
}
