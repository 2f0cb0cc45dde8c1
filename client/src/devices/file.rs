//! Devices that are files: a clip as camera, a WAV file as microphone, and one to record into as speaker.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::thread;
use std::time::Instant;

use common::limits::{AUDIO_BLOCK_SAMPLES, AUDIO_CLOCK_RATE_HZ};

use super::jpeg::{JpegDecoder, jpeg_length};
use super::pace::{BlockPace, FramePace};
use super::record::WavWriter;
use super::resample::{RATE_HZ, Resampler, to_i16};
use super::{Block, Camera, DeviceError, Microphone, Picture, Speaker};

/// Bytes of a clip: it is held in memory, and a minute at 480p has about 100 MB.
pub const CLIP_MAX_BYTES: u64 = 512 << 20;
/// Samples of a WAV file that is played, at 48 kHz: ten minutes, 58 MB in memory.
pub const VOICE_MAX_SAMPLES: usize = 600 * AUDIO_CLOCK_RATE_HZ as usize;
/// Frames a second of a clip whose name does not say another rate.
pub const CLIP_FRAMES_PER_SECOND: u32 = 30;

/// Plays a `.mjpeg` file forwards and backwards, for ever, at the rate its name says (`…_25fps.mjpeg`).
#[derive(Debug)]
pub struct ClipCamera {
    clip: Vec<u8>,
    frames: Vec<Range<usize>>,
    pace: FramePace,
    decoder: JpegDecoder,
}

impl ClipCamera {
    /// Reads the clip.
    ///
    /// # Errors
    /// [`DeviceError`] when the file cannot be read, is too large, or has no JPEG in it.
    pub fn open(path: &Path) -> Result<Self, DeviceError> {
        let clip = read_clip(path)?;
        let frames = frames_of(&clip);
        if frames.is_empty() {
            return Err(DeviceError(format!("{} is not a .mjpeg clip.", path.display())));
        }
        Ok(Self {
            clip,
            frames,
            pace: FramePace::new(frame_rate(path).unwrap_or(CLIP_FRAMES_PER_SECOND)),
            decoder: JpegDecoder::new()?,
        })
    }

    /// Which frame of the clip is shown as number `index`.
    fn position(&self, index: u32) -> usize {
        let last = self.frames.len() - 1;
        let turn = index as usize % (2 * last).max(1);
        if turn <= last { turn } else { 2 * last - turn }
    }
}

impl Camera for ClipCamera {
    fn capture(&mut self, picture: &mut Picture) -> Result<(), DeviceError> {
        let now = Instant::now();
        let (index, due) = self.pace.next(now);
        thread::sleep(due - now);
        let frame = self.frames[self.position(index)].clone();
        Ok(self.decoder.decode(&self.clip[frame], picture)?)
    }
}

fn read_clip(path: &Path) -> Result<Vec<u8>, DeviceError> {
    let mut clip = Vec::new();
    File::open(path)
        .and_then(|file| file.take(CLIP_MAX_BYTES + 1).read_to_end(&mut clip))
        .map_err(|error| unreadable(path, &error))?;
    if clip.len() as u64 > CLIP_MAX_BYTES {
        return Err(DeviceError(format!("{} is too large to be played.", path.display())));
    }
    Ok(clip)
}

fn frames_of(clip: &[u8]) -> Vec<Range<usize>> {
    let mut frames = Vec::new();
    let mut at = 0;
    while let Some(length) = jpeg_length(&clip[at..]) {
        frames.push(at..at + length);
        at += length;
    }
    frames
}

/// The rate in a name like `face_864x480_30fps.mjpeg`, 1..=120.
fn frame_rate(path: &Path) -> Option<u32> {
    let name = path.file_stem()?.to_str()?;
    let words = name.split('_').filter_map(|word| word.strip_suffix("fps"));
    words.filter_map(|digits| digits.parse().ok()).find(|rate| (1..=120).contains(rate))
}

/// Plays a WAV file for ever, as if someone said it into a microphone.
#[derive(Debug)]
pub struct WavMicrophone {
    samples: Vec<i16>,
    at: usize,
    pace: BlockPace,
}

impl WavMicrophone {
    /// Reads the file: any rate, number of channels and kind of samples; it is made 48 kHz mono.
    ///
    /// # Errors
    /// [`DeviceError`] when it cannot be read, is empty, or is longer than ten minutes.
    pub fn open(path: &Path) -> Result<Self, DeviceError> {
        let samples = read_wav(path)?;
        if samples.is_empty() || samples.len() > VOICE_MAX_SAMPLES {
            let length = if samples.is_empty() { "empty" } else { "longer than ten minutes" };
            return Err(DeviceError(format!("{} is {length}.", path.display())));
        }
        Ok(Self { samples, at: 0, pace: BlockPace::default() })
    }

