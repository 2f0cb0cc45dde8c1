//! A meeting we are in: one loop that owns the session, the endpoint and everything they are moved by.
//!
//! Each turn waits for one thing, hands it to whom it concerns, and then drains all that came of it.

mod commands;
mod happenings;
mod silence;

use std::io;
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::endpoint::Endpoint;
use common::introductions::Introductions;
use common::limits::CONTROL_SUSPECT_AFTER;
use common::reno;
use common::session::{Over, Session};
use common::wire::control::{MediaState, View};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep_until};

use super::EngineConfig;
use super::address::ServerAddress;
use super::audio::{Audio, Opened};
use super::camera::{CameraSink, CameraThread, FromCamera};
use super::chat::Chat;
use super::control::Connected;
use super::decoding::{DecodedSink, Decoding};
use super::door::{Door, Invitation};
use super::files::disk::{DISK_CHANNEL, FromDisk};
use super::files::{Files, Tools};
use super::guests::Directions;
use super::line::{Line, News};
use super::post::Post;
use super::protocol::{Command, Event, Joined};
use super::recording::{self, Recorder};
use super::socket::DataSocket;
use super::surroundings::{Ending, Surroundings};
use super::trust::Trust;
use crate::devices::DeviceChoice;
use silence::{Facts, Silence};

/// A meeting we are in.
pub(super) struct Meeting<'a> {
    session: Session,
    line: Line,
    /// Why the last attempt to connect anew failed.
    unreachable: Option<String>,
    endpoint: Endpoint,
    socket: DataSocket,
    surroundings: Surroundings<'a>,
    introductions: Introductions,
    chat: Chat,
    files: Files,
    post: Post,
    audio: Audio,
    decoding: Decoding,
    camera: Option<CameraThread>,
    camera_sink: CameraSink,
    recorder: Option<Recorder>,
    recording: Option<JoinHandle<()>>,
    media: MediaState,
    /// Anybody looks at our picture.
    video_wanted: bool,
    views: Views,
    sources: Sources,
    /// The server is ours: when we leave, the meeting is over for everybody.
    ours: bool,
    /// When to leave though the server has not ended the meeting as we asked it to.
    leave_at: Option<Instant>,
    /// What was told of the own data plane.
    silence: Silence,
    /// Datagrams found another way at this time: the control connection may be dead on the old one.
    way_changed: Option<Instant>,
}

/// Where a meeting is.
pub(super) struct Place {
    /// As it was given.
    pub(super) server: ServerAddress,
    /// For the connections after the first one.
    pub(super) trust: Trust,
    /// The server's addresses, TCP and UDP, the one that answered first.
    pub(super) reached: Vec<SocketAddr>,
    /// The server is inside this program.
    pub(super) ours: bool,
    /// How guests reach it.
    pub(super) directions: Directions,
}

/// What wakes the loop besides the network.
struct Sources {
    opened: mpsc::Receiver<Opened>,
    disk: mpsc::Receiver<FromDisk>,
    audio_look: Instant,
    slow_tick: Interval,
}

/// Whom the window shows, and what the server was told of it.
#[derive(Default)]
struct Views {
    wanted: Vec<View>,
    told: Vec<View>,
    told_at: Option<Instant>,
}

impl Views {
    /// What to tell the server now, if anything. A window that is being resized is not told of at every step.
    fn due(&mut self, now: Instant) -> Option<Vec<View>> {
        let rested = self.told_at.is_none_or(|at| now >= at + SLOW_TICK);
        if self.wanted == self.told || !rested {
            return None;
        }
        self.told.clone_from(&self.wanted);
        self.told_at = Some(now);
        Some(self.told.clone())
    }
}

/// What the loop was woken by.
enum Wake {
    Audio,
    Camera(Option<FromCamera>),
    Command(Option<Command>),
    Datagrams,
    Disk(FromDisk),
    Line(News),
    Opened(Opened),
    Outlet,
    Slow,
    Timer,
}

