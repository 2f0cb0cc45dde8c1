//! The program itself: a configuration file, signals, admin commands, and what its log does not say.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "the whole file is tests")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use common::wire::control::{Action, ClientMessage, EndReason, Notice, Refusal, ServerMessage};
use support::{Client, PATIENCE, StateDir};

/// A running `conclave-server` that logs JSON.
struct Program {
    child: Child,
    address: SocketAddr,
    log: Option<JoinHandle<String>>,
    dir: StateDir,
}

impl Program {
    /// Starts it with a configuration file and these lines in it, logging as much as `level`.
    fn start(level: &str, more: &str) -> Self {
        Self::start_as(command, level, more)
    }

    fn start_as(command: impl Fn(&StateDir) -> Command, level: &str, more: &str) -> Self {
        let dir = StateDir::new();
        fs::create_dir_all(dir.path()).unwrap();
        let state = dir.path().join("state");
        let file = format!(
            "listen = \"127.0.0.1:0\"\nstate_dir = {state:?}\nlog = \"{level}\"\nlog_format = \"json\"\n{more}\n"
        );
        fs::write(dir.path().join("server.toml"), file).unwrap();
        let mut child = command(&dir).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let (found, address) = mpsc::channel();
        let log = thread::spawn(move || {
            let (mut log, mut address) = (String::new(), String::new());
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let event: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
                match event["message"].as_str() {
                    Some("listening") => address = event["address"].as_str().unwrap_or_default().to_owned(),
                    Some("ready") => found.send(address.clone()).unwrap_or_default(),
                    _ => {}
                }
                log += &(line + "\n");
            }
            log
        });
        let address = address.recv_timeout(PATIENCE).expect("the server says where it listens").parse().unwrap();
        Self { child, address, log: Some(log), dir }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Runs an admin command to its end.
    fn admin(&self, arguments: &[&str]) -> Output {
        command(&self.dir).args(arguments).output().unwrap()
    }

    /// Waits for the end; answers whether it ended well, and the log.
    fn ended(mut self) -> (bool, String) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > deadline => panic!("the server did not stop"),
                None => thread::yield_now(),
            }
        };
        (status.success(), self.log.take().unwrap().join().unwrap())
    }
}

