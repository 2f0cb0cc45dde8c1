//! The commands that ask a running server.

use std::error::Error;
use std::net::IpAddr;

use clap::Subcommand;
use server::operation::admin::{Reply, Request, ask};
use server::operation::settings::{DRAIN_TIMEOUT_SECS_MAX, Settings};

use crate::say;

/// What to ask.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Takes no new rooms, and stops the server when the last is gone or the time is up
    Drain {
        /// Seconds that running meetings have; without it, what is set
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=DRAIN_TIMEOUT_SECS_MAX as u64))]
        timeout_secs: Option<u64>,
    },
    /// Ends a meeting for everybody
    End {
        /// The room's number, as “rooms” prints it
        room: u32,
    },
    /// Lets those try codes again who are kept out for wrong ones
    Forgive {
        /// The address of one of them, IPv4 or IPv6; without it, everybody
        address: Option<IpAddr>,
    },
    /// Takes a member out of a room
    Kick {
        /// The room's number, as “rooms” prints it
        room: u32,
        /// The member's number, as “rooms ROOM” prints it
        member: u16,
    },
    /// Lists the rooms, or the members of one
    Rooms {
        /// The room's number
        room: Option<u32>,
        /// Prints JSON, for scripts
        #[arg(long)]
        json: bool,
    },
    /// Says how the server is; fails when it does not run
    Status {
        /// Prints JSON, for scripts
        #[arg(long)]
        json: bool,
    },
}

/// Asks the running server and prints its answer.
pub(crate) fn run(command: Command, settings: &Settings) -> Result<(), Box<dyn Error>> {
    let path = settings.admin_socket.as_deref().ok_or("The admin socket is off: there is nobody to ask.")?;
    let (request, json) = command.into_request();
    match ask(path, &request)? {
        Reply::Refused(sentence) => Err(sentence.into()),
        Reply::Members(members) if json => say(&format_args!("{}\n", serde_json::to_string(&members)?)),
        Reply::Rooms(rooms) if json => say(&format_args!("{}\n", serde_json::to_string(&rooms)?)),
        Reply::Status(status) if json => say(&format_args!("{}\n", serde_json::to_string(&status)?)),
        reply @ (Reply::Done | Reply::Forgiven { .. } | Reply::Members(_) | Reply::Rooms(_) | Reply::Status(_)) => {
            say(&reply)
        }
    }
}

impl Command {
    /// What to ask, and whether to print JSON.
    fn into_request(self) -> (Request, bool) {
        match self {
            Self::Drain { timeout_secs } => (Request::Drain { timeout_secs }, false),
            Self::End { room } => (Request::End { room }, false),
            Self::Forgive { address } => (Request::Forgive { address }, false),
            Self::Kick { room, member } => (Request::Kick { room, member }, false),
            Self::Rooms { room: Some(room), json } => (Request::Members { room }, json),
            Self::Rooms { room: None, json } => (Request::Rooms, json),
            Self::Status { json } => (Request::Status, json),
        }
    }
}
