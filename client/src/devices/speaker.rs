//! Real speakers, by cpal.

use std::sync::Arc;
use std::time::Instant;

use cpal::traits::DeviceTrait;
use cpal::{Device, FromSample, SizedSample, Stream, StreamConfig};
use rtrb::{Consumer, Producer, RingBuffer};

use super::resample::{RATE_HZ, Resampler, from_i16};
use super::reserve::Reserve;
use super::sound_card::{self, Direction, RING_SAMPLES, Running, Status, with_sample_type};
use super::{Block, DeviceError, Speaker};

/// The speakers that are plugged in, by name.
pub(super) fn names() -> Vec<String> {
    sound_card::names(Direction::Output)
}

/// Opens the speaker with this name, or the default one.
pub(super) fn open(name: Option<&str>) -> Result<Box<dyn Speaker>, DeviceError> {
    let name = name.map(str::to_owned);
    let (running, mouth) = Running::start(Direction::Output, move || {
        let device = sound_card::find(Direction::Output, name.as_deref())?;
        sound_card::format(Direction::Output, &device)
            .and_then(|format| with_sample_type!(format.sample_format(), stream(&device, format.config())))
            .map_err(|error| sound_card::refused(Direction::Output, &error))
    })?;
    Ok(Box::new(CardSpeaker { mouth, _running: running }))
}

fn stream<T>(device: &Device, config: StreamConfig) -> Result<(Stream, Mouth), cpal::Error>
where
    T: SizedSample + FromSample<f32>,
{
    let (mut playback, mouth) = playback(config.channels, config.sample_rate);
    let status = Arc::clone(&mouth.status);
    let stream = device.build_output_stream(
        config,
        move |samples: &mut [T], _: &_| playback.give(samples),
        move |error: cpal::Error| status.failed(error.kind()),
        None,
    )?;
    Ok((stream, mouth))
}

#[derive(Debug)]
struct CardSpeaker {
    mouth: Mouth,
    _running: Running,
}

impl Speaker for CardSpeaker {
    fn wanted(&mut self) -> usize {
        self.mouth.wanted(Instant::now())
    }

    fn write(&mut self, block: &Block) -> Result<(), DeviceError> {
        self.mouth.write(block)
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        self.mouth.reserve.due(now, self.mouth.waiting())
    }
}

fn playback(channels: u16, rate_hz: u32) -> (Playback, Mouth) {
    let (said, ring) = RingBuffer::new(RING_SAMPLES);
    let status = Arc::new(Status::default());
    let playback = Playback {
        ring,
        resampler: Resampler::new(RATE_HZ, rate_hz),
        last: 0.0,
        channels: usize::from(channels.max(1)),
        rate_hz,
        status: Arc::clone(&status),
    };
    (playback, Mouth { said, reserve: Reserve::new(), status })
}

/// The callback's side.
struct Playback {
    ring: Consumer<i16>,
    resampler: Resampler,
    /// The last sample played, which fades when there is no next one.
    last: f32,
    channels: usize,
    rate_hz: u32,
    status: Arc<Status>,
}

impl Playback {
    /// Fills interleaved samples from the ring, the same on every channel.
    fn give<T>(&mut self, samples: &mut [T])
    where
        T: SizedSample + FromSample<f32>,
    {
        let Self { ring, resampler, last, .. } = self;
        let mut missing = 0;
        for frame in samples.chunks_exact_mut(self.channels) {
            let sample = resampler.pull(|| {
                *last = ring.pop().map_or_else(
                    |_| {
                        missing += 1;
                        *last * FADE
                    },
                    from_i16,
                );
                *last
            });
            frame.fill(T::from_sample_(sample));
        }
        self.status.missed(missing);
        self.status.called_back(samples.len() / self.channels, self.rate_hz);
    }
}

/// How much of a sample is left in the next one when the ring has run dry: silent after some 5 ms, without a click.
const FADE: f32 = 0.98;

