//! The load generator against a real server on this machine, by its library and as a command.

#![expect(clippy::unwrap_used, reason = "the whole file is tests")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use client::load::{LoadConfig, LoadError, LoadReport, run, run_until};
use common::picture::ladder::Rung;
use serde_json::Value;
use server::{Server, ServerConfig};

/// Small enough for an unoptimised program on a busy machine.
fn small(server: &Server) -> LoadConfig {
    LoadConfig {
        server: server.address().into(),
        rooms: 2,
        members: 3,
        video: Some(Rung::ALL[0]),
        audio: true,
        duration: Duration::from_secs(2),
        ..LoadConfig::default()
    }
}

/// A folder of this test's own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("conclave-load-{name}-{}", std::process::id())))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn server(folder: &Folder) -> Server {
    let config = ServerConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        state_dir: folder.path().to_owned(),
        ..ServerConfig::default()
    };
    Server::start(config).await.unwrap()
}

fn assert_whole(report: &LoadReport) {
    assert_eq!((report.joins.joined, report.joins.lost), (6, 0), "{report:?}");
    assert!(report.passes(0.0) || !report.doubts().is_empty(), "{report:?}");
    assert_eq!((report.audio.streams, report.video.streams), (8, 12), "2 of 3 speak, all are seen: {report:?}");
    for media in [&report.audio, &report.video] {
        assert_eq!(media.expected, media.received + media.lost, "{report:?}");
        assert!(media.received > media.sent, "each goes to two: {report:?}");
        assert!(media.latency.count > 0 && media.latency.p50 < Duration::from_secs(1), "{report:?}");
    }
    assert_eq!(report.joins.to_first_picture.count, 4, "{report:?}");
    assert!(report.round_trip.count > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_rooms_of_three_hear_and_see_each_other_without_loss() {
    let folder = Folder::new("rooms");
    let server = server(&folder).await;
    assert_whole(&run(small(&server)).await.unwrap());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_guests_can_knock_at_once_and_a_flood_is_in_no_figure() {
    let folder = Folder::new("flood");
    let server = server(&folder).await;
    let config = LoadConfig { join_at_once: true, flood_mbits: Some(2), rooms: 1, members: 4, ..small(&server) };
    let report = run(config).await.unwrap();
    assert_eq!((report.joins.joined, report.joins.to_admitted.count), (5, 4), "{report:?}");
    assert_eq!(report.video.streams, 12, "{report:?}");
    assert!(report.flood.is_some_and(|flood| flood.sent_mbits > 0.5), "{report:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_that_is_stopped_ends_early_with_its_report() {
    let folder = Folder::new("stopped");
    let server = server(&folder).await;
    let config = LoadConfig { duration: Duration::from_secs(3_600), ..small(&server) };
    let (enough, stop) = tokio::sync::oneshot::channel::<()>();
    let mut enough = Some(enough);
    let began = Instant::now();
    let stop = async { stop.await.unwrap_or_default() };
    let report = run_until(config, stop, |progress| {
        if progress.measured.is_some() {
            enough = None;
        }
    });
    let report = report.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(300));
    assert!(report.joins.joined == 6 && report.measured > Duration::ZERO, "{report:?}");
    server.stop().await;
}

#[tokio::test]
async fn where_no_server_is_there_is_a_sentence() {
    let nobody = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let error = run(LoadConfig { server: nobody.into(), ..LoadConfig::default() }).await.unwrap_err();
    assert!(matches!(error, LoadError::Unreachable(_)), "{error}");
    assert!(error.to_string().contains("127.0.0.1"), "{error}");
}

/// `conclave load` against that server.
async fn command(server: &Server, arguments: &str, json: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conclave"));
    command.arg("load").arg("--server").arg(server.address().to_string());
    command.args(arguments.split_whitespace()).arg("--json").arg(json).stdin(Stdio::null());
    tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_tells_by_its_exit_code_whether_all_were_in() {
    let folder = Folder::new("command");
    let server = server(&folder).await;
    let json = folder.path().join("load.json");
    let good = command(&server, "--rooms 2 --members 3 --audio --for 1 --max-loss 50", &json).await;
    let table = String::from_utf8(good.stdout).unwrap();
    assert!(good.status.success(), "{table}");
    assert!(table.contains("6 of 6 joined") && table.contains("passed"), "{table}");
    let written: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!((&written["joins"]["joined"], &written["audio"]["streams"]), (&6.into(), &8.into()), "{written}");
    let wrong = command(&server, "--rooms 2 --members 51", &json).await;
    assert!(!wrong.status.success());
    assert!(String::from_utf8(wrong.stderr).unwrap().contains("1 to 50"));
    server.stop().await;
}
