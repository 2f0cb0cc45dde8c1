//! Admin commands over a socket of this machine.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "the whole file is tests")]

mod support;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::hub::HubLimits;
use common::ids::RoomCode;
use common::wire::control::{Action, ClientMessage, EndReason, Notice, Refusal, ServerMessage};
use server::operation::admin::{AdminServer, Reply, Request, ask};
use server::{Ended, Server, ServerConfig};
use support::{Client, PATIENCE, StateDir, anywhere};
use tokio::time::timeout;

struct Bench {
    server: Server,
    admin: AdminServer,
    socket: PathBuf,
    _dir: StateDir,
}

impl Bench {
    async fn start() -> Self {
        Self::start_with(ServerConfig::default()).await
    }

    async fn start_with(config: ServerConfig) -> Self {
        let dir = StateDir::new();
        let config = ServerConfig { listen: anywhere(), state_dir: dir.path().to_owned(), ..config };
        let server = Server::start(config).await.unwrap();
        let socket = dir.path().join("admin.sock");
        let admin = AdminServer::start(socket.clone(), &server, Duration::from_secs(77)).await.unwrap();
        Self { server, admin, socket, _dir: dir }
    }

    async fn ask(&self, request: Request) -> Reply {
        let socket = self.socket.clone();
        tokio::task::spawn_blocking(move || ask(&socket, &request)).await.unwrap().unwrap()
    }

    /// A room with Ada and Bo in it.
    async fn meeting(&self) -> (Client, Client) {
        let (mut host, room) = Client::create(self.server.address(), "Ada").await;
        let mut guest = Client::knock(self.server.address(), room.code, "Bo").await;
        assert!(matches!(host.next().await, Some(ServerMessage::KnockArrived { .. })));
        host.send(&ClientMessage::Act(Action::AdmitAll)).await;
        guest.admitted().await;
        assert!(matches!(host.next().await, Some(ServerMessage::MemberJoined(_))));
        assert!(matches!(host.next().await, Some(ServerMessage::KnockGone(_))));
        (host, guest)
    }
}

