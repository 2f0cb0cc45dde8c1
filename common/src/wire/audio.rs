//! Audio packets: a block of sound, and smaller copies of blocks before it, for those who lost them (the idea of
//! RFC 2198). Behind the header of all media ([`super::media`]):
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------+---------------+---------------+-------+-------+
//! |   format (8)  |A|  level (7)  | base bytes (8)|  1st  |  2nd  |  again; offsets of the copies
//! +---------------+---------------+---------------+-------+-------+
//! then for each copy: bytes (8); then: base | copies | enhancement or samples
//! ```
//! Whoever sends a packet again, because it was lost on its hop, sets the bit A and changes nothing else but the send time.
//!
//! Whoever wants a packet smaller takes the enhancement off its end, and the copies out of its middle.

use super::Malformed;
use super::media::{MEDIA_HEADER_BYTES, MediaHeader};
use super::reader::{Reader, Writer};
use crate::limits::{
    AUDIO_BASE_MAX_BYTES, AUDIO_BLOCK_SAMPLES, AUDIO_COPIES_MAX, AUDIO_COPY_OFFSET_MAX, PLAINTEXT_BASE_BYTES,
};

/// One block of audio, 10 ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioPacket<'a> {
    /// Stream, sequence and times; the timestamp counts samples at 48 kHz.
    pub media: MediaHeader,
    /// Loudness in -dBov, 0 (loudest) to 127 (silence), as in RFC 6464.
    pub level: u8,
    /// It was lost on some hop of its way and sent again there: how late it comes is not the network's jitter, and that it
    /// comes does not mean that nothing was lost.
    pub again: bool,
    /// The block.
    pub sound: Sound<'a>,
    /// Blocks before it: those there are come first, nearer ones before farther ones.
    pub copies: [Option<AudioCopy<'a>>; AUDIO_COPIES_MAX],
}

/// Bytes of a block of 16-bit samples.
pub const BLOCK_BYTES: usize = 2 * AUDIO_BLOCK_SAMPLES;

/// How much of a block is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum AudioDetail {
    /// The base layer alone, 60 to 90 kbit/s of a voice, and no copies of earlier blocks whatever is lost.
    Bare,
    /// The base layer, and a copy of one earlier block where it is needed.
    Base,
    /// All of it, bit by bit.
    #[default]
    Exact,
}

impl AudioDetail {
    /// One step more, as far as there is one.
    pub(crate) fn next(self) -> Self {
        match self {
            Self::Bare => Self::Base,
            Self::Base | Self::Exact => Self::Exact,
        }
    }

    /// Copies of earlier blocks that a packet may bring.
    pub fn copies_max(self) -> usize {
        match self {
            Self::Bare => 0,
            Self::Base => 1,
            Self::Exact => AUDIO_COPIES_MAX,
        }
    }
}

/// How a block of 480 samples, 48 kHz, mono, signed 16 bit, is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sound<'a> {
    /// As it is: [`BLOCK_BYTES`], big-endian (L16, RFC 3551 §4.5.11).
    L16(&'a [u8]),
    /// In two layers ([`crate::voice::pack`]), of which the second may have been cut off and is empty then.
    Packed {
        /// 1 to [`AUDIO_BASE_MAX_BYTES`].
        base: &'a [u8],
        /// With the base at most [`BLOCK_BYTES`].
        enhancement: &'a [u8],
    },
}

/// An earlier block of the stream, small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioCopy<'a> {
    /// How many blocks earlier, 1 to [`AUDIO_COPY_OFFSET_MAX`]. Its sequence number is as many smaller, its timestamp
    /// as many blocks.
    pub offset: u8,
    /// Its base layer, 1 to [`AUDIO_BASE_MAX_BYTES`].
    pub base: &'a [u8],
}

const FORMAT_L16: u8 = 1;
const FORMAT_PACKED: u8 = 2;
/// Stands above the level.
const AGAIN: u8 = 0x80;
/// Where the level is in the body.
const LEVEL_PLACE: usize = MEDIA_HEADER_BYTES + 1;

impl<'a> AudioPacket<'a> {
    /// Bytes in front of the sound of a packet without copies; each copy has one more.
    pub const HEADER_BYTES: usize = MEDIA_HEADER_BYTES + 4;
    /// The longest packet. One of samples as they are has no room for two of the longest copies.
    pub const MAX_BYTES: usize = PLAINTEXT_BASE_BYTES - 1;

