//! A whole meeting in one thread and in virtual time: the hub, the relay and any number of members, over links that are
//! as bad as they are told to be. The same seed gives the same meeting, to the byte.
//!
//! Everything here is the shipped core; only sockets, devices and disks are made up.

pub mod channel;
pub mod lateness;
pub mod line;
pub mod meeting;
pub mod participant;
pub mod picture;
pub mod rate;
pub mod sources;
pub mod spool;
pub mod studio;
