//! Which 16×16 blocks of a camera's picture are worth sending.
//!
//! Most of the picture of somebody who talks stands still. A block is chosen when it differs from what it was last coded
//! with by more than the camera's noise; once more, at a better quality, after it has stood still; when it was lost on the
//! way; and every few seconds whatever it does, so that nothing wrong on a screen outlives that.

mod ownership;

use std::ops::Range;
use std::time::Duration;

use crate::limits::VIDEO_CLOCK_RATE_HZ;
use crate::picture::changes::ownership::Ownership;
use crate::picture::ladder::{Rung, VideoTarget};
use crate::sequence::MediaTime;
use crate::wire::media::BlockRun;

/// JPEG quality of blocks that stand still: what moves hides its faults, what stands does not.
pub const STILL_QUALITY: u8 = 75;
/// No block that stands still goes unsent for longer than this.
pub const REFRESH: Duration = Duration::from_secs(6);

/// Blocks of one frame to be coded, each at most once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Blocks that changed, or were lost since they did: at the quality that the path affords.
    pub moving: Vec<BlockRun>,
    /// Blocks that stand still: at [`STILL_QUALITY`] or the path's quality, whichever is better.
    pub still: Vec<BlockRun>,
}

impl Selection {
    /// There is nothing to be sent.
    pub fn is_empty(&self) -> bool {
        self.moving.is_empty() && self.still.is_empty()
    }
}

/// Remembers of each block of one picture what it was last coded with.
///
/// Its memory is that of the rung's blocks, a few hundred bytes each.
#[derive(Clone, Debug, Default)]
pub struct ChangeDetector {
    rung: Option<Rung>,
    blocks: Vec<Block>,
    /// Means of the newest picture, and of the one before it, block by block.
    means: Vec<Means>,
    before: Vec<Means>,
    differences: Vec<u16>,
    column_sums: Vec<u16>,
    noise: Noise,
    sweep: Sweep,
    ownership: Ownership,
    selection: Selection,
}

/// Luma of the sixteen 4×4 squares of a block, each the sum of its sixteen pixels. Sums tell a moved edge from noise,
/// which they average out.
type Means = [u16; 16];

#[derive(Clone, Copy, Debug, Default)]
struct Block {
    coded: Means,
    coded_at: MediaTime,
    changed_at: MediaTime,
    /// What it was last coded at.
    quality: u8,
    lost: bool,
    choice: Choice,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Choice {
    #[default]
    Leave,
    Moving,
    Still,
}

/// One unit of luma, as [`Means`] count.
const LUMA: u16 = 16;
/// How long a block stands still before it is worth a better quality.
const SETTLE: i32 = milliseconds(300);
/// Every block is looked at once in this time, whether it should be coded better or again. So what stands still costs
/// little of each frame.
const SWEEP: i32 = milliseconds(1_000);
/// The sweep goes on in turns this far apart: blocks that fill a datagram come cheaper than a few at a time.
const SWEEP_TURN: i32 = milliseconds(100);
/// A block last coded so long ago is coded again when the sweep comes to it; the next time would be too late.
const REFRESH_AGE: i32 = milliseconds(REFRESH.as_millis() as i32) - SWEEP - 2 * SWEEP_TURN;

/// A picture may be spread over one part for so many of its blocks: half more parts than it takes as a whole, …
const BLOCKS_PER_PART_KEPT: usize = 30;
/// … or over so many parts, which are little anyway.
const PARTS_KEPT_MIN: usize = 16;
/// At most one block in so many is sent for the sake of fewer parts.
const LEFT_OVER_SHARE: usize = 16;

const fn milliseconds(millis: i32) -> i32 {
    millis * (VIDEO_CLOCK_RATE_HZ / 1_000) as i32
}

impl ChangeDetector {
    /// A detector that has seen nothing: all of the first picture is chosen.
    pub fn new() -> Self {
        Self::default()
    }

