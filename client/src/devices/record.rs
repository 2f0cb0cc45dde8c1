//! Recordings: JPEGs one after another as a clip, blocks of audio as a WAV file.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use common::limits::AUDIO_CLOCK_RATE_HZ;

use super::jpeg::encode_jpeg;
use super::{Block, Picture};

/// Writes a `.mjpeg` file: JPEG images one after another, nothing between them.
#[derive(Debug)]
pub struct ClipWriter {
    file: BufWriter<File>,
}

impl ClipWriter {
    /// Creates the file, or empties the one that is there.
    ///
    /// # Errors
    /// What the file system says.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = BufWriter::new(File::create(path)?);
        Ok(Self { file })
    }

    /// Appends a JPEG.
    ///
    /// # Errors
    /// What the file system says.
    pub fn push(&mut self, jpeg: &[u8]) -> io::Result<()> {
        self.file.write_all(jpeg)?;
        self.file.flush()
    }

    /// Appends a picture as a JPEG of this quality, 1..=100.
    ///
    /// # Errors
    /// What the codec or the file system says.
    pub fn push_picture(&mut self, picture: &Picture, quality: u8) -> io::Result<()> {
        self.push(&encode_jpeg(picture, quality).map_err(io::Error::other)?)
    }
}

/// Writes a WAV file: 48 kHz, mono, signed 16 bit.
///
/// The header is brought up to date every second, so that the file of a program that was killed can be played.
pub struct WavWriter {
    file: hound::WavWriter<BufWriter<File>>,
    blocks: usize,
}

impl std::fmt::Debug for WavWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WavWriter").field("blocks", &self.blocks).finish_non_exhaustive()
    }
}

/// Blocks of one WAV file: ten hours. Its header counts bytes in 32 bits, which is twelve.
pub const WAV_MAX_BLOCKS: usize = 10 * 3_600 * BLOCKS_PER_SECOND;

const BLOCKS_PER_SECOND: usize = 100;

impl WavWriter {
    /// Creates the file, or empties the one that is there.
    ///
    /// # Errors
    /// What the file system says.
    pub fn create(path: &Path) -> io::Result<Self> {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: AUDIO_CLOCK_RATE_HZ,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut file = hound::WavWriter::create(path, spec).map_err(into_io)?;
        file.flush().map_err(into_io)?;
        Ok(Self { file, blocks: 0 })
    }

    /// Appends a block.
    ///
    /// # Errors
    /// What the file system says, and [`io::ErrorKind::FileTooLarge`] beyond [`WAV_MAX_BLOCKS`].
    pub fn push(&mut self, block: &Block) -> io::Result<()> {
        if self.blocks >= WAV_MAX_BLOCKS {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        for &sample in block {
            self.file.write_sample(sample).map_err(into_io)?;
        }
        self.blocks += 1;
        if self.blocks.is_multiple_of(BLOCKS_PER_SECOND) {
            self.file.flush().map_err(into_io)?;
        }
        Ok(())
    }
}

fn into_io(error: hound::Error) -> io::Error {
    if let hound::Error::IoError(error) = error { error } else { io::Error::other(error) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A file of this name in the temporary folder, removed at the end of the test.
    pub(crate) struct Scratch(pub(crate) std::path::PathBuf);

    impl Scratch {
        pub(crate) fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("conclave-{}-{name}", std::process::id())))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn a_recording_can_be_read_before_it_is_finished() {
        let path = Scratch::new("unfinished.wav");
        let mut writer = WavWriter::create(&path.0).unwrap();
        for index in 0..150 {
            writer.push(&[index; 480]).unwrap();
        }
        assert_eq!(hound::WavReader::open(&path.0).unwrap().duration(), 100 * 480);
        drop(writer);
        let reader = hound::WavReader::open(&path.0).unwrap();
        assert_eq!(reader.duration(), 150 * 480);
        let samples: Vec<i16> = reader.into_samples().map(Result::unwrap).collect();
        assert!(samples.chunks(480).zip(0..).all(|(block, index)| block == [index; 480]));
    }

    #[test]
    fn a_clip_is_its_pictures_one_after_another() {
        let path = Scratch::new("clip.mjpeg");
        let mut picture = Picture::default();
        picture.reshape(32, 16);
        let jpeg = encode_jpeg(&picture, 80).unwrap();
        let mut writer = ClipWriter::create(&path.0).unwrap();
        writer.push_picture(&picture, 80).unwrap();
        writer.push(&jpeg).unwrap();
        assert_eq!(std::fs::read(&path.0).unwrap(), [&jpeg[..], &jpeg[..]].concat());
    }
}