/// Writes to the socket and reads what comes back.
fn raw(socket: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A server that has heard enough closes.
    let _ = stream.write_all(bytes);
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[tokio::test]
async fn rooms_are_listed_by_number_and_members_by_name() {
    let bench = Bench::start().await;
    assert_eq!(bench.ask(Request::Rooms).await, Reply::Rooms(Vec::new()));
    let (_host, _guest) = bench.meeting().await;
    let Reply::Rooms(rooms) = bench.ask(Request::Rooms).await else { panic!("no rooms") };
    assert_eq!((rooms.len(), rooms[0].room, rooms[0].members, rooms[0].knocking), (1, 1, 2, 0));
    let Reply::Members(members) = bench.ask(Request::Members { room: 1 }).await else { panic!("no members") };
    let names: Vec<_> = members.iter().map(|line| (line.member, line.name.as_str(), line.host)).collect();
    assert_eq!(names, [(1, "Ada", true), (2, "Bo", false)]);
    let refused = bench.ask(Request::Members { room: 9 }).await;
    assert_eq!(refused, Reply::Refused("There is no room 9.".into()));
    let Reply::Status(status) = bench.ask(Request::Status).await else { panic!("no status") };
    assert_eq!((status.health.as_str(), status.rooms, status.members), ("serving", 1, 2));
    bench.server.stop().await;
}

#[tokio::test]
async fn a_member_is_taken_out_and_a_room_is_ended_and_both_are_told_by_whom() {
    let bench = Bench::start().await;
    let (mut host, mut guest) = bench.meeting().await;
    assert_eq!(bench.ask(Request::Kick { room: 1, member: 2 }).await, Reply::Done);
    assert_eq!(guest.next().await, Some(ServerMessage::Ended(EndReason::RemovedByOperator)));
    assert!(matches!(bench.ask(Request::Kick { room: 1, member: 2 }).await, Reply::Refused(_)));
    assert_eq!(bench.ask(Request::End { room: 1 }).await, Reply::Done);
    assert!(matches!(host.next().await, Some(ServerMessage::MemberLeft { .. })));
    assert_eq!(host.next().await, Some(ServerMessage::Ended(EndReason::EndedByOperator)));
    assert!(matches!(bench.ask(Request::End { room: 1 }).await, Reply::Refused(_)));
    bench.server.stop().await;
}

#[tokio::test]
async fn a_drain_without_a_time_takes_the_one_that_is_set() {
    let mut bench = Bench::start().await;
    let (mut host, _) = Client::create(bench.server.address(), "Ada").await;
    for (timeout_secs, secs) in [(None, 77), (Some(500), 500)] {
        assert_eq!(bench.ask(Request::Drain { timeout_secs }).await, Reply::Done);
        assert_eq!(host.next().await, Some(ServerMessage::Notice(Notice::Draining { secs })));
    }
    let Reply::Status(status) = bench.ask(Request::Status).await else { panic!("no status") };
    assert_eq!(status.health, "draining");
    host.send(&ClientMessage::Leave).await;
    assert_eq!(timeout(PATIENCE, bench.server.ended()).await.unwrap(), Ended::Drained);
    bench.server.stop().await;
}

#[tokio::test]
async fn a_source_that_is_kept_out_shows_in_the_status_and_is_forgiven() {
    let limits = HubLimits { wrong_codes_per_source: 1, ..HubLimits::default() };
    let bench = Bench::start_with(ServerConfig { limits, ..ServerConfig::default() }).await;
    let address = bench.server.address();
    let (_host, room) = Client::create(address, "Ada").await;
    let wrong = RoomCode::new((room.code.to_string().parse::<u32>().unwrap() + 1) % RoomCode::COUNT).unwrap();
    let knocked = async |code| {
        let mut client = Client::connect(address).await;
        client.send(&ClientMessage::Knock { code, name: "Bo".into() }).await;
        client.next().await
    };
    for by_address in [true, false] {
        assert_eq!(knocked(wrong).await, Some(ServerMessage::Refused(Refusal::WrongCode)));
        let answer = knocked(room.code).await;
        assert!(matches!(answer, Some(ServerMessage::Refused(Refusal::TryLater { secs: 880..=900 }))), "{answer:?}");
        let Reply::Status(status) = bench.ask(Request::Status).await else { panic!("no status") };
        assert!(status.sources_banned == 1 && (880..=900).contains(&status.banned_for_secs), "{status}");
        // By its address, and then everybody; somebody else's first.
        let other = bench.ask(Request::Forgive { address: Some([192, 0, 2, 1].into()) }).await;
        assert_eq!(other, Reply::Forgiven { sources: 0 });
        let own = by_address.then_some(address.ip());
        assert_eq!(bench.ask(Request::Forgive { address: own }).await, Reply::Forgiven { sources: 1 });
    }
    assert_eq!(knocked(room.code).await, Some(ServerMessage::Knocking));
    let Reply::Status(status) = bench.ask(Request::Status).await else { panic!("no status") };
    assert_eq!((status.sources_banned, status.banned_for_secs), (0, 0));
    bench.server.stop().await;
}

#[tokio::test]
async fn the_socket_is_the_owners_alone_and_goes_with_the_server() {
    let Bench { server, admin, socket, _dir } = Bench::start().await;
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    drop(admin);
    assert!(!socket.exists());
    let error = ask(&socket, &Request::Rooms).unwrap_err();
    assert!(error.to_string().starts_with("No server answers at "), "{error}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_is_told_and_a_socket_that_was_left_over_is_replaced() {
    let bench = Bench::start().await;
    let again = |path: PathBuf| AdminServer::start(path, &bench.server, Duration::ZERO);
    let error = again(bench.socket.clone()).await.unwrap_err();
    assert!(error.to_string().starts_with("Another server has the admin socket "), "{error}");
    let left_over = bench.socket.with_file_name("old.sock");
    drop(UnixListener::bind(&left_over).unwrap());
    assert!(left_over.exists());
    let second = again(left_over.clone()).await.unwrap();
    assert!(raw(&left_over, b"\"rooms\"\n").starts_with("{\"rooms\":[]}"));
    drop(second);
    let file = bench.socket.with_file_name("notes.txt");
    std::fs::write(&file, "mine").unwrap();
    assert!(again(file.clone()).await.is_err());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine", "what is no socket stays");
    bench.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_command_is_refused_and_the_next_one_is_answered() {
    let bench = Bench::start().await;
    for bytes in [&b"\n"[..], b"{}\n", b"\"stop\"\n", &[b'['; 100_000], b"{\"kick\":{\"room\":-1,\"member\":1}}\n"] {
        let answer = raw(&bench.socket, bytes);
        assert!(answer.is_empty() || answer.starts_with("{\"refused\":"), "{answer}");
    }
    assert_eq!(bench.ask(Request::Rooms).await, Reply::Rooms(Vec::new()));
    bench.server.stop().await;
}
