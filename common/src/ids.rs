//! Names for the things of a meeting, each a type of its own so that two numbers cannot be swapped.

use std::fmt;
use std::str::FromStr;

use bincode::de::Decoder;
use bincode::error::DecodeError;
use bincode::{Decode, Encode};

/// The six digits a guest types to find a room: a locator, not a secret. Admission decides who gets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode)]
pub struct RoomCode(u32);

impl<C> Decode<C> for RoomCode {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Self::new(u32::decode(decoder)?).ok_or(DecodeError::Other("a room code has six digits"))
    }
}

bincode::impl_borrow_decode!(RoomCode);

impl RoomCode {
    /// How many codes exist: 000000 to 999999.
    pub const COUNT: u32 = 1_000_000;

    /// The code with this value, or `None` above 999,999.
    pub fn new(value: u32) -> Option<Self> {
        (value < Self::COUNT).then_some(Self(value))
    }
}

impl fmt::Display for RoomCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06}", self.0)
    }
}

/// What was typed is not a room code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidRoomCode;

impl fmt::Display for InvalidRoomCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a meeting code is six digits, for example 042917")
    }
}

impl std::error::Error for InvalidRoomCode {}

impl FromStr for RoomCode {
    type Err = InvalidRoomCode;

    /// Reads six digits; spaces and dashes between them are how people write codes down, so they are skipped.
    fn from_str(text: &str) -> Result<Self, InvalidRoomCode> {
        let digits: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '\t')).collect();
        if digits.len() != 6 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidRoomCode);
        }
        digits.parse().ok().and_then(Self::new).ok_or(InvalidRoomCode)
    }
}

/// A room on this server, for as long as the server runs; unlike a [`RoomCode`] it is never told to anyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomId(pub u32);

/// A member of one room, unique for the life of the room: never given to a second person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct MemberId(pub u16);

impl MemberId {
    /// The server itself, as the author of a report. No member ever has this id.
    pub const SERVER: Self = Self(0);
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// A guest waiting at the door of one room, unique for the life of the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct KnockId(pub u32);

/// One accepted control connection (TCP + TLS), numbered by the server's shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ControlId(pub u64);

/// Names a member's data plane in the clear part of each datagram: 64 random bits told over TLS at admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct ConnectionId(pub u64);

impl ConnectionId {
    /// Which of `shards` relays has this member: what a filter in front of their sockets finds as well, from the last
    /// four bytes of the id as they stand in a datagram.
    pub fn shard(self, shards: usize) -> usize {
        (self.0 as u32) as usize % shards.max(1)
    }
}

/// What a media stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamKind {
    /// Blocks of PCM.
    Audio,
    /// Parts of JPEG frames.
    Video,
}

/// One media stream (RFC 3550 §3): bits 8..24 are the member, bits 0..8 the kind (0 audio, 1 video).
///
/// The relay writes it into every media packet from the key that opened the datagram, so no member can speak
/// as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ssrc(u32);

impl Ssrc {
    /// The stream of this kind that `member` sends.
    pub fn new(member: MemberId, kind: StreamKind) -> Self {
        Self(u32::from(member.0) << 8 | kind as u32)
    }

    /// The member who sends this stream.
    pub fn member(self) -> MemberId {
        MemberId((self.0 >> 8) as u16)
    }

    /// What the stream carries.
    pub fn kind(self) -> StreamKind {
        if self.0 & 0xff == StreamKind::Audio as u32 { StreamKind::Audio } else { StreamKind::Video }
    }

    /// The number as it stands in a header.
    pub fn to_wire(self) -> u32 {
        self.0
    }

    /// The stream this number names, or `None` for a number that no member's stream has.
    pub fn from_wire(number: u32) -> Option<Self> {
        (number >> 24 == 0 && number & 0xff <= StreamKind::Video as u32).then_some(Self(number))
    }
}

/// One file offered by one member; with the sender's [`MemberId`] it is unique in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct TransferId(pub u32);

/// Numbers the chat messages of one sender from 1, so that a doubled one is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct ChatId(pub u32);

/// Where a member stands in the roster of a relay. The place of one who left is given to another, so a key that was kept means at
/// most that there may be something to do at that place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MemberKey(pub(crate) u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_reads_as_people_write_it() {
        for text in ["042917", "042 917", "042-917", " 042917 "] {
            assert_eq!(text.parse::<RoomCode>().map(|code| code.to_string()), Ok("042917".into()));
        }
    }

    #[test]
    fn anything_but_six_digits_is_no_code() {
        for text in ["", "12345", "1234567", "12345a", "１２３４５６", "+12345"] {
            assert_eq!(text.parse::<RoomCode>(), Err(InvalidRoomCode), "{text}");
        }
    }

    #[test]
    fn a_stream_number_tells_member_and_kind() {
        let ssrc = Ssrc::new(MemberId(513), StreamKind::Video);
        assert_eq!((ssrc.member(), ssrc.kind()), (MemberId(513), StreamKind::Video));
        assert_eq!(Ssrc::from_wire(ssrc.to_wire()), Some(ssrc));
        assert_eq!(Ssrc::from_wire(0x0100_0000), None);
        assert_eq!(Ssrc::from_wire(2), None);
    }
}
