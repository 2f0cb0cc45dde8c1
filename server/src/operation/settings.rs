//! What can be set, and how: by a flag, by a variable of the environment, in a file, or not at all, in that order.
//!
//! [`Choices`] is both the command line and the file, so the two cannot drift apart: a field `state_dir` is
//! `--state-dir`, `CONCLAVE_STATE_DIR` and `state_dir = …`. `docs/OPERATING.md` has the table.

mod file;
mod values;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args};
use common::hub::HubLimits;
use common::limits::{
    CONTROL_CONNECTIONS_MAX, ROOM_MEMBERS_MAX, ROOMS_MAX, WRONG_CODE_WAIT_MAX, WRONG_CODES_PER_SOURCE_MAX,
};
use serde::Deserialize;
use tracing_subscriber::filter::LevelFilter;

use crate::config::ServerConfig;

pub use file::{ConfigFile, DEFAULT_FILE, FileError};
pub use values::{AdminSocket, BadValue, Count, Listen, LogFormat, LogLevel, MetricsAddress};

use values::parsed;

/// Threads that carry media at the most; more than the cores of any machine this was tried on.
pub const WORKERS_MAX: usize = 64;
/// The most video a member can be allowed, in kilobits a second: what a gigabit carries.
pub const VIDEO_KBPS_MAX: usize = 1_000_000;
/// The most MiB of files a server can be allowed to spool: 16 TiB.
pub const SPOOL_MIB_MAX: usize = 16 << 20;
/// The fewest, and the fewest for a room: eight files of the spool, so that there is something to free.
pub const SPOOL_MIB_MIN: usize = 64;
/// The longest drain: a day. Service managers give up long before.
pub const DRAIN_TIMEOUT_SECS_MAX: usize = 86_400;
/// The longest wait after wrong codes, in seconds.
pub const WRONG_CODE_WAIT_SECS_MAX: usize = WRONG_CODE_WAIT_MAX.as_secs() as usize;
/// The drain of a server that was told none: the end of a sentence, and still a quick restart.
const DRAIN_TIMEOUT_SECS: usize = 30;

