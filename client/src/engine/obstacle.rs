//! What keeps us from a server, and the sentence for it.

use std::fmt;
use std::io;

use super::address::{LookupError, ServerAddress};
use super::dial::Lost;
use super::trust::{KnownServers, Trust};

/// Why there is no connection, as a sentence.
#[derive(Debug)]
pub(crate) struct ConnectError(String);

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How an attempt at one address ended.
#[derive(Debug)]
pub(crate) enum Obstacle {
    /// It answers with another key than the one that was remembered.
    ChangedKey,
    /// It answers, and not as a server of this program does: what is odd.
    Foreign(String),
    /// It answered and closed the connection before it was secure.
    Closed,
    /// It answered, and then nothing came.
    Stalled,
    /// It does not answer, or says that nobody is there.
    Unreachable(io::Error),
}

impl Obstacle {
    /// Of a handshake that failed.
    pub(crate) fn in_handshake(error: &io::Error) -> Self {
        let closed = [
            io::ErrorKind::BrokenPipe,
            io::ErrorKind::ConnectionAborted,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::UnexpectedEof,
        ];
        if closed.contains(&error.kind()) {
            Self::Closed
        } else if error.kind() == io::ErrorKind::TimedOut {
            Self::Stalled
        } else {
            Self::Foreign(error.to_string())
        }
    }

    /// The more it says of the server, the more.
    fn weight(&self) -> u8 {
        match self {
            Self::ChangedKey => 4,
            Self::Foreign(_) => 3,
            Self::Closed => 2,
            Self::Stalled => 1,
            Self::Unreachable(_) => 0,
        }
    }
}

impl ConnectError {
    /// The attempt came to no end of its own.
    pub(crate) fn broken(server: &ServerAddress) -> Self {
        unreachable(server, &io::Error::other("the attempt broke off"))
    }

    /// The server took too long.
    pub(crate) fn silent(server: &ServerAddress) -> Self {
        unreachable(server, &io::ErrorKind::TimedOut.into())
    }

    /// No address of the server led anywhere. Of many obstacles the one is told that says most.
    pub(crate) fn lost(server: &ServerAddress, trust: &Trust, lost: Lost<Obstacle>) -> Self {
        // The last of equals, as max_by_key has it, is the newest.
        match (lost.attempts.into_iter().max_by_key(Obstacle::weight), lost.lookup) {
            (Some(obstacle), _) => Self::obstacle(server, trust, &obstacle),
            (None, Some(LookupError::Scope(error))) => Self(format!("Could not reach {server}: {error}.")),
            (None, Some(LookupError::System(error))) => unreachable(server, &error),
            (None, None) => Self::broken(server),
        }
    }

    fn obstacle(server: &ServerAddress, trust: &Trust, obstacle: &Obstacle) -> Self {
        match obstacle {
            Obstacle::ChangedKey => changed_key(server, trust),
            Obstacle::Closed => Self(format!(
                "{server} answers, but closed the connection before it was secure. Something between you and it may be in the way, \
                 it may have no room for you, or it may be another program or another version."
            )),
            Obstacle::Foreign(why) => Self(format!(
                "{server} answers, but not as this program expects: {why}. It may be another program or another version, or \
                 something between you and it."
            )),
            Obstacle::Stalled => Self(format!(
                "{server} answers, but then nothing comes from it. The path may lose long packets (a tunnel, a VPN or a DSL \
                 line), something between you and it may hold them up, or it may be another program or another version."
            )),
            Obstacle::Unreachable(error) => unreachable(server, error),
        }
    }

    /// The file of remembered servers is there and cannot be read.
    pub(crate) fn unreadable(known: &KnownServers, error: &io::Error) -> Self {
        let path = known.path().display();
        Self(format!(
            "The file of remembered servers, {path}, cannot be used: {error}. The key of this server may be in it, so nothing \
             is trusted without it. Make it readable, or choose another folder with --state-dir."
        ))
    }
}

fn unreachable(server: &ServerAddress, error: &io::Error) -> ConnectError {
    let known = [
        (io::ErrorKind::ConnectionRefused, "no server listens there"),
        (io::ErrorKind::HostUnreachable, "no machine has this address, or there is no way to it"),
        (io::ErrorKind::NetworkUnreachable, "this machine has no network that leads there"),
        (io::ErrorKind::NotFound, "nothing has this name"),
        (io::ErrorKind::TimedOut, "it does not answer"),
    ];
    let why = known.iter().find(|(kind, _)| *kind == error.kind());
    let why = why.map_or_else(|| error.to_string(), |(_, why)| (*why).to_owned());
    ConnectError(format!("Could not reach {server}: {why}."))
}

fn changed_key(server: &ServerAddress, trust: &Trust) -> ConnectError {
    let advice = match trust {
        Trust::Anyone | Trust::Exactly(_) => String::new(),
        Trust::Remembered(known) => format!(
            " If the server was set up anew, remove the line of {}:{} from {}.",
            server.host,
            server.port,
            known.path().display()
        ),
    };
    ConnectError(format!("The key of {server} is not the one remembered: somebody may be between you and it.{advice}"))
}
