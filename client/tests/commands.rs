//! The program as people type it: a host and two guests, three processes over real sockets, and what goes wrong.

#![expect(clippy::unwrap_used, reason = "the whole file is tests")]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A slow machine under load gets this long for each step.
const STEP: Duration = Duration::from_secs(60);

/// A folder of this test's own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("conclave-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn asset(name: &str) -> String {
    format!("{}/../assets/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// `conclave` with a home of its own.
fn conclave(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conclave"));
    std::fs::create_dir_all(home).unwrap();
    command.env("HOME", home).env("XDG_DATA_HOME", home).env("XDG_STATE_HOME", home);
    command.env("XDG_CONFIG_HOME", home).env_remove("CONCLAVE_NAME");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A running `conclave`, with its lines as they come. Ended when dropped.
struct Running {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("the program starts");
        let lines = listen(child.stdout.take().expect("its output is piped"));
        Self { child, lines, seen: Vec::new() }
    }

    /// Waits for a line with `part` in it, among those that came and those to come.
    fn wait_for(&mut self, part: &str) -> String {
        let deadline = Instant::now() + STEP;
        loop {
            if let Some(line) = self.seen.iter().find(|line| line.contains(part)) {
                return line.clone();
            }
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("no line with “{part}” in {:#?}", self.seen)
                }
            }
        }
    }

    /// Waits for its end; answers whether it was a good one, and all lines, its complaint last.
    fn end(mut self) -> (bool, Vec<String>) {
        let deadline = Instant::now() + STEP;
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            self.seen.push(line);
        }
        let success = self.child.wait().expect("it is our child").success();
        let mut complaint = String::new();
        self.child.stderr.take().expect("it is piped").read_to_string(&mut complaint).unwrap();
        self.seen.extend(complaint.lines().map(str::to_owned));
        (success, std::mem::take(&mut self.seen))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen(output: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The code and the server from the line that a host prints for guests.
fn invitation(line: &str) -> (String, String) {
    let words: Vec<_> = line.split_whitespace().collect();
    let after = |word: &str| {
        let at = words.iter().position(|other| *other == word).expect("the line is a command");
        words[at + 1].to_owned()
    };
    (after("join"), after("--server"))
}

fn statistics(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

fn is_loud(path: &Path) -> bool {
    let mut reader = hound::WavReader::open(path).unwrap();
    reader.samples::<i16>().filter_map(Result::ok).filter(|sample| sample.unsigned_abs() > 500).count() > 4_800
}

#[test]
fn a_host_and_two_guests_meet_by_the_printed_line() {
    let folder = Folder::new("commands");
    let content: Vec<u8> = (0..700_001u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(folder.at("plan.bin"), &content).unwrap();

    let mut host = Running::start(
        conclave(&folder.at("ada"))
            .args(["host", "--listen", "127.0.0.1:0", "--admit", "all", "--name", "Ada"])
            .args(["--camera", &asset("face_864x480_30fps.mjpeg")])
            .args(["--microphone", &asset("voice_a_48k.wav")]),
    );
    let (code, server) = invitation(&host.wait_for("conclave join"));

    let guest = |name: &str| {
        let home = folder.at(name);
        let mut command = conclave(&home);
        command.args(["join", &code, "--server", &server, "--name", name, "--for", "8"]);
        command.arg("--record").arg(home.join("record")).arg("--receive").arg(home.join("received"));
        command.arg("--stats").arg(home.join("stats.jsonl"));
        command
    };
    let mut bo = Running::start(guest("Bo").args(["--microphone", &asset("voice_b_48k.wav")]));
    bo.wait_for("We are in.");
    let mut cy = Running::start(
        guest("Cy")
            .args(["--camera", "test", "--say", "only for Bo", "--to", "Bo", "--send"])
            .arg(folder.at("plan.bin")),
    );
    bo.wait_for("only for Bo");
    bo.wait_for("verified");
    cy.wait_for("plan.bin to Bo: complete");

    for (running, name) in [(bo, "Bo"), (cy, "Cy")] {
        let (success, lines) = running.end();
        assert!(success, "{name}: {lines:#?}");
        let home = folder.at(name);
        assert!(is_loud(&home.join("record/mix.wav")), "{name} heard the others");
        assert!(std::fs::metadata(home.join("record/Ada.mjpeg")).unwrap().len() > 100_000, "{name} saw Ada");
        let looks = statistics(&home.join("stats.jsonl"));
        assert!(looks.len() > 10, "four looks a second");
        let last = looks.last().unwrap();
        assert!(last["round_trip_time_ms"].as_f64().is_some_and(|millis| millis < 1_000.0), "{last}");
        assert!(last["reno"]["cwnd_bytes"].as_u64() > Some(0), "{last}");
        let inbound = last["inbound"].as_array().unwrap();
        assert!(inbound.iter().any(|stream| stream["frames_received"].as_u64() > Some(10)), "{last}");
    }
    assert_eq!(std::fs::read(folder.at("Bo").join("received/plan.bin")).unwrap(), content);
    host.wait_for("left");
    assert!(!host.seen.iter().any(|line| line.contains("only for Bo")), "private words stay private");
}

#[test]
fn what_goes_wrong_is_one_sentence_and_an_exit_code() {
    let folder = Folder::new("wrong");
    let mut host = Running::start(conclave(&folder.at("ada")).args([
        "host",
        "--listen",
        "127.0.0.1:0",
        "--admit",
        "all",
        "--name",
        "Ada",
    ]));
    let (code, server) = invitation(&host.wait_for("conclave join"));
    let wrong = if code == "000000" { "000001" } else { "000000" };
    let taken = server.as_str();
    let cases: [(&[&str], &str); 5] = [
        (&["join", wrong, "--server", &server], "No meeting has this code"),
        (&["join", &code, "--server", &server, "--name", "АDA"], "looks like it"),
        (&["join", &code, "--server", "127.0.0.1:1"], "127.0.0.1:1"),
        (&["join", &code, "--server", "no.such.host.invalid"], "no.such.host.invalid"),
        (&["host", "--listen", taken], "in use"),
    ];
    for (arguments, part) in cases {
        let output = conclave(&folder.at("bo")).args(arguments).output().unwrap();
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        assert!(complaint.contains(part), "{arguments:?}: {complaint}");
    }
}

/// A host who lets everybody in, and what guests type.
fn host(folder: &Folder, arguments: &[&str]) -> (Running, String, String) {
    let mut command = conclave(&folder.at("ada"));
    command.args(["host", "--listen", "127.0.0.1:0", "--admit", "all", "--name", "Ada"]).args(arguments);
    let mut host = Running::start(&mut command);
    let (code, server) = invitation(&host.wait_for("conclave join"));
    (host, code, server)
}

fn guest(folder: &Folder, name: &str, (code, server): (&str, &str), arguments: &[&str]) -> Running {
    let mut command = conclave(&folder.at(name));
    command.args(["join", code, "--server", server, "--name", name]).args(arguments);
    Running::start(&mut command)
}

#[test]
fn words_for_somebody_who_is_not_there_end_with_1_and_say_who_is() {
    let folder = Folder::new("nobody");
    let (_host, code, server) = host(&folder, &[]);
    let (success, lines) = guest(&folder, "Bo", (&code, &server), &["--say", "hi", "--to", "Eve", "--for", "2"]).end();
    assert!(
        !success && lines.last().unwrap().contains("Nobody in the meeting is called “Eve”. Here is Ada."),
        "{lines:#?}"
    );
    let (success, lines) = guest(&folder, "Bo", (&code, &server), &["--say", "\u{200b}"]).end();
    assert!(!success && lines.last().unwrap().contains("could see"), "{lines:#?}");
}

#[test]
fn words_reach_who_is_called_alike_and_their_writer_leaves_when_they_are_there() {
    let folder = Folder::new("alike");
    let (mut host, code, server) = host(&folder, &[]);
    let zoe = guest(&folder, "Zoë Smith", (&code, &server), &[]);
    host.wait_for("Zoë Smith came in.");
    let to = "zoe\u{308}  smith";
    let (success, lines) = guest(&folder, "Bo", (&code, &server), &["--say", "only for you", "--to", to]).end();
    assert!(success, "{lines:#?}");
    let (success, lines) = guest(&folder, "Cy", (&code, &server), &["--say", "to all"]).end();
    assert!(success && lines.iter().any(|line| line.contains("is with 2")), "{lines:#?}");
    drop(zoe);
    host.wait_for("to all");
    assert!(!host.seen.iter().any(|line| line.contains("only for you")));
}

#[test]
fn words_for_somebody_who_comes_later_wait_for_him() {
    let folder = Folder::new("later");
    let (_host, code, server) = host(&folder, &[]);
    let mut bo = guest(&folder, "Bo", (&code, &server), &["--say", "welcome", "--to", "Cy", "--for", "600"]);
    bo.wait_for("Nobody in the meeting is called “Cy”. Here is Ada. Waiting.");
    let mut cy = guest(&folder, "Cy", (&code, &server), &[]);
    cy.wait_for("Bo to Cy: welcome");
    bo.wait_for("is with 1");
}

#[test]
fn sending_a_file_that_is_gone_ends_with_1_and_both_ends_say_why() {
    let folder = Folder::new("gone");
    let path = folder.at("plan.bin");
    std::fs::write(&path, [7; 10_000]).unwrap();
    let (mut host, code, server) = host(&folder, &[]);
    let mut bo = guest(&folder, "Bo", (&code, &server), &["--send", path.to_str().unwrap()]);
    host.wait_for("Bo offers plan.bin (10.0 kB).");
    bo.wait_for("Bo offers plan.bin");
    std::fs::remove_file(&path).unwrap();
    let (success, lines) = bo.end();
    let why = "Ada did not get plan.bin: it is not on the disk here any more.";
    assert!(!success && lines.last().unwrap().contains(why), "{lines:#?}");
    host.wait_for("plan.bin from Bo is not on offer any more: it is not on Bo's disk any more.");
}

#[test]
fn a_file_that_found_no_folder_is_taken_once_there_is_one() {
    let folder = Folder::new("mended");
    let (path, received) = (folder.at("plan.bin"), folder.at("received"));
    std::fs::write(&path, [7; 10_000]).unwrap();
    std::fs::write(&received, "").unwrap();
    let (mut host, code, server) = host(&folder, &["--receive", received.to_str().unwrap()]);
    let mut bo = guest(&folder, "Bo", (&code, &server), &["--send", path.to_str().unwrap()]);
    bo.wait_for("plan.bin to Ada: not begun: Ada's folder for files is no folder.");
    host.wait_for("plan.bin from Bo: not begun: the folder for files here is no folder.");
    std::fs::remove_file(&received).unwrap();
    host.wait_for("plan.bin from Bo: complete, verified");
    let (success, lines) = bo.end();
    assert!(success, "{lines:#?}");
}

/// A host and two guests over real sockets, with everything that the simulated meeting promises checked inside.
fn demo(name: &str, arguments: &[&str]) -> String {
    let folder = Folder::new(name);
    let output = conclave(&folder.0).arg("demo").args(arguments).output().unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{table}\n{complaint}");
    assert!(table.contains("promises held"), "{table}");
    table
}

#[test]
fn the_demo_holds_its_promises() {
    let table = demo("demo", &["--secs", "6"]);
    assert!(table.contains("hash  "), "files are listed: {table}");
}

#[test]
fn the_demo_holds_its_promises_at_3_percent_loss_and_40_ms_each_way() {
    let table = demo("demo-impaired", &["--secs", "8", "--impair", "loss=3,delay=40,jitter=10"]);
    let round_trips = table.lines().filter_map(|line| line.split("(round trip ").nth(1));
    let millis = round_trips.filter_map(|rest| rest.split(" ms").next()?.parse::<f64>().ok());
    assert!(millis.clone().count() == 3 && millis.clone().filter(|millis| *millis >= 60.0).count() == 2, "{table}");
}
