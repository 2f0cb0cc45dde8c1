//! The data plane over real sockets: what an admitted member sends arrives, and stops with the membership.

mod support;

use std::net::SocketAddr;
use std::time::Instant;

use common::endpoint::{Endpoint, Event};
use common::ids::{ChatId, MemberId};
use common::limits::DATAGRAM_MAX_BYTES;
use common::wire::control::{Action, Admission, ClientMessage, MediaState, Refusal, ServerMessage, Snapshot};
use common::wire::message::{Message, Recipients};
use common::wire::ticket::Ticket;
use server::{Server, ServerConfig};
use support::{Client, PATIENCE, StateDir, anywhere};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
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

/// Carries one TCP connection to a server, until it is told otherwise.
struct Cable {
    address: SocketAddr,
    state: watch::Sender<CableState>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CableState {
    /// Both ends are closed.
    Cut,
    /// Nothing gets through, and neither end hears why.
    Silent,
    Whole,
}

impl Cable {
    async fn lay(server: SocketAddr) -> Self {
        let listener = TcpListener::bind(anywhere()).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (state, seen) = watch::channel(CableState::Whole);
        tokio::spawn(async move {
            let (near, _) = listener.accept().await.expect("somebody connects");
            let far = TcpStream::connect(server).await.expect("the server listens");
            carry(near, far, seen).await;
        });
        Self { address, state }
    }
}

async fn carry(mut near: TcpStream, mut far: TcpStream, mut state: watch::Receiver<CableState>) {
    let (mut up, mut down) = ([0; 4_096], [0; 4_096]);
    loop {
        let now = *state.borrow_and_update();
        if now == CableState::Cut {
            return;
        }
        tokio::select! {
            changed = state.changed() => if changed.is_err() { return },
            read = near.read(&mut up), if now == CableState::Whole => match read {
                Ok(bytes @ 1..) => far.write_all(&up[..bytes]).await.expect("the server reads"),
                Ok(0) | Err(_) => return,
            },
            read = far.read(&mut down), if now == CableState::Whole => match read {
                Ok(bytes @ 1..) => near.write_all(&down[..bytes]).await.expect("the client reads"),
                Ok(0) | Err(_) => return,
            },
        }
    }
}

/// Ada hosts, and Bo is in by a cable.
struct Pair {
    server: Server,
    dir: StateDir,
    host: Client,
    /// Kept, as its TCP connection is.
    _guest: Client,
    ticket: Ticket,
    cable: Cable,
    at_host: Plane,
    at_guest: Plane,
    said: u32,
}

impl Pair {
    async fn meet() -> Self {
        let dir = StateDir::new();
        let config = ServerConfig { listen: anywhere(), state_dir: dir.path().to_owned(), ..ServerConfig::default() };
        let server = Server::start(config).await.expect("the port is free");
        let address = server.address();
        let cable = Cable::lay(address).await;
        let (mut host, room) = Client::create(address, "Ada").await;
        let mut guest = Client::knock(cable.address, room.code, "Bo").await;
        assert!(matches!(host.next().await, Some(ServerMessage::KnockArrived { .. })));
        host.send(&ClientMessage::Act(Action::AdmitAll)).await;
        let admission = guest.admitted().await;
        assert!(matches!(host.next().await, Some(ServerMessage::MemberJoined(_))));
        assert!(matches!(host.next().await, Some(ServerMessage::KnockGone(_))));
        let Admission { run, connection_id, secret, .. } = admission;
        let at_host = Plane::open(address, &host, &room).await;
        let at_guest = Plane::open(address, &guest, &admission).await;
        let ticket = Ticket { run, connection_id, secret };
        let mut pair = Self { server, dir, host, _guest: guest, ticket, cable, at_host, at_guest, said: 0 };
        pair.talk().await;
        pair
    }

    /// The guest says something, which the host hears.
    async fn talk(&mut self) {
        self.said += 1;
        let chat = Message::Chat { id: ChatId(self.said), to: Recipients::Everyone, text: "hello".into() };
        self.at_guest.endpoint.send_message(&chat).expect("the channel has room");
        let arrived = async {
            tokio::select! {
                message = self.at_host.message() => message,
                message = self.at_guest.message() => message,
            }
        };
        assert_eq!(timeout(PATIENCE, arrived).await.expect("it arrives"), chat);
    }

    /// The second one to come in.
    fn guest_id(&self) -> MemberId {
        MemberId(2)
    }

    async fn resume(&self) -> (Client, Snapshot) {
        let mut client = Client::connect(self.server.address()).await;
        client.send(&ClientMessage::Resume(self.ticket)).await;
        match client.next().await {
            Some(ServerMessage::Resumed(snapshot)) => (client, snapshot),
            other => panic!("not resumed: {other:?}"),
        }
    }
}

#[tokio::test]
async fn the_data_plane_goes_on_while_the_connection_is_broken_and_after_the_return() {
    let mut pair = Pair::meet().await;
    let you = pair.guest_id();
    pair.cable.state.send_replace(CableState::Cut);
    assert_eq!(pair.host.next().await, Some(ServerMessage::MemberAway(you)));
    pair.talk().await;
    let (_guest, snapshot) = pair.resume().await;
    assert_eq!(snapshot.members.iter().filter(|member| !member.away).count(), 2);
    assert_eq!(pair.host.next().await, Some(ServerMessage::MemberBack(you)));
    pair.talk().await;
    assert_eq!(pair.server.statistics().hub.resumptions, 1);
    pair.server.stop().await;
}

#[tokio::test]
async fn a_new_connection_takes_over_from_one_that_went_silent() {
    let mut pair = Pair::meet().await;
    let you = pair.guest_id();
    pair.cable.state.send_replace(CableState::Silent);
    let (mut guest, _) = pair.resume().await;
    pair.talk().await;
    let media = MediaState { camera: true, microphone: false };
    guest.send(&ClientMessage::SetMedia(media)).await;
    // Nothing else came before: nobody was away.
    assert_eq!(pair.host.next().await, Some(ServerMessage::MediaChanged { member: you, media }));
    pair.cable.state.send_replace(CableState::Whole);
    guest.send(&ClientMessage::Ping).await;
    assert_eq!(guest.next().await, Some(ServerMessage::Pong), "the end of the old one does not touch the new one");
    pair.server.stop().await;
}

#[tokio::test]
async fn another_run_of_the_server_says_that_it_was_restarted() {
    let Pair { server, dir, ticket, .. } = Pair::meet().await;
    let address = server.address();
    server.stop().await;
    let config = ServerConfig { listen: address, state_dir: dir.path().to_owned(), ..ServerConfig::default() };
    let server = Server::start(config).await.unwrap();
    let mut client = Client::connect(address).await;
    client.send(&ClientMessage::Resume(ticket)).await;
    assert_eq!(client.next().await, Some(ServerMessage::Refused(Refusal::ServerRestarted)));
    assert_eq!(client.next().await, None);
    server.stop().await;
}
