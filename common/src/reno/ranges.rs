//! A set of numbers held as ranges that neither overlap nor touch, in order.

use std::ops::Range;

/// What was received, acknowledged or lost, of segment numbers or of the offsets of a stream.
///
/// A sorted vector: sets here have few ranges and grow at the end, and it does not allocate once it is warm.
#[derive(Clone, Debug, Default)]
pub(super) struct RangeSet {
    ranges: Vec<Range<u64>>,
}

impl RangeSet {
    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many ranges there are.
    pub(super) fn len(&self) -> usize {
        self.ranges.len()
    }

    pub(super) fn first(&self) -> Option<Range<u64>> {
        self.ranges.first().cloned()
    }

    pub(super) fn last(&self) -> Option<Range<u64>> {
        self.ranges.last().cloned()
    }

    /// The ranges upwards.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = Range<u64>> + ExactSizeIterator + Clone {
        self.ranges.iter().cloned()
    }

    pub(super) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let from = self.ranges.partition_point(|r| r.end < range.start);
        let to = self.ranges.partition_point(|r| r.start <= range.end);
        if from == to {
            self.ranges.insert(from, range);
            return;
        }
        let start = self.ranges[from].start.min(range.start);
        let end = self.ranges[to - 1].end.max(range.end);
        self.ranges[from] = start..end;
        self.ranges.drain(from + 1..to);
    }

    pub(super) fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let from = self.ranges.partition_point(|r| r.end <= range.start);
        let to = self.ranges.partition_point(|r| r.start < range.end);
        if from == to {
            return;
        }
        let before = self.ranges[from].start..range.start;
        let behind = range.end..self.ranges[to - 1].end;
        let kept = [before, behind].into_iter().filter(|r| !r.is_empty());
        self.ranges.splice(from..to, kept);
    }

    pub(super) fn pop_first(&mut self) -> Option<Range<u64>> {
        (!self.ranges.is_empty()).then(|| self.ranges.remove(0))
    }

    /// The parts of `range` that are not in the set, upwards.
    pub(super) fn missing(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let from = self.ranges.partition_point(|r| r.end <= range.start);
        let held = self.ranges[from..].iter().cloned();
        let end = range.end..range.end;
        let mut reached = range.start;
        held.take_while(move |r| r.start < range.end).chain([end]).filter_map(move |r| {
            let gap = reached..r.start;
            reached = reached.max(r.end);
            (!gap.is_empty()).then_some(gap)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbers(set: &RangeSet) -> Vec<u64> {
        set.iter().flatten().collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_holds_what_a_list_of_flags_would(
            steps in proptest::collection::vec((any::<bool>(), 0_u64..64, 0_u64..16), 0..40),
            start in 0_u64..70,
            length in 0_u64..20,
        ) {
            let mut set = RangeSet::default();
            let mut flags = [false; 100];
            for (insert, start, length) in steps {
                let range = start..start + length;
                flags[start as usize..(start + length) as usize].fill(insert);
                if insert { set.insert(range) } else { set.remove(range) }
                let expected: Vec<u64> = (0..100).filter(|n| flags[*n as usize]).collect();
                prop_assert_eq!(numbers(&set), expected);
                let apart = set.iter().zip(set.iter().skip(1)).all(|(a, b)| a.end < b.start);
                prop_assert!(apart && set.iter().all(|r| !r.is_empty()));
            }
            let missing: Vec<u64> = set.missing(start..start + length).flatten().collect();
            let expected: Vec<u64> = (start..start + length).filter(|n| !flags[*n as usize]).collect();
            prop_assert_eq!(missing, expected);
        }
    }
}
