//! The configuration file: which one, and what is wrong with it.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use super::Choices;

/// Read when no other file is named and this one exists.
#[cfg(unix)]
pub const DEFAULT_FILE: Option<&str> = Some("/etc/conclave/server.toml");
/// Read when no other file is named and this one exists.
#[cfg(not(unix))]
pub const DEFAULT_FILE: Option<&str> = None;

/// What stands in a configuration file.
#[derive(Clone, Debug, Default)]
pub struct ConfigFile {
    /// Its settings.
    pub choices: Choices,
    /// The names of those that are there.
    pub names: Vec<String>,
}

impl ConfigFile {
    /// Reads the file that was named, else [`DEFAULT_FILE`], else nothing.
    ///
    /// # Errors
    /// [`FileError`], whose `Display` is the sentence to show.
    pub fn read(named: Option<&Path>) -> Result<Self, FileError> {
        let (path, optional) = match (named, DEFAULT_FILE) {
            (Some(path), _) => (path, false),
            (None, Some(path)) => (Path::new(path), true),
            (None, None) => return Ok(Self::default()),
        };
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path),
            Err(error) if optional && error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(FileError::Unreadable { path: path.to_owned(), source }),
        }
    }

    /// Reads text that stands in `path`.
    ///
    /// # Errors
    /// [`FileError::Invalid`].
    pub(super) fn parse(text: &str, path: &Path) -> Result<Self, FileError> {
        let invalid = |error: toml::de::Error| FileError::invalid(text, path, &error);
        let table: toml::Table = toml::from_str(text).map_err(invalid)?;
        let choices = toml::from_str(text).map_err(invalid)?;
        Ok(Self { choices, names: table.keys().cloned().collect() })
    }
}

/// Why a configuration file does not count.
#[derive(Debug)]
pub enum FileError {
    /// Something in it is not a setting, or not a value of one.
    Invalid {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong there.
        what: String,
    },
    /// It cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl FileError {
    fn invalid(text: &str, path: &Path, error: &toml::de::Error) -> Self {
        let start = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = 1 + text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count();
        Self::Invalid { path: path.to_owned(), line, what: error.message().replace('\n', ", ") }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { path, line, what } => write!(f, "{}, line {line}: {what}.", path.display()),
            Self::Unreadable { path, .. } => write!(f, "The configuration file {} cannot be read.", path.display()),
        }
    }
}

impl Error for FileError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Invalid { .. } => None,
            Self::Unreadable { source, .. } => Some(source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_named_must_be_there() {
        let error = ConfigFile::read(Some(Path::new("/nowhere/server.toml"))).unwrap_err();
        assert_eq!(error.to_string(), "The configuration file /nowhere/server.toml cannot be read.");
        assert!(error.source().is_some());
    }
}