    /// Reads an audio packet. What its layers hold is for the receiver to find out.
    ///
    /// # Errors
    /// [`Malformed`] when a length, the format or an offset is not what this version sends.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let media = MediaHeader::read(&mut reader)?;
        let (format, marked_level, base_bytes) = (reader.u8()?, reader.u8()?, reader.u8()?);
        let (level, again) = (marked_level & !AGAIN, marked_level & AGAIN != 0);
        let offsets = read_offsets(reader.u8()?)?;
        let mut copy_bytes = [0; AUDIO_COPIES_MAX];
        for (bytes, _) in copy_bytes.iter_mut().zip(offsets).filter(|(_, offset)| *offset > 0) {
            *bytes = base_length(reader.u8()?)?;
        }
        let base = reader.bytes(base_bytes.into())?;
        let mut copies = [None; AUDIO_COPIES_MAX];
        for ((copy, bytes), offset) in copies.iter_mut().zip(copy_bytes).zip(offsets).filter(|(_, offset)| *offset > 0)
        {
            *copy = Some(AudioCopy { offset, base: reader.bytes(bytes)? });
        }
        let sound = Sound::parse(format, base, reader.rest())?;
        if body.len() > Self::MAX_BYTES {
            return Err(Malformed);
        }
        Ok(Self { media, level, again, sound, copies })
    }

    /// Writes the packet, which is no longer than [`AudioPacket::MAX_BYTES`], to the front of `buffer`, which is at least
    /// as long as the packet; answers its length.
    pub fn write(&self, buffer: &mut [u8]) -> usize {
        let mut writer = Writer::new(buffer);
        let (format, base, rest) = match self.sound {
            Sound::L16(samples) => (FORMAT_L16, &[][..], samples),
            Sound::Packed { base, enhancement } => (FORMAT_PACKED, base, enhancement),
        };
        let [first, second] = self.copies.map(|copy| copy.map_or(0, |copy| copy.offset));
        let level = self.level | if self.again { AGAIN } else { 0 };
        self.media.write(&mut writer);
        writer.bytes(&[format, level, base.len() as u8, first << 4 | second]);
        let copies = || self.copies.iter().flatten();
        copies().for_each(|copy| writer.u8(copy.base.len() as u8));
        writer.bytes(base);
        copies().for_each(|copy| writer.bytes(copy.base));
        writer.bytes(rest);
        writer.length()
    }

    /// Makes a packet that was parsed, or written, one that is sent again.
    pub fn mark_again(body: &mut [u8]) {
        body[LEVEL_PLACE] |= AGAIN;
    }

    /// Bytes of the packet.
    pub fn bytes(&self) -> usize {
        let rest = match self.sound {
            Sound::L16(_) => 0,
            Sound::Packed { enhancement, .. } => enhancement.len(),
        };
        self.thinned_bytes() + rest
    }

    /// As much of the packet as this detail has. Samples that are not packed stay.
    pub fn thinned(self, detail: AudioDetail) -> Self {
        let copies_max = detail.copies_max();
        let mut copies = self.copies;
        copies.iter_mut().skip(copies_max).for_each(|copy| *copy = None);
        let sound = match self.sound {
            Sound::Packed { base, .. } if detail < AudioDetail::Exact => Sound::Packed { base, enhancement: &[] },
            sound @ (Sound::L16(_) | Sound::Packed { .. }) => sound,
        };
        Self { copies, sound, ..self }
    }

    /// Bytes of the packet without its enhancement.
    fn thinned_bytes(&self) -> usize {
        let copies: usize = self.copies.iter().flatten().map(|copy| 1 + copy.base.len()).sum();
        let sound = match self.sound {
            Sound::L16(samples) => samples.len(),
            Sound::Packed { base, .. } => base.len(),
        };
        Self::HEADER_BYTES + copies + sound
    }
}

impl<'a> Sound<'a> {
    fn parse(format: u8, base: &'a [u8], rest: &'a [u8]) -> Result<Self, Malformed> {
        match format {
            FORMAT_L16 if base.is_empty() && rest.len() == BLOCK_BYTES => Ok(Self::L16(rest)),
            FORMAT_PACKED
                if (1..=AUDIO_BASE_MAX_BYTES).contains(&base.len()) && base.len() + rest.len() <= BLOCK_BYTES =>
            {
                Ok(Self::Packed { base, enhancement: rest })
            }
            _ => Err(Malformed),
        }
    }
}

/// None, one, or two that grow.
fn read_offsets(byte: u8) -> Result<[u8; AUDIO_COPIES_MAX], Malformed> {
    let offsets @ [first, second] = [byte >> 4, byte & 0xf];
    if second == 0 || 0 < first && first < second { Ok(offsets) } else { Err(Malformed) }
}

fn base_length(bytes: u8) -> Result<usize, Malformed> {
    let bytes = bytes.into();
    if (1..=AUDIO_BASE_MAX_BYTES).contains(&bytes) { Ok(bytes) } else { Err(Malformed) }
}

