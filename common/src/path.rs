//! One hop, in one direction: which datagrams left at one end ([`Departures`]) and when they arrived at the other
//! ([`Arrivals`]).
//!
//! Every sealed datagram has a packet number of its hop, so both ends can talk about all of them, whatever they carry.
//! The receiver tells every few hundredths of a second what arrived when; the sender lays that beside what it knows of
//! them, and learns what was lost, how long the queue is and how fast the narrow place lets packets through.

mod arrivals;
mod departures;
mod outgoing;
mod reception;

pub use arrivals::Arrivals;
pub use departures::{Departure, Departures, Outcome};
pub use outgoing::{Fate, Outgoing, TRAIN_GAP};
pub use reception::Reception;
