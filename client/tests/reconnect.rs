//! Engines behind a network that breaks and comes back: nobody is out, and every word arrives once and in order.
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "the whole file is tests, and each waits for one event among all"
)]

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use client::devices::DeviceChoice;
use client::engine::protocol::{ChatFailure, Command, Event, Joined};
use client::engine::{EngineConfig, EngineHandle, start};
use common::ids::MemberId;
use common::wire::control::Action;
use common::wire::message::Recipients;
use server::{Server, ServerConfig};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::watch;

/// How long anything may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(25);

#[test]
fn chat_of_both_crosses_connections_that_break_and_come_back() {
    let scene = Scene::new("chat");
    let (mut ada, mut bo) = scene.meeting();
    let mut lines = 0..;
    for _ in 0..3 {
        for _ in 0..10 {
            write_both(&ada, &bo, lines.next().unwrap());
        }
        scene.proxy.set(Gate { tcp: false, udp: true });
        bo.wait(|event| matches!(event, Event::Reconnecting).then_some(()));
        ada.wait(|event| matches!(event, Event::MemberAway(BO)).then_some(()));
        for _ in 0..10 {
            write_both(&ada, &bo, lines.next().unwrap());
        }
        scene.proxy.set(Gate::OPEN);
        bo.wait(|event| matches!(event, Event::Reconnected).then_some(()));
        ada.wait(|event| matches!(event, Event::MemberBack(BO)).then_some(()));
    }
    let written = lines.start;
    for (reader, writer) in [(&mut ada, BO), (&mut bo, ADA)] {
        reader.listen_until(|heard| heard.from(writer).len() >= written && heard.delivered() >= written);
        // Nothing comes twice, however late.
        reader.listen_for(Duration::from_millis(300));
        let expected: Vec<_> = (0..written).map(|line| line.to_string()).collect();
        assert_eq!(reader.heard.from(writer), expected, "in order and once");
        assert_eq!(reader.heard.delivered(), written);
    }
}

#[test]
fn words_written_without_any_network_are_kept_and_sent_later() {
    let scene = Scene::new("offline");
    let (mut ada, mut bo) = scene.meeting();
    scene.proxy.set(Gate { tcp: false, udp: false });
    bo.wait(|event| matches!(event, Event::Reconnecting).then_some(()));
    bo.tell(say(Recipients::Everyone, "written in the dark"));
    bo.wait(|event| matches!(event, Event::Chat(_)).then_some(()));
    bo.listen_for(Duration::from_millis(500));
    assert_eq!((bo.heard.sent, ada.heard.from(BO).len()), (0, 0));
    scene.proxy.set(Gate::OPEN);
    bo.wait(|event| matches!(event, Event::ChatSent(_)).then_some(()));
    ada.listen_until(|heard| heard.from(BO) == ["written in the dark"]);
    bo.listen_until(|heard| heard.delivered() == 1);
}

#[test]
fn words_of_both_are_there_soon_after_udp_alone_was_gone_for_twenty_seconds() {
    let scene = Scene::new("outage");
    let (mut ada, mut bo) = scene.meeting();
    write_both(&ada, &bo, 0);
    bo.listen_until(|heard| heard.from(ADA) == ["0"] && heard.delivered() == 1);
    ada.listen_until(|heard| heard.from(BO) == ["0"] && heard.delivered() == 1);
    scene.proxy.set(Gate { tcp: true, udp: false });
    for line in 1..=4 {
        write_both(&ada, &bo, line);
        bo.listen_for(Duration::from_secs(5));
        ada.listen_for(Duration::from_millis(50));
    }
    assert_eq!((bo.heard.from(ADA).len(), ada.heard.from(BO).len()), (1, 1));
    scene.proxy.set(Gate::OPEN);
    let opened = Instant::now();
    for (reader, writer) in [(&mut ada, BO), (&mut bo, ADA)] {
        reader.listen_until(|heard| heard.from(writer).len() >= 5 && heard.delivered() >= 5);
        assert_eq!(reader.heard.from(writer), ["0", "1", "2", "3", "4"], "in order and once");
    }
    // Half a second where nothing else runs; a retransmission timer would take twelve.
    assert!(opened.elapsed() < Duration::from_secs(5), "{:?}", opened.elapsed());
}