    /// Chooses what to code of a picture that was captured at `time`. It is taken for coded from then on, and the next
    /// picture is compared with it. Another rung than before begins anew.
    ///
    /// `canvas` is RGBA, `target.rung.width` wide, its height filled up to whole blocks; what is missing of it never
    /// changes.
    pub fn select(&mut self, time: MediaTime, target: &VideoTarget, canvas: &[u8]) -> &Selection {
        let begins = self.rung != Some(target.rung);
        if begins {
            self.begin(time, target.rung);
        }
        std::mem::swap(&mut self.means, &mut self.before);
        measure(canvas, target.rung, &mut self.column_sums, &mut self.means);
        if begins {
            self.blocks.iter_mut().for_each(|block| block.choice = Choice::Moving);
        } else {
            self.noise.learn(&self.means, &self.before);
            self.choose_changed(target.rung);
            self.choose_lost();
            self.choose_still(time, target.quality.max(STILL_QUALITY));
            self.choose_left_over(time);
        }
        self.commit(time, target);
        &self.selection
    }

    /// These blocks, all chosen for the last frame, leave as one part.
    pub fn note_part(&mut self, runs: &[BlockRun]) {
        let columns = self.rung.map_or(0, Rung::block_columns);
        self.ownership.note(runs.iter().map(|run| places(columns, *run)));
    }

    /// Parts that have the newest bytes of any block: what somebody who comes late is sent.
    pub fn parts(&self) -> usize {
        self.ownership.parts()
    }

    /// These blocks of the picture of `time` did not arrive: they come with the next frame, as they look by then. What
    /// was coded again meanwhile is on its way already.
    pub fn mark_lost(&mut self, time: MediaTime, rung: Rung, runs: &[BlockRun]) {
        if self.rung != Some(rung) {
            return;
        }
        for place in runs.iter().flat_map(|run| places(rung.block_columns(), *run)) {
            if let Some(block) = self.blocks.get_mut(place) {
                block.lost |= block.coded_at.distance(time) <= 0;
            }
        }
    }

    /// All of the next picture is chosen.
    pub fn forget(&mut self) {
        self.rung = None;
    }

    /// Differences above this count as change, in units of luma averaged over 4×4 pixels.
    pub fn threshold(&self) -> f32 {
        f32::from(self.noise.threshold()) / f32::from(LUMA)
    }

    fn begin(&mut self, time: MediaTime, rung: Rung) {
        let count = usize::from(rung.block_columns()) * usize::from(rung.block_rows());
        self.rung = Some(rung);
        self.blocks.clear();
        self.blocks.resize(count, Block::default());
        for means in [&mut self.means, &mut self.before] {
            means.clear();
            means.resize(count, [0; 16]);
        }
        self.noise.unlearn();
        self.ownership.begin(count);
        self.sweep = Sweep { next: 0, done: time };
    }

    /// Chooses what changed by more than the noise. Beside such a block half of that is enough: what moves on leaves
    /// faint edges behind, which would stay.
    fn choose_changed(&mut self, rung: Rung) {
        let threshold = self.noise.threshold();
        self.differences.clear();
        self.differences
            .extend(self.blocks.iter().zip(&self.means).map(|(block, means)| difference(&block.coded, means)));
        let columns = usize::from(rung.block_columns());
        for (index, block) in self.blocks.iter_mut().enumerate() {
            let difference = self.differences[index];
            let beside = || beside_change(&self.differences, columns, index, threshold);
            let changed = difference > threshold || (difference > threshold / 2 && beside());
            block.choice = if changed { Choice::Moving } else { Choice::Leave };
        }
    }

    /// A lost block comes at the quality it was sent with.
    fn choose_lost(&mut self) {
        for block in self.blocks.iter_mut().filter(|block| block.lost && block.choice == Choice::Leave) {
            block.choice = if block.quality >= STILL_QUALITY { Choice::Still } else { Choice::Moving };
        }
    }

    /// Chooses among the blocks whose turn it is those that stand still and were coded badly or long ago.
    fn choose_still(&mut self, time: MediaTime, quality: u8) {
        let count = self.blocks.len();
        for turn in self.sweep.turns(time, count) {
            let block = &mut self.blocks[turn % count];
            let better = block.quality < quality && time.distance(block.changed_at) >= SETTLE;
            let again = time.distance(block.coded_at) >= REFRESH_AGE;
            if block.choice == Choice::Leave && (better || again) {
                block.choice = Choice::Still;
            }
        }
    }

