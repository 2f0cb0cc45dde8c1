//! The shipped programs as processes, and the lines they print.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// One running program; killed when dropped.
pub(crate) struct Program {
    what: String,
    child: Child,
    lines: Receiver<String>,
    heard: Vec<String>,
}

/// How long anything may take on a slow and busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The folder of the programs under test: that of the build this test belongs to.
pub(crate) fn find_programs() -> Result<PathBuf, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let folder = this.ancestors().nth(2).ok_or("the test is in no folder of a build")?.to_owned();
    let there = ["conclave", "conclave-server"].iter().all(|name| folder.join(name).exists());
    if there { Ok(folder) } else { Err("the programs are not built: cargo build --workspace".into()) }
}

impl Program {
    pub(crate) fn start(what: &str, command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (lines_in, lines) = channel();
        read_lines(child.stdout.take().unwrap(), lines_in.clone());
        read_lines(child.stderr.take().unwrap(), lines_in);
        Self { what: what.to_owned(), child, lines, heard: Vec::new() }
    }

    /// The first line, of those that were and those that come, that holds these words.
    pub(crate) fn line_with(&mut self, words: &str) -> String {
        let give_up = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.heard.iter().find(|line| line.contains(words)) {
                return line.clone();
            }
            match self.lines.recv_timeout(give_up.saturating_duration_since(Instant::now())) {
                Ok(line) => self.heard.push(line),
                Err(_) => panic!("{}: no “{words}” in {:#?}", self.what, self.heard),
            }
        }
    }

    /// The six digits that a host's program prints.
    pub(crate) fn code(&mut self) -> String {
        let line = self.line_with("Meeting code: ");
        let digits: String = line.chars().skip_while(|c| *c != ':').filter(char::is_ascii_digit).collect();
        assert_eq!(digits.len(), 6, "{line}");
        digits
    }

    /// Asks it to end, as Ctrl+C does.
    pub(crate) fn interrupt(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success(), "{} is gone", self.what);
    }

    /// Waits for the end; answers how it ended and all it said.
    pub(crate) fn end(mut self) -> (ExitStatus, Vec<String>) {
        let give_up = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(give_up.saturating_duration_since(Instant::now())) {
                Ok(line) => self.heard.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("{} does not end: {:#?}", self.what, self.heard),
            }
        }
        (self.child.wait().unwrap(), std::mem::take(&mut self.heard))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_lines(from: impl Read + Send + 'static, to: Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if to.send(line).is_err() {
                return;
            }
        }
    });
}
