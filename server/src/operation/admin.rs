//! Commands for whoever runs a server, over a socket of this machine that nobody else may open.
//!
//! One connection is one [`Request`] and one [`Reply`], each a line of JSON. Rooms go by their number, never by their
//! code: who reads along learns nothing that opens a door.

mod client;
mod socket;
mod table;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use client::{AskError, ask};
pub use socket::{AdminServer, BindError};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Take no new rooms and stop when the last is gone, or after so many seconds; without them, after what is set.
    Drain {
        /// Seconds, or `None` for the setting.
        timeout_secs: Option<u64>,
    },
    /// End a meeting for everybody.
    End {
        /// Its number.
        room: u32,
    },
    /// Forget wrong codes.
    Forgive {
        /// Those of the source of this address, or of everybody.
        address: Option<IpAddr>,
    },
    /// Take a member out.
    Kick {
        /// The room's number.
        room: u32,
        /// The member's number.
        member: u16,
    },
    /// Who is in a room.
    Members {
        /// Its number.
        room: u32,
    },
    /// All rooms.
    Rooms,
    /// How the server is.
    Status,
}

/// What is answered. `Display` is what a person reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It is done.
    Done,
    /// Wrong codes are forgotten.
    Forgiven {
        /// Sources that may try codes again and could not before.
        sources: usize,
    },
    /// Who is in the room.
    Members(Vec<MemberLine>),
    /// It cannot be done; the sentence says why.
    Refused(String),
    /// All rooms.
    Rooms(Vec<RoomLine>),
    /// How the server is.
    Status(Status),
}

/// A room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomLine {
    /// Its number.
    pub room: u32,
    /// How many are in.
    pub members: usize,
    /// How many wait at the door.
    pub knocking: usize,
    /// Seconds since it was opened.
    pub age_secs: u64,
    /// The door is closed to new knocks.
    pub locked: bool,
}

/// A member of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberLine {
    /// The member's number.
    pub member: u16,
    /// Display name; chosen by the member.
    pub name: String,
    /// Has the host role.
    pub host: bool,
    /// The camera is on.
    pub camera: bool,
    /// The microphone is on.
    pub microphone: bool,
    /// Seconds since the member came in.
    pub age_secs: u64,
    /// The control connection is broken, and the member may come back.
    pub away: bool,
    /// Datagrams go both ways between the member and the server.
    pub datagrams: bool,
}

/// How a server is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Of the running server, which may be older than the program that asks.
    pub version: String,
    /// `serving` or `draining`.
    pub health: String,
    /// Where it listens.
    pub listen: String,
    /// Seconds since it started.
    pub uptime_secs: u64,
    /// Rooms that are open.
    pub rooms: usize,
    /// Members in all rooms.
    pub members: usize,
    /// Control connections that are open.
    pub connections: usize,
    /// Sources whose codes are refused because of wrong ones.
    pub sources_banned: usize,
    /// Seconds until the last of them may try again; 0 without any.
    pub banned_for_secs: u64,
    /// Wrong codes come from many networks at once.
    pub guessing: bool,
    /// Files, sockets included, that the server may have open; nothing where the system does not limit it.
    pub files_max: Option<u64>,
    /// Accepts that failed for want of something since the start.
    pub accepts_failed: u64,
}

/// Bytes of a request, with its end of line; the longest has 60.
const REQUEST_MAX_BYTES: u64 = 1_024;
/// Bytes of a reply; a full server's 200 rooms are 16 kB, a full room's members 10 kB.
const REPLY_MAX_BYTES: u64 = 256 * 1024;
