//! What does a meeting feel like, and what does it cost? The shipped server and shipped engines over sockets of
//! loopback: joining, chat, a file, and a call of four.
//!
//! The clients of the call are processes of their own (this program again), so that CPU and memory are those of one
//! client: engine, camera, encoder, decoders, sound; no window.
#![expect(clippy::print_stdout, reason = "a client tells its parent what it used")]

mod figures;

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Program, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use client::devices::DeviceChoice;
use client::engine::protocol::{Command, Event, FrameSlots};
use client::engine::{EngineConfig, EngineHandle, start};
use common::ids::{KnockId, MemberId, RoomCode};
use common::link::LinkConfig;
use common::wire::control::Action;
use common::wire::message::{FileState, Recipients};
use server::{Server, ServerConfig};

use figures::{Figure, Figures, Goal, process, quantile};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == CALLER) {
        return call_as_child(&arguments[at + 1..]);
    }
    let mut figures = Figures::new("meeting");
    let folder = Folder::new();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime starts");
    let config = ServerConfig {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        state_dir: folder.0.join("server"),
        ..ServerConfig::default()
    };
    let server = runtime.block_on(Server::start(config)).expect("the server starts");
    let meeting = Meeting { server: server.address().to_string(), folder: folder.0.clone() };
    meeting.two(&mut figures);
    meeting.call_of_four(&mut figures);
    runtime.block_on(server.stop());
    figures.finish();
}

/// Long enough for a busy machine; a bench that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(30);
const JOINS: usize = 10;
const CHATS: usize = 200;
/// Apart so far that the 50 messages a second a member may write are never reached.
const CHAT_INTERVAL: Duration = Duration::from_millis(21);
const FILE_BYTES: usize = 100_000_000;
/// A file that takes longer is stuck.
const FILE_PATIENCE: Duration = Duration::from_secs(45);
const CALLERS: usize = 4;
/// Before the clock of the call runs: rate control climbs to 480p.
const WARM_UP: Duration = Duration::from_secs(8);
const CALL_TIME: Duration = Duration::from_secs(10);
/// First argument of a client of the call.
const CALLER: &str = "--caller";

/// Where servers and clients keep their state and files; removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("conclave-bench-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the folder for temporary files can be written to");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn asset(name: &str) -> DeviceChoice {
    DeviceChoice::File(Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(name))
}

// A person at an engine.

struct Person {
    commands: tokio::sync::mpsc::Sender<Command>,
    events: mpsc::Receiver<(Instant, Event)>,
    thread: thread::JoinHandle<()>,
}

impl Person {
    fn new(config: EngineConfig) -> Self {
        let EngineHandle { commands, events, frames, thread } =
            start(config, Arc::new(|| {})).expect("an engine starts");
        let (heard, inbox) = mpsc::channel();
        thread::spawn(move || listen(events, &frames, &heard));
        Self { commands, events: inbox, thread }
    }

    fn tell(&self, command: Command) -> Instant {
        let now = Instant::now();
        self.commands.blocking_send(command).expect("the engine listens");
        now
    }

    /// Waits for an event, and forgets those before it.
    fn until<T>(&self, what: &str, mut wanted: impl FnMut(Event) -> Option<T>) -> (Instant, T) {
        let deadline = Instant::now() + PATIENCE;
        let mut last = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok((at, event)) = self.events.recv_timeout(left) else {
                panic!("waited in vain for {what}; heard {last:?}");
            };
            if matches!(event, Event::Ended { .. } | Event::Notice(_)) {
                last.push(format!("{event:?}"));
            }
            if let Some(found) = wanted(event) {
                return (at, found);
            }
        }
    }

    fn until_knock(&self) -> KnockId {
        let knock = |event| {
            let Event::KnockArrived { knock, .. } = event else {
                return None;
            };
            Some(knock)
        };
        self.until("a knock", knock).1
    }

    fn until_joined(&self) -> (RoomCode, MemberId) {
        let joined = |event| {
            let Event::Joined(joined) = event else {
                return None;
            };
            Some((joined.code, joined.you))
        };
        self.until("being let in", joined).1
    }

    fn until_ended(&self) -> Instant {
        let ended = |event| matches!(event, Event::Ended { .. }).then_some(());
        self.until("the end", ended).0
    }

    fn stop(self) {
        drop(self.commands);
        self.thread.join().expect("the engine ends well");
    }
}

