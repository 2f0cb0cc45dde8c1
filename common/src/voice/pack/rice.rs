//! Adaptive Rice codes: small numbers in few bits, and what counts as small follows the numbers themselves.
//!
//! A number is folded (0, -1, 1, -2, … become 0, 1, 2, 3, …) and cut in two: its low `k` bits are written as they are,
//! the rest as that many zeros and a one. `k` follows the mean of the numbers before, so that nothing has to be said of
//! it but where it begins, and a block whose middle is louder than its edges costs no more than it must.

use super::bits::{BitReader, BitWriter, PEEK_BITS, PUT_BITS};

/// What follows the numbers. Both ends do the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rice {
    /// Mean of the folded numbers, in sixteenths.
    mean: u32,
}

/// Bits in which [`Rice::starting_at`] is told where to begin.
pub(super) const START_BITS: u32 = 4;
/// Zeros in a row that say: the whole number follows. More would make a code longer than the number.
const ESCAPE: u32 = 20;
/// Bits of a whole number: a third difference of 18 bits has 21, and one for the sign.
const WHOLE_BITS: u32 = 22;
/// The mean is one over about this many numbers, as a power of two.
const MEMORY: u32 = 4;

impl Rice {
    /// Begins where the folded numbers are around 2^`start`; below 2^[`START_BITS`].
    pub(super) fn starting_at(start: u32) -> Self {
        Self { mean: 3 << (start + MEMORY) >> 1 }
    }

    /// Where to begin for numbers that begin like these.
    pub(super) fn start_for(values: &[i32]) -> u32 {
        let first = &values[..values.len().min(1 << MEMORY)];
        let sum: u64 = first.iter().map(|value| u64::from(fold(*value))).sum();
        let mean = sum / first.len().max(1) as u64;
        mean.max(1).ilog2().min((1 << START_BITS) - 1)
    }

    // Within its loop the mean and the bits stay in registers, which halves the time.
    #[inline(always)]
    pub(super) fn put(&mut self, writer: &mut BitWriter<'_>, value: i32) {
        let folded = fold(value);
        let k = self.low_bits();
        let high = folded >> k;
        if high < ESCAPE {
            let low = folded & ((1 << k) - 1);
            writer.put(u64::from(1 << k | low), high + 1 + k);
        } else {
            writer.put(u64::from(folded), ESCAPE + WHOLE_BITS);
        }
        self.follow(folded);
    }

    // As above.
    #[inline(always)]
    pub(super) fn take(&mut self, reader: &mut BitReader<'_>) -> i32 {
        let bits = reader.peek();
        let k = self.low_bits();
        let high = bits.leading_zeros();
        let folded = if high < ESCAPE {
            reader.skip(high + 1 + k);
            // The one on top falls off, the low bits come down.
            high << k | ((bits << high & !(1 << 63)) >> (63 - k)) as u32
        } else {
            reader.skip(ESCAPE);
            reader.take(WHOLE_BITS) as u32
        };
        self.follow(folded);
        unfold(folded)
    }

    fn low_bits(self) -> u32 {
        (self.mean >> MEMORY | 1).ilog2()
    }

    fn follow(&mut self, folded: u32) {
        self.mean += folded;
        self.mean -= self.mean >> MEMORY;
    }
}

fn fold(value: i32) -> u32 {
    (value << 1 ^ value >> 31) as u32
}

fn unfold(folded: u32) -> i32 {
    (folded >> 1) as i32 ^ -((folded & 1) as i32)
}

// One look at the bits suffices for a code, and one put; and a mean of whole numbers fits.
const _: () = assert!(ESCAPE + WHOLE_BITS <= PEEK_BITS && ESCAPE + WHOLE_BITS <= PUT_BITS);
const _: () = assert!(WHOLE_BITS + MEMORY < u32::BITS);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(values: &[i32]) -> Vec<u8> {
        let mut bytes = vec![0; 8 * values.len() + 8];
        let mut writer = BitWriter::new(&mut bytes);
        let mut rice = Rice::starting_at(Rice::start_for(values));
        values.iter().for_each(|value| rice.put(&mut writer, *value));
        let length = writer.finish();
        bytes.truncate(length);
        bytes
    }

    #[test]
    fn small_numbers_take_few_bits() {
        assert!(written(&[0; 400]).len() <= 51);
        let around_four: Vec<i32> = (0..400).map(|i| i % 9 - 4).collect();
        assert!(written(&around_four).len() < 400 * 4 / 8 + 2);
    }

    #[test]
    fn the_code_follows_what_grows() {
        let step: Vec<i32> = (0..400).map(|i| if i < 200 { i % 3 } else { 500 + i }).collect();
        assert!(written(&step).len() < 200 * 4 / 8 + 200 * 13 / 8);
    }

    proptest! {
        #[test]
        fn numbers_read_as_they_were_written(values in prop::collection::vec(-2_097_152..2_097_152_i32, 1..200)) {
            let bytes = written(&values);
            let mut reader = BitReader::new(&bytes);
            let mut rice = Rice::starting_at(Rice::start_for(&values));
            let read: Vec<_> = values.iter().map(|_| rice.take(&mut reader)).collect();
            prop_assert_eq!(read, values);
            prop_assert_eq!(reader.finish(), Ok(()));
        }

        #[test]
        fn any_bytes_are_numbers(bytes in prop::collection::vec(any::<u8>(), 0..200), start in 0..16_u32) {
            let mut reader = BitReader::new(&bytes);
            let mut rice = Rice::starting_at(start);
            (0..500).for_each(|_| { rice.take(&mut reader); });
        }
    }
}
