//! Devices that are made up: a tone, a test pattern that carries the time, and a speaker that hears nothing.

use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use common::limits::AUDIO_CLOCK_RATE_HZ;

use super::pace::{BlockPace, FramePace};
use super::resample::to_i16;
use super::{Block, Camera, DeviceError, Microphone, Picture, Speaker};

/// A steady tone of 440 Hz at a quarter of full scale (-12 dBFS).
#[derive(Debug, Default)]
pub struct ToneMicrophone {
    pace: BlockPace,
    sample: u32,
}

/// Hertz of the tone.
pub const TONE_HZ: u32 = 440;

impl ToneMicrophone {
    /// A tone that begins with the first read.
    pub fn new() -> Self {
        Self::default()
    }

    /// What a read at `now` gives; see [`Microphone::read`].
    pub fn read_at(&mut self, now: Instant, block: &mut Block) -> bool {
        let due = self.pace.take(now);
        if due {
            for value in block {
                let turns = (self.sample * TONE_HZ) as f32 / AUDIO_CLOCK_RATE_HZ as f32;
                *value = to_i16(0.25 * (std::f32::consts::TAU * turns.fract()).sin());
                self.sample = (self.sample + 1) % AUDIO_CLOCK_RATE_HZ;
            }
        }
        due
    }
}

impl Microphone for ToneMicrophone {
    fn read(&mut self, block: &mut Block) -> Result<bool, DeviceError> {
        Ok(self.read_at(Instant::now(), block))
    }

    fn due(&self, _now: Instant) -> Option<Instant> {
        self.pace.next_due()
    }
}

/// Takes 100 blocks a second, as a sound card would, and throws them away.
#[derive(Debug, Default)]
pub struct ClockSpeaker {
    pace: BlockPace,
}

impl ClockSpeaker {
    /// A speaker whose clock starts with the first question.
    pub fn new() -> Self {
        Self::default()
    }

    /// What [`Speaker::wanted`] says at `now`.
    pub fn wanted_at(&mut self, now: Instant) -> usize {
        self.pace.due(now).0 as usize
    }

    /// Takes a block at `now`.
    pub fn write_at(&mut self, now: Instant) {
        self.pace.take(now);
    }
}

impl Speaker for ClockSpeaker {
    fn wanted(&mut self) -> usize {
        self.wanted_at(Instant::now())
    }

    fn write(&mut self, _block: &Block) -> Result<(), DeviceError> {
        self.write_at(Instant::now());
        Ok(())
    }

    fn due(&self, _now: Instant) -> Option<Instant> {
        self.pace.next_due()
    }
}

/// A test pattern of 864 by 480 at 30 frames a second: the time of capture as a table of black and white cells above,
/// a coloured field with a wandering square below.
#[derive(Debug)]
pub struct PatternCamera {
    pace: FramePace,
}

impl Default for PatternCamera {
    fn default() -> Self {
        Self::new()
    }
}

impl PatternCamera {
    /// A pattern that begins with the first capture.
    pub fn new() -> Self {
        Self { pace: FramePace::new(30) }
    }
}

impl Camera for PatternCamera {
    fn capture(&mut self, picture: &mut Picture) -> Result<(), DeviceError> {
        let now = Instant::now();
        let (index, due) = self.pace.next(now);
        thread::sleep(due - now);
        paint(picture, index, wall_clock_micros());
        Ok(())
    }
}

/// The time that [`PatternCamera`] paints: microseconds since 1970, the same for all programs on a machine.
pub fn wall_clock_micros() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since_1970.as_micros() as u64
}

/// The clock is a table of 16 by 5 cells over the full width: 64 bits of time, then 16 of check, row by row, the
/// highest bit first, white for 1. A cell is a block of 16 by 16 pixels at 144p, so that the coarsest picture of the
/// ladder can still be read.
const COLUMNS: usize = 16;
const TIME_ROWS: usize = 4;
const ROWS: usize = 5;
/// Rows of cells in the height of the picture, clock and field together.
const PICTURE_ROWS: usize = 9;
const WIDTH: usize = 864;
const HEIGHT: usize = 480;

/// Paints the pattern's frame number `index` with `micros` in its clock.
pub fn paint(picture: &mut Picture, index: u32, micros: u64) {
    picture.reshape(WIDTH, HEIGHT);
    let bits = u128::from(micros) << 16 | u128::from(check(micros));
    let top = HEIGHT * ROWS / PICTURE_ROWS;
    let square = square(index, top);
    for (y, line) in picture.rgba.chunks_exact_mut(WIDTH * 4).enumerate() {
        let cell_row = y * PICTURE_ROWS / HEIGHT;
        for (x, pixel) in line.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            *pixel = if cell_row < ROWS {
                let cell = cell_row * COLUMNS + x * COLUMNS / WIDTH;
                let value = 255 * (bits >> (ROWS * COLUMNS - 1 - cell) & 1) as u8;
                [value, value, value, 255]
            } else if square.0.contains(&x) && square.1.contains(&y) {
                [240, 240, 40, 255]
            } else {
                [(x * 255 / WIDTH) as u8, 96, ((y - top) * 255 / (HEIGHT - top)) as u8, 255]
            };
        }
    }
}

/// Where the square is: it goes across in four seconds and comes back.
fn square(index: u32, top: usize) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
    const SIDE: usize = 96;
    const STEPS: usize = 120;
    let turn = index as usize % (2 * STEPS);
    let left = (WIDTH - SIDE) * turn.min(2 * STEPS - turn) / STEPS;
    let above = top + (HEIGHT - top - SIDE) / 2;
    (left..left + SIDE, above..above + SIDE)
}