    /// Chooses the last blocks of parts that have few left, when the picture is spread over too many.
    fn choose_left_over(&mut self, time: MediaTime) {
        let count = self.blocks.len();
        let keep = (count / BLOCKS_PER_PART_KEPT).max(PARTS_KEPT_MIN);
        for index in self.ownership.left_over(keep, count / LEFT_OVER_SHARE) {
            let block = &mut self.blocks[*index];
            if block.choice == Choice::Leave {
                let still = time.distance(block.changed_at) >= SETTLE;
                block.choice = if still { Choice::Still } else { Choice::Moving };
            }
        }
    }

    /// Writes the choice down as runs; what is chosen counts as coded.
    fn commit(&mut self, time: MediaTime, target: &VideoTarget) {
        self.selection.moving.clear();
        self.selection.still.clear();
        let columns = usize::from(target.rung.block_columns());
        for (index, (block, means)) in self.blocks.iter_mut().zip(&self.means).enumerate() {
            let (runs, quality) = match block.choice {
                Choice::Leave => continue,
                Choice::Moving => (&mut self.selection.moving, target.quality),
                Choice::Still => (&mut self.selection.still, target.quality.max(STILL_QUALITY)),
            };
            append(runs, (index / columns) as u8, (index % columns) as u8);
            if block.choice == Choice::Moving {
                block.changed_at = time;
            }
            *block = Block { coded: *means, coded_at: time, quality, lost: false, ..*block };
        }
    }
}

/// Where the blocks of a run are, counted row by row.
fn places(columns: u8, run: BlockRun) -> Range<usize> {
    let first = usize::from(run.row) * usize::from(columns) + usize::from(run.column);
    first..first + usize::from(run.blocks)
}

/// Adds a block to runs that end before it.
fn append(runs: &mut Vec<BlockRun>, row: u8, column: u8) {
    match runs.last_mut() {
        Some(run) if run.row == row && run.column + run.blocks == column => run.blocks += 1,
        _ => runs.push(BlockRun { row, column, blocks: 1 }),
    }
}

/// One of the eight blocks around this one changed.
fn beside_change(differences: &[u16], columns: usize, index: usize, threshold: u16) -> bool {
    let (row, column) = (index / columns, index % columns);
    let near = column.saturating_sub(1)..=(column + 1).min(columns - 1);
    (row.saturating_sub(1)..=row + 1).any(|row| {
        let of_row = differences.get(row * columns + near.start()..=row * columns + near.end());
        of_row.is_some_and(|of_row| of_row.iter().any(|difference| *difference > threshold))
    })
}

fn difference(a: &Means, b: &Means) -> u16 {
    a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).fold(0, u16::max)
}

/// Fills `means` from the picture, block by block. Four lines at a time are added up first, which the compiler does for
/// many pixels at once.
fn measure(canvas: &[u8], rung: Rung, sums: &mut Vec<u16>, means: &mut [Means]) {
    let stride = usize::from(rung.width) * 4;
    let columns = usize::from(rung.block_columns());
    sums.resize(stride, 0);
    for (band, lines) in canvas.chunks_exact(stride * 4).take(4 * usize::from(rung.block_rows())).enumerate() {
        sums.fill(0);
        for line in lines.chunks_exact(stride) {
            sums.iter_mut().zip(line).for_each(|(sum, value)| *sum += u16::from(*value));
        }
        let row = &mut means[band / 4 * columns..][..columns];
        let (blocks, _) = sums.as_chunks::<64>();
        for (means, sums) in row.iter_mut().zip(blocks) {
            let (squares, _) = sums.as_chunks::<16>();
            let four = &mut means[band % 4 * 4..][..4];
            four.iter_mut().zip(squares).for_each(|(mean, square)| *mean = luma(square));
        }
    }
}

/// Luma of the RGBA sums of four columns (BT.601, in 256ths).
fn luma(sums: &[u16; 16]) -> u16 {
    let (pixels, _) = sums.as_chunks::<4>();
    let weighted = |[r, g, b, _]: &[u16; 4]| 77 * u32::from(*r) + 150 * u32::from(*g) + 29 * u32::from(*b);
    (pixels.iter().map(weighted).sum::<u32>() >> 8) as u16
}