/// How often the network is shown and files tell how far they are.
const SLOW_TICK: Duration = Duration::from_millis(250);

/// How long a meeting of our own may take to end for everybody.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// How long after datagrams found another way the control connection is asked whether it is alive: more than once, since
/// what came just before proves nothing.
const WAY_DOUBTED_FOR: Duration = Duration::from_secs(5);

/// Sound devices that were opened and not taken over yet: one of each kind, twice.
const OPENED_CHANNEL: usize = 4;

impl<'a> Meeting<'a> {
    /// Goes in: opens the socket and the devices, and tells the window.
    pub(super) fn enter(
        door: Door,
        invitation: Invitation,
        place: Place,
        surroundings: Surroundings<'a>,
    ) -> io::Result<Self> {
        let now = Instant::now();
        let Place { server, trust, reached, ours, directions } = place;
        let (socket, endpoint) = data_plane(now, &invitation, &reached, surroundings.config)?;
        let Invitation { admission, .. } = invitation;
        let you = admission.you;
        let (recorder, recording) = match &surroundings.config.record {
            Some(folder) => recording::start(folder.clone(), surroundings.outlet.passing())
                .map(|(recorder, thread)| (Some(recorder), Some(thread)))?,
            None => (None, None),
        };
        let decoding = Decoding::start(&DecodedSink {
            frames: surroundings.frames.clone(),
            outlet: surroundings.outlet.passing(),
            recorder: recorder.clone(),
        })?;
        let (opened_out, opened) = mpsc::channel(OPENED_CHANNEL);
        let (disk_out, disk) = mpsc::channel(DISK_CHANNEL);
        let mut meeting = Self {
            session: door.session,
            line: Line::new(server, trust, reached, door.control),
            unreachable: None,
            endpoint,
            socket,
            introductions: Introductions::new(admission.members.iter().map(|member| member.id)),
            chat: Chat::new(you),
            files: Files::new(you, surroundings.config.download_dir.clone(), disk_out),
            post: Post::default(),
            audio: Audio::new(surroundings.config, opened_out, recorder.clone()),
            decoding,
            camera: None,
            camera_sink: CameraSink {
                you,
                frames: surroundings.frames.clone(),
                outlet: surroundings.outlet.passing(),
                origin: now,
            },
            recorder,
            recording,
            media: MediaState::default(),
            video_wanted: true,
            views: Views::default(),
            sources: Sources { opened, disk, audio_look: now, slow_tick: ticks(SLOW_TICK) },
            surroundings,
            ours,
            leave_at: None,
            silence: Silence::default(),
            way_changed: None,
        };
        meeting.surroundings.outlet.send(Event::Joined(Joined {
            code: admission.code,
            you,
            members: admission.members.clone(),
            locked: admission.locked,
            addresses: directions.addresses,
            addresses_note: directions.note,
            server_is_ours: ours,
        }));
        admission.members.iter().for_each(|member| meeting.name_in_recording(member));
        meeting.watch_for_recording();
        meeting.turn_on_devices();
        Ok(meeting)
    }

    fn turn_on_devices(&mut self) {
        let config = &*self.surroundings.config;
        let (camera, microphone) = (
            config.camera_on && config.camera != DeviceChoice::Off,
            config.microphone_on && config.microphone != DeviceChoice::Off,
        );
        self.audio.choose_speaker(config.speaker.clone());
        self.audio.choose_microphone(config.microphone.clone());
        self.media.microphone = microphone;
        if camera {
            self.start_camera();
        }
        self.announce();
    }

    /// Holds the meeting to its end.
    pub(super) async fn run(mut self) -> Ending {
        let over = loop {
            if let Some(over) = self.drain(Instant::now()) {
                break over;
            }
            let wake = self.wait().await;
            self.handle(wake);
        };
        // Ending a meeting of our own is how we leave it.
        let over = if self.leave_at.is_some() { Over::Left } else { over };
        let ending = self.ending(over);
        self.close().await;
        ending
    }

