//! The shipped programs as processes: a server, a host who waits, a sender and a receiver.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Where everything lies.
pub(crate) struct Place {
    /// Of the build.
    pub(crate) target: PathBuf,
    /// Of the files, on the disk of the build.
    pub(crate) folder: PathBuf,
    programs: PathBuf,
}

impl Place {
    /// The programs beside this one, if they are built.
    pub(crate) fn find() -> Option<Self> {
        let this = std::env::current_exe().ok()?;
        let programs = this.parent()?.parent()?.to_owned();
        let target = programs.parent()?.to_owned();
        let there = ["conclave", "conclave-server"].iter().all(|name| programs.join(name).exists());
        let folder = target.join("lab-files");
        std::fs::create_dir_all(&folder).ok()?;
        there.then_some(Self { target, folder, programs })
    }

    fn program(&self, name: &str, state: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        let state = self.folder.join("state").join(state);
        command.env("HOME", &state).env("XDG_STATE_HOME", &state).stdin(Stdio::null());
        command
    }
}

/// One running program, killed when it is dropped.
pub(crate) struct Program {
    name: &'static str,
    child: Child,
    lines: Receiver<String>,
    /// Memory when it was ready.
    ready_mb: f64,
}

impl Program {
    fn start(name: &'static str, mut command: Command, ready: &str) -> (Self, String) {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program can be started");
        let (sender, lines) = channel();
        let (out, err) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        let read = |from: Box<dyn Read + Send>| {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(from).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        };
        read(Box::new(out));
        read(Box::new(err));
        let mut program = Self { name, child, lines, ready_mb: 0.0 };
        let line = program.wait_for(ready, Duration::from_secs(60)).pop().expect("the one waited for");
        program.ready_mb = program.memory_mb("VmRSS:");
        (program, line)
    }

    /// Lines up to one that holds these words.
    pub(crate) fn wait_for(&self, words: &str, patience: Duration) -> Vec<String> {
        let (give_up, mut heard) = (Instant::now() + patience, Vec::new());
        loop {
            let left = give_up.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => heard.push(line),
                Err(_) => panic!("{}: no “{words}” in {heard:#?}", self.name),
            }
            if heard.last().is_some_and(|line| line.contains(words)) {
                return heard;
            }
        }
    }

    fn memory_mb(&self, field: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kb = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
        kb.map_or(f64::NAN, |kb| kb * 1024.0 / 1e6)
    }

    fn growth_mb(&self) -> (&'static str, f64) {
        (self.name, self.memory_mb("VmHWM:") - self.ready_mb)
    }

    /// Processor time since the start, user and system.
    fn cpu_secs(&self) -> (&'static str, f64) {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let ticks =
            |at: usize| fields.split(' ').nth(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(f64::NAN);
        (self.name, (ticks(11) + ticks(12)) / TICKS_PER_SEC)
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What `/proc` counts processor time in; the same on every Linux of today.
const TICKS_PER_SEC: f64 = 100.0;

/// A meeting of programs.
pub(crate) struct World {
    pub(crate) receiver: Program,
    sender: Program,
    _host: Program,
    server: Program,
}

impl World {
    /// Starts all of them; the receiver takes what the sender sends.
    pub(crate) fn start(place: &Place, source: &Path, folder: &Path) -> Self {
        let mut command = place.program("conclave-server", "server");
        command.args(["--listen", "127.0.0.1:0", "--admin-socket", "off", "--state-dir"]);
        command.arg(place.folder.join("state/server")).env("NO_COLOR", "1");
        let (server, line) = Program::start("server", command, "address=");
        let address = line.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next());
        let address = address.expect("the server says where it listens").to_owned();
        let mut command = place.program("conclave", "host");
        command.args(["host", "--server", &address, "--admit", "all", "--name", "Ada"]);
        let (host, line) = Program::start("host", command, "Meeting code:");
        let code: String = line.chars().filter(char::is_ascii_digit).collect();
        let join = |name: &str| {
            let mut command = place.program("conclave", name);
            command.args(["join", &code, "--server", &address, "--name", name, "--for", "3600"]);
            command
        };
        let mut command = join("receiver");
        command.arg("--receive").arg(folder);
        let (receiver, _) = Program::start("receiver", command, "We are in.");
        let mut command = join("sender");
        command.arg("--send").arg(source);
        let (sender, _) = Program::start("sender", command, "We are in.");
        let world = Self { receiver, sender, _host: host, server };
        // The sender has hashed it by now.
        world.receiver.wait_for(" offers ", Duration::from_secs(120));
        world
    }

    /// Memory at the most, above what it was before the file.
    pub(crate) fn memory_growth_mb(&self) -> [(&'static str, f64); 3] {
        [self.server.growth_mb(), self.sender.growth_mb(), self.receiver.growth_mb()]
    }

    /// Processor time of each so far.
    pub(crate) fn cpu_secs(&self) -> [(&'static str, f64); 3] {
        [self.server.cpu_secs(), self.sender.cpu_secs(), self.receiver.cpu_secs()]
    }

    /// Kills one of the three, in turn; answers which.
    pub(crate) fn kill(&mut self, round: usize) -> &'static str {
        let victim = match round % 3 {
            0 => &mut self.receiver,
            1 => &mut self.sender,
            _ => &mut self.server,
        };
        victim.kill();
        victim.name
    }
}