#[test]
fn a_server_that_was_restarted_is_told_at_once_and_with_the_same_key() {
    let mut scene = Scene::new("restarted");
    let (_ada, mut bo) = scene.meeting();
    scene.proxy.set(Gate { tcp: false, udp: false });
    bo.wait(|event| matches!(event, Event::Reconnecting).then_some(()));
    scene.restart_server();
    let opened = Instant::now();
    scene.proxy.set(Gate::OPEN);
    let (reason, rejoin) = bo.wait(|event| match event {
        Event::Ended { reason, rejoin, .. } => Some((reason.clone(), *rejoin)),
        _ => None,
    });
    assert_eq!((reason.as_str(), rejoin), ("The meeting is over: the server was restarted.", false));
    assert!(opened.elapsed() < Duration::from_secs(15), "{:?}", opened.elapsed());
}

#[test]
fn a_private_word_to_somebody_who_left_stays_and_says_so() {
    let scene = Scene::new("left");
    let (mut ada, bo) = scene.meeting();
    bo.tell(Command::Leave);
    ada.wait(|event| matches!(event, Event::MemberLeft { member: BO, .. }).then_some(()));
    ada.tell(say(Recipients::Member(BO), "psst"));
    ada.wait(|event| matches!(event, Event::Chat(line) if line.text == "psst").then_some(()));
    let why = ada.wait(|event| match event {
        Event::ChatFailed { why, .. } => Some(*why),
        _ => None,
    });
    assert_eq!(why, ChatFailure::RecipientLeft);
}

const ADA: MemberId = MemberId(1);
const BO: MemberId = MemberId(2);

fn say(to: Recipients, text: &str) -> Command {
    Command::SendChat { to, text: text.into() }
}

fn write_both(ada: &Person, bo: &Person, line: usize) {
    for person in [ada, bo] {
        person.tell(say(Recipients::Everyone, &line.to_string()));
    }
}

/// An engine, and what it told of chat.
struct Person {
    engine: EngineHandle,
    heard: Heard,
}

#[derive(Default)]
struct Heard {
    lines: Vec<(MemberId, String)>,
    sent: usize,
    delivered: BTreeMap<u32, usize>,
}

impl Heard {
    fn from(&self, writer: MemberId) -> Vec<&str> {
        self.lines.iter().filter(|line| line.0 == writer).map(|line| line.1.as_str()).collect()
    }

    /// Own messages that the one other person has.
    fn delivered(&self) -> usize {
        self.delivered.len()
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Chat(line) => self.lines.push((line.from, line.text.clone())),
            Event::ChatSent(_) => self.sent += 1,
            Event::ChatDelivered { id, delivered } => drop(self.delivered.insert(id.0, *delivered)),
            _ => {}
        }
    }
}

impl Person {
    fn tell(&self, command: Command) {
        self.engine.commands.blocking_send(command).expect("the engine runs");
    }

    fn next(&mut self) -> Option<Event> {
        match self.engine.events.try_recv() {
            Ok(event) => {
                self.heard.note(&event);
                Some(event)
            }
            Err(TryRecvError::Empty) => {
                std::thread::sleep(Duration::from_millis(1));
                None
            }
            Err(TryRecvError::Disconnected) => panic!("the engine ended"),
        }
    }

    /// Takes events until one is what is wanted.
    fn wait<T>(&mut self, wanted: impl Fn(&Event) -> Option<T>) -> T {
        let give_up = Instant::now() + PATIENCE;
        let mut others = Vec::new();
        while Instant::now() < give_up {
            if let Some(event) = self.next() {
                if let Some(found) = wanted(&event) {
                    return found;
                }
                if !matches!(event, Event::Statistics(_)) {
                    others.push(event);
                }
            }
        }
        panic!("it did not come; instead there were {others:?}");
    }

    fn listen_until(&mut self, enough: impl Fn(&Heard) -> bool) {
        let give_up = Instant::now() + PATIENCE;
        while !enough(&self.heard) {
            assert!(Instant::now() < give_up, "heard {:?}, delivered {:?}", self.heard.lines, self.heard.delivered);
            self.next();
        }
    }

    fn listen_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.next();
        }
    }

    fn joined(&mut self) -> Joined {
        self.wait(|event| match event {
            Event::Joined(joined) => Some(joined.clone()),
            _ => None,
        })
    }
}

/// What gets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gate {
    tcp: bool,
    udp: bool,
}

impl Gate {
    const OPEN: Self = Self { tcp: true, udp: true };
}

/// Stands before a server, on one port for TCP and UDP.
struct Proxy {
    address: SocketAddr,
    gate: watch::Sender<Gate>,
    target: watch::Sender<SocketAddr>,
}

impl Proxy {
    async fn start(server: SocketAddr) -> Self {
        // The port that TCP gets may be taken for UDP.
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (tcp, Arc::new(udp));
            }
        };
        let address = tcp.local_addr().unwrap();
        let (gate, gate_seen) = watch::channel(Gate::OPEN);
        let (target, target_seen) = watch::channel(server);
        tokio::spawn(carry_tcp(tcp, target_seen.clone(), gate_seen.clone()));
        tokio::spawn(carry_udp(udp, target_seen, gate_seen));
        Self { address, gate, target }
    }

    fn set(&self, gate: Gate) {
        self.gate.send_replace(gate);
    }
}

