//! Pictures as luma and chroma, and files of them that any player reads (YUV4MPEG2).

use std::fs::File;
use std::io::{BufWriter, Result, Write};
use std::path::Path;

use client::devices::Picture;

/// Of a tile of 480p.
pub(crate) const WIDTH: usize = 864;
pub(crate) const HEIGHT: usize = 480;

/// One picture of 864×480, 4:2:0, ITU-R BT.601 in its studio range.
#[derive(Clone, Debug)]
pub(crate) struct Planes(Vec<u8>);

impl Planes {
    /// The planes of a picture of that size.
    pub(crate) fn of(picture: &Picture) -> Self {
        let pixels = picture.rgba.as_chunks::<4>().0;
        let mut planes: Vec<u8> = pixels.iter().map(|pixel| weighted(pixel, [66, 129, 25], 16)).collect();
        for weights in [[-38, -74, 112], [112, -94, -18]] {
            for row in (0..HEIGHT).step_by(2) {
                for column in (0..WIDTH).step_by(2) {
                    let mean = mean_of_four(pixels, row * WIDTH + column);
                    planes.push(weighted(&mean, weights, 128));
                }
            }
        }
        Self(planes)
    }
}

fn weighted(pixel: &[u8; 4], weights: [i32; 3], offset: i32) -> u8 {
    let sum: i32 = pixel.iter().zip(weights).map(|(value, weight)| i32::from(*value) * weight).sum();
    (((sum + 128) >> 8) + offset).clamp(0, 255) as u8
}

fn mean_of_four(pixels: &[[u8; 4]], at: usize) -> [u8; 4] {
    let four = [at, at + 1, at + WIDTH, at + WIDTH + 1].map(|at| pixels[at]);
    std::array::from_fn(|channel| (four.iter().map(|pixel| u16::from(pixel[channel])).sum::<u16>() / 4) as u8)
}

/// Writes pictures as a film.
pub(crate) fn write<'a>(path: &Path, rate: u32, pictures: impl Iterator<Item = &'a Planes>) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    writeln!(file, "YUV4MPEG2 W{WIDTH} H{HEIGHT} F{rate}:1 Ip A1:1 C420jpeg")?;
    for Planes(planes) in pictures {
        file.write_all(b"FRAME\n")?;
        file.write_all(planes)?;
    }
    file.flush()
}
