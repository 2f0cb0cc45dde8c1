//! A camera whose picture is sent block by block, and a screen that shows what came of it: everything but the JPEGs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::picture::blocks::{CodedFrame, CodedPart, LostBlocks, ReceivedFrame};
use common::picture::changes::ChangeDetector;
use common::picture::ladder::{Rung, VideoTarget};
use common::sequence::{FrameId, MediaTime};
use common::wire::media::BlockRun;

/// Somebody who moves a lot before a wall: some rows of blocks, a third of them, are different in each frame, and others in
/// the next. So what was lost is seldom mended by the next frame alone.
#[derive(Debug)]
pub struct Talker {
    changes: ChangeDetector,
    canvas: Vec<u8>,
    /// Frames so far, which is what the bytes of each part say.
    frames: u32,
    /// Of each block that moves, when and in which frame it was captured.
    captured: BTreeMap<(u8, u8), Vec<(Instant, u32)>>,
}

/// Bytes of a block at quality 40.
const BLOCK_BYTES: usize = 27;
/// Blocks in a part, which then has about 1,000 bytes.
const PART_BLOCKS: usize = 36;

impl Default for Talker {
    fn default() -> Self {
        Self { changes: ChangeDetector::new(), canvas: Vec::new(), frames: 0, captured: BTreeMap::new() }
    }
}

impl Talker {
    /// The next frame, if anything of it is to be sent.
    pub fn next_frame(&mut self, now: Instant, target: VideoTarget, timestamp: MediaTime) -> Option<CodedFrame> {
        self.frames += 1;
        self.paint(target.rung);
        let selection = self.changes.select(timestamp, &target, &self.canvas).clone();
        if selection.is_empty() {
            return None;
        }
        for place in places(&selection.moving) {
            self.captured.entry(place).or_default().push((now, self.frames));
        }
        let parts = [(target.quality, &selection.moving), (75, &selection.still)];
        let parts: Vec<_> =
            parts.into_iter().flat_map(|(quality, runs)| parts_of(self.frames, quality, runs)).collect();
        parts.iter().for_each(|part| self.changes.note_part(&part.runs));
        Some(CodedFrame { rung: target.rung, timestamp, parts })
    }

    /// These blocks come again with the next frame.
    pub fn mark_lost(&mut self, lost: &LostBlocks) {
        self.changes.mark_lost(lost.timestamp, lost.rung, &lost.runs);
    }

    fn paint(&mut self, rung: Rung) {
        let (width, rows) = (usize::from(rung.width), usize::from(rung.block_rows()));
        self.canvas.resize(width * rows * 16 * 4, 100);
        for (row, lines) in self.canvas.chunks_exact_mut(width * 16 * 4).enumerate() {
            // Any two numbers that make it look like chance.
            let chance = (row as u32 * 40_503).wrapping_add(self.frames.wrapping_mul(2_654_435)) % 65_521 / 7;
            if chance.is_multiple_of(3) {
                let level = if lines[0] < 120 { 180 } else { 60 };
                lines.fill(level);
            }
        }
    }
}

fn places(runs: &[BlockRun]) -> impl Iterator<Item = (u8, u8)> {
    runs.iter().flat_map(|run| (run.column..run.column + run.blocks).map(|column| (run.row, column)))
}

fn parts_of(frame: u32, quality: u8, runs: &[BlockRun]) -> Vec<CodedPart> {
    let places: Vec<_> = places(runs).collect();
    let part = |places: &[(u8, u8)]| {
        let runs = places.iter().map(|&(row, column)| BlockRun { row, column, blocks: 1 }).collect();
        let mut scan = vec![1; BLOCK_BYTES * places.len()];
        // Bytes below 128 cannot be taken for a marker.
        (0..4).for_each(|byte| scan[byte] = (frame >> (7 * byte)) as u8 & 0x7f);
        CodedPart { quality, runs: joined(runs), scan }
    };
    places.chunks(PART_BLOCKS).map(part).collect()
}

