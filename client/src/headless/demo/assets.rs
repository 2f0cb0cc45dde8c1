//! The clip and the voices that stand in for cameras and microphones.

use std::path::{Path, PathBuf};

use crate::devices::DeviceChoice;

/// A face, half a minute.
const CLIP: &str = "face_864x480_30fps.mjpeg";
/// Two people who speak.
const VOICES: [&str; 2] = ["voice_a_48k.wav", "voice_b_48k.wav"];

/// What the demo films and hears.
#[derive(Clone, Debug)]
pub(super) struct Assets {
    /// A camera: the clip, or the test pattern where the clip is not found.
    pub(super) camera: DeviceChoice,
    /// Two microphones: the voices, or the tone.
    pub(super) microphones: [DeviceChoice; 2],
    /// Where they were found.
    pub(super) folder: Option<PathBuf>,
}

impl Assets {
    /// Looks in `assets` of the current folder and of every folder above the program, which is where a clone of the
    /// repository has them whether the program is run by Cargo or by its path.
    pub(super) fn find() -> Self {
        let program = std::env::current_exe().unwrap_or_default();
        let here = std::env::current_dir().unwrap_or_default();
        let folder = here
            .ancestors()
            .chain(program.ancestors())
            .map(|folder| folder.join("assets"))
            .find(|folder| is_complete(folder));
        match folder {
            Some(folder) => Self {
                camera: DeviceChoice::File(folder.join(CLIP)),
                microphones: VOICES.map(|voice| DeviceChoice::File(folder.join(voice))),
                folder: Some(folder),
            },
            None => Self {
                camera: DeviceChoice::Synthetic,
                microphones: [DeviceChoice::Synthetic, DeviceChoice::Synthetic],
                folder: None,
            },
        }
    }
}

fn is_complete(folder: &Path) -> bool {
    [CLIP].iter().chain(&VOICES).all(|name| folder.join(name).is_file())
}