/// How much a block differs from one picture to the next although nothing moved.
#[derive(Clone, Copy, Debug, Default)]
struct Noise {
    /// In units of [`Means`].
    level: f32,
    /// Pictures that were looked at, up to [`NOISE_PICTURES`].
    pictures: u16,
}

/// Share of blocks that are taken to stand still, one in this many; the quietest ones.
const QUIET_SHARE: usize = 4;
/// The level is about the mean over so many pictures, and of those there were at first.
const NOISE_PICTURES: u16 = 64;
/// A quieter picture counts for this many.
const NOISE_FALL: f32 = 8.0;
/// From the level (what three in four blocks exceed with the largest of 16 differences, 0.6 sigma of a pixel's noise) to
/// a threshold of two sigma.
const THRESHOLD_PER_LEVEL: f32 = 3.3;
/// One level of luma is seen by nobody, and a camera that is as quiet as that is a painted picture.
const THRESHOLD_MIN: f32 = LUMA as f32;
/// A picture of which everything moves must not pass for noise.
const THRESHOLD_MAX: f32 = 8.0 * LUMA as f32;
/// Of a camera that is not known yet.
const THRESHOLD_START: f32 = 3.0 * LUMA as f32;
/// Differences that are told apart; larger ones are movement.
const LEVELS: usize = 256;

impl Noise {
    fn threshold(self) -> u16 {
        let known = (THRESHOLD_PER_LEVEL * self.level).clamp(THRESHOLD_MIN, THRESHOLD_MAX);
        (if self.pictures == 0 { THRESHOLD_START } else { known }) as u16
    }

    fn unlearn(&mut self) {
        *self = Self::default();
    }

    /// Takes the differences between two pictures in a row.
    fn learn(&mut self, means: &[Means], before: &[Means]) {
        let mut counts = [0_usize; LEVELS];
        for (means, before) in means.iter().zip(before) {
            counts[usize::from(difference(means, before)).min(LEVELS - 1)] += 1;
        }
        let quiet = quantile(&counts, means.len() / QUIET_SHARE);
        // The same picture twice comes from a camera that is slower than its reader.
        if quiet == 0 {
            return;
        }
        self.pictures = (self.pictures + 1).min(NOISE_PICTURES);
        let step = (quiet as f32 - self.level) / f32::from(self.pictures);
        self.level += if step < 0.0 { (step * NOISE_FALL).max(quiet as f32 - self.level) } else { step };
    }
}

/// The smallest value that more than `below` of those counted do not exceed.
fn quantile(counts: &[usize], below: usize) -> usize {
    let mut seen = 0;
    let reaches = |count: &usize| {
        seen += count;
        seen > below
    };
    counts.iter().position(reaches).unwrap_or(0)
}

/// Goes over all blocks in turn, again and again.
#[derive(Clone, Copy, Debug, Default)]
struct Sweep {
    next: usize,
    /// The moment up to which it went on.
    done: MediaTime,
}

