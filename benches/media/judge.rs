//! What a listener and a viewer would say: PESQ and VMAF, by a Python of the lab's own.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::raw_video::{self, Planes};

/// A Python with pesq, numpy and imageio-ffmpeg.
#[derive(Debug)]
pub(crate) struct Judge<'a> {
    python: &'a Path,
    folder: PathBuf,
}

impl Drop for Judge<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl<'a> Judge<'a> {
    /// Nobody judges without a Python.
    pub(crate) fn new(python: Option<&'a Path>, purpose: &str) -> Option<Self> {
        let python = python?;
        let folder = std::env::temp_dir().join(format!("conclave-media-{purpose}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the folder for temporary files can be written to");
        Some(Self { python, folder })
    }

    /// PESQ-WB of pairs of what was said and what was heard, 48 kHz; `None` when the packages are not there.
    pub(crate) fn pesq(&self, pairs: &[(&[i16], Vec<i16>)]) -> Option<Vec<f64>> {
        let mut files = Vec::new();
        for (number, (said, heard)) in pairs.iter().enumerate() {
            files.push(self.raw(&format!("said-{number}"), said));
            files.push(self.raw(&format!("heard-{number}"), heard));
        }
        let output = Command::new(self.python).args(["-c", SCORE]).args(&files).output().ok()?;
        let scores = String::from_utf8(output.stdout).ok()?;
        let scores: Vec<f64> = scores.lines().filter_map(|line| line.trim().parse().ok()).collect();
        (scores.len() == pairs.len()).then_some(scores)
    }

    fn raw(&self, name: &str, samples: &[i16]) -> PathBuf {
        let path = self.folder.join(name);
        let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        std::fs::write(&path, bytes).expect("the folder for temporary files can be written to");
        path
    }

    /// VMAF of what was shown, picture by picture beside what was filmed.
    pub(crate) fn vmaf<'b>(
        &self,
        rate: u32,
        filmed: impl Iterator<Item = &'b Planes>,
        shown: impl Iterator<Item = &'b Planes>,
    ) -> Option<f64> {
        let find = "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())";
        let found = Command::new(self.python).args(["-c", find]).output().ok()?;
        let ffmpeg = String::from_utf8(found.stdout).ok().filter(|path| !path.trim().is_empty())?;
        let paths = [self.folder.join("shown.y4m"), self.folder.join("filmed.y4m")];
        raw_video::write(&paths[0], rate, shown).expect("the folder for temporary files has room");
        raw_video::write(&paths[1], rate, filmed).expect("the folder for temporary files has room");
        let output = Command::new(ffmpeg.trim())
            .args(["-hide_banner", "-nostats", "-i"])
            .arg(&paths[0])
            .arg("-i")
            .arg(&paths[1])
            .args(["-lavfi", "libvmaf=n_threads=2", "-f", "null", "-"])
            .output()
            .ok()?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        told.lines().find_map(|line| line.split("VMAF score: ").nth(1)?.trim().parse().ok())
    }
}

/// Down to 16 kHz, which is what PESQ-WB (ITU-T P.862.2) hears. It knows no number for silence
/// without any noise.
const SCORE: &str = "
import sys, multiprocessing, numpy, pesq
taps = numpy.sinc(numpy.arange(-120, 121) / 3) * numpy.kaiser(241, 8)
def load(path):
    samples = numpy.fromfile(path, '<i2').astype(float)
    return numpy.convolve(samples, taps / taps.sum(), 'same')[::3] / 32768
def score(paths):
    said, heard = (load(path) for path in paths)
    length = min(len(said), len(heard))
    if not heard.any():
        heard += 1e-5 * numpy.random.default_rng(1).standard_normal(len(heard))
    try:
        return pesq.pesq(16000, said[:length], heard[:length], 'wb')
    except pesq.NoUtterancesError:
        return 1.0
with multiprocessing.Pool(2) as pool:
    for value in pool.map(score, list(zip(sys.argv[1::2], sys.argv[2::2]))):
        print(value)
";