    /// What a read at `now` gives; see [`Microphone::read`].
    pub fn read_at(&mut self, now: Instant, block: &mut Block) -> bool {
        let due = self.pace.take(now);
        if due {
            for sample in block {
                *sample = self.samples[self.at];
                self.at = (self.at + 1) % self.samples.len();
            }
        }
        due
    }
}

impl Microphone for WavMicrophone {
    fn read(&mut self, block: &mut Block) -> Result<bool, DeviceError> {
        Ok(self.read_at(Instant::now(), block))
    }

    fn due(&self, _now: Instant) -> Option<Instant> {
        self.pace.next_due()
    }
}

fn read_wav(path: &Path) -> Result<Vec<i16>, DeviceError> {
    let reader = hound::WavReader::open(path).map_err(|error| unreadable(path, &error))?;
    let spec = reader.spec();
    let samples = match spec.sample_format {
        hound::SampleFormat::Float => mono(reader.into_samples::<f32>(), spec),
        hound::SampleFormat::Int => {
            let scale = 2_f32.powi(1 - i32::from(spec.bits_per_sample));
            let samples = reader.into_samples::<i32>();
            mono(samples.map(|sample| sample.map(|value| value as f32 * scale)), spec)
        }
    };
    samples.map_err(|error| unreadable(path, &error))
}