/// Hears everything, and takes pictures out of their slots as a window does.
fn listen(mut events: tokio::sync::mpsc::Receiver<Event>, frames: &FrameSlots, heard: &mpsc::Sender<(Instant, Event)>) {
    while let Some(event) = events.blocking_recv() {
        let now = Instant::now();
        if let Event::Frame(member) = event
            && let Some(picture) = frames.take(member)
        {
            frames.give_back(picture);
        }
        if heard.send((now, event)).is_err() {
            return;
        }
    }
}

struct Meeting {
    server: String,
    folder: PathBuf,
}

impl Meeting {
    fn config(&self, name: &str) -> EngineConfig {
        let own = self.folder.join(name);
        EngineConfig {
            download_dir: own.join("files"),
            state_dir: own.join("state"),
            camera: DeviceChoice::Off,
            microphone: DeviceChoice::Off,
            speaker: DeviceChoice::Synthetic,
            ..EngineConfig::default()
        }
    }

    fn join(&self, guest: &Person, code: RoomCode, name: &str) -> Instant {
        guest.tell(Command::Join { server: self.server.clone(), code, name: name.to_owned() })
    }

    fn host(&self) -> (Person, RoomCode, MemberId) {
        let host = Person::new(EngineConfig {
            camera: asset("face_864x480_30fps.mjpeg"),
            microphone: asset("voice_a_48k.wav"),
            ..self.config("host")
        });
        host.tell(Command::StartMeeting { name: "Ada".to_owned(), server: Some(self.server.clone()) });
        let (code, you) = host.until_joined();
        host.until("the own picture", |event| matches!(event, Event::Frame(_)).then_some(()));
        (host, code, you)
    }

    /// A host and guests, one at a time.
    fn two(&self, figures: &mut Figures) {
        let (host, code, host_id) = self.host();
        let guest = Person::new(self.config("guest"));
        self.join_times(&host, &guest, (code, host_id), figures);
        self.told_no(&host, &guest, code, figures);
        guest.stop();

        host.tell(Command::SetCamera(false));
        host.tell(Command::SetMicrophone(false));
        for path in PATHS {
            let guest = self.admitted(&host, code, path.impairment);
            chat_latency(&host, &guest, &path, figures);
            guest.tell(Command::Leave);
            guest.until_ended();
            guest.stop();
        }
        let guest = self.admitted(&host, code, None);
        self.file(&host, &guest, figures);
        guest.stop();
        host.tell(Command::Leave);
        host.until_ended();
        host.stop();
    }

    fn admitted(&self, host: &Person, code: RoomCode, impairment: Option<&str>) -> Person {
        let impairment = impairment.map(|text| text.parse::<LinkConfig>().expect("it reads"));
        let guest = Person::new(EngineConfig { impairment, ..self.config("guest") });
        self.join(&guest, code, "Bo");
        host.tell(Command::Act(Action::Admit(host.until_knock())));
        guest.until_joined();
        guest
    }

    fn join_times(&self, host: &Person, guest: &Person, (code, host_id): (RoomCode, MemberId), figures: &mut Figures) {
        let times: Vec<f64> = (0..JOINS)
            .map(|_| {
                self.join(guest, code, "Bo");
                let admitted = host.tell(Command::Act(Action::Admit(host.until_knock())));
                let (seen, ()) = guest.until("the host's picture", |event| {
                    matches!(event, Event::Frame(member) if member == host_id).then_some(())
                });
                guest.tell(Command::Leave);
                guest.until_ended();
                millis(seen - admitted)
            })
            .collect();
        for (name, share) in [("median", 0.5), ("slowest", 1.0)] {
            figures.add(Figure {
                row: "Join time",
                what: format!("the host admits to the guest has decoded the first remote picture, {name} of {JOINS} joins, loopback"),
                value: quantile(&times, share),
                unit: "ms",
                goal: Some(Goal::AtMost(200.0)),
                others: Some("an earlier program of this kind: 1,100 ms of fixed sleeps".to_owned()),
            });
        }
    }

