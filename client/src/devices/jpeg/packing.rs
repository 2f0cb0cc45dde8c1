//! How to cut the blocks of a frame into parts that fill a datagram each, all about the same.

use common::limits::BLOCKS_PER_PART_MAX;
use common::picture::ladder::Rung;
use common::wire::media::{BlockRun, VideoHeader};

/// Remembers what each block of a picture took when it was last coded, and judges by that what it will take.
#[derive(Debug, Default)]
pub(super) struct Packing {
    rung: Option<Rung>,
    quality: u8,
    /// Bytes of each block.
    bytes: Vec<f32>,
}

/// Bytes of a run in front of the scan.
const RUN_BYTES: f32 = 3.0;
/// Parts are planned to be this full, because a block seldom takes quite what it took last time: one that does not fit
/// has to be coded again.
const FILL: f32 = 0.92;
/// How far one part may move what its blocks are thought to take.
const LEARN_MAX: f32 = 4.0;

impl Packing {
    /// Cuts runs into parts that are thought to have about equal bytes, as few as datagrams hold.
    pub(super) fn plan(&mut self, rung: Rung, quality: u8, runs: &[BlockRun]) -> Vec<Vec<BlockRun>> {
        self.prepare(rung, quality);
        let total = self.weight(runs);
        let fewest = (total / (FILL * VideoHeader::scan_max_bytes(0) as f32)).ceil() as usize;
        let pieces = fewest.max(blocks(runs).div_ceil(BLOCKS_PER_PART_MAX)).max(1);
        let mut parts: Vec<Vec<BlockRun>> = Vec::with_capacity(pieces + 1);
        let (mut weight, mut count) = (f32::INFINITY, 0);
        for run in runs {
            for column in run.column..run.column + run.blocks {
                let block = self.bytes[index(rung, run.row, column)];
                if weight + block / 2.0 > total / pieces as f32 || count == BLOCKS_PER_PART_MAX {
                    parts.push(Vec::new());
                    (weight, count) = (0.0, 0);
                }
                count += 1;
                weight += block + parts.last_mut().map_or(0.0, |part| append(part, run.row, column));
            }
        }
        parts
    }

    /// A part with these blocks took so many bytes.
    pub(super) fn learn(&mut self, runs: &[BlockRun], bytes: usize) {
        let Some(rung) = self.rung else { return };
        let thought: f32 = places(rung, runs).map(|place| self.bytes[place]).sum();
        let ratio = (bytes as f32 / thought).clamp(1.0 / LEARN_MAX, LEARN_MAX);
        for place in places(rung, runs) {
            self.bytes[place] = (self.bytes[place] * ratio).max(1.0);
        }
    }

    fn prepare(&mut self, rung: Rung, quality: u8) {
        let usual = |quality: u8| 8.0 + f32::from(quality) / 3.0;
        if self.rung != Some(rung) {
            self.rung = Some(rung);
            self.bytes.clear();
            let count = usize::from(rung.block_columns()) * usize::from(rung.block_rows());
            self.bytes.resize(count, usual(quality));
        } else if self.quality != quality {
            let ratio = usual(quality) / usual(self.quality);
            self.bytes.iter_mut().for_each(|bytes| *bytes *= ratio);
        }
        self.quality = quality;
    }

    fn weight(&self, runs: &[BlockRun]) -> f32 {
        let of_blocks = self.rung.map_or(0.0, |rung| places(rung, runs).map(|place| self.bytes[place]).sum());
        of_blocks + RUN_BYTES * runs.len() as f32
    }
}

/// Adds a block to a part; answers what that takes beside the block itself.
fn append(part: &mut Vec<BlockRun>, row: u8, column: u8) -> f32 {
    match part.last_mut() {
        Some(run) if run.row == row && run.column + run.blocks == column => {
            run.blocks += 1;
            0.0
        }
        _ => {
            part.push(BlockRun { row, column, blocks: 1 });
            RUN_BYTES
        }
    }
}

fn index(rung: Rung, row: u8, column: u8) -> usize {
    usize::from(row) * usize::from(rung.block_columns()) + usize::from(column)
}

fn places(rung: Rung, runs: &[BlockRun]) -> impl Iterator<Item = usize> {
    runs.iter().flat_map(move |run| {
        let first = index(rung, run.row, run.column);
        first..first + usize::from(run.blocks)
    })
}

/// How many blocks these runs have together.
pub(super) fn blocks(runs: &[BlockRun]) -> usize {
    runs.iter().map(|run| usize::from(run.blocks)).sum()
}

/// These runs in two, each with half of the blocks.
pub(super) fn halves(runs: &[BlockRun]) -> [Vec<BlockRun>; 2] {
    let (mut first, mut rest) = (Vec::new(), Vec::new());
    let mut wanted = blocks(runs) / 2;
    for &run in runs {
        let taken = usize::from(run.blocks).min(wanted) as u8;
        wanted -= usize::from(taken);
        if taken > 0 {
            first.push(BlockRun { blocks: taken, ..run });
        }
        if taken < run.blocks {
            rest.push(BlockRun { row: run.row, column: run.column + taken, blocks: run.blocks - taken });
        }
    }
    [first, rest]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(row: u8, column: u8, blocks: u8) -> BlockRun {
        BlockRun { row, column, blocks }
    }

    #[test]
    fn runs_are_halved_at_any_block() {
        assert_eq!(halves(&[run(3, 0, 16), run(4, 0, 16)]), [vec![run(3, 0, 16)], vec![run(4, 0, 16)]]);
        assert_eq!(halves(&[run(0, 0, 5)]), [vec![run(0, 0, 2)], vec![run(0, 2, 3)]]);
    }

    #[test]
    fn parts_are_even_once_it_is_known_what_blocks_take() {
        let rung = Rung::ALL[3];
        let rows: Vec<_> = (0..rung.block_rows()).map(|row| run(row, 0, rung.block_columns())).collect();
        // The lower half of the picture is twice as dear.
        let cost = |part: &[BlockRun]| -> usize {
            part.iter().map(|run| usize::from(run.blocks) * if run.row < 15 { 20 } else { 40 }).sum()
        };
        let mut packing = Packing::default();
        for _ in 0..10 {
            for part in packing.plan(rung, 50, &rows) {
                packing.learn(&part, cost(&part));
            }
        }
        let costs: Vec<_> = packing.plan(rung, 50, &rows).iter().map(|part| cost(part)).collect();
        let (least, most) = (costs.iter().min().unwrap(), costs.iter().max().unwrap());
        // Forty bytes are the block more or less that a part cannot do without.
        assert!(most - least <= 80 && *most <= VideoHeader::scan_max_bytes(2), "{costs:?}");
        let all: usize = costs.iter().sum();
        assert!(costs.len() <= all.div_ceil(1_000), "{} parts of {all} bytes", costs.len());
    }

    #[test]
    fn a_part_has_no_more_blocks_than_a_header_can_name() {
        let rung = Rung::ALL[3];
        let rows: Vec<_> = (0..rung.block_rows()).map(|row| run(row, 0, rung.block_columns())).collect();
        let mut packing = Packing::default();
        packing.prepare(rung, 10);
        packing.bytes.fill(1.0);
        let parts = packing.plan(rung, 10, &rows);
        assert!(parts.iter().all(|part| blocks(part) <= BLOCKS_PER_PART_MAX));
        assert_eq!(parts.iter().map(|part| blocks(part)).sum::<usize>(), 54 * 30);
    }

    #[test]
    fn no_blocks_make_no_parts() {
        assert!(Packing::default().plan(Rung::ALL[1], 50, &[]).is_empty());
    }
}