/// What somebody chose; `None` where nothing was.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Choices {
    /// Where to listen, TCP and UDP: an address with a port, or a port alone; port 0 takes any free one
    #[arg(long, env = "CONCLAVE_LISTEN", value_name = "ADDRESS")]
    #[serde(deserialize_with = "parsed")]
    pub listen: Option<Listen>,
    /// The directory that keeps this server's identity; made when missing
    #[arg(long, env = "CONCLAVE_STATE_DIR", value_name = "DIRECTORY", global = true)]
    #[serde(deserialize_with = "parsed")]
    pub state_dir: Option<PathBuf>,
    /// How much to log on stderr: off, error, warn, info, debug or trace
    #[arg(long, env = "CONCLAVE_LOG", value_name = "LEVEL")]
    #[serde(deserialize_with = "parsed")]
    pub log: Option<LogLevel>,
    /// How a line of the log looks: text or json
    #[arg(long, env = "CONCLAVE_LOG_FORMAT", value_name = "FORMAT")]
    #[serde(deserialize_with = "parsed")]
    pub log_format: Option<LogFormat>,
    /// Where to answer /metrics and /healthz by HTTP: a port of this machine alone, a whole address, or off
    #[arg(long, env = "CONCLAVE_METRICS", value_name = "ADDRESS")]
    #[serde(deserialize_with = "parsed")]
    pub metrics: Option<MetricsAddress>,
    /// The socket for commands like “rooms” (Unix), or off
    #[arg(long, env = "CONCLAVE_ADMIN_SOCKET", value_name = "PATH", global = true)]
    #[serde(deserialize_with = "parsed")]
    pub admin_socket: Option<AdminSocket>,
    /// Threads that carry media
    #[arg(long, env = "CONCLAVE_WORKERS", value_name = "NUMBER")]
    #[serde(deserialize_with = "parsed")]
    pub workers: Option<Count<1, WORKERS_MAX>>,
    /// Rooms at a time
    #[arg(long, env = "CONCLAVE_ROOMS_MAX", value_name = "NUMBER")]
    #[serde(deserialize_with = "parsed")]
    pub rooms_max: Option<Count<1, ROOMS_MAX>>,
    /// Members of one room, the host included
    #[arg(long, env = "CONCLAVE_MEMBERS_PER_ROOM", value_name = "NUMBER")]
    #[serde(deserialize_with = "parsed")]
    pub members_per_room: Option<Count<2, ROOM_MEMBERS_MAX>>,
    /// Rooms one source address may have open at a time
    #[arg(long, env = "CONCLAVE_ROOMS_PER_SOURCE", value_name = "NUMBER")]
    #[serde(deserialize_with = "parsed")]
    pub rooms_per_source: Option<Count<1, ROOMS_MAX>>,
    /// Control connections one source address may have open at a time; one member takes one
    #[arg(long, env = "CONCLAVE_CONNECTIONS_PER_SOURCE", value_name = "NUMBER")]
    #[serde(deserialize_with = "parsed")]
    pub connections_per_source: Option<Count<1, CONTROL_CONNECTIONS_MAX>>,
    /// Different wrong codes one source address may try at once
    #[arg(long, env = "CONCLAVE_WRONG_CODES_PER_SOURCE", value_name = "NUMBER")]
    #[serde(deserialize_with = "parsed")]
    pub wrong_codes_per_source: Option<Count<1, WRONG_CODES_PER_SOURCE_MAX>>,
    /// Seconds until a source address that tried wrong codes may try one more
    #[arg(long, env = "CONCLAVE_WRONG_CODE_WAIT_SECS", value_name = "SECONDS")]
    #[serde(deserialize_with = "parsed")]
    pub wrong_code_wait_secs: Option<Count<1, WRONG_CODE_WAIT_SECS_MAX>>,
    /// Kilobits of video a member may send per second; what is above is dropped
    #[arg(long, env = "CONCLAVE_VIDEO_KBPS_MAX", value_name = "KBPS")]
    #[serde(deserialize_with = "parsed")]
    pub video_kbps_max: Option<Count<100, VIDEO_KBPS_MAX>>,
    /// The directory for files on their way from member to member; made when missing
    #[arg(long, env = "CONCLAVE_SPOOL_DIR", value_name = "DIRECTORY")]
    #[serde(deserialize_with = "parsed")]
    pub spool_dir: Option<PathBuf>,
    /// MiB of files on their way that are kept at a time; beyond, uploads wait
    #[arg(long, env = "CONCLAVE_SPOOL_MIB_MAX", value_name = "MIB")]
    #[serde(deserialize_with = "parsed")]
    pub spool_mib_max: Option<Count<SPOOL_MIB_MIN, SPOOL_MIB_MAX>>,
    /// MiB of them that are kept for one room
    #[arg(long, env = "CONCLAVE_SPOOL_ROOM_MIB_MAX", value_name = "MIB")]
    #[serde(deserialize_with = "parsed")]
    pub spool_room_mib_max: Option<Count<SPOOL_MIB_MIN, SPOOL_MIB_MAX>>,
    /// Seconds that running meetings have to end in when the server is told to stop
    #[arg(long, env = "CONCLAVE_DRAIN_TIMEOUT_SECS", value_name = "SECONDS")]
    #[serde(deserialize_with = "parsed")]
    pub drain_timeout_secs: Option<Count<0, DRAIN_TIMEOUT_SECS_MAX>>,
}