    /// A wrong code, and a host who says no.
    fn told_no(&self, host: &Person, guest: &Person, code: RoomCode, figures: &mut Figures) {
        let wrong = ["000000", "999999"]
            .map(|text| text.parse().expect("six digits"))
            .into_iter()
            .find(|wrong| *wrong != code)
            .expect("one of two is another");
        let asked = self.join(guest, wrong, "Bo");
        let told = guest.until_ended();
        figures.add(Figure {
            row: "Wrong code",
            what: "typed to told, with connecting and TLS, loopback".to_owned(),
            value: Some(millis(told - asked)),
            unit: "ms",
            goal: Some(Goal::AtMost(200.0)),
            others: Some("an earlier program of this kind: 5 s".to_owned()),
        });
        self.join(guest, code, "Bo");
        let denied = host.tell(Command::Act(Action::Deny(host.until_knock())));
        let told = guest.until_ended();
        figures.add(Figure {
            row: "Denied",
            what: "the host says no to the guest is told, loopback".to_owned(),
            value: Some(millis(told - denied)),
            unit: "ms",
            goal: Some(Goal::AtMost(200.0)),
            others: Some("an earlier program of this kind: 30 s".to_owned()),
        });
    }

    fn file(&self, host: &Person, guest: &Person, figures: &mut Figures) {
        let path = self.folder.join("film.bin");
        write_file(&path);
        let offered = host.tell(Command::OfferFile { to: Recipients::Everyone, path });
        let offer = |event| {
            let Event::FileOffered { from, offer } = event else {
                return None;
            };
            Some((from, offer.transfer))
        };
        let (heard, (from, transfer)) = guest.until("an offer", offer);
        let before = process::resident_mb().filter(|_| process::forget_peak());
        let cpu = process::cpu_secs();
        let accepted = guest.tell(Command::AcceptFile { from, transfer });
        let (ended, there) = arrival(guest, accepted + FILE_PATIENCE);
        let grown = process::peak_resident_mb().zip(before).map(|(peak, before)| peak - before);
        let cpu = process::cpu_secs().zip(cpu).map(|(end, begin)| end - begin);
        let secs = (ended - accepted).as_secs_f64();
        let whole = there == FILE_BYTES as u64;
        let outcome = if whole {
            "accepted to verified (BLAKE3) and renamed".to_owned()
        } else {
            format!("STUCK: {} MB were there after {secs:.0} s", there / 1_000_000)
        };
        figures.add(Figure {
            row: "File goodput",
            what: format!("100 MB, host to server to one guest over loopback, {outcome}; all three in this process"),
            value: whole.then_some(FILE_BYTES as f64 / 1e6 / secs),
            unit: "MB/s",
            goal: Some(Goal::AtLeast(100.0)),
            others: Some("an earlier program of this kind: 21 MB/s".to_owned()),
        });
        figures.add(Figure {
            row: "File memory",
            what: "growth of peak resident memory during that transfer: sender, server and receiver together"
                .to_owned(),
            value: grown,
            unit: "MB",
            goal: Some(Goal::AtMost(20.0)),
            others: Some("an earlier program of this kind: 257 MB".to_owned()),
        });
        figures.add(Figure {
            row: "File CPU",
            what: "CPU seconds of that transfer: sender, server and receiver together".to_owned(),
            value: cpu,
            unit: "s",
            goal: None,
            others: None,
        });
        figures.add(Figure {
            row: "File offer",
            what: "the host chooses the file of 100 MB to the guest sees the offer (it is hashed first)".to_owned(),
            value: Some(millis(heard - offered)),
            unit: "ms",
            goal: None,
            others: None,
        });
    }

