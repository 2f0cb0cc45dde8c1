//! `/metrics` and `/healthz` over loopback, asked by plain HTTP.
#![expect(clippy::unwrap_used, reason = "the whole file is tests")]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use common::wire::control::{ClientMessage, Notice, ServerMessage};
use server::operation::metrics::MetricsServer;
use server::{Server, ServerConfig};
use support::{Client, PATIENCE, StateDir, anywhere};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

async fn start(dir: &StateDir) -> (Server, MetricsServer) {
    let config = ServerConfig { listen: anywhere(), state_dir: dir.path().to_owned(), ..ServerConfig::default() };
    let server = Server::start(config).await.unwrap();
    let metrics = MetricsServer::start(anywhere(), server.monitor()).await.unwrap();
    (server, metrics)
}

/// The status line and headers, and the body.
async fn request(address: SocketAddr, head: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A reset after a refusal is a way of closing too.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the server did not close");
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.to_owned(), body.to_owned())
}

async fn at(address: SocketAddr, path: &str) -> (String, String) {
    request(address, &format!("GET {path} HTTP/1.1\r\nHost: conclave\r\n\r\n")).await
}

/// Asks for the page until it has this line: the hub writes its figures a moment after it answered.
async fn until_there_is(address: SocketAddr, line: &str) -> String {
    timeout(PATIENCE, async {
        loop {
            let (_, page) = at(address, "/metrics").await;
            if page.lines().any(|there| there == line) {
                return page;
            }
        }
    })
    .await
    .unwrap_or_else(|_| panic!("the page never said {line}"))
}

#[tokio::test]
async fn a_meeting_shows_in_the_figures_and_no_name_or_code_does() {
    let dir = StateDir::new();
    let (server, metrics) = start(&dir).await;
    let (_host, room) = Client::create(server.address(), "Adalbert").await;
    let _guest = Client::knock(server.address(), room.code, "Brunhild").await;
    let (head, _) = at(metrics.address(), "/metrics").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{head}");
    let page = until_there_is(metrics.address(), "conclave_knocks_total 1").await;
    for line in
        ["conclave_rooms 1", "conclave_members 1", "conclave_control_connections 2", "conclave_rooms_opened_total 1"]
    {
        assert!(page.lines().any(|there| there == line), "{line}\n{page}");
    }
    #[cfg(target_os = "linux")]
    assert!(page.contains("\nprocess_resident_memory_bytes ") && page.contains("\nprocess_cpu_seconds_total "));
    for secret in ["Adalbert", "Brunhild", &room.code.to_string()] {
        assert!(!page.contains(secret), "{secret}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_refusal_is_counted_by_its_reason() {
    let dir = StateDir::new();
    let (server, metrics) = start(&dir).await;
    let mut client = Client::connect(server.address()).await;
    client.send(&ClientMessage::Create { name: "\u{200b}".into() }).await;
    assert!(matches!(client.next().await, Some(ServerMessage::Refused(_))));
    until_there_is(metrics.address(), "conclave_refusals_total{reason=\"name_invalid\"} 1").await;
    server.stop().await;
}

#[tokio::test]
async fn health_is_ok_until_the_server_drains() {
    let dir = StateDir::new();
    let (server, metrics) = start(&dir).await;
    let (mut host, _) = Client::create(server.address(), "Ada").await;
    let (head, body) = at(metrics.address(), "/healthz").await;
    assert!(head.starts_with("HTTP/1.1 200") && body == "ok\n", "{head} {body}");
    server.operator().drain(Duration::from_secs(600)).await.unwrap();
    assert_eq!(host.next().await, Some(ServerMessage::Notice(Notice::Draining { secs: 600 })));
    until_there_is(metrics.address(), "conclave_draining 1").await;
    let (head, body) = at(metrics.address(), "/healthz").await;
    assert!(head.starts_with("HTTP/1.1 503") && body == "draining\n", "{head} {body}");
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_scrape_is_refused_and_the_next_scrape_is_answered() {
    let dir = StateDir::new();
    let (server, metrics) = start(&dir).await;
    let address = metrics.address();
    assert!(at(address, "/rooms").await.0.starts_with("HTTP/1.1 404"));
    let (head, _) = request(address, "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 405"), "{head}");
    let (head, body) = request(address, "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200") && body.is_empty(), "{head}");
    let (head, _) = request(address, &format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(20_000))).await;
    assert!(!head.starts_with("HTTP/1.1 200"), "{head}");
    request(address, "\u{16}\u{3}\u{1} this is no HTTP\r\n\r\n").await;
    assert!(at(address, "/healthz").await.0.starts_with("HTTP/1.1 200"));
    server.stop().await;
}

#[tokio::test]
async fn connections_that_say_nothing_are_closed_and_scrapes_go_on() {
    let dir = StateDir::new();
    let (server, metrics) = start(&dir).await;
    let mut idle = Vec::new();
    for _ in 0..32 {
        idle.push(TcpStream::connect(metrics.address()).await.unwrap());
    }
    // Eight are served at a time, and each is given five seconds for its head.
    let first = timeout(PATIENCE, idle[0].read(&mut [0; 512])).await.expect("an idle connection was not closed");
    drop((first, idle));
    assert!(at(metrics.address(), "/healthz").await.0.starts_with("HTTP/1.1 200"));
    server.stop().await;
}
