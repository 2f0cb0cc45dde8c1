//! Bytes: each message, header and segment is parsed here once, into a type that cannot be wrong.
//!
//! `docs/PROTOCOL.md` draws every one of them.

pub mod control;
pub mod datagram;
pub mod feedback;
pub mod media;
pub mod message;
mod reader;
pub mod segment;
pub mod ticket;

/// The bytes are not what they should be. Which byte was wrong is of no use to anyone but an attacker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("malformed bytes")
    }
}

impl std::error::Error for Malformed {}
