//! The announced end of a server, with real clients.
#![expect(clippy::unwrap_used, reason = "the whole file is tests")]

mod support;

use std::time::Duration;

use common::wire::control::{Action, ClientMessage, EndReason, Notice, Refusal, ServerMessage};
use server::{Ended, Server, ServerConfig};
use support::{Client, PATIENCE, StateDir, anywhere};
use tokio::time::timeout;

async fn start(dir: &StateDir) -> Server {
    let config = ServerConfig { listen: anywhere(), state_dir: dir.path().to_owned(), ..ServerConfig::default() };
    Server::start(config).await.unwrap()
}

#[tokio::test]
async fn a_running_meeting_goes_on_and_the_server_ends_with_it() {
    let dir = StateDir::new();
    let mut server = start(&dir).await;
    let address = server.address();
    let (mut host, room) = Client::create(address, "Ada").await;
    server.operator().drain(Duration::from_secs(600)).await.unwrap();
    assert_eq!(host.next().await, Some(ServerMessage::Notice(Notice::Draining { secs: 600 })));

    let mut late = Client::connect(address).await;
    late.send(&ClientMessage::Create { name: "Cy".into() }).await;
    assert_eq!(late.next().await, Some(ServerMessage::Refused(Refusal::Draining)));

    let mut guest = Client::knock(address, room.code, "Bo").await;
    assert!(matches!(host.next().await, Some(ServerMessage::KnockArrived { .. })));
    host.send(&ClientMessage::Act(Action::AdmitAll)).await;
    guest.admitted().await;
    assert!(matches!(guest.next().await, Some(ServerMessage::Notice(Notice::Draining { secs: 590..=600 }))));

    host.send(&ClientMessage::Act(Action::End)).await;
    assert_eq!(guest.next().await, Some(ServerMessage::Ended(EndReason::EndedByHost)));
    assert_eq!(timeout(PATIENCE, server.ended()).await.unwrap(), Ended::Drained);
    server.stop().await;
}

#[tokio::test]
async fn when_the_time_is_up_everybody_is_told_that_the_server_stopped() {
    let dir = StateDir::new();
    let mut server = start(&dir).await;
    let (mut host, _) = Client::create(server.address(), "Ada").await;
    server.operator().drain(Duration::from_millis(200)).await.unwrap();
    assert_eq!(timeout(PATIENCE, server.ended()).await.unwrap(), Ended::Drained);
    assert_eq!(host.next().await, Some(ServerMessage::Notice(Notice::Draining { secs: 1 })));
    assert_eq!(host.next().await, Some(ServerMessage::Ended(EndReason::ServerStopped)));
    server.stop().await;
}

#[tokio::test]
async fn a_server_without_rooms_drains_at_once_and_answers_no_more() {
    let dir = StateDir::new();
    let mut server = start(&dir).await;
    let operator = server.operator();
    operator.drain(Duration::from_secs(600)).await.unwrap();
    assert_eq!(timeout(PATIENCE, server.ended()).await.unwrap(), Ended::Drained);
    assert!(operator.rooms().await.is_err());
    server.stop().await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_drain() {
    let dir = StateDir::new();
    let server = start(&dir).await;
    let (mut host, _) = Client::create(server.address(), "Ada").await;
    server.operator().drain(Duration::from_secs(86_400)).await.unwrap();
    timeout(PATIENCE, server.stop()).await.unwrap();
    assert!(matches!(host.next().await, Some(ServerMessage::Notice(_))));
    assert_eq!(host.next().await, Some(ServerMessage::Ended(EndReason::ServerStopped)));
}
