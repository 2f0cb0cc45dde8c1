//! Every decision of a Conclave meeting, without I/O.
//!
//! Four state machines, two planes by two sides:
//!
//! |               | client side            | server side                       |
//! |---------------|------------------------|-----------------------------------|
//! | control plane | [`session::Session`]   | [`hub::Hub`], owner of the rooms  |
//! | data plane    | [`endpoint::Endpoint`] | [`relay::Relay`]                  |
//!
//! All four follow one contract. Facts go in by `handle_*(now, …)`, effects come out of `poll_*` until it
//! answers `None`, and `poll_timeout` says when to call `handle_timeout` next. Nothing in this crate reads
//! a clock, opens a socket, spawns, waits or logs; randomness is a seed given to a constructor. So a whole
//! meeting runs in one thread over a simulated network, and the same seed gives the same meeting.
//!
//! Inside the crate the arrows run one way. A module uses those of the lines above its own and no other;
//! `scripts/purity.sh` reads the order here and holds the code to it, tests aside.
//!
//! 1. `allowance`, `ids`, `limits`, `link`, `sequence`: names, numbers and bounds
//! 2. `dialing`, `door`, `listening`, `text`, `typed_address`, `wire`: bytes and words as they come
//! 3. `introductions`, `names`, `path`, `reno`, `seal`: one hop, one channel, one name
//! 4. `picture`, `voice`: what is seen and heard
//! 5. `room`, `session`, `stats`: who is in, and how it goes
//! 6. `endpoint`, `hub`: a participant's data plane; the server's control plane
//! 7. `relay`: the server's data plane, which obeys the hub

pub mod allowance;
pub mod dialing;
pub mod door;
pub mod endpoint;
pub mod hub;
pub mod ids;
pub mod introductions;
pub mod limits;
pub mod link;
mod listening;
pub mod names;
pub mod path;
pub mod picture;
pub mod relay;
pub mod reno;
pub mod room;
pub mod seal;
pub mod sequence;
pub mod session;
pub mod stats;
pub mod text;
pub mod typed_address;
pub mod voice;
pub mod wire;

/// Where the virtual time of a test begins; the rest of it is arithmetic.
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an Instant cannot be made from nothing")]
pub(crate) fn virtual_time() -> std::time::Instant {
    std::time::Instant::now()
}