impl Choices {
    /// These where something was chosen, else those.
    pub fn or(self, other: Self) -> Self {
        Self {
            listen: self.listen.or(other.listen),
            state_dir: self.state_dir.or(other.state_dir),
            log: self.log.or(other.log),
            log_format: self.log_format.or(other.log_format),
            metrics: self.metrics.or(other.metrics),
            admin_socket: self.admin_socket.or(other.admin_socket),
            workers: self.workers.or(other.workers),
            rooms_max: self.rooms_max.or(other.rooms_max),
            members_per_room: self.members_per_room.or(other.members_per_room),
            rooms_per_source: self.rooms_per_source.or(other.rooms_per_source),
            connections_per_source: self.connections_per_source.or(other.connections_per_source),
            wrong_codes_per_source: self.wrong_codes_per_source.or(other.wrong_codes_per_source),
            wrong_code_wait_secs: self.wrong_code_wait_secs.or(other.wrong_code_wait_secs),
            video_kbps_max: self.video_kbps_max.or(other.video_kbps_max),
            spool_dir: self.spool_dir.or(other.spool_dir),
            spool_mib_max: self.spool_mib_max.or(other.spool_mib_max),
            spool_room_mib_max: self.spool_room_mib_max.or(other.spool_room_mib_max),
            drain_timeout_secs: self.drain_timeout_secs.or(other.drain_timeout_secs),
        }
    }
}

/// Everything that is set, each with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What the server itself is told.
    pub server: ServerConfig,
    /// How much is logged.
    pub log: LevelFilter,
    /// How a line of the log looks.
    pub log_format: LogFormat,
    /// Where `/metrics` and `/healthz` are answered, if at all.
    pub metrics: Option<SocketAddr>,
    /// The socket for admin commands, if any.
    pub admin_socket: Option<PathBuf>,
    /// How long running meetings have when the server is told to stop.
    pub drain_timeout: Duration,
}

impl Settings {
    /// Fills in the defaults.
    pub fn new(choices: Choices) -> Self {
        let plain = ServerConfig::default();
        let wrong_code_wait_secs =
            Count::or(choices.wrong_code_wait_secs, plain.limits.wrong_code_wait.as_secs() as usize);
        let limits = HubLimits {
            rooms: Count::or(choices.rooms_max, plain.limits.rooms),
            members_per_room: Count::or(choices.members_per_room, plain.limits.members_per_room),
            rooms_per_source: Count::or(choices.rooms_per_source, plain.limits.rooms_per_source),
            wrong_codes_per_source: Count::or(choices.wrong_codes_per_source, plain.limits.wrong_codes_per_source),
            wrong_code_wait: Duration::from_secs(wrong_code_wait_secs as u64),
            ..plain.limits
        };
        let state_dir = choices.state_dir.unwrap_or(plain.state_dir);
        // The default, written out, is the default.
        let spool_dir = choices.spool_dir.filter(|dir| *dir != state_dir.join("spool"));
        let admin_socket = choices.admin_socket.unwrap_or_else(|| AdminSocket(Some(state_dir.join("admin.sock"))));
        let drain_timeout_secs = Count::or(choices.drain_timeout_secs, DRAIN_TIMEOUT_SECS);
        Self {
            server: ServerConfig {
                listen: choices.listen.map_or(plain.listen, |listen| listen.0),
                state_dir,
                workers: Count::or(choices.workers, plain.workers),
                limits,
                connections_per_source: Count::or(choices.connections_per_source, plain.connections_per_source),
                video_kbps_max: Count::or(choices.video_kbps_max, plain.video_kbps_max),
                spool_dir,
                spool_mib_max: Count::or(choices.spool_mib_max, plain.spool_mib_max),
                spool_room_mib_max: Count::or(choices.spool_room_mib_max, plain.spool_room_mib_max),
            },
            log: choices.log.map_or(LevelFilter::INFO, |level| level.0),
            log_format: choices.log_format.unwrap_or_default(),
            metrics: choices.metrics.and_then(|metrics| metrics.0),
            admin_socket: admin_socket.0.filter(|_| cfg!(unix)),
            drain_timeout: Duration::from_secs(drain_timeout_secs as u64),
        }
    }

