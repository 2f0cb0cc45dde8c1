//! Cameras, microphones and speakers: real, played from a file, or made up, behind the same traits.
//!
//! [`open_camera`], [`open_microphone`] and [`open_speaker`] turn what a person chose into a device. A device that is
//! missing is a sentence to show, never a reason to stay out of a meeting.

#[cfg(feature = "camera")]
mod camera;
pub mod file;
pub mod jpeg;
#[cfg(feature = "audio")]
mod microphone;
pub mod pace;
pub mod processing;
pub mod record;
pub mod resample;
pub mod reserve;
pub mod scale;
#[cfg(feature = "audio")]
mod sound_card;
#[cfg(feature = "audio")]
mod speaker;
pub mod synthetic;

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Instant;

use common::limits::AUDIO_BLOCK_SAMPLES;

/// One block of audio: 480 samples, 10 ms, 48 kHz, mono, signed 16 bit.
pub type Block = [i16; AUDIO_BLOCK_SAMPLES];

/// A picture in memory: RGBA8, row-major, `width * height * 4` bytes, alpha 255.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
    /// The pixels.
    pub rgba: Vec<u8>,
}

impl Picture {
    /// It has pixels, and as many as its width and height say.
    pub fn is_whole(&self) -> bool {
        !self.rgba.is_empty() && self.rgba.len() == self.width * self.height * 4
    }

    /// Gives it this size, reusing its memory. Its pixels mean nothing until they are written, except that a picture
    /// without any before is black.
    pub fn reshape(&mut self, width: usize, height: usize) {
        let bytes = width * height * 4;
        if self.rgba.len() != bytes {
            self.rgba.resize(bytes, 0);
            blacken(&mut self.rgba);
        }
        (self.width, self.height) = (width, height);
    }
}

fn blacken(rgba: &mut [u8]) {
    rgba.as_chunks_mut::<4>().0.fill([0, 0, 0, 255]);
}

/// Why a device does not work, as a sentence for the person in front of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceError(pub String);

impl std::fmt::Display for DeviceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DeviceError {}

/// Gives pictures. Opened on the camera thread, which may block in [`Camera::capture`], and never leaves it: some
/// systems' cameras cannot be moved between threads.
pub trait Camera {
    /// Waits for the next picture and writes it over `picture`, reusing its memory.
    ///
    /// A camera paces itself: it returns at its own frame rate, not faster.
    ///
    /// # Errors
    /// [`DeviceError`] when the device is gone; the camera is then dropped.
    fn capture(&mut self, picture: &mut Picture) -> Result<(), DeviceError>;
}

/// Gives sound. Polled by the engine; the device's own callback fills a lock-free ring behind it.
pub trait Microphone: Send {
    /// Writes the next 10 ms over `block` if they are there. Does not wait.
    ///
    /// # Errors
    /// [`DeviceError`] when the device is gone; the microphone is then dropped.
    fn read(&mut self, block: &mut Block) -> Result<bool, DeviceError>;

    /// When the next block should be there, as far as is known.
    fn due(&self, _now: Instant) -> Option<Instant> {
        None
    }
}

/// Takes sound. Polled by the engine; the device's own callback drains a lock-free ring behind it.
pub trait Speaker: Send {
    /// How many blocks it wants right now so that it neither runs dry nor builds up delay.
    fn wanted(&mut self) -> usize;

    /// Takes 10 ms to be played behind what it has. Does not wait.
    ///
    /// # Errors
    /// [`DeviceError`] when the device is gone; the speaker is then dropped.
    fn write(&mut self, block: &Block) -> Result<(), DeviceError>;

    /// When it should want the next block, as far as is known.
    fn due(&self, _now: Instant) -> Option<Instant> {
        None
    }
}

/// Which camera, microphone or speaker to use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// What the operating system calls its default.
    #[default]
    Default,
    /// The real device with this name (as listed), or this number for a camera.
    Named(String),
    /// A WAV file (microphone) or a `.mjpeg` clip (camera), played to its end and again; for a speaker, a WAV file to
    /// record into.
    File(PathBuf),
    /// A tone (microphone), a test pattern with a clock painted into it (camera); for a speaker, a clock that takes
    /// blocks at 100 a second and throws them away.
    Synthetic,
    /// None at all.
    Off,
}

impl FromStr for DeviceChoice {
    type Err = Infallible;

    /// Reads what stands on a command line: `default`, `off`, `test`, `file:PATH`, a path that ends in `.mjpeg` or
    /// `.wav`; anything else is the name of a device.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        let media_file = Path::new(text).extension().is_some_and(|extension| {
            ["mjpeg", "mjpg", "wav"].iter().any(|known| extension.eq_ignore_ascii_case(known))
        });
        Ok(match text {
            "" | "default" => Self::Default,
            "off" => Self::Off,
            "test" => Self::Synthetic,
            _ => match text.strip_prefix("file:") {
                Some(path) => Self::File(path.into()),
                None if media_file => Self::File(text.into()),
                None => Self::Named(text.into()),
            },
        })
    }
}

/// The real devices of this machine, by the names under which [`DeviceChoice::Named`] opens them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceList {
    /// Cameras.
    pub cameras: Vec<String>,
    /// Microphones and other inputs.
    pub microphones: Vec<String>,
    /// Speakers and other outputs.
    pub speakers: Vec<String>,
}

/// Asks the operating system what there is; may take a second, so not for the thread of the window.
pub fn list() -> DeviceList {
    DeviceList { cameras: camera_names(), microphones: microphone_names(), speakers: speaker_names() }
}