    /// A host here and three guests, all but the host measured; every one with a camera, a voice and a speaker.
    fn call_of_four(&self, figures: &mut Figures) {
        let (host, code, _) = self.host();
        let children: Vec<Caller> = (1..CALLERS)
            .map(|number| {
                let child = Caller::start(&self.server, code, number, &self.folder);
                host.tell(Command::Act(Action::Admit(host.until_knock())));
                child
            })
            .collect();
        let used: Vec<Used> = children.into_iter().map(Caller::finish).collect();
        host.tell(Command::Act(Action::End));
        host.until_ended();
        host.stop();
        let of = |value: fn(&Used) -> f64| used.iter().map(value).collect::<Vec<_>>();
        let span = CALL_TIME.as_secs();
        figures.add(Figure {
            row: "Client CPU",
            what: format!("cores one client uses in a call of {CALLERS} with file cameras (864x480, 30 fps) and voices, {span} s, mean of {} processes, no window; all on this machine with the server", CALLERS - 1),
            value: mean(&of(|used| used.cores)),
            unit: "cores",
            goal: Some(Goal::AtMost(1.0)),
            others: None,
        });
        figures.add(Figure {
            row: "Client memory",
            what: "peak resident memory of one of these clients, the largest, clip and voice of the file devices included, no window".to_owned(),
            value: quantile(&of(|used| used.peak_mb), 1.0),
            unit: "MB",
            goal: Some(Goal::AtMost(150.0)),
            others: Some("measured elsewhere: Chromium 406 MB blank, 500 MB in a call of two".to_owned()),
        });
        figures.add(Figure {
            row: "Call pictures",
            what: format!(
                "remote pictures a second decoded by one client, mean; {} senders at 30 are {}",
                CALLERS - 1,
                30 * (CALLERS - 1)
            ),
            value: mean(&of(|used| used.pictures_per_sec)),
            unit: "1/s",
            goal: None,
            others: None,
        });
        figures.add(Figure {
            row: "Call pictures",
            what: "of them 480 pixels high".to_owned(),
            value: mean(&of(|used| used.large_share)),
            unit: "share",
            goal: None,
            others: None,
        });
    }
}

/// Where chat is measured.
struct Trial {
    name: &'static str,
    impairment: Option<&'static str>,
    /// For the 99th percentile.
    goal: Option<Goal>,
}

/// Bad paths have no goal here: those of messages over them are for ten a second, which `benches/reno.rs` sends.
const PATHS: [Trial; 3] = [
    Trial {
        name: "loopback",
        impairment: None,
        // A tenth of a second is felt as immediate.
        goal: Some(Goal::AtMost(100.0)),
    },
    Trial { name: "25 ms and 1 % loss each way at the writer", impairment: Some("delay=25,loss=1"), goal: None },
    Trial { name: "25 ms and 3 % loss each way at the writer", impairment: Some("delay=25,loss=3"), goal: None },
];

/// Messages a fixed time apart, whether the one before has arrived or not.
fn chat_latency(host: &Person, guest: &Person, path: &Trial, figures: &mut Figures) {
    let mut sent = Vec::new();
    for number in 0..CHATS {
        let text = format!("{number:<200}|");
        sent.push(guest.tell(Command::SendChat { to: Recipients::Everyone, text }));
        thread::sleep(CHAT_INTERVAL);
    }
    let latencies: Vec<f64> = sent
        .iter()
        .enumerate()
        .map(|(number, sent)| {
            let chat = |event| if let Event::Chat(line) = event { Some(line.text) } else { None };
            let (read, text) = host.until("a message", chat);
            assert!(text.starts_with(&format!("{number} ")), "in order and once: {text}");
            millis(read - *sent)
        })
        .collect();
    for (name, share, goal) in [("p50", 0.5, None), ("p99", 0.99, path.goal)] {
        figures.add(Figure {
            row: "Chat latency",
            what: format!(
                "written to read, {name} of {CHATS} messages of 201 bytes, at most 47 a second, {}",
                path.name
            ),
            value: quantile(&latencies, share),
            unit: "ms",
            goal,
            others: None,
        });
    }
}

/// Waits for a file; answers when it ended, or `deadline`, and how many bytes of it were there then.
fn arrival(guest: &Person, deadline: Instant) -> (Instant, u64) {
    let mut there = 0;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok((at, event)) = guest.events.recv_timeout(left) else {
            return (deadline, there);
        };
        if let Event::FileChanged { state, .. } = event {
            match state {
                FileState::Interrupted(bytes, _) | FileState::Paused(bytes) | FileState::Receiving(bytes) => {
                    there = bytes
                }
                FileState::Verified => return (at, FILE_BYTES as u64),
                FileState::Cancelled | FileState::Corrupt | FileState::Declined => {
                    panic!("the file ended as {state:?}")
                }
            }
        }
    }
}

