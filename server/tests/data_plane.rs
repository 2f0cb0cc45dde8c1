//! The data plane over real sockets: what an admitted member sends arrives, and stops with the membership.

mod support;

use std::net::SocketAddr;
use std::time::Instant;

use common::endpoint::{Endpoint, Event};
use common::ids::ChatId;
use common::limits::DATAGRAM_MAX_BYTES;
use common::wire::control::{Action, Admission, ClientMessage, ServerMessage};
use common::wire::message::{Message, Recipients};
use server::{Server, ServerConfig};
use support::{Client, PATIENCE, StateDir, anywhere};
use tokio::net::UdpSocket;
use tokio::time::{sleep_until, timeout};

/// One member's end of the data plane.
struct Plane {
    endpoint: Endpoint,
    socket: UdpSocket,
    server: SocketAddr,
}

impl Plane {
    async fn open(server: SocketAddr, client: &Client, admission: &Admission) -> Self {
        let secrets = client.secrets(admission.connection_id);
        let Admission { you, connection_id, suite, .. } = *admission;
        Self {
            endpoint: Endpoint::new(Instant::now(), you, connection_id, suite, &secrets),
            socket: UdpSocket::bind(anywhere()).await.expect("a free port"),
            server,
        }
    }

    /// Sends what is due, then takes one datagram or notices that time went by.
    async fn step(&mut self) {
        let mut buffer = [0; DATAGRAM_MAX_BYTES];
        while let Some(bytes) = self.endpoint.poll_transmit(Instant::now(), &mut buffer) {
            self.socket.send_to(&buffer[..bytes], self.server).await.expect("loopback takes it");
        }
        let wake = self.endpoint.poll_timeout().expect("it always pings");
        tokio::select! {
            received = self.socket.recv_from(&mut buffer) => {
                let (length, _) = received.expect("loopback gives it");
                self.endpoint.handle_datagram(Instant::now(), &mut buffer[..length]);
            }
            () = sleep_until(wake.into()) => self.endpoint.handle_timeout(Instant::now()),
        }
    }

    /// Goes on until a message comes.
    async fn message(&mut self) -> Message {
        loop {
            while let Some(event) = self.endpoint.poll_event() {
                if let Event::Message(delivery) = event {
                    return delivery.message;
                }
            }
            self.step().await;
        }
    }
}

#[tokio::test]
async fn a_chat_message_crosses_and_nothing_does_after_removal() {
    let dir = StateDir::new();
    let config = ServerConfig { listen: anywhere(), state_dir: dir.path().to_owned(), ..ServerConfig::default() };
    let server = Server::start(config).await.unwrap();
    let address = server.address();
    let (mut host, room) = Client::create(address, "Ada").await;
    let mut guest = Client::knock(address, room.code, "Bo").await;
    let Some(ServerMessage::KnockArrived { knock, .. }) = host.next().await else {
        panic!("the host did not hear the knock")
    };
    host.send(&ClientMessage::Act(Action::Admit(knock))).await;
    let admission = guest.admitted().await;
    let mut at_host = Plane::open(address, &host, &room).await;
    let mut at_guest = Plane::open(address, &guest, &admission).await;

    let chat = Message::Chat { id: ChatId(1), to: Recipients::Everyone, text: "hello".into() };
    at_guest.endpoint.send_message(&chat).unwrap();
    let arrived = async {
        tokio::select! {
            message = at_host.message() => message,
            message = at_guest.message() => message,
        }
    };
    assert_eq!(timeout(PATIENCE, arrived).await.unwrap(), chat);

    host.send(&ClientMessage::Act(Action::Remove(admission.you))).await;
    while guest.next().await.is_some() {}
    let relay = || server.statistics().relay;
    let gone = async {
        while relay().members > 1 {
            // Only a datagram, or time, makes the relay tell its figures.
            at_guest.step().await;
        }
    };
    timeout(PATIENCE, gone).await.unwrap();
    server.stop().await;
}
