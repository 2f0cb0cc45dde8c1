//! Bits in bytes, the first bit on top.

use crate::wire::Malformed;

/// Puts bits behind one another into a buffer, and goes on counting where it ends.
#[derive(Debug)]
pub(super) struct BitWriter<'a> {
    buffer: &'a mut [u8],
    /// Whole bytes that were put.
    length: usize,
    /// The bits behind those are the low ones here, fewer than eight between two calls; above them is what was put
    /// before.
    pending: u64,
    pending_bits: u32,
}

/// Bits that may be put at once.
pub(super) const PUT_BITS: u32 = 56;

impl<'a> BitWriter<'a> {
    pub(super) fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, length: 0, pending: 0, pending_bits: 0 }
    }

    /// Puts the low `count` bits of `value`, which has no others; 1 to [`PUT_BITS`].
    #[inline(always)]
    pub(super) fn put(&mut self, value: u64, count: u32) {
        self.pending = self.pending << count | value;
        self.pending_bits += count;
        // Always eight bytes, of which the next call writes some again, so that there is nothing to be guessed wrong.
        let word = (self.pending << (u64::BITS - self.pending_bits)).to_be_bytes();
        let rest = self.buffer.get_mut(self.length..).unwrap_or_default();
        match rest.first_chunk_mut() {
            Some(place) => *place = word,
            None => rest.iter_mut().zip(word).for_each(|(place, byte)| *place = byte),
        }
        self.length += self.pending_bits as usize / 8;
        self.pending_bits %= 8;
    }

    /// The last byte is filled with zeros. How many bytes that makes: more than the buffer has when not all of them fit.
    pub(super) fn finish(self) -> usize {
        self.length + usize::from(self.pending_bits > 0)
    }
}

/// Takes bits off the front of received bytes. Behind the end there are zeros, and [`BitReader::finish`] tells.
#[derive(Debug)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    /// Bits taken so far.
    position: usize,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// The next bits, the first on top; at least [`PEEK_BITS`] of them are true.
    #[inline(always)]
    pub(super) fn peek(&self) -> u64 {
        let rest = self.bytes.get(self.position / 8..).unwrap_or_default();
        let word = match rest.first_chunk() {
            Some(chunk) => u64::from_be_bytes(*chunk),
            None => word_of_few(rest),
        };
        word << (self.position % 8)
    }

    /// Goes on behind `count` bits.
    pub(super) fn skip(&mut self, count: u32) {
        self.position += count as usize;
    }

    /// Takes `count` bits, 1 to [`PEEK_BITS`].
    pub(super) fn take(&mut self, count: u32) -> u64 {
        let bits = self.peek() >> (64 - count);
        self.skip(count);
        bits
    }

    /// # Errors
    /// [`Malformed`] when more was taken than there is, or less, or the last byte is not filled with zeros: what was
    /// written has one form only.
    pub(super) fn finish(self) -> Result<(), Malformed> {
        let all = 8 * self.bytes.len();
        let whole = self.position <= all && all - self.position < 8;
        if whole && self.peek() == 0 { Ok(()) } else { Err(Malformed) }
    }
}

/// Bits that [`BitReader::peek`] gives whatever was taken before.
pub(super) const PEEK_BITS: u32 = 57;

/// Fewer than eight bytes, and zeros behind them.
#[cold]
fn word_of_few(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_be_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_read_as_they_were_written() {
        let values = [(1, 1), (0, 3), (0x1234, 13), (0x00ff_ffff, 24), (0xabcd_ef01_2345, 48), (5, 3)];
        let mut bytes = [0xee; 16];
        let mut writer = BitWriter::new(&mut bytes);
        values.iter().for_each(|(value, count)| writer.put(*value, *count));
        assert_eq!(writer.finish(), 12);
        let mut reader = BitReader::new(&bytes[..12]);
        assert!(values.iter().all(|(value, count)| reader.take(*count) == *value));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn the_last_byte_is_filled_with_zeros_and_nothing_follows() {
        let finish = |bytes: &[u8], taken| {
            let mut reader = BitReader::new(bytes);
            reader.take(taken);
            reader.finish()
        };
        assert_eq!(finish(&[0b1010_0000], 3), Ok(()));
        assert_eq!(finish(&[0b1010_0001], 3), Err(Malformed), "bits that nobody wrote");
        assert_eq!(finish(&[0b1010_0000, 0], 3), Err(Malformed), "a byte too many");
        assert_eq!(finish(&[0b1010_0000], 9), Err(Malformed), "a byte too few");
    }

    #[test]
    fn a_writer_without_room_goes_on_counting() {
        let mut two = [0; 2];
        for (bits, bytes) in [(0, 0), (16, 2), (17, 3), (32, 4), (48, 6)] {
            let mut writer = BitWriter::new(&mut two);
            (0..bits).for_each(|_| writer.put(1, 1));
            assert_eq!(writer.finish(), bytes);
        }
        assert_eq!(two, [0xff; 2]);
    }
}
