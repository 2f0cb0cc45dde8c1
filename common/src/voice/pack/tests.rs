use super::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Packs blocks as a sender does; each with what was packed.
fn pack_all(sound: &[i16], detail: AudioDetail) -> Vec<(Block, Packed)> {
    let mut packer = Packer::default();
    let (blocks, _) = sound.as_chunks();
    let pack = |block| {
        packer.push(block);
        (*packer.block(), packer.pack(detail))
    };
    blocks.iter().map(pack).collect()
}

fn unpacked(sound: Sound<'_>) -> Block {
    let mut block = [7; AUDIO_BLOCK_SAMPLES];
    unpack(sound, &mut block).unwrap();
    block
}

/// What a receiver of base layers alone hears.
fn base_alone(packed: &Packed) -> Block {
    unpacked(Sound::Packed { base: packed.base(), enhancement: &[] })
}

/// Vowel-like: harmonics of 110 Hz that fade and swell.
fn voice(blocks: usize, loudness: f64) -> Vec<i16> {
    let sample = |i: usize| {
        let seconds = i as f64 / 48_000.0;
        let swell = 0.6 + 0.4 * (seconds * 17.0).sin();
        let harmonic = |n: f64| (seconds * 110.0 * n * std::f64::consts::TAU).sin() / n;
        (loudness * swell * (1..=30).map(|n| harmonic(f64::from(n))).sum::<f64>()) as i16
    };
    (0..blocks * AUDIO_BLOCK_SAMPLES).map(sample).collect()
}

fn noise(blocks: usize, amplitude: i16) -> Vec<i16> {
    let mut random = StdRng::seed_from_u64(7);
    (0..blocks * AUDIO_BLOCK_SAMPLES).map(|_| random.random_range(-amplitude..=amplitude)).collect()
}

fn bytes(sound: Sound<'_>) -> usize {
    match sound {
        Sound::L16(samples) => samples.len(),
        Sound::Packed { base, enhancement } => base.len() + enhancement.len(),
    }
}

/// Signal to noise, dB.
fn snr(sound: &[i16], heard: &[i16]) -> f64 {
    let energy = |samples: &mut dyn Iterator<Item = f64>| samples.map(|sample| sample * sample).sum::<f64>();
    let signal = energy(&mut sound.iter().map(|sample| f64::from(*sample)));
    let error = energy(&mut sound.iter().zip(heard).map(|(a, b)| f64::from(*a) - f64::from(*b)));
    10.0 * (signal / error).log10()
}

