//! What a load generator is told, and what it refuses to do.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use common::limits::{ROOM_MEMBERS_MAX, ROOMS_MAX};
use common::picture::ladder::Rung;

use crate::engine::address::ServerAddress;

/// The knobs of a load.
#[derive(Clone, Debug)]
pub struct LoadConfig {
    /// The server to load.
    pub server: ServerAddress,
    /// Rooms, 1..=200. Default 1.
    pub rooms: usize,
    /// Members of each room, the host included, 1..=50. Default 2.
    pub members: usize,
    /// The size of the pictures that are sent. Default: none are sent.
    pub video: Option<Rung>,
    /// Members of each room who send video. Default: all, but no more than [`SENDERS_DEFAULT_MAX`].
    pub senders: Option<usize>,
    /// Whether somebody speaks. Default: nobody does.
    pub audio: bool,
    /// Members of each room who speak all the time, each at a level of its own. Default 2.
    pub speakers: usize,
    /// How long is measured once everybody is in, at most [`DURATION_MAX`]. Default 10 s.
    pub duration: Duration,
    /// One more member of the first room sends video at this rate, Mbit/s, and is left out of all figures but its own.
    /// Only against this machine. Default: none does.
    pub flood_mbits: Option<u32>,
    /// All guests connect and knock at the same moment, once every room is open. Default: 32 at a time.
    pub join_at_once: bool,
    /// Loads another machine beyond what a visitor would. Default: does not.
    pub really: bool,
}

/// The longest measurement.
pub const DURATION_MAX: Duration = Duration::from_secs(3_600);
/// Senders of video in a room when nobody says how many: the large tiles of a window.
pub const SENDERS_DEFAULT_MAX: usize = 9;
/// The fastest flood, Mbit/s: more than one socket takes.
pub const FLOOD_MAX_MBITS: u32 = 1_000;

/// What another machine is loaded with unless [`LoadConfig::really`] is set: rooms, members, time.
const POLITE: (usize, usize, Duration) = (10, 10, Duration::from_secs(60));

impl Default for LoadConfig {
    fn default() -> Self {
        Self {
            server: SocketAddr::from(([127, 0, 0, 1], crate::engine::address::DEFAULT_PORT)).into(),
            rooms: 1,
            members: 2,
            video: None,
            senders: None,
            audio: false,
            speakers: 2,
            duration: Duration::from_secs(10),
            flood_mbits: None,
            join_at_once: false,
            really: false,
        }
    }
}

impl LoadConfig {
    /// Refuses what no run may ask for.
    ///
    /// # Errors
    /// [`LoadError::Bounds`].
    pub(super) fn check(&self) -> Result<(), LoadError> {
        within("rooms", self.rooms, 1, ROOMS_MAX)?;
        within("members of a room", self.members, 1, ROOM_MEMBERS_MAX)?;
        within("seconds", self.duration.as_secs() as usize, 1, DURATION_MAX.as_secs() as usize)?;
        within("speakers of a room", self.speakers, 0, self.members.max(Self::default().speakers))?;
        within("senders of a room", self.senders(), 0, self.members)?;
        if let Some(mbits) = self.flood_mbits {
            within("Mbit/s of the flood", mbits as usize, 1, FLOOD_MAX_MBITS as usize)?;
            within("members of a room, one of whom floods,", self.members + 1, 1, ROOM_MEMBERS_MAX)?;
        }
        Ok(())
    }

    /// Refuses what is no visit where `server` is another machine.
    ///
    /// # Errors
    /// [`LoadError::Impolite`] and [`LoadError::FloodElsewhere`].
    pub(super) fn check_manners(&self, server: SocketAddr) -> Result<(), LoadError> {
        if server.ip().to_canonical().is_loopback() {
            return Ok(());
        }
        if self.flood_mbits.is_some() {
            return Err(LoadError::FloodElsewhere);
        }
        let polite = self.rooms <= POLITE.0 && self.members <= POLITE.1 && self.duration <= POLITE.2;
        if polite || self.really { Ok(()) } else { Err(LoadError::Impolite) }
    }

    /// Members of each room who send video.
    pub(super) fn senders(&self) -> usize {
        match self.video {
            None => 0,
            Some(_) => self.senders.unwrap_or_else(|| self.members.min(SENDERS_DEFAULT_MAX)),
        }
    }

