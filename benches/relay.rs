//! How many datagrams a second does one core relay, 1 member to 9?
//!
//! First the relay without a socket: opened, routed, sealed for each receiver; beside it, in the same run, the same
//! number of openings and sealings without a relay. Then the shipped server over sockets of loopback, per CPU second
//! of its media thread; beside it a loop that only receives and sends.

mod figures;
#[path = "../server/tests/support/mod.rs"]
mod support;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::hub::Grant;
use common::ids::{ConnectionId, ControlId, MemberId, RoomId, Ssrc, StreamKind};
use common::limits::{AUDIO_BLOCK_SAMPLES, DATAGRAM_MAX_BYTES};
use common::relay::Relay;
use common::seal::{Opener, Sealer, Secret, Secrets};
use common::sequence::{FrameId, MediaTime, SendTime, SequenceNumber};
use common::wire::control::{Action, CipherSuite, ClientMessage, ServerMessage};
use common::wire::datagram::{DatagramHeader, Kind};
use common::wire::media::{AudioFormat, AudioHeader, BlockRun, MediaHeader, VideoHeader};
use server::{Server, ServerConfig};

use figures::{Figure, Figures, Goal, process};

fn main() {
    let mut figures = Figures::new("relay");
    for load in [Load::video(), Load::audio()] {
        core(&load, &mut figures);
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime starts");
    for load in [Load::video(), Load::audio()] {
        let bare = bare_sockets(load.datagram_bytes());
        let shipped = runtime.block_on(shipped_server(&load));
        sockets(&load, &bare, &shipped, &mut figures);
    }
    figures.finish();
}

const RECEIVERS: usize = 9;
const SUITE: CipherSuite = CipherSuite::Aes256Gcm;
/// Datagrams that come in before the relay is asked what to send, as in the server's media thread.
const BATCH: usize = 64;
const CORE_ROUNDS: usize = 10;
const CORE_TIME: Duration = Duration::from_millis(300);
/// Copying takes so little that making the input takes most of its time.
const COPY_TIME: Duration = Duration::from_millis(50);
const SOCKET_TIME: Duration = Duration::from_secs(5);

/// One kind of media packet.
struct Load {
    name: &'static str,
    plaintext: Vec<u8>,
    ceilings: Vec<Ceiling>,
}

/// What others do on this kind of machine, and which share of it is wanted.
struct Ceiling {
    name: &'static str,
    kilo_per_sec: f64,
    goal: f64,
}

impl Load {
    fn video() -> Self {
        let header = VideoHeader {
            media: media_header(StreamKind::Video),
            frame: FrameId(1),
            part: 0,
            parts: 30,
            rung: 3,
            quality: 80,
        };
        let mut plaintext = vec![0x55; DATAGRAM_MAX_BYTES - OVERHEAD_BYTES];
        plaintext[0] = Kind::Video as u8;
        let run = BlockRun { row: 0, column: 0, blocks: 54 };
        header.write(&[run], &mut plaintext[1..]);
        Self {
            name: "video, 1,200-byte datagrams",
            plaintext,
            ceilings: vec![Ceiling { name: "a bare UDP_SEGMENT fan-out", kilo_per_sec: 1_100.0, goal: 0.75 }],
        }
    }

    fn audio() -> Self {
        let header = AudioHeader { media: media_header(StreamKind::Audio), format: AudioFormat::L16, level: 20 };
        let mut plaintext = vec![0x55; 1 + AudioHeader::BYTES + 2 * AUDIO_BLOCK_SAMPLES];
        plaintext[0] = Kind::Audio as u8;
        header.write(&mut plaintext[1..]);
        Self {
            name: "voice, 1,008-byte datagrams (10 ms of PCM)",
            plaintext,
            ceilings: vec![
                Ceiling { name: "bare sendmmsg of 1,200 bytes", kilo_per_sec: 292.0, goal: 0.9 },
                Ceiling { name: "mumble-server with 300 bytes", kilo_per_sec: 163.0, goal: 3.0 },
            ],
        }
    }

    fn datagram_bytes(&self) -> usize {
        self.plaintext.len() + OVERHEAD_BYTES
    }
}

const OVERHEAD_BYTES: usize = common::limits::DATAGRAM_HEADER_BYTES + common::limits::DATAGRAM_TAG_BYTES;

fn media_header(kind: StreamKind) -> MediaHeader {
    MediaHeader {
        ssrc: Ssrc::new(MemberId(1), kind),
        sequence: SequenceNumber(0),
        send_time: SendTime(0),
        timestamp: MediaTime(0),
    }
}

// Without a socket.

fn core(load: &Load, figures: &mut Figures) {
    let (mut relayed, mut sealed, mut copied) = (0.0_f64, 0.0_f64, 0.0_f64);
    // In turns, and the fastest of each: what else the machine does then meets none of them alone.
    for _ in 0..CORE_ROUNDS {
        relayed = relayed.max(relay_core(load));
        sealed = sealed.max(bare_sealing(load));
        copied = copied.max(bare_copying(load));
    }
    let name = load.name;
    figures.add(Figure {
        row: "Relay core",
        what: format!("datagrams sealed for receivers a second on one core, 1 to {RECEIVERS}, {name}: open, route, seal; no socket; fastest of {CORE_ROUNDS} rounds"),
        value: Some(relayed / 1e3),
        unit: "k/s",
        goal: None,
        others: None,
    });
    figures.add(Figure {
        row: "Relay core",
        what: format!("the same openings and sealings without a relay, same run ({name})"),
        value: Some(sealed / 1e3),
        unit: "k/s",
        goal: None,
        others: None,
    });
    figures.add(Figure {
        row: "Relay core",
        what: format!("the same copies without opening or sealing, same run ({name})"),
        value: Some(copied / 1e3),
        unit: "k/s",
        goal: None,
        others: None,
    });
    figures.add(Figure {
        row: "Relay core",
        what: format!("relay to bare opening and sealing, same run ({name})"),
        value: Some(relayed / sealed),
        unit: "ratio",
        goal: None,
        others: None,
    });
}

fn secrets(index: usize) -> Secrets {
    Secrets { up: Secret([index as u8; Secret::BYTES]), down: Secret([index as u8 | 0x80; Secret::BYTES]) }
}

fn connection(index: usize) -> ConnectionId {
    ConnectionId(1_000 + index as u64)
}

fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 4_000 + index as u16))
}

