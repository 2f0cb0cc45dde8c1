//! Pictures to JPEG and back with libjpeg-turbo: whole ones for cameras and clips, parts for the network.

mod decoder;
mod encoder;
mod packing;

pub use decoder::PartDecoder;
pub use encoder::PartEncoder;

use std::fmt;

use turbojpeg::{Compressor, Decompressor, Image, PixelFormat, Subsamp};

use super::{DeviceError, Picture};

/// Pixels across or down of the largest JPEG that is decoded: 1080p, upright or lying.
pub const LONG_SIDE_MAX: usize = 1_920;
/// Pixels of the other side of the largest JPEG that is decoded.
pub const SHORT_SIDE_MAX: usize = 1_080;

/// Why a picture could not be coded or decoded.
#[derive(Debug)]
pub enum JpegError {
    /// The codec refuses it.
    Codec(turbojpeg::Error),
    /// It has no pixels, or not as many as it says.
    Empty,
    /// It is not what a part of a frame looks like.
    Malformed,
    /// It is larger than [`LONG_SIDE_MAX`] by [`SHORT_SIDE_MAX`], or has more detail than the network takes.
    TooLarge,
}

impl fmt::Display for JpegError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Codec(error) => write!(f, "the picture cannot be read or written: {error}"),
            Self::Empty => f.write_str("the picture is empty"),
            Self::Malformed => f.write_str("the picture is no part of a frame"),
            Self::TooLarge => f.write_str("the picture is too large"),
        }
    }
}

impl std::error::Error for JpegError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Codec(error) => Some(error),
            Self::Empty | Self::Malformed | Self::TooLarge => None,
        }
    }
}

impl From<turbojpeg::Error> for JpegError {
    fn from(error: turbojpeg::Error) -> Self {
        Self::Codec(error)
    }
}

impl From<JpegError> for DeviceError {
    fn from(error: JpegError) -> Self {
        Self(format!("{error}."))
    }
}

/// Decodes whole JPEGs one after another, as a camera or a clip gives them.
#[derive(Debug)]
pub struct JpegDecoder {
    decompressor: Decompressor,
}

impl JpegDecoder {
    /// A decoder.
    ///
    /// # Errors
    /// [`JpegError::Codec`] when there is no memory for one.
    pub fn new() -> Result<Self, JpegError> {
        let mut decompressor = Decompressor::new()?;
        // A progressive file may ask for any number of passes over a large picture; honest ones have about ten.
        decompressor.set_scan_limit(100)?;
        Ok(Self { decompressor })
    }

    /// Decodes the JPEG at the front of `jpeg` over `picture`; what follows its end marker does not matter.
    ///
    /// # Errors
    /// [`JpegError`] when it is none, is broken, or is larger than allowed; `picture` is then undefined, but whole.
    pub fn decode(&mut self, jpeg: &[u8], picture: &mut Picture) -> Result<(), JpegError> {
        let jpeg = &jpeg[..jpeg_length(jpeg).unwrap_or(jpeg.len())];
        let header = self.decompressor.read_header(jpeg)?;
        let (long, short) = (header.width.max(header.height), header.width.min(header.height));
        if long > LONG_SIDE_MAX || short > SHORT_SIDE_MAX {
            return Err(JpegError::TooLarge);
        }
        picture.reshape(header.width, header.height);
        self.decompressor.decompress(jpeg, pixels_mut(picture))?;
        Ok(())
    }
}

/// Decodes one JPEG over `picture`; see [`JpegDecoder::decode`] for many.
///
/// # Errors
/// As [`JpegDecoder::decode`].
pub fn decode_jpeg(jpeg: &[u8], picture: &mut Picture) -> Result<(), JpegError> {
    JpegDecoder::new()?.decode(jpeg, picture)
}

/// Encodes a picture as a JPEG of its own with `quality` 1..=100, 4:2:0.
///
/// # Errors
/// [`JpegError::Empty`] when the picture is not whole, [`JpegError::Codec`] when the codec refuses it.
pub fn encode_jpeg(picture: &Picture, quality: u8) -> Result<Vec<u8>, JpegError> {
    if !picture.is_whole() {
        return Err(JpegError::Empty);
    }
    let mut compressor = Compressor::new()?;
    compressor.set_subsamp(Subsamp::Sub2x2)?;
    compressor.set_quality(i32::from(quality.clamp(1, 100)))?;
    Ok(compressor.compress_to_vec(pixels(&picture.rgba, picture.width, picture.height))?)
}

