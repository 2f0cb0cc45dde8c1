//! Made-up microphones, cameras and files.

use common::limits::AUDIO_BLOCK_SAMPLES;
use common::picture::blocks::{CodedFrame, CodedPart};
use common::picture::ladder::VideoTarget;
use common::sequence::MediaTime;
use common::voice::pcm::Block;
use common::wire::media::{BlockRun, VideoHeader};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

/// Somebody who talks: two seconds of a buzzing vowel, one second of a quiet room, and again.
#[derive(Debug)]
pub struct Voice {
    /// Three seconds, made once: a meeting of eight asks for fifty thousand blocks.
    cycle: Vec<Block>,
    next: usize,
}

impl Voice {
    /// A voice with a pitch of its own.
    pub fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let pitch_hz = 110.0 + (seed % 13) as f32 * 9.0;
        let cycle = (0..CYCLE_BLOCKS).map(|block| {
            std::array::from_fn(|sample| {
                let phase = (block * AUDIO_BLOCK_SAMPLES + sample) as f32 * pitch_hz / 48_000.0;
                let harmonics: f32 = (1..6).map(|n| (std::f32::consts::TAU * phase * n as f32).sin() / n as f32).sum();
                let voiced = if block < TALKING_BLOCKS { harmonics * 4_000.0 } else { 0.0 };
                (voiced + rng.random_range(-8.0..8.0f32)) as i16
            })
        });
        Self { cycle: cycle.collect(), next: 0 }
    }

    /// The next 10 ms.
    pub fn next_block(&mut self) -> Block {
        let block = self.cycle[self.next];
        self.next = (self.next + 1) % CYCLE_BLOCKS;
        block
    }
}

const CYCLE_BLOCKS: usize = 300;
const TALKING_BLOCKS: usize = 200;

/// A camera whose pictures are as large as the target's would be, and whose bytes tell whether they arrived intact.
#[derive(Debug)]
pub struct Camera {
    rng: StdRng,
}

impl Camera {
    /// A camera with pictures of its own.
    pub fn new(seed: u64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed) }
    }

    /// The next frame: rows of blocks, each a part or two, with about as many bytes as such a JPEG has.
    pub fn next_frame(&mut self, target: VideoTarget, timestamp: MediaTime) -> CodedFrame {
        let columns = target.rung.block_columns();
        let bytes_per_block = 8 + usize::from(target.quality) / 3;
        let parts = (0..target.rung.block_rows()).map(|row| {
            let runs = vec![BlockRun { row, column: 0, blocks: columns }];
            let bytes = usize::from(columns) * bytes_per_block;
            CodedPart { quality: target.quality, runs, scan: self.scan(row, bytes.min(VideoHeader::scan_max_bytes(1))) }
        });
        CodedFrame { rung: target.rung, timestamp, parts: parts.collect() }
    }

    /// Random bytes whose last one is the XOR of all others and the row.
    fn scan(&mut self, row: u8, bytes: usize) -> Vec<u8> {
        let mut scan = vec![0; bytes];
        self.rng.fill_bytes(&mut scan);
        // 0xff begins a marker in a JPEG, which no scan may hold: assemblers drop it. Seven bits are enough to tell.
        scan.iter_mut().for_each(|byte| *byte &= 0x7f);
        let check = scan[..bytes - 1].iter().fold(row, |sum, byte| sum ^ byte);
        scan[bytes - 1] = check;
        scan
    }
}

/// Whether every part of a frame is as a [`Camera`] made it.
pub fn is_intact(frame: &CodedFrame) -> bool {
    frame.parts.iter().all(|part| {
        let row = part.runs[0].row;
        part.scan.split_last().is_some_and(|(check, scan)| scan.iter().fold(row, |sum, byte| sum ^ byte) == *check)
    })
}

/// The content of a file.
pub fn file(seed: u64, bytes: usize) -> Vec<u8> {
    let mut content = vec![0; bytes];
    StdRng::seed_from_u64(seed).fill_bytes(&mut content);
    content
}

/// Root mean square of a block, to tell sound from silence.
pub fn loudness(block: &Block) -> f32 {
    let energy: f32 = block.iter().map(|sample| f32::from(*sample).powi(2)).sum();
    (energy / AUDIO_BLOCK_SAMPLES as f32).sqrt()
}