/// Sealed copies of a load, made before the clock runs.
struct Incoming<'a> {
    load: &'a Load,
    sealer: Sealer,
    batch: Vec<[u8; DATAGRAM_MAX_BYTES]>,
    length: usize,
}

impl<'a> Incoming<'a> {
    fn new(load: &'a Load, sealer: Sealer) -> Self {
        Self { load, sealer, batch: vec![[0; DATAGRAM_MAX_BYTES]; BATCH], length: load.datagram_bytes() }
    }

    fn refill(&mut self) {
        for datagram in &mut self.batch {
            seal(&mut self.sealer, datagram, &self.load.plaintext);
        }
    }
}

fn seal(sealer: &mut Sealer, buffer: &mut [u8], plaintext: &[u8]) -> usize {
    buffer[Sealer::PLAINTEXT_OFFSET..][..plaintext.len()].copy_from_slice(plaintext);
    sealer.seal(buffer, plaintext.len()).expect("a key lasts for the whole run")
}

/// Counts what `each` sends, for `time` of the time that `each` takes; answers the rate.
fn rate(time: Duration, mut incoming: Incoming<'_>, mut each: impl FnMut(&mut Incoming<'_>) -> u64) -> f64 {
    let (mut sent, mut spent) = (0, Duration::ZERO);
    while spent < time {
        incoming.refill();
        let began = Instant::now();
        sent += each(&mut incoming);
        spent += began.elapsed();
    }
    sent as f64 / spent.as_secs_f64()
}

