//! The outside of a datagram: what stands in the clear before the ciphertext, and the byte of kind inside it.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---+---+-------+-----------------------------------------------+
//! | V | E |   0   |               connection id (64)              |
//! +---+---+-------+               +-------------------------------+
//! |                               |               :               |
//! +---------------+---------------+-------------------------------+
//! |       :       |               packet number (48)              |
//! +---------------+-----------------------------------------------+
//! ```
//! V: version, 1. E: key epoch, modulo 4. The whole header is the associated data of the AEAD.

use super::Malformed;
use super::reader::{Reader, Writer};
use crate::ids::ConnectionId;
use crate::limits::{DATAGRAM_HEADER_BYTES, DATAGRAM_MAX_BYTES, DATAGRAM_TAG_BYTES};

/// What stands in front of every datagram, readable by anyone and changeable by no one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatagramHeader {
    /// Which of a connection's keys sealed the datagram, modulo 4.
    pub epoch: u8,
    /// Whose datagram it is.
    pub connection_id: ConnectionId,
    /// Never repeats under a key; below 2^48.
    pub packet_number: u64,
}

impl DatagramHeader {
    /// Reads the header of a datagram and checks its length.
    ///
    /// # Errors
    /// [`Malformed`] when the datagram is too short to hold a kind and a tag, too long, or of another version.
    pub fn parse(datagram: &[u8]) -> Result<Self, Malformed> {
        let lengths = DATAGRAM_HEADER_BYTES + 1 + DATAGRAM_TAG_BYTES..=DATAGRAM_MAX_BYTES;
        if !lengths.contains(&datagram.len()) {
            return Err(Malformed);
        }
        let mut reader = Reader::new(datagram);
        let first = reader.u8()?;
        if first & !EPOCH_MASK != VERSION_BITS {
            return Err(Malformed);
        }
        Ok(Self {
            epoch: (first & EPOCH_MASK) >> EPOCH_SHIFT,
            connection_id: ConnectionId(reader.u64()?),
            packet_number: reader.u48()?,
        })
    }

    /// The header as it stands on the wire.
    pub fn to_bytes(self) -> [u8; DATAGRAM_HEADER_BYTES] {
        let mut bytes = [0; DATAGRAM_HEADER_BYTES];
        let mut writer = Writer::new(&mut bytes);
        writer.u8(VERSION_BITS | self.epoch << EPOCH_SHIFT & EPOCH_MASK);
        writer.u64(self.connection_id.0);
        writer.u48(self.packet_number);
        bytes
    }
}

const VERSION_BITS: u8 = 1 << 6;
const EPOCH_SHIFT: u32 = 4;
const EPOCH_MASK: u8 = 0b11 << EPOCH_SHIFT;

/// First byte of the plaintext: what the rest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// One block of audio ([`super::media::AudioHeader`]).
    Audio = 1,
    /// Part of a video frame ([`super::media::VideoHeader`]).
    Video = 2,
    /// A segment of the reliable channel ([`super::segment`]).
    Segment = 3,
    /// How streams arrive ([`super::media::ReportBlock`]).
    Report = 4,
    /// Asks for [`Kind::Pong`] with the same eight bytes.
    Ping = 5,
    /// Answers [`Kind::Ping`].
    Pong = 6,
    /// Which datagrams of this hop arrived, and when ([`super::feedback::Feedback`]).
    Feedback = 7,
}

impl Kind {
    /// Splits a plaintext into its kind and the rest.
    ///
    /// # Errors
    /// [`Malformed`] when it is empty or the kind is unknown.
    pub fn split(plaintext: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let (&number, body) = plaintext.split_first().ok_or(Malformed)?;
        let kind = match number {
            1 => Self::Audio,
            2 => Self::Video,
            3 => Self::Segment,
            4 => Self::Report,
            5 => Self::Ping,
            6 => Self::Pong,
            7 => Self::Feedback,
            _ => return Err(Malformed),
        };
        Ok((kind, body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: DatagramHeader = DatagramHeader {
        epoch: 2,
        connection_id: ConnectionId(0x0102_0304_0506_0708),
        packet_number: 0x0a0b_0c0d_0e0f,
    };

    fn datagram(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length.max(DATAGRAM_HEADER_BYTES)];
        bytes[..DATAGRAM_HEADER_BYTES].copy_from_slice(&HEADER.to_bytes());
        bytes.truncate(length);
        bytes
    }

    #[test]
    fn a_header_reads_as_it_was_written() {
        assert_eq!(HEADER.to_bytes(), [0x60, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15]);
        assert_eq!(DatagramHeader::parse(&datagram(32)), Ok(HEADER));
        assert_eq!(DatagramHeader::parse(&datagram(DATAGRAM_MAX_BYTES)), Ok(HEADER));
    }

    #[test]
    fn a_datagram_of_impossible_length_or_version_is_malformed() {
        for length in (0..32).chain([DATAGRAM_MAX_BYTES + 1]) {
            assert_eq!(DatagramHeader::parse(&datagram(length)), Err(Malformed), "{length}");
        }
        for first in [0x00, 0x41, 0x80, 0xff] {
            let mut bytes = datagram(32);
            bytes[0] = first;
            assert_eq!(DatagramHeader::parse(&bytes), Err(Malformed));
        }
    }

    #[test]
    fn an_unknown_kind_is_malformed() {
        assert_eq!(Kind::split(&[]), Err(Malformed));
        assert_eq!(Kind::split(&[0, 1]), Err(Malformed));
        assert_eq!(Kind::split(&[8]), Err(Malformed));
        assert_eq!(Kind::split(&[5, 9]), Ok((Kind::Ping, &[9][..])));
    }
}