/// A file that no layer can make smaller.
fn write_file(path: &Path) {
    let mut state = 1_u64;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        // xorshift64 (Marsaglia 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .take(FILE_BYTES / 8)
    .flatten()
    .collect();
    std::fs::write(path, bytes).expect("there is room for 100 MB");
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn mean(values: &[f64]) -> Option<f64> {
    let finite = values.iter().all(|value| value.is_finite());
    (finite && !values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

// Clients of the call, each a process.

/// A client of the call, as its parent sees it.
struct Caller(Child);

/// What it used; not a number where the system does not tell.
struct Used {
    cores: f64,
    peak_mb: f64,
    pictures_per_sec: f64,
    large_share: f64,
}

impl Caller {
    fn start(server: &str, code: RoomCode, number: usize, folder: &Path) -> Self {
        let program = std::env::current_exe().expect("a running program has a path");
        let child = Program::new(program)
            .arg(CALLER)
            .args([server, &code.to_string(), &number.to_string()])
            .arg(folder)
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts again");
        Self(child)
    }

    fn finish(mut self) -> Used {
        let mut text = String::new();
        let mut output = self.0.stdout.take().expect("it is piped");
        output.read_to_string(&mut text).expect("it writes numbers");
        let ended = self.0.wait().expect("it is our child");
        assert!(ended.success(), "a client of the call failed");
        let mut values = text.split_whitespace().map(|word| word.parse().expect("it writes numbers"));
        let mut next = || values.next().expect("it writes four numbers");
        Used { cores: next(), peak_mb: next(), pictures_per_sec: next(), large_share: next() }
    }
}

/// Body of a client process: `server code number folder`.
fn call_as_child(arguments: &[String]) {
    let [server, code, number, folder] = arguments else {
        panic!("called by hand");
    };
    let meeting = Meeting { server: server.clone(), folder: folder.into() };
    let voice = if number == "1" { "voice_a_48k.wav" } else { "voice_b_48k.wav" };
    let config = EngineConfig {
        camera: asset("face_864x480_30fps.mjpeg"),
        microphone: asset(voice),
        ..meeting.config(&format!("caller-{number}"))
    };
    let EngineHandle { commands, mut events, frames, thread } =
        start(config, Arc::new(|| {})).expect("an engine starts");
    let join = Command::Join {
        server: server.clone(),
        code: code.parse().expect("six digits"),
        name: format!("Guest {number}"),
    };
    commands.blocking_send(join).expect("the engine listens");
    let you = loop {
        let event = events.blocking_recv().expect("the engine is there");
        if let Event::Joined(joined) = event {
            break joined.you;
        }
        assert!(!matches!(event, Event::Ended { .. }), "not let in: {event:?}");
    };
    watch(WARM_UP, you, &mut events, &frames);
    let cpu = process::cpu_secs();
    let began = Instant::now();
    let (pictures, large) = watch(CALL_TIME, you, &mut events, &frames);
    let wall = began.elapsed().as_secs_f64();
    let cores = process::cpu_secs().zip(cpu).map(|(end, begin)| (end - begin) / wall);
    println!(
        "{} {} {} {}",
        cores.unwrap_or(f64::NAN),
        process::peak_resident_mb().unwrap_or(f64::NAN),
        pictures as f64 / wall,
        large as f64 / (pictures as f64).max(1.0),
    );
    // The others are measured still, and a call of four is one of four until the last is done.
    watch(WARM_UP / 2, you, &mut events, &frames);
    drop(commands);
    drop(events);
    thread.join().expect("the engine ends well");
}

/// Takes remote pictures as a window does; answers how many there were, and how many of 480 lines.
fn watch(
    time: Duration,
    you: MemberId,
    events: &mut tokio::sync::mpsc::Receiver<Event>,
    frames: &FrameSlots,
) -> (u64, u64) {
    let until = Instant::now() + time;
    let (mut pictures, mut large) = (0, 0);
    while Instant::now() < until {
        let Some(event) = events.blocking_recv() else {
            break;
        };
        if let Event::Frame(member) = event
            && let Some(picture) = frames.take(member)
        {
            if member != you {
                pictures += 1;
                large += u64::from(picture.height == 480);
            }
            frames.give_back(picture);
        }
    }
    (pictures, large)
}