    /// Members of each room who speak.
    pub(super) fn speakers(&self) -> usize {
        if self.audio { self.speakers.min(self.members) } else { 0 }
    }

    /// Everybody who is to join, who floods included.
    pub(super) fn participants(&self) -> usize {
        self.rooms * self.members + usize::from(self.flood_mbits.is_some())
    }
}

fn within(what: &'static str, asked: usize, min: usize, max: usize) -> Result<(), LoadError> {
    if (min..=max).contains(&asked) { Ok(()) } else { Err(LoadError::Bounds { what, asked, min, max }) }
}

/// Why there was no load. `Display` is the sentence a person reads.
#[derive(Debug)]
pub enum LoadError {
    /// A number is too small or too large.
    Bounds {
        /// Of what.
        what: &'static str,
        /// The number.
        asked: usize,
        /// The smallest that is taken.
        min: usize,
        /// The largest.
        max: usize,
    },
    /// This machine allows too few open files.
    Descriptors {
        /// So many are needed.
        needed: u64,
        /// So many are allowed.
        allowed: u64,
    },
    /// A flood of a machine that is not this one.
    FloodElsewhere,
    /// More than a visitor would do to another machine.
    Impolite,
    /// The picture to send could not be made.
    Picture(crate::devices::jpeg::JpegError),
    /// The operating system refused something.
    System(io::Error),
    /// There is no server, or none of this program; the sentence says which.
    Unreachable(String),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bounds { what, asked, min, max } => write!(f, "{asked} {what}: it has to be {min} to {max}."),
            Self::Descriptors { needed, allowed } => write!(
                f,
                "This load needs {needed} open files, and only {allowed} are allowed here. Raise the limit (“ulimit -n {needed}”); the server needs as many."
            ),
            Self::FloodElsewhere => f.write_str("A flood is only for a server on this machine, by 127.0.0.1."),
            Self::Impolite => write!(
                f,
                "More than {} rooms, {} members or {} s against another machine: add --really if it is yours.",
                POLITE.0,
                POLITE.1,
                POLITE.2.as_secs()
            ),
            Self::Picture(error) => write!(f, "No picture could be made to send: {error}."),
            Self::System(error) => write!(f, "The system does not allow this load: {error}."),
            Self::Unreachable(sentence) => f.write_str(sentence),
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Picture(error) => Some(error),
            Self::System(error) => Some(error),
            Self::Bounds { .. }
            | Self::Descriptors { .. }
            | Self::FloodElsewhere
            | Self::Impolite
            | Self::Unreachable(_) => None,
        }
    }
}

impl From<io::Error> for LoadError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ELSEWHERE: ([u8; 4], u16) = ([192, 0, 2, 1], 7878);

    #[test]
    fn no_number_goes_beyond_its_bounds() {
        let base = LoadConfig::default();
        assert!(base.check().is_ok());
        let wrong = [
            LoadConfig { rooms: 0, ..base.clone() },
            LoadConfig { rooms: 201, ..base.clone() },
            LoadConfig { members: 51, ..base.clone() },
            LoadConfig { duration: DURATION_MAX + Duration::from_secs(1), ..base.clone() },
            LoadConfig { members: 50, flood_mbits: Some(100), ..base.clone() },
            LoadConfig { flood_mbits: Some(0), ..base.clone() },
            LoadConfig { video: Some(Rung::ALL[0]), senders: Some(3), ..base },
        ];
        for config in wrong {
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains("it has to be"), "{error}");
        }
    }

    #[test]
    fn another_machine_is_only_visited_unless_it_is_meant() {
        let visit = LoadConfig { rooms: 10, members: 10, ..LoadConfig::default() };
        let much = LoadConfig { rooms: 11, ..visit.clone() };
        let flood = LoadConfig { flood_mbits: Some(1), really: true, ..visit.clone() };
        assert!(visit.check_manners(ELSEWHERE.into()).is_ok());
        assert!(matches!(much.check_manners(ELSEWHERE.into()), Err(LoadError::Impolite)));
        assert!(LoadConfig { really: true, ..much.clone() }.check_manners(ELSEWHERE.into()).is_ok());
        assert!(matches!(flood.check_manners(ELSEWHERE.into()), Err(LoadError::FloodElsewhere)));
        assert!(much.check_manners(([127, 0, 0, 1], 1).into()).is_ok());
        assert!(much.check_manners("[::1]:1".parse().unwrap()).is_ok());
    }
}