#[test]
fn every_sound_comes_back_bit_by_bit() {
    let full_scale = (0..4_800).map(|i| if i / 3 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
    let click = (0..4_800).map(|i| if i == 2_000 { i16::MIN } else { 0 }).collect();
    for sound in [voice(40, 9_000.0), noise(10, 30), noise(10, 2_000), noise(10, i16::MAX), full_scale, click] {
        for (block, packed) in pack_all(&sound, AudioDetail::Exact) {
            assert_eq!(unpacked(packed.sound()), block);
        }
    }
}

#[test]
fn what_is_packed_is_what_was_pushed_one_look_ahead_later() {
    let sound = voice(5, 9_000.0);
    let packed: Vec<i16> = pack_all(&sound, AudioDetail::Exact).iter().flat_map(|(block, _)| *block).collect();
    assert_eq!(packed[LOOK_AHEAD_SAMPLES..], sound[..sound.len() - LOOK_AHEAD_SAMPLES]);
}

#[test]
fn a_block_is_never_longer_than_its_samples_nor_its_base_layer_than_the_limit() {
    for sound in [voice(40, 12_000.0), noise(10, 300), noise(10, 20_000), noise(10, i16::MAX)] {
        for (_, packed) in pack_all(&sound, AudioDetail::Exact) {
            assert!(bytes(packed.sound()) <= BLOCK_BYTES);
            assert!((1..=AUDIO_BASE_MAX_BYTES).contains(&packed.base().len()));
        }
    }
}

#[test]
fn noise_at_full_scale_is_sent_as_it_is() {
    let packed = pack_all(&noise(3, i16::MAX), AudioDetail::Exact);
    assert!(packed.iter().skip(1).all(|(_, packed)| matches!(packed.sound(), Sound::L16(_))));
}

#[test]
fn a_voice_takes_less_than_half_of_its_samples_and_its_base_layer_a_seventh() {
    let packed = pack_all(&voice(100, 3_000.0), AudioDetail::Exact);
    let share = |bytes: usize| bytes as f64 / (packed.len() * BLOCK_BYTES) as f64;
    let all = share(packed.iter().map(|(_, packed)| bytes(packed.sound())).sum());
    let base = share(packed.iter().map(|(_, packed)| packed.base().len()).sum());
    assert!(all < 0.5 && base < 0.15, "{all} {base}");
}

#[test]
fn base_layers_alone_make_the_same_sound_without_seams() {
    let sound = voice(100, 3_000.0);
    let packed = pack_all(&sound, AudioDetail::Base);
    let said: Vec<i16> = packed.iter().flat_map(|(block, _)| *block).collect();
    let heard: Vec<i16> = packed.iter().flat_map(|(_, packed)| base_alone(packed)).collect();
    // Noise of 12 bits alone would leave 50 dB.
    assert!(snr(&said[AUDIO_BLOCK_SAMPLES..], &heard[AUDIO_BLOCK_SAMPLES..]) > 40.0);
    // The samples at the edges are as good as those in the middle.
    let around = |samples: &[i16], edge: usize| -> Vec<i16> {
        samples.chunks(AUDIO_BLOCK_SAMPLES).skip(1).flat_map(|block| block[edge..edge + 12].to_vec()).collect()
    };
    let [begin, middle, end] = [0, 234, 468].map(|edge| snr(&around(&said, edge), &around(&heard, edge)));
    assert!(begin > middle - 2.0 && end > middle - 2.0, "{begin} {middle} {end}");
}

#[test]
fn a_layer_that_was_cut_or_goes_on_is_refused() {
    let (_, packed) = pack_all(&voice(3, 3_000.0), AudioDetail::Exact).pop().unwrap();
    let Sound::Packed { base, enhancement } = packed.sound() else { panic!("a voice packs well") };
    let mut block = [0; AUDIO_BLOCK_SAMPLES];
    for length in 0..base.len() {
        assert_eq!(unpack_base(&base[..length], &mut block), Err(Malformed));
    }
    for length in 1..enhancement.len() {
        let cut = Sound::Packed { base, enhancement: &enhancement[..length] };
        assert_eq!(unpack(cut, &mut block), Err(Malformed));
    }
    assert_eq!(unpack_base(&[base, &[0]].concat(), &mut block), Err(Malformed));
    let longer = [enhancement, &[0]].concat();
    assert_eq!(unpack(Sound::Packed { base, enhancement: &longer }, &mut block), Err(Malformed));
}

#[test]
fn any_bytes_are_a_block_or_refused() {
    let mut random = StdRng::seed_from_u64(1);
    let mut block = [0; AUDIO_BLOCK_SAMPLES];
    let good = pack_all(&voice(2, 3_000.0), AudioDetail::Exact);
    for _ in 0..20_000 {
        let mut base = good[1].1.base().to_vec();
        let mut enhancement: Vec<u8> = (0..random.random_range(1..400)).map(|_| random.random()).collect();
        if random.random() {
            let place = random.random_range(0..base.len());
            base[place] ^= 1 << random.random_range(0..8);
            enhancement.fill(0xff);
        }
        // Whether it is refused is chance; that it does not panic is not.
        let _ = unpack(Sound::Packed { base: &base, enhancement: &enhancement }, &mut block);
        let _ = unpack_base(&enhancement, &mut block);
    }
}
