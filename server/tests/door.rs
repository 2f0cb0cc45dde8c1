//! Many people behind one address, and one address against all others, over real sockets.
#![expect(clippy::unwrap_used, reason = "the whole file is tests")]

mod support;

use common::hub::HubLimits;
use common::ids::RoomCode;
use common::wire::control::{Action, ClientMessage, Refusal, ServerMessage};
use server::{Server, ServerConfig};
use support::{Client, PATIENCE, StateDir, anywhere};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

async fn start(dir: &StateDir, config: ServerConfig) -> Server {
    Server::start(ServerConfig { listen: anywhere(), state_dir: dir.path().to_owned(), ..config }).await.unwrap()
}

/// Any code but this one.
fn other_than(code: RoomCode, number: u32) -> RoomCode {
    let own: u32 = code.to_string().parse().unwrap();
    RoomCode::new((own + 1 + number) % RoomCode::COUNT).unwrap()
}

async fn say(client: &mut Client, message: ClientMessage) -> Option<ServerMessage> {
    client.send(&message).await;
    client.next().await
}

fn knock(code: RoomCode, name: &str) -> ClientMessage {
    ClientMessage::Knock { code, name: name.into() }
}

#[tokio::test]
async fn a_connection_too_many_is_told_why_and_one_that_leaves_makes_room() {
    let dir = StateDir::new();
    let server = start(&dir, ServerConfig { connections_per_source: 2, ..ServerConfig::default() }).await;
    let (mut host, room) = Client::create(server.address(), "Ada").await;
    let guest = Client::knock(server.address(), room.code, "Bo").await;
    for _ in 0..3 {
        let mut third = Client::connect(server.address()).await;
        // As a client does, without waiting for an answer.
        third.send(&knock(room.code, "Cy")).await;
        let told = third.next().await;
        assert_eq!(told, Some(ServerMessage::Refused(Refusal::TooManyConnections { max: 2 })));
        assert_eq!(third.next().await, None);
    }
    // Who keeps coming is closed without a word, and costs no handshake.
    let last = loop {
        let mut flood = TcpStream::connect(server.address()).await.unwrap();
        let mut byte = [0];
        if let Ok(read) = timeout(std::time::Duration::from_millis(500), flood.read(&mut byte)).await {
            break read;
        }
    };
    assert!(!matches!(last, Ok(1..)));
    assert!(matches!(host.next().await, Some(ServerMessage::KnockArrived { .. })));
    drop(guest);
    assert!(matches!(host.next().await, Some(ServerMessage::KnockGone(_))));
    let came = async {
        // The seat is free once the task of the connection has ended.
        while server.statistics().connections > 1 {
            tokio::task::yield_now().await;
        }
        Client::knock(server.address(), room.code, "Cy").await
    };
    timeout(PATIENCE, came).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn five_mistype_and_two_are_denied_behind_one_address_and_the_next_is_let_in() {
    let dir = StateDir::new();
    let server = start(&dir, ServerConfig::default()).await;
    let (mut host, room) = Client::create(server.address(), "Ada").await;
    for pupil in 0..5 {
        let mut client = Client::connect(server.address()).await;
        let answer = say(&mut client, knock(other_than(room.code, pupil), "Pupil")).await;
        assert_eq!(answer, Some(ServerMessage::Refused(Refusal::WrongCode)));
    }
    for name in ["Wrong One", "Wrong Two"] {
        let mut client = Client::knock(server.address(), room.code, name).await;
        let Some(ServerMessage::KnockArrived { knock, .. }) = host.next().await else { panic!("no knock") };
        host.send(&ClientMessage::Act(Action::Deny(knock))).await;
        assert_eq!(client.next().await, Some(ServerMessage::Refused(Refusal::Denied)));
        assert_eq!(host.next().await, Some(ServerMessage::KnockGone(knock)));
    }
    let mut right = Client::knock(server.address(), room.code, "Right").await;
    let Some(ServerMessage::KnockArrived { knock, .. }) = host.next().await else { panic!("no knock") };
    host.send(&ClientMessage::Act(Action::Admit(knock))).await;
    assert_eq!(right.admitted().await.members.len(), 2);
    server.stop().await;
}

/// Only Linux has all of 127.0.0.0/8 without being asked to.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_one_address_fails_at_keeps_nobody_from_another_address_out() {
    let dir = StateDir::new();
    let limits = HubLimits { wrong_codes_per_source: 3, ..HubLimits::default() };
    let server = start(&dir, ServerConfig { limits, ..ServerConfig::default() }).await;
    let (_host, room) = Client::create(server.address(), "Ada").await;
    let attacker = [127, 0, 0, 66].into();
    let (mut eve, place) = {
        let mut eve = Client::connect_from(attacker, server.address()).await;
        eve.send(&ClientMessage::Create { name: "Eve".into() }).await;
        let place = eve.admitted().await;
        (eve, place)
    };
    let secret = common::wire::ticket::ResumptionSecret([7; 32]);
    let wrong = common::wire::ticket::Ticket { run: place.run, connection_id: place.connection_id, secret };
    for number in 0..80u32 {
        let mut again = Client::connect_from(attacker, server.address()).await;
        let answer = say(&mut again, ClientMessage::Resume(wrong)).await;
        assert_eq!(answer, Some(ServerMessage::Refused(Refusal::PlaceGone)));
        if number % 8 == 0 {
            // Leaves before the next one comes, so that the door has room.
            let mut guest = Client::knock(server.address(), room.code, &format!("Guest {number}")).await;
            guest.send(&ClientMessage::Leave).await;
        }
    }
    let mut again = Client::connect_from(attacker, server.address()).await;
    let answer = say(&mut again, knock(room.code, "Eve")).await;
    assert!(matches!(answer, Some(ServerMessage::Refused(Refusal::TryLater { .. }))), "{answer:?}");
    // The place is as it was. That it has no data plane is told meanwhile.
    eve.send(&ClientMessage::Ping).await;
    while eve.next().await.expect("the place is kept") != ServerMessage::Pong {}
    server.stop().await;
}