    /// Each setting's name and its value as it stands in a file.
    pub fn entries(&self) -> Vec<(&'static str, toml::Value)> {
        let off_or = |value: Option<String>| toml::Value::from(value.unwrap_or_else(|| values::OFF.to_owned()));
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let number = |value: usize| toml::Value::from(value as i64);
        let limits = self.server.limits;
        vec![
            ("listen", self.server.listen.to_string().into()),
            ("state_dir", path(&self.server.state_dir).into()),
            ("log", self.log.to_string().into()),
            ("log_format", self.log_format.to_string().into()),
            ("metrics", off_or(self.metrics.map(|address| address.to_string()))),
            ("admin_socket", off_or(self.admin_socket.as_deref().map(path))),
            ("workers", number(self.server.workers)),
            ("rooms_max", number(limits.rooms)),
            ("members_per_room", number(limits.members_per_room)),
            ("rooms_per_source", number(limits.rooms_per_source)),
            ("connections_per_source", number(self.server.connections_per_source)),
            ("wrong_codes_per_source", number(limits.wrong_codes_per_source)),
            ("wrong_code_wait_secs", number(limits.wrong_code_wait.as_secs() as usize)),
            ("video_kbps_max", number(self.server.video_kbps_max)),
            ("spool_dir", path(&self.server.spool_dir()).into()),
            ("spool_mib_max", number(self.server.spool_mib_max)),
            ("spool_room_mib_max", number(self.server.spool_room_mib_max)),
            ("drain_timeout_secs", number(self.drain_timeout.as_secs() as usize)),
        ]
    }
}

/// Settings as a file that would give them, with where each comes from.
#[derive(Clone, Debug)]
pub struct Effective {
    settings: Settings,
    origins: BTreeMap<&'static str, &'static str>,
}

