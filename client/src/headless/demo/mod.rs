//! A whole meeting in one process: a server, a host and two guests, each a complete engine, over real sockets.
//!
//! Nothing here reaches into an engine. The three do by [`Command`](crate::engine::protocol::Command) what people do
//! with a window, and the table at the end counts what their engines told and what lies on the disk.

mod assets;
mod figures;
mod person;
mod promises;
mod script;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::options::DemoOptions;
use super::participant::block_on;
use super::terminal::{complain, say};

/// Runs the demo; `SUCCESS` only if every promise held.
pub(super) fn run(options: &DemoOptions) -> ExitCode {
    let folder = match Folder::create() {
        Ok(folder) => folder,
        Err(error) => {
            complain(&format!("The demo has no folder to work in: {error}."));
            return ExitCode::FAILURE;
        }
    };
    let outcome = block_on(script::play(options, &folder.0));
    let (promises, meeting) = match outcome.and_then(|outcome| outcome) {
        Ok(played) => played,
        Err(sentence) => {
            complain(&sentence);
            return ExitCode::FAILURE;
        }
    };
    table::print(&meeting);
    if let Some(path) = &options.figures
        && let Err(error) = figures::write(path, &meeting)
    {
        complain(&format!("The figures could not be written to {}: {error}.", path.display()));
        return ExitCode::FAILURE;
    }
    conclude(&promises)
}

fn conclude(promises: &promises::Promises) -> ExitCode {
    let broken = promises.broken();
    let total = promises.count();
    say("");
    if broken.is_empty() {
        say(&format!("All {total} promises held."));
        return ExitCode::SUCCESS;
    }
    for promise in &broken {
        complain(&format!("Broken: {promise}"));
    }
    complain(&format!("{} of {total} promises were broken.", broken.len()));
    ExitCode::FAILURE
}

/// Where the three keep their state and their files; removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn create() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("conclave-demo-{}", std::process::id()));
        // One of our process id is left from a demo that was killed.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The folder of one participant.
fn own_folder(folder: &Path, name: &str) -> PathBuf {
    folder.join(name.to_lowercase())
}
