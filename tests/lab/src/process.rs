//! A process of a run: this program again, with other arguments, which tells lines of JSON.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use crate::peers::PeerError;

/// Killed when dropped, unless it ended before.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Process {
    /// Starts this program with `args`, inside a namespace if one is named.
    pub(crate) fn start(namespace: Option<&str>, args: &[String]) -> Result<Self, PeerError> {
        let own = std::env::current_exe()?;
        let mut command = match namespace {
            None => Command::new(own),
            Some(name) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", name]).arg(own);
                command
            }
        };
        let mut child = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().ok_or("its output is not piped")?;
        let (told, lines) = sync_channel(LINES_MAX);
        // Ends with the process: then there are no more lines.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if told.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { input: child.stdin.take(), child, lines })
    }

    /// The next thing it tells.
    pub(crate) fn hear<T: DeserializeOwned>(&self, patience: Duration) -> Result<T, PeerError> {
        match self.lines.recv_timeout(patience) {
            Ok(line) => Ok(serde_json::from_str(&line)?),
            Err(RecvTimeoutError::Timeout) => Err(format!("a process of the run says nothing for {patience:?}").into()),
            Err(RecvTimeoutError::Disconnected) => Err("a process of the run ended without a word".into()),
        }
    }

    /// Ends its input, which asks it to end, and gives its last words.
    pub(crate) fn end<T: DeserializeOwned>(mut self, patience: Duration) -> Result<T, PeerError> {
        self.input = None;
        let last = self.hear(patience);
        let until = Instant::now() + patience;
        while self.child.try_wait()?.is_none() && Instant::now() < until {
            std::thread::sleep(EXIT_POLL);
        }
        last
    }
}

/// Lines that wait to be heard: a process tells two in its life.
const LINES_MAX: usize = 4;
/// How often an ending process is looked at.
const EXIT_POLL: Duration = Duration::from_millis(2);

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