/// The frame of a talker that a part was coded from.
fn captured_in(part: &CodedPart) -> u32 {
    (0..4).map(|byte| u32::from(part.scan[byte]) << (7 * byte)).sum()
}

/// Runs of one block each, put together where they touch.
fn joined(runs: Vec<BlockRun>) -> Vec<BlockRun> {
    let mut joined: Vec<BlockRun> = Vec::new();
    for run in runs {
        match joined.last_mut() {
            Some(last) if last.row == run.row && last.column + last.blocks == run.column => last.blocks += 1,
            _ => joined.push(run),
        }
    }
    joined
}

/// What somebody sees of one sender: of each block, from which frame it is, and since when.
#[derive(Debug, Default)]
pub struct Screen {
    size: Option<Rung>,
    blocks: BTreeMap<(u8, u8), FrameId>,
    /// What was drawn at each place: from which frame of the talker, and when.
    drawn: BTreeMap<(u8, u8), Vec<(u32, Instant)>>,
    /// When every block of the picture was there for the first time.
    pub whole_at: Option<Instant>,
}

impl Screen {
    /// Draws what came, as a decoder does: each block where nothing newer is.
    pub fn draw(&mut self, now: Instant, frame: &ReceivedFrame) {
        let rung = frame.picture.rung;
        if self.size != Some(rung) {
            self.size = Some(rung);
            self.blocks.clear();
        }
        let own = frame.picture.parts.iter().map(|part| (frame.frame, part));
        let repairs = frame.repairs.iter().map(|repair| (repair.frame, &repair.part));
        for (id, part) in own.chain(repairs) {
            for place in places(&part.runs) {
                if self.blocks.get(&place).is_none_or(|drawn| id.distance(*drawn) > 0) {
                    self.blocks.insert(place, id);
                    self.drawn.entry(place).or_default().push((captured_in(part), now));
                }
            }
        }
        let all = usize::from(rung.block_columns()) * usize::from(rung.block_rows());
        if self.blocks.len() == all {
            self.whole_at.get_or_insert(now);
        }
    }
}

/// How what a talker captured came to a screen.
#[derive(Clone, Copy, Debug)]
pub struct Freshness {
    /// Share of frames of which nine in ten blocks, or newer ones, were on the screen in time.
    pub frames_fresh: f64,
    /// What 99 of 100 blocks took at most from capture to screen, themselves or newer ones, beyond the way there.
    pub stale_p99: Duration,
    /// Frames that were looked at.
    pub frames: usize,
}

impl Freshness {
    /// Looks at the frames captured between two moments; the way there takes `one_way`, and in time is `limit` later.
    pub fn measure(
        talker: &Talker,
        screen: &Screen,
        between: std::ops::Range<Instant>,
        one_way: Duration,
        limit: Duration,
    ) -> Self {
        let mut of_frames: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
        let mut delays = Vec::new();
        for (place, versions) in &talker.captured {
            for (at, frame) in versions.iter().filter(|(at, _)| between.contains(at)) {
                let drawn = screen.drawn.get(place).into_iter().flatten();
                let shown = drawn.into_iter().find(|(shown, _)| shown >= frame).map(|(_, shown)| *shown - *at);
                let delay = shown.unwrap_or(Duration::MAX).saturating_sub(one_way);
                delays.push(delay);
                let counts = of_frames.entry(*frame).or_default();
                counts.0 += usize::from(delay <= limit);
                counts.1 += 1;
            }
        }
        delays.sort_unstable();
        let fresh = of_frames.values().filter(|(fresh, all)| fresh * 10 >= all * 9).count();
        Self {
            frames_fresh: fresh as f64 / of_frames.len().max(1) as f64,
            stale_p99: delays.get(delays.len() * 99 / 100).copied().unwrap_or_default(),
            frames: of_frames.len(),
        }
    }
}
