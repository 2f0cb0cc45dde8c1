//! Pictures to another size: what has to go is averaged, what is missing is interpolated, the middle is kept.

use super::Picture;

/// Scales pictures of one size to another so that the target is filled, and what sticks out is cut off on both sides.
///
/// A triangle filter as wide as the step between target pixels (bilinear when enlarging), first down, then across:
/// no ringing, no shimmer of small detail, and cheap enough for every camera frame. The weights are worked out when
/// a size changes, not for each picture.
#[derive(Debug, Default)]
pub struct Scaler {
    source: (usize, usize),
    target: (usize, usize),
    down: Axis,
    across: Axis,
    sums: Vec<u32>,
    line: Vec<u8>,
}

impl Scaler {
    /// Writes `source` at `width` by `height` over `target`, which is given that size.
    ///
    /// A `source` that is not whole ([`Picture::is_whole`]) leaves the target black.
    pub fn scale(&mut self, source: &Picture, width: usize, height: usize, target: &mut Picture) {
        target.reshape(width, height);
        self.scale_into(source, width, height, &mut target.rgba);
    }

    /// Writes `source` at `width` by `height` into the first `width * height * 4` bytes of `target`.
    pub fn scale_into(&mut self, source: &Picture, width: usize, height: usize, target: &mut [u8]) {
        if width == 0 || height == 0 {
            return;
        }
        if !source.is_whole() {
            super::blacken(&mut target[..width * height * 4]);
            return;
        }
        self.prepare((source.width, source.height), (width, height));
        for (row, pixels) in target.chunks_exact_mut(width * 4).take(height).enumerate() {
            self.narrow(source, row);
            self.across.blend_pixels(&self.line, pixels);
        }
    }

    /// Blends the source rows that make up target row `row` into `line`, still as wide as the source.
    fn narrow(&mut self, source: &Picture, row: usize) {
        let stride = source.width * 4;
        let (start, weights) = self.down.taps(row);
        let rows = source.rgba[start * stride..].chunks_exact(stride);
        if let [_] = weights {
            self.line.copy_from_slice(&source.rgba[start * stride..][..stride]);
            return;
        }
        self.sums.fill(HALF);
        for (&weight, pixels) in weights.iter().zip(rows) {
            for (sum, &value) in self.sums.iter_mut().zip(pixels) {
                *sum += weight * u32::from(value);
            }
        }
        for (value, &sum) in self.line.iter_mut().zip(&self.sums) {
            *value = (sum >> WEIGHT_BITS) as u8;
        }
    }

    fn prepare(&mut self, source: (usize, usize), target: (usize, usize)) {
        if (self.source, self.target) == (source, target) {
            return;
        }
        // Source pixels for each target pixel; the smaller one fills the target in both directions.
        let step = (source.0 as f64 / target.0 as f64).min(source.1 as f64 / target.1 as f64);
        self.across = Axis::new(source.0, target.0, step);
        self.down = Axis::new(source.1, target.1, step);
        self.sums = vec![0; source.0 * 4];
        self.line = vec![0; source.0 * 4];
        (self.source, self.target) = (source, target);
    }
}

/// Weights are parts of 2^14: a sum of 255 times all of them stays far inside 32 bits.
const WEIGHT_BITS: u32 = 14;
const ONE: u32 = 1 << WEIGHT_BITS;
const HALF: u32 = ONE / 2;

/// For each target coordinate, the first source coordinate it takes from and the weights from there on.
#[derive(Debug, Default)]
struct Axis {
    spans: Vec<Span>,
    weights: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    first_weight: usize,
    taps: usize,
}

impl Axis {
    fn new(source: usize, target: usize, step: f64) -> Self {
        let mut axis = Self::default();
        let margin = (source as f64 - target as f64 * step) / 2.0;
        // Without scaling, whole pixels stay whole pixels.
        let margin = if step == 1.0 { margin.floor() } else { margin };
        for index in 0..target {
            axis.push(source, margin + (index as f64 + 0.5) * step, step.max(1.0));
        }
        axis
    }

