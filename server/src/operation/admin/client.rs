//! The asking end: one command, one answer.

use std::error::Error;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{REPLY_MAX_BYTES, Reply, Request};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks the server at `path`, waiting for its answer.
///
/// # Errors
/// [`AskError`], whose `Display` is the sentence to show.
pub fn ask(path: &Path, request: &Request) -> Result<Reply, AskError> {
    let stream = UnixStream::connect(path).map_err(|source| AskError::connecting(path, source))?;
    let answered = exchange(stream, request);
    answered.map_err(|source| AskError::NoAnswer { path: path.to_owned(), source })
}

fn exchange(mut stream: UnixStream, request: &Request) -> io::Result<Reply> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut reply = String::new();
    BufReader::new(stream.take(REPLY_MAX_BYTES)).read_line(&mut reply)?;
    Ok(serde_json::from_str(&reply)?)
}

/// Why there is no answer. `Display` is the sentence to show.
#[derive(Debug)]
pub enum AskError {
    /// This user may not ask.
    Forbidden {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something is there and did not answer, or not as a server of this version does.
    NoAnswer {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody is there.
    NotRunning {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl AskError {
    fn connecting(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if source.kind() == io::ErrorKind::PermissionDenied {
            Self::Forbidden { path, source }
        } else {
            Self::NotRunning { path, source }
        }
    }
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden { path, .. } => {
                write!(f, "You may not ask the server at {}. Ask as root, or as the user it runs as.", path.display())
            }
            Self::NoAnswer { path, .. } => write!(f, "The server at {} did not answer.", path.display()),
            Self::NotRunning { path, .. } => write!(
                f,
                "No server answers at {}. If one runs elsewhere, name its socket with --admin-socket.",
                path.display()
            ),
        }
    }
}

impl Error for AskError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Forbidden { source, .. } | Self::NoAnswer { source, .. } | Self::NotRunning { source, .. } => {
                Some(source)
            }
        }
    }
}