impl Drop for Program {
    /// A test that failed leaves no server behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `ulimit` is a part of the shell.
fn command_with_files(dir: &StateDir, ulimit: &str) -> Command {
    let mut shell = Command::new("sh");
    let script = format!("ulimit {ulimit} && exec \"$0\" \"$@\"");
    shell.args(["-c", &script, env!("CARGO_BIN_EXE_conclave-server"), "--config"]).arg(dir.path().join("server.toml"));
    shell
}

fn command(dir: &StateDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conclave-server"));
    command.arg("--config").arg(dir.path().join("server.toml"));
    command
}

#[test]
fn a_small_soft_limit_of_open_files_is_raised_to_the_hard_one_and_said_once() {
    let program = Program::start_as(|dir| command_with_files(dir, "-S -n 64"), "info", "");
    let hard = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let status: serde_json::Value =
        serde_json::from_slice(&program.admin(&["status", "--json"]).stdout).expect("a status");
    assert_eq!(status["files_max"].as_u64(), hard);
    let forgiven = program.admin(&["forgive"]);
    assert!(forgiven.status.success());
    assert_eq!(String::from_utf8_lossy(&forgiven.stdout), "Nobody was kept out for wrong codes.\n");
    assert!(!program.admin(&["forgive", "the class"]).status.success());
    program.signal("INT");
    let (well, log) = program.ended();
    assert!(well && log.matches("open files").count() == 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_meeting_leaves_no_name_no_code_and_no_address_in_the_log_even_at_debug() {
    let program = Program::start("debug", "");
    let (mut host, room) = Client::create(program.address, "Adalbert").await;
    let mut guest = Client::knock(program.address, room.code, "Brunhild").await;
    assert!(matches!(host.next().await, Some(ServerMessage::KnockArrived { .. })));
    host.send(&ClientMessage::Act(Action::AdmitAll)).await;
    guest.admitted().await;
    let ports = [host.port().to_string(), guest.port().to_string()];
    guest.send(&ClientMessage::Leave).await;
    while !matches!(host.next().await, Some(ServerMessage::MemberLeft { .. })) {}
    host.send(&ClientMessage::Act(Action::End)).await;
    assert_eq!(guest.next().await, None, "who left hears no more");
    let listed = program.admin(&["rooms"]);
    assert!(listed.status.success());
    program.signal("TERM");
    let (well, log) = program.ended();
    assert!(well && log.contains("drained"), "{log}");
    for secret in ["Adalbert", "Brunhild", &room.code.to_string(), &format!(":{}", ports[0]), &format!(":{}", ports[1])]
    {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_a_meeting_go_on_and_a_second_one_ends_it() {
    let program = Program::start("info", "drain_timeout_secs = 600");
    let (mut host, _) = Client::create(program.address, "Ada").await;
    program.signal("TERM");
    assert_eq!(host.next().await, Some(ServerMessage::Notice(Notice::Draining { secs: 600 })));
    let mut late = Client::connect(program.address).await;
    late.send(&ClientMessage::Create { name: "Bo".into() }).await;
    assert_eq!(late.next().await, Some(ServerMessage::Refused(Refusal::Draining)));
    program.signal("TERM");
    assert_eq!(host.next().await, Some(ServerMessage::Ended(EndReason::ServerStopped)));
    assert!(program.ended().0);
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_stops_at_once() {
    let program = Program::start("info", "drain_timeout_secs = 600");
    let (mut host, _) = Client::create(program.address, "Ada").await;
    program.signal("INT");
    assert_eq!(host.next().await, Some(ServerMessage::Ended(EndReason::ServerStopped)));
    assert!(program.ended().0);
}

#[tokio::test(flavor = "multi_thread")]
async fn admin_commands_print_tables_and_json_and_fail_with_a_sentence() {
    let program = Program::start("info", "");
    let (mut host, room) = Client::create(program.address, "Ada").await;
    let text = |output: &Output| String::from_utf8(output.stdout.clone()).unwrap();
    let rooms = text(&program.admin(&["rooms"]));
    assert!(rooms.lines().count() == 2 && rooms.contains("MEMBERS"), "{rooms}");
    assert!(!rooms.contains(&room.code.to_string()));
    let json: serde_json::Value = serde_json::from_str(&text(&program.admin(&["rooms", "1", "--json"]))).unwrap();
    assert_eq!(json[0]["name"], "Ada");
    assert!(text(&program.admin(&["status"])).starts_with("serving at 127.0.0.1:"));
    let failed = program.admin(&["kick", "1", "9"]);
    assert!(!failed.status.success());
    assert_eq!(String::from_utf8(failed.stderr).unwrap(), "There is no member 9 in a room 1.\n");
    assert!(program.admin(&["drain", "--timeout-secs", "60"]).status.success());
    assert_eq!(host.next().await, Some(ServerMessage::Notice(Notice::Draining { secs: 60 })));
    assert!(program.admin(&["end", "1"]).status.success());
    assert_eq!(host.next().await, Some(ServerMessage::Ended(EndReason::EndedByOperator)));
    let (well, _) = program.ended();
    assert!(well, "a drained server ends well");
}

#[test]
fn commands_without_a_server_and_bad_files_are_one_sentence_and_a_failure() {
    let dir = StateDir::new();
    fs::create_dir_all(dir.path()).unwrap();
    let said = |arguments: &[&str]| {
        let output = command(&dir).args(arguments).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(said(&["config"]).contains("server.toml cannot be read."));
    fs::write(dir.path().join("server.toml"), format!("state_dir = {:?}\n", dir.path())).unwrap();
    assert!(said(&["status"]).starts_with("No server answers at "));
    fs::write(dir.path().join("server.toml"), "\n\nworkers = 0\n").unwrap();
    assert!(said(&[]).ends_with("server.toml, line 3: expected a whole number from 1 to 64, not “0”.\n"));
}

/// A meeting of a host and a guest, then a drain until the host has ended it; whether the server ended well.
#[cfg(target_os = "linux")]
async fn meets_and_drains(mut program: Program) -> bool {
    let (mut host, room) = Client::create(program.address, "Ada").await;
    let mut guest = Client::knock(program.address, room.code, "Bo").await;
    assert!(matches!(host.next().await, Some(ServerMessage::KnockArrived { .. })));
    host.send(&ClientMessage::Act(Action::AdmitAll)).await;
    guest.admitted().await;
    program.signal("TERM");
    while !matches!(host.next().await, Some(ServerMessage::Notice(Notice::Draining { .. }))) {}
    assert!(program.admin(&["status"]).status.success(), "it drains, and answers");
    host.send(&ClientMessage::Act(Action::End)).await;
    while guest.next().await.is_some() {}
    program.log = Some(thread::spawn(String::new));
    program.ended().0
}

/// A server whose log goes to `log`; where it listens is asked of the server itself.
#[cfg(target_os = "linux")]
fn with_log_to(log: Stdio) -> Program {
    let dir = StateDir::new();
    fs::create_dir_all(dir.path()).unwrap();
    let state = dir.path().join("state");
    let file = format!("listen = \"127.0.0.1:0\"\nstate_dir = {state:?}\nlog = \"trace\"\ndrain_timeout_secs = 600\n");
    fs::write(dir.path().join("server.toml"), file).unwrap();
    let mut program =
        Program { child: command(&dir).stderr(log).spawn().unwrap(), address: ([0; 4], 0).into(), log: None, dir };
    let deadline = Instant::now() + PATIENCE;
    program.address = loop {
        let said = String::from_utf8(program.admin(&["status"]).stdout).unwrap();
        match said.strip_prefix("serving at ").and_then(|rest| rest.split(',').next()?.parse().ok()) {
            Some(address) => break address,
            None => assert!(Instant::now() < deadline && program.child.try_wait().unwrap().is_none(), "{said}"),
        }
    };
    program
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_meeting_outlives_a_log_that_does_not_fit_on_the_disk_and_drains() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert!(meets_and_drains(with_log_to(full.into())).await);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_meeting_outlives_a_log_that_nobody_reads_any_more() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert!(meets_and_drains(with_log_to(writer.into())).await);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn nobody_in_a_meeting_waits_for_a_log_that_is_full() {
    // A pipe holds 64 KiB: so much fits, and not a byte more.
    let (reader, mut writer) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut writer, &[b'\n'; 65_536]).unwrap();
    assert!(meets_and_drains(with_log_to(writer.into())).await);
    drop(reader);
}