/// The samples as 48 kHz mono; stops soon after [`VOICE_MAX_SAMPLES`].
fn mono(samples: impl Iterator<Item = hound::Result<f32>>, spec: hound::WavSpec) -> hound::Result<Vec<i16>> {
    let channels = usize::from(spec.channels.max(1));
    let mut resampler = Resampler::new(spec.sample_rate, RATE_HZ);
    let mut out = Vec::new();
    let mut sum = 0.0;
    for (index, sample) in samples.enumerate() {
        sum += sample?;
        if (index + 1) % channels == 0 {
            resampler.push(sum / channels as f32, |sample| out.push(to_i16(sample)));
            sum = 0.0;
            if out.len() > VOICE_MAX_SAMPLES {
                break;
            }
        }
    }
    Ok(out)
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> DeviceError {
    DeviceError(format!("{} cannot be read: {error}.", path.display()))
}

/// Records what would be heard into a WAV file, at the pace of a sound card.
#[derive(Debug)]
pub struct WavSpeaker {
    file: WavWriter,
    pace: BlockPace,
    broken: Option<DeviceError>,
}

impl WavSpeaker {
    /// Creates the file, or empties the one that is there.
    ///
    /// # Errors
    /// [`DeviceError`] when it cannot be written.
    pub fn create(path: &Path) -> Result<Self, DeviceError> {
        let file = WavWriter::create(path)
            .map_err(|error| DeviceError(format!("{} cannot be written: {error}.", path.display())))?;
        Ok(Self { file, pace: BlockPace::default(), broken: None })
    }

    /// What [`Speaker::wanted`] says at `now`. Blocks that were missed are recorded as silence, so that the file keeps
    /// to the clock.
    pub fn wanted_at(&mut self, now: Instant) -> usize {
        let (due, missed) = self.pace.due(now);
        for _ in 0..missed.min(SILENCE_MAX_BLOCKS) {
            self.record(&[0; AUDIO_BLOCK_SAMPLES]);
        }
        due as usize
    }

    /// Takes a block at `now`; see [`Speaker::write`].
    ///
    /// # Errors
    /// [`DeviceError`] when the file cannot be written any more.
    pub fn write_at(&mut self, now: Instant, block: &Block) -> Result<(), DeviceError> {
        if self.pace.take(now) {
            self.record(block);
        }
        self.broken.clone().map_or(Ok(()), Err)
    }

    fn record(&mut self, block: &Block) {
        if let Err(error) = self.file.push(block) {
            self.broken = Some(DeviceError(format!("The sound cannot be recorded: {error}.")));
        }
    }
}

/// Silence written for one stall: ten seconds; a machine that slept for longer does not fill the disk.
const SILENCE_MAX_BLOCKS: u64 = 1_000;

impl Speaker for WavSpeaker {
    fn wanted(&mut self) -> usize {
        self.wanted_at(Instant::now())
    }

    fn write(&mut self, block: &Block) -> Result<(), DeviceError> {
        self.write_at(Instant::now(), block)
    }

    fn due(&self, _now: Instant) -> Option<Instant> {
        self.pace.next_due()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::jpeg::tests::FACE;
    use crate::devices::record::tests::Scratch;
    use std::time::Duration;

    const VOICE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/voice_a_48k.wav");

    #[test]
    fn a_clip_plays_forwards_and_backwards() {
        let clip = ClipCamera::open(Path::new(FACE)).unwrap();
        assert_eq!(clip.frames.len(), 90);
        let shown: Vec<_> = [0, 1, 88, 89, 90, 91, 177, 178, 179, 267].map(|index| clip.position(index)).into();
        assert_eq!(shown, [0, 1, 88, 89, 88, 87, 1, 0, 1, 89]);
        assert!((0..1_000).all(|index| clip.position(index).abs_diff(clip.position(index + 1)) == 1));
    }

    #[test]
    fn a_clip_of_one_frame_is_a_still_picture() {
        let path = Scratch::new("still_120fps.mjpeg");
        let clip = std::fs::read(FACE).unwrap();
        std::fs::write(&path.0, &clip[..jpeg_length(&clip).unwrap()]).unwrap();
        let mut camera = ClipCamera::open(&path.0).unwrap();
        assert_eq!((camera.position(0), camera.position(1), camera.position(7)), (0, 0, 0));
        let mut picture = Picture::default();
        camera.capture(&mut picture).unwrap();
        assert_eq!((picture.width, picture.height), (864, 480));
    }

    #[test]
    fn the_name_of_a_clip_tells_its_rate() {
        let rate = |name: &str| frame_rate(Path::new(name));
        assert_eq!(rate("film_864x480_25fps.mjpeg"), Some(25));
        assert_eq!(rate("a/b/face_30fps_2.mjpeg"), Some(30));
        assert_eq!((rate("clip.mjpeg"), rate("clip_0fps.mjpeg"), rate("clip_fps.mjpeg")), (None, None, None));
    }

    #[test]
    fn what_is_no_clip_is_refused() {
        assert!(ClipCamera::open(Path::new(VOICE)).is_err());
        assert!(WavMicrophone::open(Path::new(FACE)).is_err());
    }

    #[test]
    fn a_voice_begins_again_at_its_end() {
        let expected: Vec<i16> = hound::WavReader::open(VOICE).unwrap().into_samples().map(Result::unwrap).collect();
        let mut microphone = WavMicrophone::open(Path::new(VOICE)).unwrap();
        // The converter is two samples late and starts with silence.
        assert_eq!(microphone.samples[2..], expected[..expected.len() - 2]);
        let start = Instant::now();
        let mut heard = Vec::new();
        let blocks = expected.len() / 480 + 10;
        for index in 0..blocks {
            let mut block = [0; 480];
            assert!(microphone.read_at(start + Duration::from_millis(10) * index as u32, &mut block));
            heard.extend(block);
        }
        assert_eq!(heard[..expected.len()], microphone.samples);
        assert_eq!(heard[expected.len()..], microphone.samples[..heard.len() - expected.len()]);
    }

    #[test]
    fn stereo_and_other_rates_become_48_khz_mono() {
        let path = Scratch::new("stereo.wav");
        let spec = hound::WavSpec {
            channels: 2,
            sample_rate: 16_000,
            bits_per_sample: 24,
            sample_format: hound::SampleFormat::Int,
        };
        let mut file = hound::WavWriter::create(&path.0, spec).unwrap();
        for _ in 0..16_000 {
            file.write_sample(1 << 22).unwrap();
            file.write_sample(0).unwrap();
        }
        file.finalize().unwrap();
        let microphone = WavMicrophone::open(&path.0).unwrap();
        assert!(microphone.samples.len().abs_diff(48_000) < 16);
        assert!(microphone.samples[100..].iter().all(|sample| sample.abs_diff(8_192) < 2));
    }

    #[test]
    fn a_recording_keeps_to_the_clock() {
        let path = Scratch::new("speaker.wav");
        let mut speaker = WavSpeaker::create(&path.0).unwrap();
        let start = Instant::now();
        for millis in (0..500).chain(1_000..1_500) {
            let now = start + Duration::from_millis(millis);
            for _ in 0..speaker.wanted_at(now) {
                speaker.write_at(now, &[7; 480]).unwrap();
            }
        }
        drop(speaker);
        let samples: Vec<i16> = hound::WavReader::open(&path.0).unwrap().into_samples().map(Result::unwrap).collect();
        assert_eq!(samples.len(), 150 * 480);
        assert_eq!(samples.iter().filter(|sample| **sample == 0).count(), 48 * 480);
    }
}