async fn carry_tcp(listener: TcpListener, target: watch::Receiver<SocketAddr>, gate: watch::Receiver<Gate>) {
    while let Ok((mut near, _)) = listener.accept().await {
        let (target, mut gate) = (*target.borrow(), gate.clone());
        tokio::spawn(async move {
            let carried = async {
                if let Ok(mut far) = TcpStream::connect(target).await {
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                }
            };
            // Both ends are dropped when the gate closes, or is closed.
            tokio::select! {
                biased;
                _ = gate.wait_for(|gate| !gate.tcp) => {}
                () = carried => {}
            }
        });
    }
}

async fn carry_udp(near: Arc<UdpSocket>, target: watch::Receiver<SocketAddr>, gate: watch::Receiver<Gate>) {
    let mut ways: BTreeMap<SocketAddr, Arc<UdpSocket>> = BTreeMap::new();
    let mut buffer = [0; 2_048];
    loop {
        let Ok((bytes, from)) = near.recv_from(&mut buffer).await else { continue };
        let far = match ways.entry(from) {
            Entry::Occupied(way) => way.into_mut(),
            Entry::Vacant(place) => {
                let far = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                tokio::spawn(carry_back(Arc::clone(&far), Arc::clone(&near), from, gate.clone()));
                place.insert(far)
            }
        };
        let target = *target.borrow();
        if gate.borrow().udp {
            let _ = far.send_to(&buffer[..bytes], target).await;
        }
    }
}

async fn carry_back(far: Arc<UdpSocket>, near: Arc<UdpSocket>, to: SocketAddr, gate: watch::Receiver<Gate>) {
    let mut buffer = [0; 2_048];
    loop {
        let Ok(bytes) = far.recv(&mut buffer).await else { continue };
        if gate.borrow().udp {
            let _ = near.send_to(&buffer[..bytes], to).await;
        }
    }
}

/// A server, a proxy before it, and a folder for everybody's state.
struct Scene {
    runtime: Runtime,
    server: Option<Server>,
    proxy: Proxy,
    folder: PathBuf,
}

static SCENES: AtomicU32 = AtomicU32::new(0);

impl Scene {
    fn new(name: &str) -> Self {
        let number = SCENES.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("conclave-reconnect-{}-{number}-{name}", std::process::id()));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let server = runtime.block_on(serve(&folder));
        let proxy = runtime.block_on(Proxy::start(server.address()));
        Self { runtime, server: Some(server), proxy, folder }
    }

    /// Ends the server and starts it anew at another port, with the same key.
    fn restart_server(&mut self) {
        self.runtime.block_on(self.server.take().unwrap().stop());
        let server = self.runtime.block_on(serve(&self.folder));
        self.proxy.target.send_replace(server.address());
        self.server = Some(server);
    }

    fn person(&self, name: &str) -> Person {
        let config = EngineConfig {
            download_dir: self.folder.join(name).join("received"),
            state_dir: self.folder.join(name),
            camera: DeviceChoice::Off,
            microphone: DeviceChoice::Off,
            speaker: DeviceChoice::Off,
            ..EngineConfig::default()
        };
        Person { engine: start(config, Arc::new(|| {})).unwrap(), heard: Heard::default() }
    }

    /// Ada hosts at the server itself, Bo comes by the proxy.
    fn meeting(&self) -> (Person, Person) {
        let (mut ada, mut bo) = (self.person("Ada"), self.person("Bo"));
        let server = self.server.as_ref().unwrap().address().to_string();
        ada.tell(Command::StartMeeting { name: "Ada".into(), server: Some(server) });
        let joined = ada.joined();
        let server = self.proxy.address.to_string();
        bo.tell(Command::Join { server, code: joined.code, name: "Bo".into() });
        ada.wait(|event| matches!(event, Event::KnockArrived { .. }).then_some(()));
        ada.tell(Command::Act(Action::AdmitAll));
        bo.joined();
        // Somebody who has not sent a datagram yet is not sent any.
        bo.wait(|event| match event {
            Event::Statistics(snapshot) if snapshot.round_trip_time.is_some() => Some(()),
            _ => None,
        });
        (ada, bo)
    }
}

async fn serve(folder: &Path) -> Server {
    let config = ServerConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        state_dir: folder.join("server"),
        ..ServerConfig::default()
    };
    Server::start(config).await.unwrap()
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