// Lengths are told in a byte, offsets in four bits.
const _: () = assert!(AUDIO_BASE_MAX_BYTES <= 0xff && AUDIO_COPY_OFFSET_MAX <= 0xf);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{MemberId, Ssrc, StreamKind};
    use crate::sequence::{MediaTime, SendTime, SequenceNumber};

    fn packet<'a>(sound: Sound<'a>, copies: [Option<AudioCopy<'a>>; 2]) -> AudioPacket<'a> {
        let media = MediaHeader {
            ssrc: Ssrc::new(MemberId(3), StreamKind::Audio),
            sequence: SequenceNumber(0x1122),
            send_time: SendTime(0x3344_5566),
            timestamp: MediaTime(0x7788_99aa),
        };
        AudioPacket { media, level: 30, again: false, sound, copies }
    }

    fn written(packet: AudioPacket<'_>) -> Vec<u8> {
        let mut body = vec![0; 2 * AudioPacket::MAX_BYTES];
        let length = packet.write(&mut body);
        body.truncate(length);
        body
    }

    fn packed<'a>(copies: [Option<AudioCopy<'a>>; 2]) -> AudioPacket<'a> {
        packet(Sound::Packed { base: &[7; 70], enhancement: &[8; 200] }, copies)
    }

    fn copy(offset: u8, base: &[u8]) -> Option<AudioCopy<'_>> {
        Some(AudioCopy { offset, base })
    }

    #[test]
    fn a_packet_reads_as_it_was_written() {
        let two = [copy(1, &[1; 5]), copy(3, &[3; AUDIO_BASE_MAX_BYTES])];
        for packet in [
            packet(Sound::L16(&[9; BLOCK_BYTES]), [None; 2]),
            packet(Sound::L16(&[9; BLOCK_BYTES]), two),
            packed([None; 2]),
            packed([copy(15, &[1]), None]),
            packed(two),
        ] {
            assert_eq!(written(packet).len(), packet.bytes());
            assert_eq!(AudioPacket::parse(&written(packet)), Ok(packet));
        }
    }

    #[test]
    fn the_header_is_the_one_that_is_drawn() {
        let body = written(packed([copy(1, &[1; 5]), copy(3, &[3; 6])]));
        assert_eq!(
            body[..20],
            [0, 0, 3, 0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 2, 30, 70, 0x13, 5, 6]
        );
        assert_eq!(body[20..], [&[7; 70][..], &[1; 5], &[3; 6], &[8; 200]].concat());
    }

    #[test]
    fn what_is_sent_again_is_marked_and_is_the_same_otherwise() {
        let packet = packed([copy(1, &[1; 5]), None]);
        let mut body = written(packet);
        AudioPacket::mark_again(&mut body);
        assert_eq!(body[15], 0x80 | 30);
        let again = AudioPacket { again: true, ..packet };
        assert_eq!(AudioPacket::parse(&body), Ok(again));
        assert_eq!(written(again), body);
    }

    #[test]
    fn a_packet_can_be_cut_behind_its_copies_and_nowhere_before() {
        let whole = packed([copy(1, &[1; 5]), copy(3, &[3; 6])]);
        let body = written(whole);
        let cut = whole.thinned_bytes();
        let thinned = AudioPacket { sound: Sound::Packed { base: &[7; 70], enhancement: &[] }, ..whole };
        assert_eq!(AudioPacket::parse(&body[..cut]), Ok(thinned));
        for length in 0..cut {
            assert_eq!(AudioPacket::parse(&body[..length]), Err(Malformed));
        }
        let with_one = AudioPacket { copies: [thinned.copies[0], None], ..thinned };
        assert_eq!((whole.thinned(AudioDetail::Base), whole.thinned(AudioDetail::Exact)), (with_one, whole));
        assert_eq!(whole.thinned(AudioDetail::Bare), AudioPacket { copies: [None; 2], ..thinned });
    }

    #[test]
    fn samples_as_they_are_cannot_be_cut() {
        let whole = packet(Sound::L16(&[9; BLOCK_BYTES]), [copy(2, &[1; 5]), None]);
        let body = written(whole);
        assert_eq!(whole.thinned_bytes(), body.len());
        for length in 0..body.len() {
            assert_eq!(AudioPacket::parse(&body[..length]), Err(Malformed));
        }
    }

    #[test]
    fn a_packet_that_fits_no_datagram_of_every_path_is_malformed() {
        let long = [7; AUDIO_BASE_MAX_BYTES];
        let whole = packet(Sound::L16(&[9; BLOCK_BYTES]), [copy(2, &long), copy(4, &long)]);
        assert!(whole.bytes() > AudioPacket::MAX_BYTES);
        assert_eq!(AudioPacket::parse(&written(whole)), Err(Malformed));
    }

    #[test]
    fn what_nobody_writes_is_malformed() {
        let good = written(packed([copy(1, &[1; 5]), copy(3, &[3; 6])]));
        // Places: 14 format, 15 level, 16 bytes of the base, 17 offsets, 18 and 19 bytes of the copies.
        let wrong = [(14, 0), (14, 1), (14, 3), (16, 0), (16, 161), (17, 0x03), (17, 0x33), (17, 0x31)];
        for (place, value) in wrong.into_iter().chain([(18, 0), (19, 161)]) {
            let mut body = good.clone();
            body[place] = value;
            assert_eq!(AudioPacket::parse(&body), Err(Malformed), "{value} at {place}");
        }
        let mut long = good;
        long.resize(AudioPacket::HEADER_BYTES + 2 + 5 + 6 + BLOCK_BYTES + 1, 0);
        assert_eq!(AudioPacket::parse(&long), Err(Malformed));
    }
}