    fn push(&mut self, source: usize, centre: f64, reach: f64) {
        let weight = |at: usize| (1.0 - ((at as f64 + 0.5) - centre).abs() / reach).max(0.0);
        let last = source - 1;
        let low = ((centre - reach).floor().max(0.0) as usize).min(last);
        let high = ((centre + reach).ceil().max(0.0) as usize).min(last);
        let covered = |at: &usize| weight(*at) > 0.0;
        let start = (low..=high).find(covered).unwrap_or(low);
        let end = (start..=high).rfind(covered).unwrap_or(start);
        let total: f64 = (start..=end).map(weight).sum();
        let first_weight = self.weights.len();
        self.weights.extend(
            (start..=end).map(
                |at| {
                    if total > 0.0 { (weight(at) / total * f64::from(ONE)).round() as u32 } else { ONE }
                },
            ),
        );
        self.settle(first_weight);
        self.spans.push(Span { start, first_weight, taps: end - start + 1 });
    }

    /// Gives what rounding lost or won to the heaviest weight, so that a flat area keeps its value exactly.
    fn settle(&mut self, first_weight: usize) {
        let weights = &mut self.weights[first_weight..];
        let sum: u32 = weights.iter().sum();
        if let Some(heaviest) = weights.iter_mut().max() {
            *heaviest = (*heaviest + ONE).saturating_sub(sum);
        }
    }

    fn taps(&self, index: usize) -> (usize, &[u32]) {
        let span = self.spans[index];
        (span.start, &self.weights[span.first_weight..][..span.taps])
    }

    fn blend_pixels(&self, line: &[u8], target: &mut [u8]) {
        let (line, _) = line.as_chunks::<4>();
        let (target, _) = target.as_chunks_mut::<4>();
        for (index, pixel) in target.iter_mut().enumerate() {
            let (start, weights) = self.taps(index);
            *pixel = match weights {
                [_] => line[start],
                _ => blend(&line[start..], weights),
            };
        }
    }
}

fn blend(pixels: &[[u8; 4]], weights: &[u32]) -> [u8; 4] {
    let mut sums = [HALF; 4];
    for (pixel, &weight) in pixels.iter().zip(weights) {
        for (sum, &value) in sums.iter_mut().zip(pixel) {
            *sum += weight * u32::from(value);
        }
    }
    sums.map(|sum| (sum >> WEIGHT_BITS) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: usize, height: usize, pixel: impl Fn(usize, usize) -> [u8; 4]) -> Picture {
        let rgba = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).flat_map(|(x, y)| pixel(x, y)).collect();
        Picture { width, height, rgba }
    }

    fn scaled(source: &Picture, width: usize, height: usize) -> Picture {
        let mut target = Picture::default();
        Scaler::default().scale(source, width, height, &mut target);
        target
    }

    #[test]
    fn a_picture_of_the_right_size_is_copied() {
        let source = picture(48, 32, |x, y| [x as u8, y as u8, (x * y) as u8, 255]);
        assert_eq!(scaled(&source, 48, 32), source);
    }

    #[test]
    fn a_flat_picture_keeps_its_colour_at_any_size() {
        let source = picture(97, 61, |_, _| [255, 3, 128, 255]);
        for (width, height) in [(1, 1), (16, 16), (96, 61), (256, 144), (431, 7)] {
            let target = scaled(&source, width, height);
            assert!(
                target.rgba.as_chunks::<4>().0.iter().all(|pixel| *pixel == [255, 3, 128, 255]),
                "{width}x{height}"
            );
        }
    }

    #[test]
    fn half_the_size_is_the_average() {
        let source = picture(64, 64, |x, _| [if x % 2 == 0 { 0 } else { 200 }, 0, 0, 255]);
        let target = scaled(&source, 32, 32);
        assert!(target.rgba.as_chunks::<4>().0.iter().skip(1).take(30).all(|pixel| pixel[0].abs_diff(100) < 2));
    }

    #[test]
    fn what_sticks_out_is_cut_off_evenly() {
        let source = picture(40, 16, |x, _| [if (12..28).contains(&x) { 255 } else { 0 }, 0, 0, 255]);
        let target = scaled(&source, 16, 16);
        assert!(target.rgba.as_chunks::<4>().0.iter().all(|pixel| pixel[0] == 255));
    }

    #[test]
    fn one_pixel_fills_any_target() {
        let target = scaled(&picture(1, 1, |_, _| [9, 8, 7, 255]), 33, 5);
        assert!(target.rgba.as_chunks::<4>().0.iter().all(|pixel| *pixel == [9, 8, 7, 255]));
    }

    #[test]
    fn a_picture_that_is_not_whole_becomes_black() {
        let source = Picture { width: 10, height: 10, rgba: vec![1; 7] };
        assert_eq!(scaled(&source, 2, 1).rgba, [0, 0, 0, 255, 0, 0, 0, 255]);
    }
}