    /// What a person is told at the end: also why there was no way back, and that words were not sent.
    fn ending(&self, over: Over) -> Ending {
        let mut ending = Ending::from(over);
        if let (Over::NotRestored, Some(why)) = (over, &self.unreachable) {
            ending.reason = format!("{} {why}", ending.reason);
        }
        match self.chat.unsent() {
            0 => {}
            _ if ending.expected => {}
            1 => ending.reason.push_str(" Your last message was not sent."),
            more => ending.reason.push_str(&format!(" Your last {more} messages were not sent.")),
        }
        ending
    }

    fn handle_line(&mut self, now: Instant, news: News) {
        match news {
            News::Heard(incoming) => drop(super::door::hear(&mut self.session, incoming)),
            News::Dialed(Ok(Connected { control, addresses, .. })) => {
                self.endpoint.set_addresses(now, addresses.iter().copied());
                self.line.connected(control, addresses);
                self.session.handle_connected(now);
            }
            News::Dialed(Err(error)) => {
                self.unreachable = Some(error.to_string());
                self.session.handle_connect_failed(now);
            }
        }
    }

    async fn wait(&mut self) -> Wake {
        let deadline = self.deadline();
        let Surroundings { commands, outlet, .. } = &mut self.surroundings;
        let Sources { opened, disk, audio_look, slow_tick } = &mut self.sources;
        tokio::select! {
            () = self.socket.readable() => Wake::Datagrams,
            () = sleep_until((*audio_look).into()) => Wake::Audio,
            () = sleep_until(deadline.into()) => Wake::Timer,
            frame = next_frame(&mut self.camera) => Wake::Camera(frame),
            news = self.line.news() => Wake::Line(news),
            command = commands.recv() => Wake::Command(command),
            Some(opened) = opened.recv() => Wake::Opened(opened),
            Some(news) = disk.recv() => Wake::Disk(news),
            () = outlet.room() => Wake::Outlet,
            _ = slow_tick.tick() => Wake::Slow,
        }
    }

    fn deadline(&self) -> Instant {
        let timers =
            [self.session.poll_timeout(), self.endpoint.poll_timeout(), self.socket.poll_timeout(), self.leave_at];
        let timers = timers.into_iter().chain([self.introductions.poll_timeout()]);
        let quiet = Instant::now() + SLOW_TICK;
        timers.flatten().fold(quiet, Instant::min)
    }