fn relay_core(load: &Load) -> f64 {
    let now = Instant::now();
    let mut relay = Relay::new(now);
    let mut buffer = [0; DATAGRAM_MAX_BYTES];
    let mut sealers: Vec<Sealer> = (0..=RECEIVERS)
        .map(|index| {
            let grant = Grant {
                control: ControlId(index as u64),
                room: RoomId(1),
                member: MemberId(1 + index as u16),
                connection_id: connection(index),
                suite: SUITE,
            };
            relay.admit(now, grant, &secrets(index));
            Sealer::new(SUITE, &secrets(index).up, connection(index))
        })
        .collect();
    for (index, sealer) in sealers.iter_mut().enumerate() {
        let length = seal(sealer, &mut buffer, &PING);
        relay.handle_datagram(now, address(index), &mut buffer[..length]);
    }
    while relay.poll_transmit(now, &mut buffer).is_some() {}
    let incoming = Incoming::new(load, sealers.swap_remove(0));
    rate(CORE_TIME, incoming, |incoming| {
        let now = Instant::now();
        for datagram in &mut incoming.batch {
            relay.handle_datagram(now, address(0), &mut datagram[..incoming.length]);
        }
        let mut sent = 0;
        while relay.poll_transmit(now, &mut buffer).is_some() {
            sent += 1;
        }
        assert_eq!(sent, (BATCH * RECEIVERS) as u64, "everybody gets everything");
        sent
    })
}

const PING: [u8; 9] = [Kind::Ping as u8, 0, 0, 0, 0, 0, 0, 0, 1];

fn bare_sealing(load: &Load) -> f64 {
    let secrets = secrets(0);
    let incoming = Incoming::new(load, Sealer::new(SUITE, &secrets.up, connection(0)));
    let mut opener = Opener::new(SUITE, &secrets.up);
    let mut sealers: Vec<Sealer> =
        (1..=RECEIVERS).map(|index| Sealer::new(SUITE, &self::secrets(index).down, connection(index))).collect();
    let mut buffer = [0; DATAGRAM_MAX_BYTES];
    rate(CORE_TIME, incoming, |incoming| {
        for datagram in &mut incoming.batch {
            let datagram = &mut datagram[..incoming.length];
            let header = DatagramHeader::parse(datagram).expect("it was just sealed");
            let (plaintext, _) = opener.open(header, datagram).expect("it was just sealed");
            for sealer in &mut sealers {
                seal(sealer, &mut buffer, plaintext);
                std::hint::black_box(&buffer);
            }
        }
        (BATCH * RECEIVERS) as u64
    })
}

fn bare_copying(load: &Load) -> f64 {
    let incoming = Incoming::new(load, Sealer::new(SUITE, &secrets(0).up, connection(0)));
    let mut buffer = [0; DATAGRAM_MAX_BYTES];
    rate(COPY_TIME, incoming, |incoming| {
        for datagram in &incoming.batch {
            for _ in 0..RECEIVERS {
                let datagram = std::hint::black_box(&datagram[..incoming.length]);
                buffer[..incoming.length].copy_from_slice(datagram);
                std::hint::black_box(&buffer);
            }
        }
        (BATCH * RECEIVERS) as u64
    })
}

// Over sockets.

/// What came out of a run over sockets.
struct Carried {
    sent: u64,
    delivered: u64,
    wall: Duration,
    /// CPU seconds of the thread that forwards.
    cpu_secs: Option<f64>,
}

impl Carried {
    fn per_cpu_sec(&self) -> Option<f64> {
        self.cpu_secs.filter(|secs| *secs > 0.0).map(|secs| self.sent as f64 / secs)
    }
}

