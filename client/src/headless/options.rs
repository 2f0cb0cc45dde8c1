//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, ValueEnum};
use common::ids::RoomCode;
use common::link::LinkConfig;
use common::picture::ladder::Rung;
use common::reno::{self, Algorithm};
use server::operation::settings::Listen;

use crate::devices::DeviceChoice;
use crate::devices::processing::VoiceProcessing;
use crate::engine::EngineConfig;
use crate::engine::address::ServerAddress;
use crate::load::LoadConfig;

/// A meeting on your own machines. Without a command, opens the window.
#[derive(Debug, Parser)]
#[command(name = "conclave", version, about, max_term_width = 100, args_conflicts_with_subcommands = true)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Option<Subcommand>,
    #[command(flatten)]
    pub(super) window: WindowOptions,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum Subcommand {
    /// Shows a whole meeting in this terminal: a server, a host and two guests over real sockets, and what each of them
    /// received. Ends with 0 only if everything arrived.
    Demo(DemoOptions),
    /// Lists cameras, microphones and speakers by the names that the other commands take.
    Devices,
    /// Opens a meeting without a window. Prints its code, and what guests have to type.
    Host(HostOptions),
    /// Joins a meeting without a window.
    Join(JoinOptions),
    /// Loads a server with many participants, and prints what it took. Ends with 0 only if all got in and hardly
    /// anything was lost.
    Load(LoadOptions),
    /// Opens the window and starts a meeting in it; without a display, runs the demo.
    Run(WindowOptions),
}

#[derive(Debug, Args)]
pub(super) struct WindowOptions {
    /// The name the others see. [default: asked for in the window]
    #[arg(long, env = "CONCLAVE_NAME")]
    pub(super) name: Option<String>,
    /// The server on the first page, as HOST or HOST:PORT.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(super) server: Option<String>,
    /// The camera: off, default, test (a pattern with a clock), a .mjpeg file, or a name from “conclave devices”.
    #[arg(long, value_name = "CAMERA", default_value = "default")]
    pub(super) camera: DeviceChoice,
    /// The microphone: off, default, test (a tone), a .wav file, or a name from “conclave devices”.
    #[arg(long, value_name = "MICROPHONE", default_value = "default")]
    pub(super) microphone: DeviceChoice,
    /// The speaker: off, default, test (listens, and throws away), a .wav file to record into, or a name.
    #[arg(long, value_name = "SPEAKER", default_value = "default")]
    pub(super) speaker: DeviceChoice,
    #[command(flatten)]
    pub(super) voice: VoiceOptions,
    /// The folder that keeps the keys of servers, and the key of the one inside this program. [default: where the system
    /// keeps the state of programs]
    #[arg(long, value_name = "DIR")]
    pub(super) state_dir: Option<PathBuf>,
    /// For trying out bad networks: loses and delays datagrams at this participant, each way, for example
    /// loss=3,delay=40,jitter=10,rate=2000 (percent, ms, ms, kbit/s).
    #[arg(long, value_name = "IMPAIRMENT")]
    pub(super) impair: Option<LinkConfig>,
}

impl WindowOptions {
    /// The engine behind the window of a person who has `chosen` this for the voice.
    #[cfg(feature = "gui")]
    pub(super) fn engine_config(&self, chosen: VoiceProcessing) -> EngineConfig {
        let defaults = EngineConfig::default();
        EngineConfig {
            camera: self.camera.clone(),
            microphone: self.microphone.clone(),
            speaker: self.speaker.clone(),
            voice_processing: self.voice.processing(chosen),
            process_files: self.voice.process_file,
            impairment: self.impair,
            state_dir: self.state_dir.clone().unwrap_or(defaults.state_dir),
            ..defaults
        }
    }
}

/// What is done to the voice; for a window on top of what was chosen in it.
#[derive(Debug, Args)]
pub(super) struct VoiceOptions {
    /// Leaves what the speaker plays in what the microphone hears.
    #[arg(long)]
    pub(super) no_echo_cancellation: bool,
    /// Leaves the noise of the room in what the microphone hears.
    #[arg(long)]
    pub(super) no_noise_suppression: bool,
    /// Leaves soft voices soft.
    #[arg(long)]
    pub(super) no_automatic_gain: bool,
    /// Sends what the microphone hears as it is, at 48 kHz: for music. Means the three before this one.
    #[arg(long)]
    pub(super) original_sound: bool,
    /// Processes a .wav file or the tone as it would a microphone. [default: they are sent as they are]
    #[arg(long, conflicts_with = "original_sound")]
    pub(super) process_file: bool,
}

