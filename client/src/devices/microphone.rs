//! Real microphones, by cpal.

use std::sync::Arc;
use std::time::Instant;

use common::limits::AUDIO_BLOCK_SAMPLES;
use cpal::traits::DeviceTrait;
use cpal::{Device, FromSample, SizedSample, Stream, StreamConfig};
use rtrb::{Consumer, Producer, RingBuffer};

use super::resample::{RATE_HZ, Resampler, to_i16};
use super::sound_card::{self, Direction, RING_SAMPLES, Running, Status, with_sample_type};
use super::{Block, DeviceError, Microphone};

/// The microphones that are plugged in, by name.
pub(super) fn names() -> Vec<String> {
    sound_card::names(Direction::Input)
}

/// Opens the microphone with this name, or the default one.
pub(super) fn open(name: Option<&str>) -> Result<Box<dyn Microphone>, DeviceError> {
    let name = name.map(str::to_owned);
    let (running, ear) = Running::start(Direction::Input, move || {
        let device = sound_card::find(Direction::Input, name.as_deref())?;
        sound_card::format(Direction::Input, &device)
            .and_then(|format| with_sample_type!(format.sample_format(), stream(&device, format.config())))
            .map_err(|error| sound_card::refused(Direction::Input, &error))
    })?;
    Ok(Box::new(CardMicrophone { ear, _running: running }))
}

fn stream<T>(device: &Device, config: StreamConfig) -> Result<(Stream, Ear), cpal::Error>
where
    T: SizedSample,
    f32: FromSample<T>,
{
    let (mut capture, ear) = capture(config.channels, config.sample_rate);
    let status = Arc::clone(&ear.status);
    let stream = device.build_input_stream(
        config,
        move |samples: &[T], _: &_| capture.take(samples),
        move |error: cpal::Error| status.failed(error.kind()),
        None,
    )?;
    Ok((stream, ear))
}

#[derive(Debug)]
struct CardMicrophone {
    ear: Ear,
    _running: Running,
}

impl Microphone for CardMicrophone {
    fn read(&mut self, block: &mut Block) -> Result<bool, DeviceError> {
        self.ear.read(block)
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        self.ear.status.last().and_then(|callback| callback.next_block(now, self.ear.heard.slots()))
    }
}

fn capture(channels: u16, rate_hz: u32) -> (Capture, Ear) {
    let (ring, heard) = RingBuffer::new(RING_SAMPLES);
    let status = Arc::new(Status::default());
    let capture = Capture {
        ring,
        resampler: Resampler::new(rate_hz, RATE_HZ),
        channels: usize::from(channels.max(1)),
        rate_hz,
        status: Arc::clone(&status),
    };
    (capture, Ear { heard, status })
}

/// The callback's side.
struct Capture {
    ring: Producer<i16>,
    resampler: Resampler,
    channels: usize,
    rate_hz: u32,
    status: Arc<Status>,
}

impl Capture {
    /// Puts interleaved samples into the ring as 48 kHz mono. When the ring is full they are lost: nobody listens.
    fn take<T>(&mut self, samples: &[T])
    where
        T: SizedSample,
        f32: FromSample<T>,
    {
        let Self { ring, resampler, .. } = self;
        for frame in samples.chunks_exact(self.channels) {
            let sum: f32 = frame.iter().map(|sample| f32::from_sample_(*sample)).sum();
            resampler.push(sum / self.channels as f32, |sample| {
                let _ = ring.push(to_i16(sample));
            });
        }
        self.status.called_back(samples.len() / self.channels, self.rate_hz);
    }
}

/// The engine's side.
#[derive(Debug)]
struct Ear {
    heard: Consumer<i16>,
    status: Arc<Status>,
}

/// Samples that may wait beside those of one callback. More of them is delay that would never go away, left by an
/// engine that did not read for a while.
const BACKLOG_MAX_SAMPLES: usize = 6 * AUDIO_BLOCK_SAMPLES;

impl Ear {
    fn read(&mut self, block: &mut Block) -> Result<bool, DeviceError> {
        self.status.check(Direction::Input)?;
        let (waiting, period) = (self.heard.slots(), self.status.period());
        if waiting > period + BACKLOG_MAX_SAMPLES
            && let Ok(old) = self.heard.read_chunk(waiting - period)
        {
            old.commit_all();
        }
        Ok(self.heard.pop_entire_slice(block).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stereo_is_mixed_and_cut_into_blocks() {
        let (mut capture, mut ear) = capture(2, 48_000);
        let mut block = [0; AUDIO_BLOCK_SAMPLES];
        capture.take(&[[0.5_f32, 0.0]; 479].concat());
        assert_eq!(ear.read(&mut block), Ok(false));
        capture.take(&[[0.5_f32, 0.0]; 481].concat());
        assert_eq!(ear.read(&mut block), Ok(true));
        assert_eq!(block[2..], [8_192; 478]);
        assert_eq!(ear.read(&mut block), Ok(true));
        assert_eq!(ear.read(&mut block), Ok(false));
    }

    #[test]
    fn another_rate_gives_a_hundred_blocks_a_second() {
        let (mut capture, mut ear) = capture(1, 44_100);
        let mut block = [0; AUDIO_BLOCK_SAMPLES];
        let mut blocks = 0;
        for _ in 0..100 {
            capture.take(&[1_000_i16; 441]);
            while ear.read(&mut block).unwrap() {
                blocks += 1;
            }
        }
        assert!((99..=100).contains(&blocks), "{blocks}");
        assert!(block.iter().all(|sample| sample.abs_diff(1_000) <= 1));
    }

    #[test]
    fn what_waited_too_long_is_thrown_away() {
        let (mut capture, mut ear) = capture(1, 48_000);
        for value in 0..60_i16 {
            capture.take(&[value; AUDIO_BLOCK_SAMPLES]);
        }
        let mut block = [0; AUDIO_BLOCK_SAMPLES];
        assert_eq!(ear.read(&mut block), Ok(true));
        // The ring holds the first 40 blocks; of these the last one is kept.
        assert_eq!(block[10], 39);
        assert_eq!(ear.read(&mut block), Ok(false));
    }

    #[test]
    fn an_unplugged_microphone_is_an_error() {
        let (_capture, mut ear) = capture(1, 48_000);
        ear.status.failed(cpal::ErrorKind::DeviceNotAvailable);
        let error = ear.read(&mut [0; AUDIO_BLOCK_SAMPLES]).unwrap_err();
        assert_eq!(error.0, "The microphone was unplugged.");
    }
}
