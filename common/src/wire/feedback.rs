//! Which datagrams of a hop arrived, and when: the plaintext behind [`super::datagram::Kind::Feedback`], big-endian.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------------------------------------------------------+
//! |                newest packet number (48)                      |
//! +                               +-------------------------------+
//! |                               |  clock of the receiver, µs    |
//! +-------------------------------+-------------------------------+
//! |           (32)                |  video wanted, kbit/s (16)    |
//! +-------------------------------+-------------------------------+
//! |  age of the newest, 16 µs     |  age of the one before it     |
//! +-------------------------------+-------------------------------+
//! |  …
//! ```
//! It is about all datagrams of the hop, whatever they carry, by the packet number that each has in the clear. RFC 8888
//! has the idea; its steps of 1/1024 s are too coarse to see how far apart a fast path lets packets arrive.

use super::Malformed;
use super::reader::{Reader, Writer};
use crate::limits::FEEDBACK_PACKETS_MAX;
use crate::sequence::SendTime;

/// What one end of a hop says of the datagrams that the other one sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feedback<'a> {
    /// The highest packet number that arrived.
    pub newest: u64,
    /// The receiver's clock when it wrote this.
    pub clock: SendTime,
    /// More video than this, kbit/s, is of no use to those behind the receiver; [`VIDEO_UNLIMITED`] when there is no
    /// telling.
    pub video_wanted: u16,
    ages: &'a [u8],
}

/// When a datagram arrived, before [`Feedback::clock`], in [`AGE_UNIT_MICROS`].
pub type Age = u16;

/// Microseconds in a unit of [`Age`].
pub const AGE_UNIT_MICROS: u32 = 16;
/// Instead of an age: it did not arrive so far, or more than a second ago.
pub const AGE_MISSING: Age = Age::MAX;
/// As much video as there is.
pub const VIDEO_UNLIMITED: u16 = u16::MAX;
const AGE_BYTES: usize = 2;

impl<'a> Feedback<'a> {
    /// Bytes before the ages.
    pub const HEADER_BYTES: usize = 12;
    /// Bytes of the longest feedback.
    pub const MAX_BYTES: usize = Self::HEADER_BYTES + FEEDBACK_PACKETS_MAX * AGE_BYTES;

    /// Reads a feedback.
    ///
    /// # Errors
    /// [`Malformed`] when it is cut, names no packet or more than [`FEEDBACK_PACKETS_MAX`], or packets before the first.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let (newest, clock, video_wanted) = (reader.u48()?, SendTime(reader.u32()?), reader.u16()?);
        let ages = reader.rest();
        let count = ages.len() / AGE_BYTES;
        let fits = ages.len().is_multiple_of(AGE_BYTES)
            && (1..=FEEDBACK_PACKETS_MAX).contains(&count)
            && count as u64 <= newest + 1;
        if fits { Ok(Self { newest, clock, video_wanted, ages }) } else { Err(Malformed) }
    }

    /// The lowest packet number that it is about.
    pub fn oldest(self) -> u64 {
        self.newest + 1 - (self.ages.len() / AGE_BYTES) as u64
    }

    /// Packet numbers from the lowest to the highest, each with the microseconds since it arrived, `None` for those that
    /// did not.
    pub fn packets(self) -> impl Iterator<Item = (u64, Option<u32>)> + 'a {
        let (ages, _) = self.ages.as_chunks::<AGE_BYTES>();
        let arrived = |age: Age| (age != AGE_MISSING).then(|| u32::from(age) * AGE_UNIT_MICROS);
        (self.oldest()..).zip(ages.iter().rev().map(move |age| arrived(Age::from_be_bytes(*age))))
    }

    /// Writes a feedback to the front of `buffer`, at least [`Self::MAX_BYTES`] long; answers its length. `ages` begins
    /// with the newest; those beyond [`FEEDBACK_PACKETS_MAX`] are left out.
    pub fn write(
        newest: u64,
        clock: SendTime,
        video_wanted: u16,
        ages: impl Iterator<Item = Age>,
        buffer: &mut [u8],
    ) -> usize {
        let mut writer = Writer::new(buffer);
        writer.u48(newest);
        writer.u32(clock.0);
        writer.u16(video_wanted);
        ages.take(FEEDBACK_PACKETS_MAX).for_each(|age| writer.u16(age));
        writer.length()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(newest: u64, ages: &[Age]) -> Vec<u8> {
        let mut buffer = vec![0; Feedback::MAX_BYTES];
        let length = Feedback::write(newest, SendTime(0x0102_0304), 0x0506, ages.iter().copied(), &mut buffer);
        buffer.truncate(length);
        buffer
    }

    #[test]
    fn a_feedback_reads_as_it_was_written() {
        let body = written(0x0a0b_0c0d_0e0f, &[1, AGE_MISSING, 3]);
        assert_eq!(body, [10, 11, 12, 13, 14, 15, 1, 2, 3, 4, 5, 6, 0, 1, 0xff, 0xff, 0, 3]);
        let feedback = Feedback::parse(&body).unwrap();
        let newest = 0x0a0b_0c0d_0e0f;
        assert_eq!((feedback.newest, feedback.oldest(), feedback.clock), (newest, newest - 2, SendTime(0x0102_0304)));
        assert_eq!(feedback.video_wanted, 0x0506);
        let packets: Vec<_> = feedback.packets().collect();
        assert_eq!(packets, [(newest - 2, Some(48)), (newest - 1, None), (newest, Some(16))]);
    }

    #[test]
    fn a_feedback_that_names_nothing_or_too_much_is_malformed() {
        for body in [written(9, &[]), written(1, &[0; 3]), written(9, &[0])[..13].to_vec(), vec![], vec![0; 11]] {
            assert_eq!(Feedback::parse(&body), Err(Malformed), "{body:?}");
        }
        assert!(Feedback::parse(&written(0, &[0])).is_ok());
        let longest = written(9_999, &vec![0; FEEDBACK_PACKETS_MAX + 1]);
        assert_eq!(longest.len(), Feedback::MAX_BYTES);
        assert!(Feedback::parse(&longest).is_ok());
        assert_eq!(Feedback::parse(&[longest, vec![0, 0]].concat()), Err(Malformed));
    }
}