impl VoiceOptions {
    /// What is left of what was `chosen`.
    fn processing(&self, chosen: VoiceProcessing) -> VoiceProcessing {
        VoiceProcessing {
            echo_cancellation: chosen.echo_cancellation && !self.no_echo_cancellation,
            noise_suppression: chosen.noise_suppression && !self.no_noise_suppression,
            automatic_gain: chosen.automatic_gain && !self.no_automatic_gain,
            original_sound: chosen.original_sound || self.original_sound,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct HostOptions {
    /// The server to open the meeting on, as HOST or HOST:PORT. Without it, this program is the server.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(super) server: Option<String>,
    /// Where the server inside this program listens, TCP and UDP. [default: port 7878 of every address, or any port when
    /// that one is taken]
    #[arg(long, value_name = "IP[:PORT]", conflicts_with = "server")]
    pub(super) listen: Option<Listen>,
    /// Who is let in: all, or whom you name: knocks are printed with a number, and “a 3” lets number 3 in, “d 3” does
    /// not, “all” lets everybody in.
    #[arg(long, value_enum, default_value_t = Admit::Ask)]
    pub(super) admit: Admit,
    #[command(flatten)]
    pub(super) participant: ParticipantOptions,
}

#[derive(Debug, Args)]
pub(super) struct JoinOptions {
    /// The six digits of the meeting.
    pub(super) code: RoomCode,
    /// The server the meeting is on, as HOST or HOST:PORT.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(super) server: String,
    #[command(flatten)]
    pub(super) participant: ParticipantOptions,
}

/// Who decides at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Admit {
    /// Everybody is let in.
    All,
    /// The person at the terminal.
    Ask,
}

#[derive(Debug, Args)]
pub(super) struct ParticipantOptions {
    /// The name the others see.
    #[arg(long, env = "CONCLAVE_NAME", default_value = "Guest")]
    pub(super) name: String,
    /// The camera: off, default, test (a pattern with a clock), a .mjpeg file, or a name from “conclave devices”.
    #[arg(long, value_name = "CAMERA", default_value = "off")]
    pub(super) camera: DeviceChoice,
    /// The microphone: off, default, test (a tone), a .wav file, or a name from “conclave devices”.
    #[arg(long, value_name = "MICROPHONE", default_value = "off")]
    pub(super) microphone: DeviceChoice,
    /// The speaker: off, default, test (listens, and throws away), a .wav file to record into, or a name.
    #[arg(long, value_name = "SPEAKER", default_value = "test")]
    pub(super) speaker: DeviceChoice,
    #[command(flatten)]
    pub(super) voice: VoiceOptions,
    /// Records into this folder: NAME.mjpeg of each member as shown, and mix.wav as heard.
    #[arg(long, value_name = "DIR")]
    pub(super) record: Option<PathBuf>,
    /// Writes what is measured to this file: a JSON object a line, four times a second.
    #[arg(long, value_name = "FILE.jsonl")]
    pub(super) stats: Option<PathBuf>,
    /// Writes what the sender of chat and files does to this file: a JSON object for each event of congestion control,
    /// as qlog has them. docs/RENO.md says how to draw it.
    #[arg(long, value_name = "FILE.qlog")]
    pub(super) trace: Option<PathBuf>,
    /// For a radio link that loses packets without being full: does not slow chat and files down for such losses.
    #[arg(long)]
    pub(super) radio: bool,
    /// Offers this file once there is somebody to have it. May be given several times. A guest who does nothing else (no
    /// --for, --receive, --record, --stats, no camera, microphone or speaker) leaves when everybody who was there has it
    /// or does not want it; a host stays. Who has begun with it and gets nothing of it for 30 seconds is given up. Ends
    /// with 0 only if nobody's copy failed.
    #[arg(long, value_name = "FILE")]
    pub(super) send: Vec<PathBuf>,
    /// Writes this in the chat once there is somebody to read it. May be given several times. A guest who does nothing
    /// else leaves when everybody who was there has it. Ends with 0 only if they have.
    #[arg(long, value_name = "TEXT")]
    pub(super) say: Vec<String>,
    /// To whom --say and --send go: a name as it is shown, or one that looks like it. Who is not there yet is waited for,
    /// as long as --for says, or 30 seconds by a guest who does nothing else. [default: everyone]
    #[arg(long, value_name = "NAME")]
    pub(super) to: Option<String>,
    /// Leaves after this many seconds in the meeting. [default: stays to its end]
    #[arg(long = "for", value_name = "SECS")]
    pub(super) secs: Option<u64>,
    /// Takes every file that is offered, into this folder. What broke off is tried again while it is on offer, and in a
    /// later run goes on from where it was.
    /// Ends with 0 only if everything that was taken arrived.
    #[arg(long, value_name = "DIR")]
    pub(super) receive: Option<PathBuf>,
    /// The folder that keeps the keys of servers, and the key of the one inside this program. [default: where the system
    /// keeps the state of programs]
    #[arg(long, value_name = "DIR")]
    pub(super) state_dir: Option<PathBuf>,
    /// The largest picture that is sent: 144p, 240p, 360p or 480p.
    #[arg(long, value_name = "SIZE", default_value = "480p", value_parser = parse_rung)]
    pub(super) quality: Rung,
    /// For trying out bad networks: loses and delays datagrams at this participant, each way, for example
    /// loss=3,delay=40,jitter=10,rate=2000 (percent, ms, ms, kbit/s).
    #[arg(long, value_name = "IMPAIRMENT")]
    pub(super) impair: Option<LinkConfig>,
}

impl ParticipantOptions {
    /// The engine these options ask for.
    pub(super) fn engine_config(&self, listen: Option<Listen>) -> EngineConfig {
        let defaults = EngineConfig::default();
        // A recording of what is heard needs somebody who listens.
        let deaf = self.speaker == DeviceChoice::Off && self.record.is_some();
        EngineConfig {
            download_dir: self.receive.clone().unwrap_or(defaults.download_dir),
            camera: self.camera.clone(),
            microphone: self.microphone.clone(),
            speaker: if deaf { DeviceChoice::Synthetic } else { self.speaker.clone() },
            voice_processing: self.voice.processing(VoiceProcessing::default()),
            process_files: self.voice.process_file,
            largest_video: self.quality,
            listen: listen.map(|listen| listen.0),
            state_dir: self.state_dir.clone().unwrap_or(defaults.state_dir),
            impairment: self.impair,
            record: self.record.clone(),
            channel: reno::Config { algorithm: self.algorithm(), ..defaults.channel },
            trace: self.trace.is_some(),
            ..defaults
        }
    }
}

impl ParticipantOptions {
    fn algorithm(&self) -> Algorithm {
        if self.radio { Algorithm::Radio } else { Algorithm::Reno }
    }
}

#[derive(Debug, Args)]
pub(super) struct DemoOptions {
    /// How long the meeting lasts once everybody is in, at least 4 seconds.
    #[arg(long, value_name = "SECS", default_value_t = Self::default().secs, value_parser = clap::value_parser!(u64).range(4..=3_600))]
    pub(super) secs: u64,
    /// For trying out bad networks: loses and delays datagrams at each of the guests, each way, for example
    /// loss=3,delay=40,jitter=10 (percent, ms, ms).
    #[arg(long, value_name = "IMPAIRMENT")]
    pub(super) impair: Option<LinkConfig>,
    /// Writes join time and chat latency to this file as JSON.
    #[arg(long, value_name = "FILE.json")]
    pub(super) figures: Option<PathBuf>,
}

impl Default for DemoOptions {
    fn default() -> Self {
        Self { secs: 8, impair: None, figures: None }
    }
}

#[derive(Debug, Args)]
pub(super) struct LoadOptions {
    /// The server to load, as HOST or HOST:PORT. Against another machine than this one, beyond 10 rooms, 10 members or 60
    /// seconds, --really is needed.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(super) server: ServerAddress,
    /// Rooms, at most 200.
    #[arg(long, value_name = "COUNT", default_value_t = LoadConfig::default().rooms)]
    pub(super) rooms: usize,
    /// Members of each room, the host included, at most 50.
    #[arg(long, value_name = "COUNT", default_value_t = LoadConfig::default().members)]
    pub(super) members: usize,
    /// The pictures that are sent: off, 144p, 240p, 360p or 480p.
    #[arg(long, value_name = "SIZE", default_value = "off", value_parser = parse_video)]
    pub(super) video: Video,
    /// Members of each room who send video. [default: all, but no more than 9]
    #[arg(long, value_name = "COUNT", requires = "video")]
    pub(super) senders: Option<usize>,
    /// Members of each room speak all the time.
    #[arg(long)]
    pub(super) audio: bool,
    /// How many speak with --audio.
    #[arg(long, value_name = "COUNT", default_value_t = LoadConfig::default().speakers)]
    pub(super) speakers: usize,
    /// How long is measured once everybody is in, at most 3600.
    #[arg(long = "for", value_name = "SECS", default_value_t = LoadConfig::default().duration.as_secs())]
    pub(super) secs: u64,
    /// One more member of the first room sends video at this rate, and is left out of the figures. Only against this
    /// machine.
    #[arg(long, value_name = "MBITS")]
    pub(super) flood: Option<u32>,
    /// All guests knock at the same moment, as far as a door has room for them: 20.
    #[arg(long)]
    pub(super) join_at_once: bool,
    /// The loss of audio, or of video, beyond which the load has failed, percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 1.0)]
    pub(super) max_loss: f64,
    /// Writes everything to this file as JSON.
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// The other machine is mine, or its owner knows.
    #[arg(long)]
    pub(super) really: bool,
}

impl LoadOptions {
    /// The load these options ask for.
    pub(super) fn config(&self) -> LoadConfig {
        LoadConfig {
            server: self.server.clone(),
            rooms: self.rooms,
            members: self.members,
            video: self.video.0,
            senders: self.senders,
            audio: self.audio,
            speakers: self.speakers,
            duration: Duration::from_secs(self.secs),
            flood_mbits: self.flood,
            join_at_once: self.join_at_once,
            really: self.really,
        }
    }
}

/// A picture size, or no picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Video(pub(super) Option<Rung>);

fn parse_video(text: &str) -> Result<Video, String> {
    if text == "off" { Ok(Video(None)) } else { parse_rung(text).map(|rung| Video(Some(rung))) }
}

fn parse_rung(text: &str) -> Result<Rung, String> {
    let known = || Rung::ALL.map(|rung| rung.name).join(", ");
    let rung = Rung::ALL.into_iter().find(|rung| rung.name == text);
    rung.ok_or_else(|| format!("the sizes are {}", known()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent_and_every_flag_is_documented() {
        Cli::command().debug_assert();
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for flag in command.get_arguments() {
                assert!(flag.get_help().is_some(), "{} {}", command.get_name(), flag.get_id());
            }
        }
    }

    #[test]
    fn a_guest_is_described_in_one_line() {
        let line = "conclave join 042-917 --server host:9000 --name Bo --camera test --microphone voice.wav --for 5 \
                    --quality 240p --impair loss=3,delay=40 --say hello --to Ada";
        let Some(Subcommand::Join(options)) = Cli::parse_from(line.split_whitespace()).command else {
            panic!("not a guest")
        };
        let config = options.participant.engine_config(None);
        assert_eq!(options.code.to_string(), "042917");
        assert_eq!(config.camera, DeviceChoice::Synthetic);
        assert_eq!(config.largest_video.name, "240p");
        assert_eq!(config.impairment.map(|link| link.loss), Some(0.03));
        assert_eq!((options.participant.secs, options.participant.to.as_deref()), (Some(5), Some("Ada")));
    }

    #[test]
    fn each_part_of_the_processing_can_be_left_out() {
        let processing = |flags: &str| {
            let line = format!("conclave host {flags}");
            let Some(Subcommand::Host(options)) = Cli::parse_from(line.split_whitespace()).command else {
                panic!("not a host")
            };
            options.participant.engine_config(None).voice_processing
        };
        let all = VoiceProcessing::default();
        assert_eq!(processing(""), all);
        assert_eq!(processing("--no-echo-cancellation"), VoiceProcessing { echo_cancellation: false, ..all });
        assert_eq!(processing("--no-noise-suppression"), VoiceProcessing { noise_suppression: false, ..all });
        assert_eq!(processing("--no-automatic-gain"), VoiceProcessing { automatic_gain: false, ..all });
        assert!(processing("--original-sound").is_exact());
    }

    #[test]
    fn a_load_is_described_in_one_line() {
        let line =
            "conclave load --server 127.0.0.1:9 --rooms 10 --members 20 --video 480p --senders 3 --audio --for 5";
        let Some(Subcommand::Load(options)) = Cli::parse_from(line.split_whitespace()).command else {
            panic!("not a load")
        };
        let config = options.config();
        assert_eq!((config.rooms, config.members, config.senders), (10, 20, Some(3)));
        assert_eq!(config.video.map(|rung| rung.name), Some("480p"));
        assert_eq!((config.audio, config.duration.as_secs(), options.max_loss), (true, 5, 1.0));
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for line in [
            "conclave join",
            "conclave join 12 --server host",
            "conclave join 042917",
            "conclave host --server a --listen 127.0.0.1:1",
            "conclave host --quality 1080p",
            "conclave host --original-sound --process-file",
            "conclave demo --secs 1",
            "conclave load",
            "conclave load --server host --video 1080p",
        ] {
            assert!(Cli::try_parse_from(line.split_whitespace()).is_err(), "{line}");
        }
    }
}
