//! Rows S6, S7 and S8: whole participants of the load generator against the shipped server in a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use client::load::{self, LoadConfig, LoadReport};
use common::limits::{ROOM_MEMBERS_MAX, ROOMS_MAX};
use common::picture::ladder::Rung;
use server::{Server, ServerConfig};

use super::figures::{Figure, Figures, Goal};
use super::support;

/// The argument that makes this program the server.
pub(crate) const SERVE: &str = "serve";

/// A server as a process; it ends when this is dropped.
struct ServerProcess {
    child: Child,
    /// Closed to end it.
    input: Option<ChildStdin>,
    address: SocketAddr,
}

impl ServerProcess {
    fn start() -> Self {
        let program = std::env::current_exe().expect("this program is a file");
        let mut child = Command::new(program)
            .arg(SERVE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program can be started");
        let output = child.stdout.take().expect("it was asked for");
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).expect("the server says where it is");
        let address = line.trim().parse().expect("an address");
        Self { input: child.stdin.take(), child, address }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        drop(self.input.take());
        // A server that broke was heard of in the figures.
        let _ = self.child.wait();
    }
}

/// Is the server until standard input ends.
pub(crate) fn serve() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(async {
        let state = support::StateDir::new();
        let config =
            ServerConfig { listen: support::anywhere(), state_dir: state.path().to_owned(), ..ServerConfig::default() };
        let server = Server::start(config).await.expect("the server starts");
        #[expect(clippy::print_stdout, reason = "the other process reads it")]
        {
            println!("{}", server.address());
        }
        let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        let _ = ended.await;
        server.stop().await;
    });
}

fn run(config: LoadConfig) -> LoadReport {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(load::run(config)).expect("the load is within its bounds")
}

fn informative(row: &'static str, what: String, value: Option<f64>, unit: &'static str) -> Figure {
    Figure { row, what, value, unit, goal: None, others: None }
}

/// S6.
pub(crate) fn memory(figures: &mut Figures) {
    let server = ServerProcess::start();
    let (rooms, members) = (ROOMS_MAX, ROOM_MEMBERS_MAX);
    let config = LoadConfig {
        server: server.address.into(),
        rooms,
        members,
        duration: Duration::from_secs(20),
        ..LoadConfig::default()
    };
    let report = run(config);
    let joined = report.joins.joined;
    let used = report.server.as_ref();
    let each = used.map(|used| {
        used.memory_end_bytes.saturating_sub(used.memory_start_bytes) as f64 / joined.max(1) as f64 / 1024.0
    });
    let who = format!("{joined} of {} members joined in {rooms} rooms, silent, with TLS and pings", rooms * members);
    figures.add(Figure {
        goal: Some(Goal::AtMost(64.0)),
        ..informative("S6", format!("resident memory of the server for each member: {who}"), each, "KiB")
    });
    let most = used.map(|used| used.memory_max_bytes as f64 / f64::from(1 << 20));
    figures.add(Figure {
        goal: Some(Goal::AtMost(1_024.0)),
        ..informative("S6", format!("the most resident memory of the server: {who}"), most, "MiB")
    });
    figures.add(Figure {
        goal: Some(Goal::AtLeast(1.0)),
        ..informative(
            "S6",
            "share of them who got in and stayed".into(),
            Some((joined - report.joins.lost) as f64 / (rooms * members) as f64),
            "share",
        )
    });
    figures.add(informative(
        "S6",
        format!("cores that the server uses meanwhile: {who}"),
        used.map(|used| used.cpu_cores),
        "cores",
    ));
}

/// S7.
pub(crate) fn joins(figures: &mut Figures) {
    let server = ServerProcess::start();
    let config = LoadConfig {
        server: server.address.into(),
        rooms: 5,
        members: 21,
        video: Some(Rung::ALL[3]),
        senders: Some(1),
        duration: Duration::from_secs(3),
        join_at_once: true,
        ..LoadConfig::default()
    };
    let report = run(config);
    let joins = &report.joins;
    let what = format!(
        "100 guests of 5 rooms knock at once ({} of {} in), hosts send 480p: p99 from",
        joins.joined, joins.asked
    );
    let millis = |percentile: Duration| Some(percentile.as_secs_f64() * 1e3);
    figures.add(Figure {
        goal: Some(Goal::AtMost(1_000.0)),
        ..informative(
            "S7",
            format!("{what} admission to the first whole picture"),
            millis(joins.to_first_picture.p99),
            "ms",
        )
    });
    figures.add(informative(
        "S7",
        format!("{what} the first packet of a guest's connection to admission"),
        millis(joins.to_admitted.p99),
        "ms",
    ));
}

/// S8.
pub(crate) fn flood(figures: &mut Figures) {
    let server = ServerProcess::start();
    let config = LoadConfig {
        server: server.address.into(),
        rooms: 2,
        members: 10,
        video: Some(Rung::ALL[3]),
        senders: Some(2),
        audio: true,
        speakers: 3,
        duration: Duration::from_secs(15),
        flood_mbits: Some(100),
        ..LoadConfig::default()
    };
    let report = run(config);
    let sent = report.flood.map_or(0.0, |flood| flood.sent_mbits);
    let what = format!("one member sends {sent:.0} Mbit/s of video; 2 rooms of 10, in each 3 speak and 2 send 480p");
    figures.add(Figure {
        goal: Some(Goal::AtMost(1.0)),
        ..informative("S8", format!("audio lost by the others: {what}"), Some(report.audio.loss_percent()), "%")
    });
    figures.add(informative("S8", format!("video lost by the others: {what}"), Some(report.video.loss_percent()), "%"));
    figures.add(informative(
        "S8",
        "audio latency p99 of the others meanwhile".into(),
        Some(report.audio.latency.p99.as_secs_f64() * 1e3),
        "ms",
    ));
}