    fn handle(&mut self, wake: Wake) {
        let now = Instant::now();
        match wake {
            Wake::Audio => self.move_audio(now),
            Wake::Camera(Some(FromCamera::Frame(_))) if !self.video_wanted => {}
            Wake::Camera(Some(FromCamera::Frame(frame))) => self.endpoint.push_video(now, frame),
            Wake::Camera(Some(FromCamera::Failed(error))) => self.camera_failed(&error.0),
            Wake::Camera(None) => self.camera_failed("The camera stopped."),
            Wake::Command(Some(command)) => self.command(command),
            Wake::Command(None) => self.leave(),
            Wake::Datagrams => self.socket.receive(now, &mut self.endpoint),
            Wake::Disk(news) => self.with_files(|files, tools| files.handle_disk(news, tools)),
            Wake::Line(news) => self.handle_line(now, news),
            Wake::Opened(opened) => {
                let result = self.audio.handle_opened(opened);
                self.audio_failed(result.err());
            }
            Wake::Outlet => self.surroundings.outlet.flush(),
            Wake::Slow => self.look_around(now),
            Wake::Timer => self.handle_timeout(now),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.session.handle_timeout(now);
        self.socket.handle_timeout(now, &mut self.endpoint);
        self.endpoint.handle_timeout(now);
        if self.leave_at.is_some_and(|at| now >= at) {
            self.session.leave();
        }
    }

    fn move_audio(&mut self, now: Instant) {
        let on = self.media.microphone;
        let captured = self.audio.capture(now, &mut self.endpoint, on);
        self.audio_failed(captured.err());
        let played = self.audio.play(now, &mut self.endpoint);
        self.audio_failed(played.err());
        self.sources.audio_look = self.audio.next_look(now);
    }

    fn look_around(&mut self, now: Instant) {
        let moved = self.way_changed.is_some_and(|at| now < at + WAY_DOUBTED_FOR);
        if moved || now.saturating_duration_since(self.endpoint.heard()) >= CONTROL_SUSPECT_AFTER {
            self.session.suspect(now);
        }
        self.look_for_silence(now);
        let snapshot = self.endpoint.snapshot(now);
        self.surroundings.outlet.send(Event::Statistics(Box::new(snapshot)));
        let traced: Vec<_> = std::iter::from_fn(|| self.endpoint.poll_trace()).collect();
        if !traced.is_empty() {
            self.surroundings.outlet.send(Event::Trace(traced));
        }
        self.with_files(|files, tools| files.handle_tick(now, tools));
    }

    fn look_for_silence(&mut self, now: Instant) {
        let Some(you) = self.session.you().and_then(|you| self.session.members().get(&you)) else { return };
        let facts = Facts {
            reach: you.reach,
            data_heard: self.endpoint.heard(),
            control_heard: self.session.heard(),
            seated: self.session.seated(),
        };
        if let Some(sentence) = self.silence.look(now, facts) {
            self.surroundings.outlet.notice(sentence);
        }
    }

    /// Does what came of the last wake; answers how the meeting ended, if it did.
    fn drain(&mut self, now: Instant) -> Option<Over> {
        while let Some(event) = self.endpoint.poll_event() {
            self.handle_endpoint(event);
        }
        self.hear_messages(now);
        self.post.flush(&mut self.endpoint);
        for id in self.post.acknowledged(&self.endpoint) {
            self.chat.handle_sent(id, self.surroundings.outlet);
        }
        if let Some(camera) = &self.camera {
            camera.set_target(self.video_wanted.then(|| self.endpoint.video_target()));
        }
        if let Some(views) = self.views.due(now) {
            self.endpoint.watch(views.iter().map(|view| view.member));
            self.session.watch(views);
        }
        self.socket.transmit(now, &mut self.endpoint);
        let over = self.drain_session();
        // Of those who were introduced just now.
        self.hear_messages(now);
        over
    }

    fn with_files(&mut self, act: impl FnOnce(&mut Files, &mut Tools<'_>)) {
        let mut tools = Tools { endpoint: &mut self.endpoint, post: &mut self.post, outlet: self.surroundings.outlet };
        act(&mut self.files, &mut tools);
    }

    async fn close(self) {
        let Self { line, camera, decoding, audio, recorder, recording, .. } = self;
        drop((camera, audio, recorder));
        decoding.stop();
        line.close().await;
        if let Some(recording) = recording {
            // What is queued is written by now, or the disk is stuck and said so.
            let _ = tokio::task::spawn_blocking(|| recording.join()).await;
        }
    }
}

/// The socket and what speaks over it, to a server that was reached at these addresses.
fn data_plane(
    now: Instant,
    Invitation { admission, secrets }: &Invitation,
    reached: &[SocketAddr],
    config: &EngineConfig,
) -> io::Result<(DataSocket, Endpoint)> {
    let first = reached.first().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let socket = DataSocket::open(*first, config.impairment)?;
    let channel = reno::Config { datagram_max_bytes: socket.datagram_max_bytes(), ..config.channel };
    let endpoint = Endpoint::new(now, admission.you, admission.connection_id, admission.suite, secrets);
    let mut endpoint = endpoint.with_channel(now, channel);
    endpoint.set_addresses(now, reached.iter().copied());
    endpoint.limit_video(config.largest_video);
    endpoint.send_silence(config.voice_processing.original_sound);
    if config.trace {
        endpoint.trace();
    }
    Ok((socket, endpoint))
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    // After a stall one look is enough: the devices give everything they have.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn next_frame(camera: &mut Option<CameraThread>) -> Option<FromCamera> {
    match camera {
        Some(camera) => camera.next().await,
        None => std::future::pending().await,
    }
}
