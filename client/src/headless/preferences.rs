//! What a person chose in the window and expects to find again: a small file of JSON.
//!
//! Participants without a window do not read it: what they do stands on their command line.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use directories::ProjectDirs;
use serde::{Deserialize, Serialize};

use crate::devices::processing::VoiceProcessing;
use crate::engine::protocol::Command;

/// What is kept. Whatever a file lacks is as by default, so that older and newer programs share it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Preferences {
    pub(super) voice_processing: VoiceProcessing,
}

/// Bytes of the file that are read; it has a few hundred.
const FILE_MAX_BYTES: u64 = 64 << 10;

/// The preferences and the file they are in.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) preferences: Preferences,
    path: PathBuf,
}

impl Kept {
    /// Where the operating system keeps the configuration of programs, or where the program was started.
    pub(super) fn default_path() -> PathBuf {
        let folder = ProjectDirs::from("", "", "conclave").map(|dirs| dirs.config_dir().to_owned());
        folder.unwrap_or_default().join("preferences.json")
    }

    /// Reads the file. When it is there and makes no sense, everything is as by default, and the sentence says so.
    pub(super) fn open(path: PathBuf) -> (Self, Option<String>) {
        match read(&path) {
            Ok(preferences) => (Self { preferences, path }, None),
            Err(error) => {
                let sentence = format!("The preferences in {} cannot be read: {error}.", path.display());
                (Self { preferences: Preferences::default(), path }, Some(sentence))
            }
        }
    }

    /// Keeps what this command chooses, if it is something to be kept.
    ///
    /// # Errors
    /// A sentence when the file cannot be written; the choice holds until the program ends.
    pub(super) fn note(&mut self, command: &Command) -> Result<(), String> {
        let Command::ChooseVoiceProcessing(chosen) = command else {
            return Ok(());
        };
        self.preferences.voice_processing = *chosen;
        self.write().map_err(|error| format!("The choice is not kept for the next time: {error}."))
    }

    /// The new file takes the place of the old one when it is whole.
    fn write(&self) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let new = self.path.with_extension("json.new");
        fs::write(&new, serde_json::to_vec_pretty(&self.preferences)?)?;
        fs::rename(new, &self.path)
    }
}

fn read(path: &Path) -> io::Result<Preferences> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Preferences::default()),
        Err(error) => return Err(error),
    };
    let mut text = Vec::new();
    file.take(FILE_MAX_BYTES).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::scratch::Scratch;

    #[test]
    fn a_choice_survives_a_restart() {
        let folder = Scratch::new("preferences");
        let path = folder.0.join("not/there/yet/preferences.json");
        let (mut kept, told) = Kept::open(path.clone());
        assert_eq!((&kept.preferences, told), (&Preferences::default(), None));
        let chosen = VoiceProcessing { noise_suppression: false, original_sound: true, ..VoiceProcessing::default() };
        kept.note(&Command::ChooseVoiceProcessing(chosen)).unwrap();
        kept.note(&Command::Leave).unwrap();
        assert_eq!(Kept::open(path).0.preferences.voice_processing, chosen);
    }

    #[test]
    fn what_an_older_program_did_not_know_is_as_by_default() {
        let folder = Scratch::new("preferences");
        let path = folder.0.join("preferences.json");
        fs::write(&path, r#"{"voice_processing": {"automatic_gain": false}, "of a newer one": 7}"#).unwrap();
        let expected = VoiceProcessing { automatic_gain: false, ..VoiceProcessing::default() };
        let (kept, told) = Kept::open(path);
        assert_eq!((kept.preferences.voice_processing, told), (expected, None));
    }

    #[test]
    fn a_broken_file_is_told_of_and_mended_by_the_next_choice() {
        let folder = Scratch::new("preferences");
        let path = folder.0.join("preferences.json");
        fs::write(&path, "{\"voice").unwrap();
        let (mut kept, told) = Kept::open(path.clone());
        assert!(told.unwrap().contains("preferences.json"));
        assert_eq!(kept.preferences, Preferences::default());
        kept.note(&Command::ChooseVoiceProcessing(VoiceProcessing::ORIGINAL)).unwrap();
        let (kept, told) = Kept::open(path);
        assert_eq!((kept.preferences.voice_processing, told), (VoiceProcessing::ORIGINAL, None));
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_a_sentence() {
        let folder = Scratch::new("preferences");
        fs::write(folder.0.join("file"), "").unwrap();
        let (mut kept, _) = Kept::open(folder.0.join("file/preferences.json"));
        assert!(kept.note(&Command::ChooseVoiceProcessing(VoiceProcessing::ORIGINAL)).is_err());
    }
}