impl Sweep {
    /// The turns that are due, to be taken modulo `blocks`; none are left out, but those of a long pause.
    fn turns(&mut self, time: MediaTime, blocks: usize) -> Range<usize> {
        let elapsed = time.distance(self.done);
        if (0..SWEEP_TURN).contains(&elapsed) {
            return 0..0;
        }
        if !(0..SWEEP).contains(&elapsed) {
            self.done = time;
            return self.next..self.next + blocks;
        }
        let count = elapsed as usize * blocks / SWEEP as usize;
        self.done = self.done.plus((count * SWEEP as usize / blocks) as u32);
        let turns = self.next..self.next + count;
        self.next = turns.end % blocks;
        turns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    const SMALL: Rung = Rung::ALL[0];

    fn target(rung: Rung) -> VideoTarget {
        VideoTarget { rung, quality: 40, frames_per_second: 15 }
    }

    /// A moment of frame `number` at 15 frames a second.
    fn at(number: u32) -> MediaTime {
        MediaTime(number.wrapping_mul(6_000))
    }

    fn canvas(rung: Rung, pixel: impl FnMut(usize, usize) -> u8) -> Vec<u8> {
        let mut pixel = pixel;
        let (width, height) = (usize::from(rung.width), 16 * usize::from(rung.block_rows()));
        (0..width * height).flat_map(|index| [pixel(index % width, index / width); 4]).collect()
    }

    /// A grey picture with a bright square of 40 pixels, and noise like that of a camera.
    fn square(rung: Rung, left: usize, sigma: f32, random: &mut StdRng) -> Vec<u8> {
        canvas(rung, |x, y| {
            let bright = (left..left + 40).contains(&x) && (40..80).contains(&y);
            let gauss: f32 = (0..12).map(|_| random.random_range(-0.5..0.5f32)).sum();
            ((if bright { 200.0 } else { 90.0 }) + sigma * gauss).round() as u8
        })
    }

    fn blocks(runs: &[BlockRun]) -> Vec<(u8, u8)> {
        runs.iter().flat_map(|run| (run.column..run.column + run.blocks).map(|column| (run.row, column))).collect()
    }

    fn count(runs: &[BlockRun]) -> usize {
        blocks(runs).len()
    }

    fn all(rung: Rung) -> usize {
        usize::from(rung.block_columns()) * usize::from(rung.block_rows())
    }

    #[test]
    fn all_of_the_first_picture_and_of_another_size_is_chosen() {
        let mut detector = ChangeDetector::new();
        for (number, rung) in [SMALL, Rung::ALL[2], SMALL].into_iter().enumerate() {
            let grey = canvas(rung, |_, _| 90);
            let selection = detector.select(at(number as u32), &target(rung), &grey);
            assert_eq!((count(&selection.moving), selection.still.len()), (all(rung), 0));
            assert_eq!(selection.moving.len(), usize::from(rung.block_rows()), "a run for each row");
            assert!(detector.select(at(number as u32), &target(rung), &grey).is_empty());
        }
    }

    #[test]
    fn what_stands_still_is_coded_better_once_and_again_within_six_seconds() {
        let mut detector = ChangeDetector::new();
        let grey = canvas(SMALL, |_, _| 90);
        let mut coded: Vec<Vec<u32>> = vec![Vec::new(); all(SMALL)];
        let mut most = 0;
        for number in 0..450 {
            let selection = detector.select(at(number), &target(SMALL), &grey);
            assert!(number == 0 || selection.moving.is_empty());
            if number > 0 {
                most = most.max(count(&selection.still));
            }
            for (row, column) in [blocks(&selection.moving), blocks(&selection.still)].concat() {
                coded[usize::from(row) * 16 + usize::from(column)].push(number);
            }
        }
        for times in &coded {
            let better = times[1];
            assert!((5..=22).contains(&better), "coded better at frame {better}");
            let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
            assert!(gaps[1..].iter().all(|gap| (60..=90).contains(gap)), "{gaps:?} frames");
        }
        assert!(most <= all(SMALL) / 6, "{most} blocks at once");
    }

    #[test]
    fn a_moving_square_is_chosen_and_leaves_nothing_behind() {
        let mut random = StdRng::seed_from_u64(3);
        let mut detector = ChangeDetector::new();
        for number in 0..30_usize {
            let left = 20 + 5 * number;
            let picture = square(SMALL, left, 1.3, &mut random);
            let selection = detector.select(at(number as u32), &target(SMALL), &picture);
            if number < 3 {
                continue;
            }
            let moving = blocks(&selection.moving);
            for x in [left - 1, left + 39] {
                assert!(moving.contains(&(3, (x / 16) as u8)), "{moving:?} has what changed at {x}");
            }
            assert!(moving.len() <= 4 * 5, "{moving:?}");
            let threshold = detector.threshold() * f32::from(LUMA);
            let left_over = detector.blocks.iter().zip(&detector.means).map(|(b, means)| difference(&b.coded, means));
            assert!(left_over.max().is_some_and(|most| f32::from(most) <= threshold));
        }
    }

    #[test]
    fn the_noise_of_a_camera_is_not_change() {
        for sigma in [0.7, 1.3, 3.4] {
            let mut random = StdRng::seed_from_u64(4);
            let mut detector = ChangeDetector::new();
            let mut chosen = 0;
            for number in 0..60 {
                let picture = square(SMALL, 30, sigma, &mut random);
                let selection = detector.select(at(number), &target(SMALL), &picture);
                if number >= 20 {
                    chosen += count(&selection.moving);
                }
            }
            let wanted = (2.0 * sigma).max(1.0);
            assert!((0.6 * wanted..1.6 * wanted).contains(&detector.threshold()), "{sigma}: {}", detector.threshold());
            assert!(chosen <= 40 * all(SMALL) / 100, "{sigma}: {chosen} in 40 frames");
        }
    }

    #[test]
    fn a_picture_of_which_everything_moves_is_chosen_whole() {
        let mut detector = ChangeDetector::new();
        let mut random = StdRng::seed_from_u64(5);
        let texture: Vec<u8> = (0..4_096).map(|_| random.random()).collect();
        for number in 0..60 {
            let picture = canvas(SMALL, |x, y| texture[((x + 8 * number) / 8 % 64) * 64 + y / 8 % 64]);
            let selection = detector.select(at(number as u32), &target(SMALL), &picture);
            assert!(count(&selection.moving) * 100 >= all(SMALL) * 95, "{number}: {}", count(&selection.moving));
        }
        assert!(detector.threshold() <= 8.0);
    }

    #[test]
    fn a_camera_that_gives_every_picture_twice_is_not_taken_for_quiet() {
        let mut detector = ChangeDetector::new();
        let mut random = StdRng::seed_from_u64(6);
        for number in 0..40 {
            let picture = square(SMALL, 30, 3.0, &mut random);
            detector.select(at(2 * number), &target(SMALL), &picture);
            detector.select(at(2 * number + 1), &target(SMALL), &picture);
        }
        assert!(detector.threshold() > 3.0, "{}", detector.threshold());
    }

    #[test]
    fn lost_blocks_come_with_the_next_frame_as_they_were_unless_they_came_already() {
        let mut detector = ChangeDetector::new();
        let grey = canvas(SMALL, |_, _| 90);
        let lost = [BlockRun { row: 2, column: 3, blocks: 4 }];
        detector.select(at(0), &target(SMALL), &grey);
        detector.mark_lost(at(0), Rung::ALL[1], &lost);
        assert!(detector.select(at(1), &target(SMALL), &grey).is_empty());
        detector.mark_lost(at(0), SMALL, &lost);
        let selection = detector.select(at(2), &target(SMALL), &grey);
        assert_eq!((&selection.moving[..], &selection.still[..]), (&lost[..], &[][..]));
        detector.mark_lost(at(0), SMALL, &lost);
        assert!(detector.select(at(3), &target(SMALL), &grey).is_empty());
        (4..60).for_each(|number| drop(detector.select(at(number), &target(SMALL), &grey).clone()));
        detector.mark_lost(at(60), SMALL, &lost);
        let selection = detector.select(at(61), &target(SMALL), &grey);
        assert!(selection.moving.is_empty(), "it was coded well before");
        assert!(blocks(&lost).iter().all(|block| blocks(&selection.still).contains(block)));
    }

    proptest! {
        #[test]
        fn whatever_comes_each_block_is_chosen_at_most_once_and_lies_inside(
            steps in proptest::collection::vec(
                (0..4usize, any::<u32>(), any::<u8>(), 0..40usize, 1..=100u8, any::<[u8; 3]>()), 1..12),
        ) {
            let mut detector = ChangeDetector::new();
            for (rung, time, value, scale, quality, [row, column, blocks]) in steps {
                let rung = Rung::ALL[rung];
                let picture = canvas(rung, |x, y| value.wrapping_add((scale * (x / 16 + y / 16)) as u8));
                let target = VideoTarget { quality, ..target(rung) };
                detector.mark_lost(MediaTime(time), rung, &[BlockRun { row, column, blocks }]);
                let selection = detector.select(MediaTime(time), &target, &picture);
                let mut seen = std::collections::BTreeSet::new();
                for run in selection.moving.iter().chain(&selection.still) {
                    prop_assert!(run.blocks > 0 && run.row < rung.block_rows());
                    for column in run.column..run.column + run.blocks {
                        prop_assert!(column < rung.block_columns() && seen.insert((run.row, column)));
                    }
                }
                prop_assert!(detector.blocks.len() == all(rung));
            }
        }
    }
}
