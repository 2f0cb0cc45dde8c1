//! One hop, in one direction: which datagrams left at one end ([`Departures`]) and when they arrived at the other
//! ([`Arrivals`]).
//!
//! Every sealed datagram has a packet number of its hop, so both ends can talk about all of them, whatever they carry.
//! The receiver tells every few hundredths of a second what arrived when; the sender lays that beside what it knows of
//! them, and learns what was lost, how long the queue is and how fast the narrow place lets packets through.
//!
//! [`bandwidth`] draws from it what the path carries; [`meter`] and [`stream_reception`] count what one stream brings.

mod arrivals;
pub mod bandwidth;
mod departures;
pub mod meter;
mod outgoing;
mod reception;
pub mod stream_reception;

use std::net::{IpAddr, SocketAddr};

pub use arrivals::Arrivals;
pub use departures::{Departure, Departures, Outcome};
pub use outgoing::{Fate, Outgoing, TRAIN_GAP};
pub use reception::Reception;
pub(crate) use reception::fresh;

/// Where the two ends of a hop are, as one of them sees it (RFC 9000 §9: a path is both addresses, not the peer's alone).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressPair {
    /// The peer's address and port.
    pub remote: SocketAddr,
    /// Our address, in the family of `remote`; `None` where the system does not say, and chooses.
    pub local: Option<IpAddr>,
}

impl From<SocketAddr> for AddressPair {
    /// The path to a peer from whichever address of ours the system chooses.
    fn from(remote: SocketAddr) -> Self {
        Self { remote, local: None }
    }
}
