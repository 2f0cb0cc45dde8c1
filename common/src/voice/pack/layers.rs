//! The two layers of a block, each in bits.

use super::bits::{BitReader, BitWriter};
use super::filter::{self, BASE_SAMPLES};
use super::predict::{self, Differences, ORDER_BITS};
use super::rice::{Rice, START_BITS};
use crate::limits::AUDIO_BLOCK_SAMPLES;
use crate::voice::pcm::Block;
use crate::wire::Malformed;

/// Bits in which a base layer says how many bits its samples have less than 16.
const SHIFT_BITS: u32 = 4;

/// Writes a base layer with samples of `16 - shift` bits to the front of `buffer`; answers its length, which is more
/// than the buffer's when it does not fit, and what its reader will have. `shift` is below 16.
pub(super) fn write_base(
    filtered: &[i32; BASE_SAMPLES],
    shift: u32,
    buffer: &mut [u8],
) -> (usize, [i16; BASE_SAMPLES]) {
    let rounded = filtered.map(|sample| filter::round(sample, shift));
    let differences = Differences::new(rounded.map(i32::from));
    let mut writer = BitWriter::new(buffer);
    writer.put(u64::from(shift), SHIFT_BITS);
    // The first sample has no guess and would mislead the code for the others.
    let width = i16::BITS - shift;
    writer.put(rounded[0] as u64 & ((1 << width) - 1), width);
    write_differences(&differences.values()[1..], differences.order(), &mut writer);
    (writer.finish(), rounded.map(|sample| sample << shift))
}

/// Reads a base layer.
///
/// # Errors
/// [`Malformed`] when nobody can have written it.
pub(super) fn read_base(bytes: &[u8]) -> Result<[i16; BASE_SAMPLES], Malformed> {
    let mut reader = BitReader::new(bytes);
    let shift = reader.take(SHIFT_BITS) as u32;
    let width = i16::BITS - shift;
    let mut samples = [0; BASE_SAMPLES];
    // Brings the sign to where it belongs.
    samples[0] = ((reader.take(width) << shift) as i16 >> shift).into();
    let (_, rest) = samples.split_at_mut(1);
    let order = read_differences(rest, &mut reader);
    reader.finish()?;
    predict::restore(&mut samples, order);
    let fits = i32::from(i16::MIN >> shift)..=i32::from(i16::MAX >> shift);
    if samples.iter().all(|sample| fits.contains(sample)) {
        Ok(samples.map(|sample| (sample as i16) << shift))
    } else {
        Err(Malformed)
    }
}

/// Writes what a block has beyond what its base layer, upsampled, says of it; answers the length, which is more than the
/// buffer's when it does not fit.
pub(super) fn write_enhancement(block: &Block, guess: &[i32; AUDIO_BLOCK_SAMPLES], buffer: &mut [u8]) -> usize {
    let missing: [i32; AUDIO_BLOCK_SAMPLES] = std::array::from_fn(|i| i32::from(block[i]) - guess[i]);
    let differences = Differences::new(missing);
    let mut writer = BitWriter::new(buffer);
    write_differences(differences.values(), differences.order(), &mut writer);
    writer.finish()
}

/// Reads an enhancement and makes the block exact.
///
/// # Errors
/// [`Malformed`] when nobody can have written it.
pub(super) fn read_enhancement(
    bytes: &[u8],
    guess: &[i32; AUDIO_BLOCK_SAMPLES],
    block: &mut Block,
) -> Result<(), Malformed> {
    let mut reader = BitReader::new(bytes);
    let mut values = [0; AUDIO_BLOCK_SAMPLES];
    let order = read_differences(&mut values, &mut reader);
    reader.finish()?;
    predict::restore(&mut values, order);
    for ((sample, value), guess) in block.iter_mut().zip(values).zip(guess) {
        *sample = i16::try_from(value.wrapping_add(*guess)).map_err(|_| Malformed)?;
    }
    Ok(())
}

fn write_differences(differences: &[i32], order: u32, writer: &mut BitWriter<'_>) {
    let start = Rice::start_for(differences);
    writer.put(u64::from(order), ORDER_BITS);
    writer.put(u64::from(start), START_BITS);
    let mut rice = Rice::starting_at(start);
    for difference in differences {
        rice.put(writer, *difference);
    }
}

/// Fills `differences`; answers their order.
fn read_differences(differences: &mut [i32], reader: &mut BitReader<'_>) -> u32 {
    let order = reader.take(ORDER_BITS) as u32;
    let mut rice = Rice::starting_at(reader.take(START_BITS) as u32);
    for difference in differences {
        *difference = rice.take(reader);
    }
    order
}