/// The engine's side.
#[derive(Debug)]
struct Mouth {
    said: Producer<i16>,
    reserve: Reserve,
    status: Arc<Status>,
}

impl Mouth {
    fn waiting(&self) -> usize {
        RING_SAMPLES - self.said.slots()
    }

    fn wanted(&mut self, now: Instant) -> usize {
        // Before what waits: a callback in between leaves the ring emptier than it is thought to be, not fuller.
        self.status.last().into_iter().for_each(|callback| self.reserve.handle_callback(callback));
        let missing = self.status.take_missing();
        self.reserve.wanted(now, self.waiting(), missing)
    }

    /// What does not fit is lost: the device has stopped taking.
    fn write(&mut self, block: &Block) -> Result<(), DeviceError> {
        self.status.check(Direction::Output)?;
        let _ = self.said.push_entire_slice(block);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use common::limits::AUDIO_BLOCK_SAMPLES;

    use super::*;
    use crate::devices::reserve::LEAD_START;

    const BLOCK: Block = [8_192; AUDIO_BLOCK_SAMPLES];

    #[test]
    fn a_speaker_wants_what_its_next_callback_takes_and_no_more() {
        let (mut playback, mut mouth) = playback(2, 48_000);
        // A block, and the lead.
        assert_eq!(mouth.wanted(Instant::now()), 2);
        let mut samples = [0.0_f32; 2 * 960];
        playback.give(&mut samples);
        let called = mouth.status.last().unwrap().at;
        assert_eq!(mouth.wanted(called), 0);
        assert_eq!(mouth.wanted(called + LEAD_START - Duration::from_millis(1)), 0);
        assert_eq!(mouth.wanted(called + Duration::from_millis(20) - LEAD_START), 2);
        for _ in 0..2 {
            mouth.write(&BLOCK).unwrap();
        }
        assert_eq!(mouth.wanted(called + Duration::from_millis(11)), 0);
        playback.give(&mut samples);
        assert!(samples[8..].iter().all(|sample| *sample == 0.25));
    }

    #[test]
    fn what_is_missing_is_counted() {
        let (mut playback, mut mouth) = playback(1, 48_000);
        mouth.write(&BLOCK).unwrap();
        playback.give(&mut [0_i16; 500]);
        assert_eq!(mouth.status.take_missing(), 20);
    }

    #[test]
    fn a_speaker_that_runs_dry_fades_out() {
        let (mut playback, mut mouth) = playback(1, 48_000);
        mouth.write(&BLOCK).unwrap();
        let mut samples = [0_i16; 1_920];
        playback.give(&mut samples);
        assert!(samples.windows(2).skip(8).all(|pair| pair[1] <= pair[0] && pair[0] - pair[1] < 200));
        assert_eq!(samples[1_500], 0);
    }

    #[test]
    fn at_another_rate_it_drains_a_hundred_blocks_a_second() {
        let (mut playback, mut mouth) = playback(1, 44_100);
        let mut written = 0;
        for _ in 0..100 {
            for _ in 0..mouth.wanted(Instant::now()) {
                mouth.write(&BLOCK).unwrap();
                written += 1;
            }
            let mut samples = [0.0_f32; 441];
            playback.give(&mut samples);
        }
        assert!((100..=104).contains(&written), "{written}");
    }

    #[test]
    fn a_device_that_stops_taking_does_not_fill_memory() {
        let (_playback, mut mouth) = playback(1, 48_000);
        for _ in 0..1_000 {
            mouth.write(&BLOCK).unwrap();
        }
        assert_eq!((mouth.wanted(Instant::now()), mouth.said.slots()), (0, 0));
    }

    #[test]
    fn an_unplugged_speaker_is_an_error() {
        let (_playback, mut mouth) = playback(1, 48_000);
        mouth.status.failed(cpal::ErrorKind::StreamInvalidated);
        assert_eq!(mouth.write(&BLOCK).unwrap_err().0, "The speaker was unplugged.");
    }
}