/// Opens a camera, `None` for [`DeviceChoice::Off`]. To be called on the thread that captures.
///
/// # Errors
/// [`DeviceError`] when there is no such camera, or it is in use, or its file cannot be read.
pub fn open_camera(choice: &DeviceChoice) -> Result<Option<Box<dyn Camera>>, DeviceError> {
    Ok(Some(match choice {
        DeviceChoice::Default => real_camera(None)?,
        DeviceChoice::Named(name) => real_camera(Some(name))?,
        DeviceChoice::File(path) => Box::new(file::ClipCamera::open(path)?),
        DeviceChoice::Synthetic => Box::new(synthetic::PatternCamera::new()),
        DeviceChoice::Off => return Ok(None),
    }))
}

/// Opens a microphone, `None` for [`DeviceChoice::Off`].
///
/// # Errors
/// [`DeviceError`] when there is no such microphone, or it is in use, or its file cannot be read.
pub fn open_microphone(choice: &DeviceChoice) -> Result<Option<Box<dyn Microphone>>, DeviceError> {
    Ok(Some(match choice {
        DeviceChoice::Default => real_microphone(None)?,
        DeviceChoice::Named(name) => real_microphone(Some(name))?,
        DeviceChoice::File(path) => Box::new(file::WavMicrophone::open(path)?),
        DeviceChoice::Synthetic => Box::new(synthetic::ToneMicrophone::new()),
        DeviceChoice::Off => return Ok(None),
    }))
}

/// Opens a speaker, `None` for [`DeviceChoice::Off`].
///
/// # Errors
/// [`DeviceError`] when there is no such speaker, or it is in use, or its file cannot be written.
pub fn open_speaker(choice: &DeviceChoice) -> Result<Option<Box<dyn Speaker>>, DeviceError> {
    Ok(Some(match choice {
        DeviceChoice::Default => real_speaker(None)?,
        DeviceChoice::Named(name) => real_speaker(Some(name))?,
        DeviceChoice::File(path) => Box::new(file::WavSpeaker::create(path)?),
        DeviceChoice::Synthetic => Box::new(synthetic::ClockSpeaker::new()),
        DeviceChoice::Off => return Ok(None),
    }))
}

#[cfg(feature = "camera")]
use camera::{names as camera_names, open as real_camera};
#[cfg(feature = "audio")]
use microphone::{names as microphone_names, open as real_microphone};
#[cfg(feature = "audio")]
use speaker::{names as speaker_names, open as real_speaker};

#[cfg(not(feature = "camera"))]
fn camera_names() -> Vec<String> {
    Vec::new()
}

#[cfg(not(feature = "audio"))]
fn microphone_names() -> Vec<String> {
    Vec::new()
}

#[cfg(not(feature = "audio"))]
fn speaker_names() -> Vec<String> {
    Vec::new()
}

#[cfg(not(feature = "camera"))]
fn real_camera(_name: Option<&str>) -> Result<Box<dyn Camera>, DeviceError> {
    Err(DeviceError("This program was built without support for cameras.".into()))
}

#[cfg(not(feature = "audio"))]
fn real_microphone(_name: Option<&str>) -> Result<Box<dyn Microphone>, DeviceError> {
    Err(DeviceError("This program was built without support for microphones.".into()))
}

#[cfg(not(feature = "audio"))]
fn real_speaker(_name: Option<&str>) -> Result<Box<dyn Speaker>, DeviceError> {
    Err(DeviceError("This program was built without support for speakers.".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_reads_as_it_is_typed() {
        let choices = [
            ("default", DeviceChoice::Default),
            ("", DeviceChoice::Default),
            ("off", DeviceChoice::Off),
            ("test", DeviceChoice::Synthetic),
            ("file:some/where", DeviceChoice::File("some/where".into())),
            ("clips/face_25fps.mjpeg", DeviceChoice::File("clips/face_25fps.mjpeg".into())),
            ("Voice.WAV", DeviceChoice::File("Voice.WAV".into())),
            ("Integrated Camera", DeviceChoice::Named("Integrated Camera".into())),
            ("0", DeviceChoice::Named("0".into())),
        ];
        for (text, choice) in choices {
            assert_eq!(text.parse(), Ok(choice), "{text}");
        }
    }

    #[test]
    fn off_is_no_device_and_test_is_one() {
        assert!(open_camera(&DeviceChoice::Off).unwrap().is_none());
        assert!(open_microphone(&DeviceChoice::Off).unwrap().is_none());
        assert!(open_speaker(&DeviceChoice::Off).unwrap().is_none());
        assert!(open_camera(&DeviceChoice::Synthetic).unwrap().is_some());
        assert!(open_microphone(&DeviceChoice::Synthetic).unwrap().is_some());
        assert!(open_speaker(&DeviceChoice::Synthetic).unwrap().is_some());
    }

    #[test]
    fn a_missing_file_is_named_in_the_sentence() {
        let choice = DeviceChoice::File("no/such/clip.mjpeg".into());
        let error = open_camera(&choice).err().unwrap();
        assert!(error.0.contains("no/such/clip.mjpeg"), "{error}");
        assert!(open_microphone(&choice).is_err());
        assert!(open_speaker(&DeviceChoice::File("no/such/folder/x.wav".into())).is_err());
    }

    #[test]
    fn a_device_that_does_not_exist_is_an_error() {
        let choice = DeviceChoice::Named("no device has this name".into());
        assert!(open_camera(&choice).is_err());
        assert!(open_microphone(&choice).is_err());
        assert!(open_speaker(&choice).is_err());
    }
}
