//! How much a sound is like itself a little earlier or later: the period of a voice.

use std::ops::{Range, RangeInclusive};

/// Shortest period looked for: 2.5 ms, a child's voice at 400 Hz.
pub(super) const LAG_MIN: usize = 120;
/// Longest period looked for: 15 ms, a man's voice at 66 Hz (as G.711 appendix I).
pub(super) const LAG_MAX: usize = 720;
/// Samples that are compared to find the newest period: 15 ms, as long as the longest one. On two real voices 20 ms (as
/// G.711 appendix I) made hardly a difference; 10 ms did one of them good and the other harm.
const WINDOW: usize = 720;
/// Samples that [`newest_period`] can make use of.
pub(super) const NEWEST_SAMPLES: usize = WINDOW + LAG_MAX;
/// The search first looks at sums of four samples, and each fourth lag: a voice has little above 6 kHz.
const COARSE: usize = 4;
/// Sums of four samples there is room for.
const COARSE_SAMPLES: usize = 1_024;
/// How much better a longer period must be in the first search, which keeps from multiples of the true one.
const LIKENESS_MARGIN: f32 = 0.005;

/// The distance at which a sound is most like itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Period {
    /// Samples.
    pub(super) lag: usize,
    /// Correlation over that distance, relative to the energies; -1.0..=1.0.
    pub(super) likeness: f32,
}

/// Where the other sound is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// After the window.
    Later,
    /// Before the window.
    Earlier,
}

/// The period at the end of `samples`, newest at the end; none where there are too few to find one.
pub(super) fn newest_period(samples: &[f32]) -> Option<Period> {
    let length = samples.len();
    let longest = LAG_MAX.min(length / 2);
    let window = WINDOW.min(length - longest);
    (longest >= LAG_MIN).then(|| most_alike(samples, length - window..length, LAG_MIN..=longest, Direction::Earlier))
}

/// The lag at which what is in `window` is most like what is that much earlier or later: roughly first, then to the
/// sample. Whatever the lags reach must be there.
pub(super) fn most_alike(
    samples: &[f32],
    window: Range<usize>,
    lags: RangeInclusive<usize>,
    direction: Direction,
) -> Period {
    let mut coarse = [0.0; COARSE_SAMPLES];
    for (sum, group) in coarse.iter_mut().zip(samples.as_chunks::<COARSE>().0) {
        *sum = group.iter().sum();
    }
    let coarse_window = window.start.div_ceil(COARSE)..window.end / COARSE;
    let coarse_lags = lags.start().div_ceil(COARSE)..=lags.end() / COARSE;
    let rough = COARSE * best_of(&coarse, coarse_window, coarse_lags, direction, LIKENESS_MARGIN).lag;
    let near = (rough - COARSE).max(*lags.start())..=(rough + COARSE).min(*lags.end());
    best_of(samples, window, near, direction, 0.0)
}

/// A multiple of the period is as alike as the period: the first one stays unless a later is better by `margin`.
fn best_of(
    samples: &[f32],
    window: Range<usize>,
    lags: RangeInclusive<usize>,
    direction: Direction,
    margin: f32,
) -> Period {
    let here = &samples[window.clone()];
    let energy = product(here, here);
    let mut best = Period { lag: *lags.start(), likeness: f32::MIN };
    for lag in lags {
        let there = match direction {
            Direction::Earlier => &samples[window.start - lag..window.end - lag],
            Direction::Later => &samples[window.start + lag..window.end + lag],
        };
        // One more keeps silence from dividing by nothing.
        let likeness = product(here, there) / (energy * product(there, there) + 1.0).sqrt();
        if likeness > best.likeness + margin {
            best = Period { lag, likeness };
        }
    }
    best
}

/// The sum of the products, in eight sums side by side: the compiler may not reorder floats by itself.
fn product(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; 8];
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    for (a, b) in a.iter().zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rise and a fall in each period.
    fn waves(period: usize, length: usize) -> Vec<f32> {
        let wave = |phase: usize| phase.min(period - phase).min(period / 3) as f32 - period as f32 / 5.0;
        (0..length).map(|i| 20.0 * wave(i % period)).collect()
    }

    #[test]
    fn the_newest_period_is_that_of_the_voice() {
        for period in [132, 211, 437, 700] {
            let found = newest_period(&waves(period, NEWEST_SAMPLES)).unwrap();
            assert!(found.lag.abs_diff(period) <= 1, "{period}: {found:?}");
            assert!(found.likeness > 0.99);
        }
    }

    #[test]
    fn a_single_block_has_room_for_a_short_period_only() {
        assert_eq!(newest_period(&waves(200, 480)).unwrap().lag, 200);
        assert_eq!(newest_period(&waves(100, 200)), None);
    }

    #[test]
    fn a_sound_is_found_on_both_sides() {
        let voice = waves(301, 2_000);
        for direction in [Direction::Earlier, Direction::Later] {
            assert_eq!(most_alike(&voice, 800..1_280, LAG_MIN..=720, direction).lag, 301);
        }
    }

    #[test]
    fn silence_is_like_nothing() {
        assert_eq!(newest_period(&[0.0; NEWEST_SAMPLES]), Some(Period { lag: LAG_MIN, likeness: 0.0 }));
    }
}
