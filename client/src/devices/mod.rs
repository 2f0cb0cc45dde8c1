//! Cameras, microphones and speakers: real, played from a file, or made up, behind the same traits.

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

/// Why a device does not work, as a sentence for the person in front of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceError(pub String);

impl std::fmt::Display for DeviceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DeviceError {}

/// Gives pictures. Lives on the camera thread, which may block in [`Camera::capture`].
pub trait Camera: Send {
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
    File(std::path::PathBuf),
    /// A tone (microphone), a test pattern with a clock painted into it (camera); for a speaker, a clock that takes
    /// blocks at 100 a second and throws them away.
    Synthetic,
    /// None at all.
    Off,
}