impl Effective {
    /// Takes what was on the command line and in the environment (`matches`), and which names stand in the file.
    pub fn new(settings: Settings, matches: &ArgMatches, in_file: &[String]) -> Self {
        let origin = |key: &&'static str| match matches.value_source(key) {
            Some(ValueSource::CommandLine) => "flag",
            Some(ValueSource::EnvVariable) => "environment",
            _ if in_file.iter().any(|name| name == key) => "file",
            _ => "default",
        };
        let origins = settings.entries().iter().map(|(key, _)| (*key, origin(key))).collect();
        Self { settings, origins }
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, value) in self.settings.entries() {
            let line = format!("{key} = {value}");
            writeln!(f, "{line:<50} # {}", self.origins.get(key).copied().unwrap_or_default())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches, Parser};

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        choices: Choices,
    }

    fn file(text: &str) -> Choices {
        ConfigFile::parse(text, Path::new("server.toml")).unwrap().choices
    }

    fn refused(text: &str) -> String {
        ConfigFile::parse(text, Path::new("server.toml")).unwrap_err().to_string()
    }

    #[test]
    fn a_flag_counts_more_than_the_file_and_the_file_more_than_the_default() {
        let flags = Line::parse_from(["x", "--rooms-max", "3"]).choices;
        let settings = Settings::new(flags.or(file("rooms_max = 5\nlisten = 7900\nmetrics = 9187")));
        assert_eq!(settings.server.limits.rooms, 3);
        assert_eq!(settings.server.listen.to_string(), "[::]:7900");
        assert_eq!(settings.metrics.unwrap().to_string(), "127.0.0.1:9187");
        assert_eq!(settings.drain_timeout, Duration::from_secs(30));
    }

    #[test]
    fn without_a_word_everything_is_as_documented() {
        let settings = Settings::new(Choices::default());
        assert_eq!(settings.server, ServerConfig::default());
        assert_eq!(settings.metrics, None);
        #[cfg(unix)]
        assert_eq!(settings.admin_socket, Some(settings.server.state_dir.join("admin.sock")));
    }

    #[test]
    fn a_bad_file_is_one_sentence_with_its_line() {
        for (text, sentence) in [
            ("listen = 7878\nroms_max = 3", "server.toml, line 2: unknown field `roms_max`, expected one of `listen`"),
            ("rooms_max = 201", "server.toml, line 1: expected a whole number from 1 to 200, not “201”"),
            ("\nrooms_max = -1", "server.toml, line 2: expected a whole number from 1 to 200, not “-1”"),
            ("log = \"loud\"", "server.toml, line 1: expected off, error, warn, info, debug or trace, not “loud”"),
            ("log_format = 3", "server.toml, line 1: expected text or json, not “3”"),
            ("metrics = \"localhost\"", "server.toml, line 1: expected off, a port, for example 9187, or an address"),
            ("listen = true", "server.toml, line 1: invalid type: boolean `true`, expected a text or a number"),
            ("listen = 1\nlisten = 2", "server.toml, line 2: duplicate key"),
            ("a = 1\n\n[hub", "server.toml, line 3: "),
        ] {
            let said = refused(text);
            assert!(said.starts_with(sentence) && !said.contains('\n'), "{said}");
        }
    }

    #[test]
    fn every_setting_has_a_flag_a_variable_and_a_name_in_the_file_by_one_rule() {
        let command = Line::command();
        let entries = Settings::new(Choices::default()).entries();
        let keys: Vec<_> = entries.iter().map(|(key, _)| *key).collect();
        let settings: Vec<_> = command.get_arguments().filter(|argument| argument.get_id() != "help").collect();
        assert_eq!(settings.iter().map(|argument| argument.get_id().as_str()).collect::<Vec<_>>(), keys);
        for argument in settings {
            let key = argument.get_id().as_str();
            assert_eq!(argument.get_long(), Some(key.replace('_', "-").as_str()));
            let variable = format!("CONCLAVE_{}", key.to_uppercase());
            assert_eq!(argument.get_env().and_then(|name| name.to_str()), Some(variable.as_str()));
        }
    }

    #[test]
    fn the_effective_settings_are_a_file_that_gives_them_again() {
        let matches = Line::command().get_matches_from(["x", "--listen", "127.0.0.1:1"]);
        let flags = Line::from_arg_matches(&matches).unwrap().choices;
        let text = "metrics = \"off\"\nworkers = 2";
        let settings = Settings::new(flags.or(file(text)));
        let names = ConfigFile::parse(text, Path::new("server.toml")).unwrap().names;
        let printed = Effective::new(settings.clone(), &matches, &names).to_string();
        assert_eq!(Settings::new(file(&printed)), settings);
        for (line, origin) in [("listen =", "# flag"), ("workers =", "# file"), ("rooms_max =", "# default")] {
            let line = printed.lines().find(|text| text.starts_with(line)).unwrap();
            assert!(line.ends_with(origin), "{line}");
        }
    }

    #[test]
    fn the_file_of_the_package_counts_and_what_it_shows_are_the_defaults() {
        let text = include_str!("../../packaging/server.toml");
        let settings = Settings::new(file(text));
        assert_eq!(settings.metrics.unwrap().to_string(), "127.0.0.1:9187");
        assert_eq!(settings.admin_socket.as_deref(), Some(Path::new("/run/conclave/admin.sock")));
        let shown: String = text.lines().filter(|line| !line.starts_with("# ")).map(uncommented).collect();
        let names = ConfigFile::parse(&shown, Path::new("server.toml")).unwrap().names;
        assert_eq!(names.len(), settings.entries().len(), "every setting is shown");
        let same = |settings: Settings| Settings { server: ServerConfig { workers: 1, ..settings.server }, ..settings };
        assert_eq!(same(Settings::new(file(&shown))), same(settings));
    }

    fn uncommented(line: &str) -> String {
        format!("{}\n", line.trim_start_matches('#'))
    }

    #[test]
    fn the_table_in_the_guide_for_operators_has_every_setting_with_its_default() {
        let table = include_str!("../../../docs/OPERATING.md");
        for (key, value) in Settings::new(Choices::default()).entries() {
            let flag = key.replace('_', "-");
            let start = format!("| `{key}` | `--{flag}` | `CONCLAVE_{}` |", key.to_uppercase());
            let row = table.lines().find(|line| line.starts_with(&start));
            let row = row.unwrap_or_else(|| panic!("docs/OPERATING.md has no row {start}"));
            // These depend on the machine.
            if !["state_dir", "admin_socket", "workers", "spool_dir"].contains(&key) {
                let default = format!("| `{}` |", value.to_string().trim_matches('"'));
                assert!(row.contains(&default), "{row} has no default {default}");
            }
        }
    }
}
