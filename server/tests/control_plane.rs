//! The control plane over real sockets: meetings, hostile strangers, start and stop.

mod support;

use std::net::SocketAddr;

use common::limits::CONTROL_CONNECTIONS_PER_SOURCE;
use common::wire::control::{ALPN, Action, ClientMessage, EndReason, ServerMessage};
use server::{Server, ServerConfig, StartError};
use support::{Client, PATIENCE, StateDir, anywhere, try_connect};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

async fn start(dir: &StateDir, listen: SocketAddr) -> Result<Server, StartError> {
    Server::start(ServerConfig { listen, state_dir: dir.path().to_owned(), ..ServerConfig::default() }).await
}

/// Waits until the server closes; answers what it sent before.
async fn closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut sent = Vec::new();
    // A reset is a way of closing too.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut sent)).await.expect("the server did not close");
    sent
}

#[tokio::test]
async fn a_guest_knocks_is_let_in_and_both_see_each_other() {
    let dir = StateDir::new();
    let server = start(&dir, anywhere()).await.unwrap();
    let (mut host, room) = Client::create(server.address(), "Ada").await;
    assert_eq!(host.protocol(), (Some(rustls::ProtocolVersion::TLSv1_3), Some(ALPN)));
    let mut guest = Client::knock(server.address(), room.code, "Bo").await;
    let Some(ServerMessage::KnockArrived { knock, name }) = host.next().await else {
        panic!("the host did not hear the knock")
    };
    assert_eq!(name, "Bo");
    host.send(&ClientMessage::Act(Action::Admit(knock))).await;
    assert_eq!(guest.admitted().await.members.len(), 2);
    assert!(matches!(host.next().await, Some(ServerMessage::MemberJoined(_))));
    let statistics = server.statistics();
    assert_eq!((statistics.connections, statistics.rooms), (2, 1));
    server.stop().await;
}

#[tokio::test]
async fn stopping_tells_everybody_and_frees_the_port_and_the_identity_stays() {
    let dir = StateDir::new();
    let server = start(&dir, anywhere()).await.unwrap();
    let (address, fingerprint) = (server.address(), server.fingerprint());
    let (mut host, room) = Client::create(address, "Ada").await;
    let mut guest = Client::knock(address, room.code, "Bo").await;
    let _silent = Client::connect_silently(address).await;
    let _half_open = TcpStream::connect(address).await.unwrap();
    assert!(matches!(host.next().await, Some(ServerMessage::KnockArrived { .. })));
    timeout(PATIENCE, server.stop()).await.unwrap();
    for client in [&mut host, &mut guest] {
        let told = client.next().await;
        assert_eq!(told, Some(ServerMessage::Ended(EndReason::ServerStopped)));
        assert_eq!(client.next().await, None);
    }
    let again = start(&dir, address).await.unwrap();
    assert_eq!(again.fingerprint(), fingerprint);
    Client::create(address, "Ada").await;
    again.stop().await;
}

#[tokio::test]
async fn a_taken_port_is_one_clear_sentence() {
    let dir = StateDir::new();
    let server = start(&dir, anywhere()).await.unwrap();
    let port = server.address().port();
    let error = start(&dir, server.address()).await.err().unwrap();
    assert_eq!(error.to_string(), format!("Port {port} is in use by another program. Choose another with --listen."));
    server.stop().await;
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_made_is_one_clear_sentence() {
    let dir = StateDir::new();
    std::fs::write(dir.path(), "a file").unwrap();
    let config = ServerConfig { listen: anywhere(), state_dir: dir.path().join("below"), ..ServerConfig::default() };
    let error = Server::start(config).await.err().unwrap();
    assert!(error.to_string().starts_with("The server's identity"), "{error}");
    std::fs::remove_file(dir.path()).unwrap();
}

#[tokio::test]
async fn strangers_who_speak_something_else_are_closed_and_others_are_served() {
    let dir = StateDir::new();
    let server = start(&dir, anywhere()).await.unwrap();
    let address = server.address();
    let (mut host, _) = Client::create(address, "Ada").await;

    let mut web = TcpStream::connect(address).await.unwrap();
    web.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    closed(&mut web).await;

    let mut old = TcpStream::connect(address).await.unwrap();
    old.write_all(&tls12_client_hello()).await.unwrap();
    // A fatal alert (2) that says protocol_version (70), RFC 8446 §6.2.
    assert!(closed(&mut old).await.ends_with(&[2, 70]));

    assert!(try_connect(address, b"h2").await.is_err(), "another protocol");
    let mut nameless = try_connect(address, b"").await.unwrap();
    let read = timeout(PATIENCE, nameless.read(&mut [0; 8])).await.unwrap();
    assert!(!matches!(read, Ok(1..)), "a client without a protocol name is not served");

    for bytes in [&u32::MAX.to_be_bytes()[..], &[0, 0, 0, 1, 250]] {
        let mut liar = Client::connect_silently(address).await;
        liar.send_bytes(bytes).await;
        assert_eq!(liar.next().await, None);
    }

    host.send(&ClientMessage::Ping).await;
    assert_eq!(host.next().await, Some(ServerMessage::Pong));
    server.stop().await;
}

#[tokio::test]
async fn half_open_connections_are_limited_and_closed_and_others_are_served() {
    let dir = StateDir::new();
    let server = start(&dir, anywhere()).await.unwrap();
    let address = server.address();
    let (mut host, _) = Client::create(address, "Ada").await;
    let mut idle = Vec::new();
    for _ in 1..CONTROL_CONNECTIONS_PER_SOURCE {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    let mut one_too_many = TcpStream::connect(address).await.unwrap();
    host.send(&ClientMessage::Ping).await;
    assert_eq!(host.next().await, Some(ServerMessage::Pong));
    closed(&mut one_too_many).await;
    for connection in &mut idle {
        closed(connection).await;
    }
    let (late, _) = Client::create(address, "Bo").await;
    drop(late);
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_is_dropped_stops_too() {
    let dir = StateDir::new();
    let server = start(&dir, anywhere()).await.unwrap();
    let (mut host, _) = Client::create(server.address(), "Ada").await;
    drop(server);
    let told = host.next().await;
    assert_eq!(told, Some(ServerMessage::Ended(EndReason::ServerStopped)));
}

/// What a client sends that knows no TLS 1.3 (RFC 5246 §7.4.1.2): no `supported_versions`.
fn tls12_client_hello() -> Vec<u8> {
    let supported_groups = [0, 10, 0, 4, 0, 2, 0, 23];
    let signature_algorithms = [0, 13, 0, 4, 0, 2, 4, 3];
    let extensions = [supported_groups, signature_algorithms].concat();
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    // No session id, one cipher suite (ECDHE-ECDSA-AES128-GCM-SHA256), no compression.
    body.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]);
    body.extend([0, extensions.len() as u8]);
    body.extend(extensions);
    let handshake = [&[1, 0, 0, body.len() as u8][..], &body].concat();
    [&[22, 3, 1, 0, handshake.len() as u8][..], &handshake].concat()
}
