//! The meeting without a window: a thread that holds the connection, the devices and the disk, and speaks
//! [`protocol`].
//!
//! ```text
//!  window ──Command──▶ lobby ─▶ door (TCP, TLS, knock) ─▶ meeting (owns Session and Endpoint) ◀─▶ UDP socket
//!     ▲────Event──────── outlet ◀───────────────────────────┤
//!     ▲────FrameSlots─── decoding (threads) ◀─frames─────────┤
//!                        camera (thread) ─coded frames──────▶┤
//!                        files/disk (threads) ◀─pieces──────▶┘
//! ```
//!
//! Everything between two boxes is bounded. What is late is dropped where a newer one makes up for it (pictures,
//! statistics), and waits where it does not (chat, files, who came and went).

pub mod address;
mod audio;
mod camera;
mod chat;
pub(crate) mod control;
mod decoding;
pub(crate) mod dial;
pub(crate) mod door;
mod embedded;
mod files;
mod guests;
mod line;
mod lobby;
mod meeting;
pub(crate) mod obstacle;
mod outlet;
mod post;
pub mod protocol;
mod recording;
#[cfg(test)]
pub(crate) mod scratch;
mod socket;
mod surroundings;
pub(crate) mod trust;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread::JoinHandle;

use common::link::LinkConfig;
use common::picture::ladder::Rung;
use common::reno;
use directories::{ProjectDirs, UserDirs};
use tokio::sync::mpsc;

use crate::devices::DeviceChoice;
use crate::devices::processing::VoiceProcessing;
use lobby::Lobby;
pub use outlet::Waker;
use outlet::{EVENT_CHANNEL, Outlet};
use protocol::{Command, Event, FrameSlots};

/// The knobs of an engine.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Where received files go; made when missing. Default: the person's download folder.
    pub download_dir: PathBuf,
    /// Where the keys of servers are remembered, and the embedded server keeps its own. Default: where the operating
    /// system keeps the state of programs.
    pub state_dir: PathBuf,
    /// Which camera. Default: the system's.
    pub camera: DeviceChoice,
    /// Which microphone. Default: the system's.
    pub microphone: DeviceChoice,
    /// Which speaker. Default: the system's.
    pub speaker: DeviceChoice,
    /// What is done to what the microphone hears. Default: echo cancellation, noise suppression and automatic gain.
    pub voice_processing: VoiceProcessing,
    /// A file or the test tone as microphone is processed too. Default: they are sent as they are.
    pub process_files: bool,
    /// The camera is on when a meeting begins. Default: on.
    pub camera_on: bool,
    /// The microphone is not muted when a meeting begins. Default: on.
    pub microphone_on: bool,
    /// The largest picture that is sent, whatever the network takes. Default: 480p.
    pub largest_video: Rung,
    /// Where the embedded server listens, TCP and UDP. Default: port 7878 of every address, or any port when that one is
    /// taken.
    pub listen: Option<SocketAddr>,
    /// A bad network at the socket of this participant, each way, for trying things out. Default: none.
    pub impairment: Option<LinkConfig>,
    /// A folder to record into: a clip of each member and the mix that was heard. Default: nothing is recorded.
    pub record: Option<PathBuf>,
    /// How the reliable channel of this participant is to send. Default: Reno; how long datagrams may be is found out.
    pub channel: reno::Config,
    /// Whether [`Event::Trace`] tells what it does. Default: it does not.
    pub trace: bool,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            download_dir: default_download_dir(),
            state_dir: default_state_dir(),
            camera: DeviceChoice::Default,
            microphone: DeviceChoice::Default,
            speaker: DeviceChoice::Default,
            voice_processing: VoiceProcessing::default(),
            process_files: false,
            camera_on: true,
            microphone_on: true,
            largest_video: Rung::ALL[Rung::ALL.len() - 1],
            listen: None,
            impairment: None,
            record: None,
            channel: reno::Config::default(),
            trace: false,
        }
    }
}

fn default_download_dir() -> PathBuf {
    let home = |dirs: UserDirs| dirs.download_dir().unwrap_or(dirs.home_dir()).to_owned();
    UserDirs::new().map_or_else(|| PathBuf::from("downloads"), home)
}

/// Only Linux has a place for state; elsewhere it goes with the program's local data. Without a home folder it is kept
/// where the program was started.
fn default_state_dir() -> PathBuf {
    let state = |dirs: ProjectDirs| dirs.state_dir().unwrap_or(dirs.data_local_dir()).to_owned();
    ProjectDirs::from("", "", "conclave").map_or_else(|| PathBuf::from("conclave-state"), state)
}

/// Commands between window and engine; more than a person clicks in a second.
const COMMAND_CHANNEL: usize = 64;

/// Threads for tasks of the network and, in a program that hosts, of the server. The meeting has a thread of its own.
const WORKER_THREADS: usize = 2;

/// The stack of the engine's thread, as large as a main thread's: a build without optimisation moves a whole meeting through
/// several frames. What is not used takes no memory.
const ENGINE_STACK_BYTES: usize = 8 * 1024 * 1024;

/// How long the disk may take to put away what is half written when the program ends.
const SHUTDOWN_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);

/// The window's end of an engine.
#[derive(Debug)]
pub struct EngineHandle {
    /// What a person wants done. Dropping it ends the engine, and the meeting politely before.
    pub commands: mpsc::Sender<Command>,
    /// What happened.
    pub events: mpsc::Receiver<Event>,
    /// The newest pictures.
    pub frames: FrameSlots,
    /// Ends when the engine has ended.
    pub thread: JoinHandle<()>,
}

impl EngineHandle {
    /// Ends the engine and waits until it has ended: the meeting is left, recordings are complete.
    pub fn stop(self) {
        drop(self.commands);
        drop(self.events);
        // A panic of the engine was printed by its thread.
        let _ = self.thread.join();
    }
}

/// Starts an engine on a thread of its own. `waker` is called after every event, from any thread.
///
/// # Errors
/// What the operating system says when there can be no more threads.
pub fn start(config: EngineConfig, waker: Waker) -> std::io::Result<EngineHandle> {
    let (commands, commands_in) = mpsc::channel(COMMAND_CHANNEL);
    let (events_out, events) = mpsc::channel(EVENT_CHANNEL);
    let frames = FrameSlots::default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .thread_name("network")
        .enable_all()
        .build()?;
    let lobby = Lobby::new(config, commands_in, Outlet::new(events_out, waker), frames.clone());
    let builder = std::thread::Builder::new().name("engine".into()).stack_size(ENGINE_STACK_BYTES);
    let thread = builder.spawn(move || {
        runtime.block_on(lobby.run());
        runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    })?;
    Ok(EngineHandle { commands, events, frames, thread })
}