fn sockets(load: &Load, bare: &Carried, shipped: &Carried, figures: &mut Figures) {
    let name = load.name;
    let ratio = shipped.per_cpu_sec().zip(bare.per_cpu_sec()).map(|(shipped, bare)| shipped / bare);
    figures.add(Figure {
        row: "Relay",
        what: format!("datagrams sent by the shipped server per CPU second of its media thread, UDP over loopback, 1 to {RECEIVERS}, {name}, sealed per receiver"),
        value: shipped.per_cpu_sec().map(|rate| rate / 1e3),
        unit: "k/CPU s",
        goal: None,
        others: Some("measured elsewhere on this kind of machine, unsealed where not said: bare UDP_SEGMENT 1,100, sendmmsg 292, tokio 241, str0m 153 (SRTP), mumble-server 163 (300 B) k/s".to_owned()),
    });
    figures.add(Figure {
        row: "Relay",
        what: format!(
            "the same by a loop of recv and {RECEIVERS} send that neither opens nor seals, same run ({name})"
        ),
        value: bare.per_cpu_sec().map(|rate| rate / 1e3),
        unit: "k/CPU s",
        goal: None,
        others: None,
    });
    figures.add(Figure {
        row: "Relay",
        what: format!("shipped server to the bare recv and send loop, same run ({name})"),
        value: ratio,
        unit: "ratio",
        goal: None,
        others: None,
    });
    for ceiling in &load.ceilings {
        figures.add(Figure {
            row: "Relay",
            what: format!(
                "shipped server per CPU second to {} ({} k/s; measured elsewhere, not of this run), {name}",
                ceiling.name, ceiling.kilo_per_sec
            ),
            value: shipped.per_cpu_sec().map(|rate| rate / 1e3 / ceiling.kilo_per_sec),
            unit: "ratio",
            goal: Some(Goal::AtLeast(ceiling.goal)),
            others: None,
        });
    }
    figures.add(Figure {
        row: "Relay",
        what: format!("datagrams delivered a second, counted at the receivers' sockets in the same process ({name}); sender, server and receiver share this machine's cores"),
        value: Some(shipped.delivered as f64 / shipped.wall.as_secs_f64() / 1e3),
        unit: "k/s",
        goal: None,
        others: None,
    });
}

fn loopback() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port")
}

/// Counts datagrams of a length at the receivers' sockets on a thread of its own, until `stop`.
fn count_arrivals(receivers: Vec<UdpSocket>, length: usize, stop: Arc<AtomicBool>) -> thread::JoinHandle<u64> {
    for socket in &receivers {
        socket.set_nonblocking(true).expect("every socket can");
    }
    thread::spawn(move || {
        let (mut buffer, mut count) = ([0; DATAGRAM_MAX_BYTES], 0);
        while !stop.load(Ordering::Relaxed) {
            let before = count;
            for socket in &receivers {
                while let Ok(got) = socket.recv(&mut buffer) {
                    count += u64::from(got == length);
                }
            }
            if count == before {
                thread::sleep(PAUSE);
            }
        }
        count
    })
}

/// How long a thread that found nothing to do leaves the core to the others.
const PAUSE: Duration = Duration::from_micros(50);

/// Sends for [`SOCKET_TIME`], never more than [`IN_FLIGHT`] ahead of what `forwarder` has taken.
fn drive(
    socket: &UdpSocket,
    to: SocketAddr,
    mut next: impl FnMut(&mut [u8]) -> usize,
    taken: impl Fn() -> u64,
) -> Duration {
    let (mut buffer, mut sent, began) = ([0; DATAGRAM_MAX_BYTES], 0, Instant::now());
    while began.elapsed() < SOCKET_TIME {
        if sent >= taken() + IN_FLIGHT {
            thread::sleep(PAUSE);
            continue;
        }
        let length = next(&mut buffer);
        socket.send_to(&buffer[..length], to).expect("loopback takes it");
        sent += 1;
    }
    began.elapsed()
}

/// Below what the default receive buffer of a socket holds.
const IN_FLIGHT: u64 = 64;