/// How many bytes the JPEG at the front of `bytes` has, its end marker included; `None` when it does not begin like
/// one or does not end.
///
/// Segments are stepped over by their lengths, because a thumbnail in one of them has an end marker too
/// (ITU-T T.81 §B.1.1).
pub fn jpeg_length(bytes: &[u8]) -> Option<usize> {
    if !bytes.starts_with(&[0xff, 0xd8]) {
        return None;
    }
    let mut at = 2;
    loop {
        at += bytes.get(at..)?.iter().position(|byte| *byte == 0xff)?;
        match *bytes.get(at + 1)? {
            END_OF_IMAGE => return Some(at + 2),
            // Stuffing and restarts inside a scan, and fill bytes before a marker, are followed by no length.
            0x00 | 0x01 | 0xd0..=0xd8 => at += 2,
            0xff => at += 1,
            _ => {
                let length = bytes.get(at + 2..at + 4)?;
                at += 2 + usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
            }
        }
    }
}

const END_OF_IMAGE: u8 = 0xd9;

fn pixels(rgba: &[u8], width: usize, height: usize) -> Image<&[u8]> {
    Image { pixels: rgba, width, pitch: width * 4, height, format: PixelFormat::RGBA }
}

fn pixels_mut(picture: &mut Picture) -> Image<&mut [u8]> {
    Image {
        width: picture.width,
        pitch: picture.width * 4,
        height: picture.height,
        format: PixelFormat::RGBA,
        pixels: &mut picture.rgba,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use common::ids::{MemberId, Ssrc, StreamKind};
    use common::picture::blocks::{CodedFrame, ReceivedFrame};
    use common::sequence::FrameId;

    /// The pictures of the shipped clip.
    pub(crate) fn face_frames(count: usize) -> Vec<Picture> {
        let clip = std::fs::read(FACE).unwrap();
        let mut at = 0;
        let mut frames = Vec::new();
        while let Some(length) = jpeg_length(&clip[at..]).filter(|_| frames.len() < count) {
            let mut picture = Picture::default();
            decode_jpeg(&clip[at..at + length], &mut picture).unwrap();
            frames.push(picture);
            at += length;
        }
        frames
    }

    /// A frame that arrived whole.
    pub(crate) fn received(frame: u16, picture: CodedFrame) -> ReceivedFrame {
        let ssrc = Ssrc::new(MemberId(1), StreamKind::Video);
        ReceivedFrame { ssrc, frame: FrameId(frame), complete: true, picture, repairs: Vec::new() }
    }

    pub(crate) const FACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/face_864x480_30fps.mjpeg");

    /// Peak signal to noise ratio in dB over red, green and blue.
    pub(crate) fn psnr(a: &Picture, b: &Picture) -> f64 {
        assert_eq!((a.width, a.height), (b.width, b.height));
        let squares: u64 = a.rgba.iter().zip(&b.rgba).map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum();
        let mean = squares as f64 / (a.width * a.height * 3) as f64;
        10.0 * (255.0 * 255.0 / mean.max(1e-9)).log10()
    }

    #[test]
    fn a_picture_survives_a_jpeg() {
        let picture = face_frames(1).remove(0);
        let mut again = Picture::default();
        let mut jpeg = encode_jpeg(&picture, 90).unwrap();
        let length = jpeg.len();
        jpeg.extend([0; 5_000]);
        assert_eq!(jpeg_length(&jpeg), Some(length));
        decode_jpeg(&jpeg, &mut again).unwrap();
        assert!(psnr(&picture, &again) > 35.0, "{}", psnr(&picture, &again));
    }

    #[test]
    fn the_end_marker_of_a_thumbnail_is_not_the_end() {
        let jpeg =
            [0xff, 0xd8, 0xff, 0xe1, 0, 6, 0xff, 0xd8, 0xff, 0xd9, 0xff, 0xda, 0, 2, 1, 0xff, 0, 2, 0xff, 0xd9, 0, 0];
        assert_eq!(jpeg_length(&jpeg), Some(20));
        for short in 0..20 {
            assert_eq!(jpeg_length(&jpeg[..short]), None, "{short}");
        }
    }

    #[test]
    fn a_jpeg_larger_than_1080p_is_refused() {
        for (width, height) in [(1_936, 16), (1_104, 1_104)] {
            let mut large = Picture::default();
            large.reshape(width, height);
            let jpeg = encode_jpeg(&large, 50).unwrap();
            assert!(matches!(decode_jpeg(&jpeg, &mut Picture::default()), Err(JpegError::TooLarge)));
        }
    }

    #[test]
    fn a_broken_jpeg_is_an_error() {
        let jpeg = encode_jpeg(&face_frames(1)[0], 50).unwrap();
        for length in [0, 1, 2, 100, 600, jpeg.len() / 2] {
            assert!(decode_jpeg(&jpeg[..length], &mut Picture::default()).is_err(), "{length}");
        }
    }

    #[test]
    fn a_picture_that_is_not_whole_is_not_encoded() {
        assert!(matches!(encode_jpeg(&Picture::default(), 50), Err(JpegError::Empty)));
    }
}
