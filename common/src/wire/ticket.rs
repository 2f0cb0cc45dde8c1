//! What a member shows to come back to its place after its control connection broke.

use std::fmt;

use bincode::{Decode, Encode};
use subtle::ConstantTimeEq;

use crate::ids::ConnectionId;

/// One run of a server, drawn at its start: who comes back to another run is told that the server was restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ServerRun(pub u64);

/// Opens one member's place once. Told over TLS alone; every return gives a new one.
///
/// Comparing two takes the same time wherever they differ, and no log shows one.
#[derive(Clone, Copy, Encode, Decode)]
pub struct ResumptionSecret(pub [u8; Self::BYTES]);

impl ResumptionSecret {
    /// Bytes of a secret: 256 bits, which nobody guesses.
    pub const BYTES: usize = 32;
}

impl PartialEq for ResumptionSecret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for ResumptionSecret {}

impl fmt::Debug for ResumptionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResumptionSecret(..)")
    }
}

/// A member's claim to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Ticket {
    /// The run of the server that gave the place.
    pub run: ServerRun,
    /// Names the member's data plane, and so the place.
    pub connection_id: ConnectionId,
    /// Proves that the place is the sender's.
    pub secret: ResumptionSecret,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_equal_when_every_byte_is_and_are_not_shown() {
        let secret = ResumptionSecret([7; ResumptionSecret::BYTES]);
        for place in 0..ResumptionSecret::BYTES {
            let mut other = secret;
            other.0[place] ^= 1;
            assert_ne!(secret, other, "byte {place}");
        }
        assert_eq!(secret, ResumptionSecret([7; ResumptionSecret::BYTES]));
        assert_eq!(format!("{secret:?}"), "ResumptionSecret(..)");
    }
}