/// The most a loop of one system call for each datagram does, received and sent like the server's.
fn bare_sockets(length: usize) -> Carried {
    let (forwarder, sender) = (loopback(), loopback());
    let receivers: Vec<UdpSocket> = (0..RECEIVERS).map(|_| loopback()).collect();
    let addresses: Vec<SocketAddr> = receivers.iter().map(|socket| socket.local_addr().expect("it is bound")).collect();
    let to_forwarder = forwarder.local_addr().expect("it is bound");
    let (stop, taken) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let arrivals = count_arrivals(receivers, length, Arc::clone(&stop));
    forwarder.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout above zero is taken");
    let (stopped, count) = (Arc::clone(&stop), Arc::clone(&taken));
    let forwarding = thread::Builder::new()
        .name(BARE_THREAD.to_owned())
        .spawn(move || {
            let (mut buffer, mut sent) = ([0; DATAGRAM_MAX_BYTES], 0);
            while !stopped.load(Ordering::Relaxed) {
                let Ok((got, _)) = forwarder.recv_from(&mut buffer) else {
                    continue;
                };
                count.fetch_add(1, Ordering::Relaxed);
                for to in &addresses {
                    sent += u64::from(forwarder.send_to(&buffer[..got], to).is_ok());
                }
            }
            (sent, process::thread_cpu_secs(BARE_THREAD))
        })
        .expect("a thread starts");
    let wall = drive(&sender, to_forwarder, |_| length, || taken.load(Ordering::Relaxed));
    stop.store(true, Ordering::Relaxed);
    let (sent, cpu_secs) = forwarding.join().expect("it only counts");
    let delivered = arrivals.join().expect("it only counts");
    Carried { sent, delivered, wall, cpu_secs }
}

const BARE_THREAD: &str = "bare";

/// A server, a host who sends and nine guests who listen.
async fn shipped_server(load: &Load) -> Carried {
    let state = support::StateDir::new();
    let config =
        ServerConfig { listen: support::anywhere(), state_dir: state.path().to_owned(), ..ServerConfig::default() };
    let server = Server::start(config).await.expect("the server starts");
    let at = server.address();
    let (mut host, room) = support::Client::create(at, "Ada").await;
    let (mut receivers, mut guests) = (Vec::new(), Vec::new());
    for number in 1..=RECEIVERS {
        let mut guest = support::Client::knock(at, room.code, &format!("Guest {number}")).await;
        let knock = loop {
            if let Some(ServerMessage::KnockArrived { knock, .. }) = host.next().await {
                break knock;
            }
        };
        host.send(&ClientMessage::Act(Action::Admit(knock))).await;
        let admission = guest.admitted().await;
        let secrets = guest.secrets(admission.connection_id);
        let mut sealer = Sealer::new(admission.suite, &secrets.up, admission.connection_id);
        let mut buffer = [0; DATAGRAM_MAX_BYTES];
        let length = seal(&mut sealer, &mut buffer, &PING);
        let receiver = loopback();
        receiver.send_to(&buffer[..length], at).expect("loopback takes it");
        receivers.push(receiver);
        guests.push(guest);
    }
    let secrets = host.secrets(room.connection_id);
    let mut sealer = Sealer::new(room.suite, &secrets.up, room.connection_id);
    let plaintext = load.plaintext.clone();
    let stop = Arc::new(AtomicBool::new(false));
    let arrivals = count_arrivals(receivers, load.datagram_bytes(), Arc::clone(&stop));
    let began = (server.statistics().relay, process::thread_cpu_secs("media"));
    let wall = tokio::task::block_in_place(|| {
        let base = began.0.datagrams_received;
        drive(
            &loopback(),
            at,
            |buffer| seal(&mut sealer, buffer, &plaintext),
            || server.statistics().relay.datagrams_received - base,
        )
    });
    let ended = (server.statistics().relay, process::thread_cpu_secs("media"));
    stop.store(true, Ordering::Relaxed);
    let delivered = arrivals.join().expect("it only counts");
    let carried = Carried {
        sent: ended.0.datagrams_sent - began.0.datagrams_sent,
        delivered,
        wall,
        cpu_secs: ended.1.zip(began.1).map(|(end, begin)| end - begin),
    };
    drop(guests);
    server.stop().await;
    carried
}