/// Reads the time that [`paint`] put into a picture, at whatever size it has arrived; `None` when the picture does not
/// show a clock, or shows parts of two.
pub fn read_clock(picture: &Picture) -> Option<u64> {
    if !picture.is_whole() {
        return None;
    }
    let mut bits = 0_u128;
    for cell in 0..ROWS * COLUMNS {
        let bit = match brightness(picture, cell % COLUMNS, cell / COLUMNS) {
            0..=95 => 0,
            160..=255 => 1,
            _ => return None,
        };
        bits = bits << 1 | bit;
    }
    let micros = (bits >> 16) as u64;
    (check(micros) == bits as u16).then_some(micros)
}

const _: () = assert!(TIME_ROWS * COLUMNS == 64 && (ROWS - TIME_ROWS) * COLUMNS == 16);

/// Mean green of the middle of a cell.
fn brightness(picture: &Picture, column: usize, row: usize) -> u8 {
    let (width, height) = (picture.width, picture.height);
    let middle = |cell: usize, length: usize, cells: usize| {
        let from = (cell * 3 + 1) * length / (cells * 3);
        from..((cell * 3 + 2) * length / (cells * 3)).max(from + 1)
    };
    let (mut sum, mut count) = (0, 0);
    for y in middle(row, height, PICTURE_ROWS) {
        for x in middle(column, width, COLUMNS) {
            sum += usize::from(picture.rgba[(y * width + x) * 4 + 1]);
            count += 1;
        }
    }
    (sum / count) as u8
}

/// CRC-16 with the polynomial 0x1021 and a start of 0xffff (the "false CCITT" one), so that 0 has a check too.
fn check(micros: u64) -> u16 {
    let mut crc = 0xffff_u16;
    for byte in micros.to_be_bytes() {
        crc ^= u16::from(byte) << 8;
        for _ in 0..8 {
            let carry = crc & 0x8000 != 0;
            crc <<= 1;
            if carry {
                crc ^= 0x1021;
            }
        }
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::jpeg::tests::received;
    use crate::devices::jpeg::{PartDecoder, PartEncoder};
    use common::picture::ladder::{Rung, VideoTarget};
    use common::sequence::MediaTime;
    use std::time::Duration;

    fn painted(index: u32, micros: u64) -> Picture {
        let mut picture = Picture::default();
        paint(&mut picture, index, micros);
        picture
    }

    #[test]
    fn the_painted_clock_survives_every_rung() {
        let mut encoder = PartEncoder::new().unwrap();
        let mut decoder = PartDecoder::new().unwrap();
        let mut number = 0;
        for rung in Rung::ALL {
            for quality in [5, 25, 70] {
                for (index, micros) in [(0, 0), (1, u64::MAX), (2, 1_790_000_000_123_456), (3, 0x5555_aaaa_0ff0_1234)] {
                    let target = VideoTarget { rung, quality, frames_per_second: 30 };
                    number += 1;
                    let at = MediaTime(3_000 * u32::from(number));
                    let frame = encoder.encode(&painted(index, micros), &target, at).unwrap().unwrap();
                    assert_eq!(decoder.decode(&received(number, frame)), 0);
                    assert_eq!(read_clock(decoder.picture()), Some(micros), "{} q{quality}", rung.name);
                }
            }
        }
    }

    #[test]
    fn half_of_two_clocks_is_no_clock() {
        let (mut one, two) = (painted(0, 1_790_000_000_123_456), painted(1, 1_790_000_000_156_789));
        let half = one.rgba.len() * 2 / 5;
        one.rgba[..half].copy_from_slice(&two.rgba[..half]);
        assert_eq!(read_clock(&one), None);
    }

    #[test]
    fn a_picture_without_a_clock_has_no_time() {
        let mut picture = Picture::default();
        assert_eq!(read_clock(&picture), None);
        for (width, height) in [(1, 1), (3, 2), (864, 480)] {
            picture.reshape(width, height);
            assert_eq!(read_clock(&picture), None);
            picture.rgba.fill(255);
            assert_eq!(read_clock(&picture), None);
        }
    }

    #[test]
    fn the_pattern_moves() {
        assert_ne!(painted(0, 5), painted(1, 5));
        assert_eq!(painted(0, 5), painted(240, 5));
    }

    #[test]
    fn the_camera_paints_the_time() {
        let mut picture = Picture::default();
        let before = wall_clock_micros();
        PatternCamera::new().capture(&mut picture).unwrap();
        let shown = read_clock(&picture).unwrap();
        assert!(before <= shown && shown <= wall_clock_micros());
    }

    #[test]
    fn a_tone_goes_on_from_block_to_block() {
        let mut microphone = ToneMicrophone::new();
        let start = Instant::now();
        let mut heard = Vec::new();
        for index in 0..200 {
            let mut block = [0; 480];
            assert!(microphone.read_at(start + Duration::from_millis(10 * index), &mut block));
            heard.extend(block);
        }
        assert!(heard.windows(2).all(|pair| pair[0].abs_diff(pair[1]) < 500));
        let crossings = heard.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
        assert!(crossings.abs_diff(880) <= 1, "{crossings}");
    }

    #[test]
    fn a_clock_speaker_takes_a_hundred_blocks_a_second() {
        let mut speaker = ClockSpeaker::new();
        let start = Instant::now();
        let mut taken = 0;
        for millis in 0..1_000 {
            let now = start + Duration::from_millis(millis);
            for _ in 0..speaker.wanted_at(now) {
                speaker.write_at(now);
                taken += 1;
            }
        }
        assert_eq!(taken, 100);
    }
}
