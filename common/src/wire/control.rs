//! Messages of the control plane: a `u32` length in network byte order, then one bincode 2 message.
//!
//! bincode is configured and called here and nowhere else. Left alone it trusts lengths it reads (an 11-byte
//! message can abort the process), so decoding has a limit, all bytes must be used, and no type here is recursive
//! or holds a list of elements that take no bytes.

use std::fmt;

use bincode::{Decode, Encode};

use super::Malformed;
use super::ticket::{ResumptionSecret, ServerRun, Ticket};
use crate::ids::{ConnectionId, KnockId, MemberId, RoomCode};
use crate::limits::CONTROL_MESSAGE_MAX_BYTES;

/// The version of everything that crosses the wire; two programs with different ones do not talk.
pub const PROTOCOL_VERSION: u16 = 1;

/// The ALPN name (RFC 7301) of the control plane.
pub const ALPN: &[u8] = b"conclave/1";
/// The name of every server in TLS (RFC 6066 §3). A server is known by its key: what people call it may be no name that
/// TLS takes, and is nobody's business on the way.
pub const SERVER_NAME: &str = "conclave";

/// What a client tells the server.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ClientMessage {
    /// First message of a connection, in this place and shape in every version.
    Hello {
        /// The sender's [`PROTOCOL_VERSION`].
        version: u16,
        /// The sender's processor has AES instructions, so AES-256-GCM costs it little.
        aes: bool,
    },
    /// Opens a room; the sender becomes its host.
    Create {
        /// The host's display name.
        name: String,
    },
    /// Asks to be let into a room.
    Knock {
        /// Which room.
        code: RoomCode,
        /// The guest's display name.
        name: String,
    },
    /// Asks for something to be done in the room the sender is in.
    Act(Action),
    /// Tells the others whether the sender's camera and microphone are on.
    SetMedia(MediaState),
    /// Says that the sender is there; answered by [`ServerMessage::Pong`].
    Ping,
    /// Leaves the room.
    Leave,
    /// Says whom the sender wants to see from here on, and nobody else: what its window shows. Before the first one it
    /// gets everybody's video.
    Watch(Vec<View>),
    /// Comes back to a place that the sender had before its connection broke. What was said on the broken one and not
    /// read yet is not read any more.
    Resume(Ticket),
    /// Tells the others whether anything of the data plane comes from the server to the sender. It does at first.
    SetHears(bool),
}

/// A member somebody wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct View {
    /// Whom.
    pub member: MemberId,
    /// The largest picture that is of use, an index into [`crate::picture::ladder::Rung::ALL`].
    pub rung: u8,
}

/// What one member asks to be done to others; who may is decided by [`crate::room::may`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Action {
    /// Lets a waiting guest in.
    Admit(KnockId),
    /// Lets all waiting guests in.
    AdmitAll,
    /// Turns a waiting guest away.
    Deny(KnockId),
    /// Ends the meeting for everybody.
    End,
    /// Closes the door to new knocks, or opens it.
    Lock(bool),
    /// Takes a member out of the room.
    Remove(MemberId),
    /// Asks a member to mute the microphone.
    RequestMute(MemberId),
}

/// Which of a member's devices are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct MediaState {
    /// The camera sends pictures.
    pub camera: bool,
    /// The microphone is not muted.
    pub microphone: bool,
}

/// What the server tells a client.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ServerMessage {
    /// The sender of [`ClientMessage::Create`] or of a knock that was admitted is in.
    Admitted(Admission),
    /// The knock is at the door; the host has been told.
    Knocking,
    /// The client does not get in, or is no longer let wait; the connection closes.
    Refused(Refusal),
    /// To the host: a guest is at the door.
    KnockArrived {
        /// Names the knock in [`Action::Admit`] and [`Action::Deny`].
        knock: KnockId,
        /// The guest's display name, cleaned.
        name: String,
    },
    /// To the host: a guest no longer waits (admitted, denied, gone, or unanswered for too long).
    KnockGone(KnockId),
    /// Somebody else came in.
    MemberJoined(Member),
    /// Somebody else is gone.
    MemberLeft {
        /// Who.
        member: MemberId,
        /// Why.
        reason: LeaveReason,
    },
    /// A member's devices were turned on or off.
    MediaChanged {
        /// Whose.
        member: MemberId,
        /// As they are now.
        media: MediaState,
    },
    /// The host role passed to this member.
    HostChanged(MemberId),
    /// The door was locked or opened.
    Locked(bool),
    /// The host asks the receiver to mute the microphone.
    MuteRequested,
    /// The action is the host's alone, or what it names is not there.
    NotAllowed(Action),
    /// The meeting is over for the receiver; the connection closes.
    Ended(EndReason),
    /// Answers [`ClientMessage::Ping`].
    Pong,
    /// To members: something about the server that concerns everybody on it.
    Notice(Notice),
    /// The largest picture of the receiver's that anybody has use for, an index into
    /// [`crate::picture::ladder::Rung::ALL`]; `None` when nobody looks. Before the first one it is the largest.
    VideoWanted(Option<u8>),
    /// Answers [`ClientMessage::Resume`]: the receiver is in its place again, and the room is like this.
    Resumed(Snapshot),
    /// Somebody else's control connection broke; sound, pictures and chat may go on.
    MemberAway(MemberId),
    /// Somebody else, who was away, is connected again.
    MemberBack(MemberId),
    /// A way between a member, perhaps the receiver, and the server broke or came back on the data plane.
    ReachChanged {
        /// Whose.
        member: MemberId,
        /// As it is now.
        reach: Reach,
    },
}

/// What members are told about their server. `Display` is the sentence a person reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Notice {
    /// The server stops, and every meeting with it.
    Draining {
        /// Whole seconds until then, at most.
        secs: u32,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Draining { secs } => write!(f, "This server stops in {}, and this meeting with it.", Minutes(*secs)),
        }
    }
}

/// All that an admitted member needs to take part.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Admission {
    /// The room's code, to be shared.
    pub code: RoomCode,
    /// The receiver's own id in the room.
    pub you: MemberId,
    /// Names the receiver's data plane in each datagram.
    pub connection_id: ConnectionId,
    /// Seals the receiver's datagrams, both directions.
    pub suite: CipherSuite,
    /// Everybody in the room, the receiver included.
    pub members: Vec<Member>,
    /// The door is closed to new knocks.
    pub locked: bool,
    /// The run of the server, for the receiver's [`Ticket`].
    pub run: ServerRun,
    /// Opens the receiver's place again, should its connection break.
    pub secret: ResumptionSecret,
}

/// A room as it is when somebody comes back to it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Snapshot {
    /// Opens the place the next time; the one that was shown is used up.
    pub secret: ResumptionSecret,
    /// Everybody in the room, the receiver included.
    pub members: Vec<Member>,
    /// The door is closed to new knocks.
    pub locked: bool,
    /// Who is at the door, the longest waiting first; empty for everybody but the host.
    pub knocks: Vec<Guest>,
    /// As in [`ServerMessage::VideoWanted`].
    pub wanted: Option<u8>,
}

/// Somebody at the door.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Guest {
    /// Names the knock in [`Action::Admit`] and [`Action::Deny`].
    pub knock: KnockId,
    /// Display name, cleaned.
    pub name: String,
}

/// One person in a room, as the others see them.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Member {
    /// Unique in the room.
    pub id: MemberId,
    /// Display name: cleaned, and unlike every other in the room.
    pub name: String,
    /// Has the host role.
    pub host: bool,
    /// Which devices are on.
    pub media: MediaState,
    /// The control connection is broken, and the member has not come back yet.
    pub away: bool,
    /// Which ways of the data plane work.
    pub reach: Reach,
}

/// Which ways between a member and the server work on the data plane: sound, pictures, chat and files need both, and UDP
/// may be stopped on each while TCP is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Reach {
    /// The server hears the member.
    pub heard: bool,
    /// The member hears the server.
    pub hears: bool,
}

impl Reach {
    /// Both ways work, or nobody knows otherwise.
    pub const WHOLE: Self = Self { heard: true, hears: true };
}

/// The cipher of the data plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum CipherSuite {
    /// AES-256-GCM (NIST SP 800-38D), where both ends have AES instructions.
    Aes256Gcm,
    /// ChaCha20-Poly1305 (RFC 8439), elsewhere.
    ChaCha20Poly1305,
}

/// Why a client does not get in. `Display` is the sentence a person reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Refusal {
    /// The host said no.
    Denied,
    /// The name is empty, too long, or nothing but invisible characters.
    NameInvalid,
    /// Somebody in the room or at the door has this name, or one that looks like it.
    NameTaken,
    /// Nobody opened the door for [`crate::limits::KNOCK_TIMEOUT`].
    NoAnswer,
    /// The room has as many members as the server allows, at most [`crate::limits::ROOM_MEMBERS_MAX`].
    RoomFull,
    /// The host locked the room.
    RoomLocked,
    /// The meeting ended while the guest waited.
    RoomEnded,
    /// The server has as many rooms as it takes, at most [`crate::limits::ROOMS_MAX`].
    ServerFull,
    /// [`crate::limits::KNOCKS_PER_ROOM`] guests wait at this door.
    TooManyKnocks,
    /// Too many wrong codes; typed codes are refused for this many more seconds.
    TryLater {
        /// Whole seconds until codes are taken again.
        secs: u32,
    },
    /// The two programs speak different versions of the protocol.
    VersionMismatch {
        /// What the server speaks.
        server: u16,
    },
    /// No meeting has this code.
    WrongCode,
    /// The server is about to stop and takes no new rooms.
    Draining,
    /// Nobody has this place any more, or the secret is not the place's: which of the two is not told.
    PlaceGone,
    /// The place was given by an earlier run of this server, which took all its rooms with it.
    ServerRestarted,
    /// The host said no to this name from this source [`crate::limits::DENIALS_PER_GUEST`] times, and is not asked.
    DeniedBefore,
    /// The host said no to many from this source.
    KnockLater {
        /// Whole seconds until the host is asked again.
        secs: u32,
    },
    /// One source has as many rooms as it may open.
    TooManyRooms,
    /// One source has as many control connections as it may.
    TooManyConnections {
        /// How many that is.
        max: u32,
    },
    /// The server has as many control connections as it takes.
    ServerBusy,
}

impl Refusal {
    /// Whether it says nothing about who came and what for: another connection may be taken a moment later.
    pub fn concerns_the_connection(self) -> bool {
        matches!(self, Self::ServerBusy | Self::TooManyConnections { .. })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied => f.write_str("The host did not let you in."),
            Self::NameInvalid => f.write_str("Please choose a name of 1 to 32 visible characters."),
            Self::NameTaken => {
                f.write_str("Somebody in this meeting has that name, or one that looks like it. Please choose another.")
            }
            Self::NoAnswer => f.write_str("Nobody answered the door. The host may be away."),
            Self::RoomFull => f.write_str("This meeting is full."),
            Self::RoomLocked => f.write_str("This meeting is locked. Ask the host to unlock it."),
            Self::RoomEnded => f.write_str("This meeting has ended."),
            Self::ServerFull => f.write_str("This server has no room for another meeting."),
            Self::TooManyKnocks => {
                f.write_str("Too many people are waiting at this door. Please try again in a minute.")
            }
            Self::TryLater { secs } => write!(
                f,
                "Too many wrong codes came from your network. Codes are taken again in {}.",
                Minutes(*secs)
            ),
            Self::VersionMismatch { server } => {
                write!(
                    f,
                    "This program and the server speak different versions ({PROTOCOL_VERSION} and {server}). Please update the older one."
                )
            }
            Self::Draining => {
                f.write_str("This server is about to stop and takes no new meetings. Please try again later.")
            }
            Self::PlaceGone => {
                f.write_str("Your place in the meeting was given up: it is over, or you were gone for too long.")
            }
            Self::ServerRestarted => f.write_str("The meeting is over: the server was restarted."),
            Self::WrongCode => f.write_str("No meeting has this code. Please check the six digits."),
            Self::DeniedBefore => {
                f.write_str("The host turned you away from this meeting more than once, and is not asked again.")
            }
            Self::KnockLater { secs } => write!(
                f,
                "The host turned several people from your network away. You can knock again in {}.",
                Minutes(*secs)
            ),
            Self::TooManyRooms => {
                f.write_str("Your network has as many meetings open as this server allows from one. Whoever runs it can allow more.")
            }
            Self::TooManyConnections { max } => write!(
                f,
                "Your network has {max} connections to this server, as many as it takes from one. Please try again in a minute; whoever runs it can allow more."
            ),
            Self::ServerBusy => {
                f.write_str("This server has as many connections as it takes. Please try again in a minute.")
            }
        }
    }
}

/// Seconds as a person says them: whole minutes, rounded up, above one.
struct Minutes(u32);

impl fmt::Display for Minutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..=1 => f.write_str("a second"),
            secs @ 2..=60 => write!(f, "{secs} seconds"),
            secs => write!(f, "{} minutes", secs.div_ceil(60)),
        }
    }
}

/// Why a member is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum LeaveReason {
    /// Left by choice.
    Left,
    /// The connection broke.
    Lost,
    /// The host took the member out.
    Removed,
}

/// Why a meeting is over for a member. `Display` is the sentence a person reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum EndReason {
    /// The host ended it for everybody.
    EndedByHost,
    /// The host took the receiver out.
    Removed,
    /// The server stops.
    ServerStopped,
    /// Whoever runs the server ended it for everybody.
    EndedByOperator,
    /// Whoever runs the server took the receiver out.
    RemovedByOperator,
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EndedByHost => "The host ended the meeting.",
            Self::Removed => "The host removed you from the meeting.",
            Self::ServerStopped => "The server stopped.",
            Self::EndedByOperator => "Whoever runs this server ended the meeting.",
            Self::RemovedByOperator => "Whoever runs this server removed you from the meeting.",
        })
    }
}

/// The bytes of a message with its length in front, ready to be written to the connection.
pub fn encode<M: Encode>(message: &M) -> Vec<u8> {
    let body = encode_body(message);
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], &body].concat()
}

/// The bytes of a message alone.
pub(crate) fn encode_body<M: Encode>(message: &M) -> Vec<u8> {
    bincode::encode_to_vec(message, CONFIG).expect("a Vec takes every message, and no message type can refuse")
}

/// Reads one message that must be exactly these bytes.
///
/// # Errors
/// [`Malformed`] when the bytes are no message, or more than one.
pub(crate) fn decode_body<M: Decode<()>>(bytes: &[u8]) -> Result<M, Malformed> {
    let (message, used) = bincode::decode_from_slice(bytes, CONFIG).map_err(|_| Malformed)?;
    if used == bytes.len() { Ok(message) } else { Err(Malformed) }
}

const CONFIG: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<CONTROL_MESSAGE_MAX_BYTES>,
> = bincode::config::standard().with_limit::<CONTROL_MESSAGE_MAX_BYTES>();

/// Cuts the byte stream of a connection into messages.
///
/// Holds at most one length prefix and [`CONTROL_MESSAGE_MAX_BYTES`], whatever the peer claims: a length above
/// the limit is refused before anything is kept for it.
#[derive(Debug, Default)]
pub struct Framer {
    received: Vec<u8>,
}

impl Framer {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes [`Framer::push`] takes at most right now.
    pub fn capacity(&self) -> usize {
        LENGTH_BYTES + CONTROL_MESSAGE_MAX_BYTES - self.received.len()
    }

    /// Takes bytes as they came from the connection, at most [`Framer::capacity`] of them; the rest stays out.
    /// Answers how many were taken.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.capacity());
        self.received.extend_from_slice(&bytes[..taken]);
        taken
    }

    /// The next whole message, or `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`Malformed`] when the length is above the limit or the bytes are no message: close the connection.
    pub fn next_message<M: Decode<()>>(&mut self) -> Result<Option<M>, Malformed> {
        let Some(prefix) = self.received.first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*prefix) as usize;
        if length > CONTROL_MESSAGE_MAX_BYTES {
            return Err(Malformed);
        }
        let Some(body) = self.received.get(LENGTH_BYTES..LENGTH_BYTES + length) else {
            return Ok(None);
        };
        let message = decode_body(body)?;
        self.received.drain(..LENGTH_BYTES + length);
        Ok(Some(message))
    }
}

const LENGTH_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn ada() -> Member {
        Member {
            id: MemberId(1),
            name: "Ada".into(),
            host: true,
            media: MediaState::default(),
            away: false,
            reach: Reach::WHOLE,
        }
    }

    fn snapshot() -> ServerMessage {
        ServerMessage::Resumed(Snapshot {
            secret: ResumptionSecret([9; ResumptionSecret::BYTES]),
            members: vec![ada()],
            locked: true,
            knocks: vec![Guest { knock: KnockId(3), name: "Bo".into() }],
            wanted: Some(1),
        })
    }

    fn admission() -> ServerMessage {
        ServerMessage::Admitted(Admission {
            code: RoomCode::new(42_917).unwrap(),
            you: MemberId(2),
            connection_id: ConnectionId(0x0123_4567_89ab_cdef),
            suite: CipherSuite::Aes256Gcm,
            members: vec![ada()],
            locked: false,
            run: ServerRun(7),
            secret: ResumptionSecret([9; ResumptionSecret::BYTES]),
        })
    }

    #[test]
    fn a_message_survives_any_split_of_its_bytes() {
        for message in [admission(), snapshot()] {
            let bytes = encode(&message);
            for cut in 0..bytes.len() {
                let mut framer = Framer::new();
                framer.push(&bytes[..cut]);
                assert_eq!(framer.next_message::<ServerMessage>(), Ok(None));
                framer.push(&bytes[cut..]);
                assert_eq!(framer.next_message().as_ref(), Ok(&Some(message.clone())));
                assert_eq!(framer.next_message::<ServerMessage>(), Ok(None));
            }
        }
    }

    #[test]
    fn every_short_body_is_malformed() {
        for body in [encode_body(&admission()), encode_body(&snapshot())] {
            for length in 0..body.len() {
                assert_eq!(decode_body::<ServerMessage>(&body[..length]), Err(Malformed));
            }
        }
    }

    #[test]
    fn bytes_behind_a_message_are_malformed() {
        let body = [encode_body(&ClientMessage::Ping), vec![0]].concat();
        assert_eq!(decode_body::<ClientMessage>(&body), Err(Malformed));
    }

    #[test]
    fn seed_hole_a_length_prefix_of_4_gib_is_refused_before_anything_is_kept_for_it() {
        let mut framer = Framer::new();
        framer.push(&u32::MAX.to_be_bytes());
        assert_eq!(framer.next_message::<ClientMessage>(), Err(Malformed));
        assert!(framer.received.capacity() < 64);
    }

    #[test]
    fn a_framer_never_holds_more_than_one_message_of_the_largest_size() {
        let mut framer = Framer::new();
        assert_eq!(framer.push(&vec![0; 1 << 20]), LENGTH_BYTES + CONTROL_MESSAGE_MAX_BYTES);
        assert_eq!(framer.push(&[0]), 0);
    }

    #[test]
    fn a_room_code_of_seven_digits_is_malformed() {
        // Variant 2 (Knock), then a varint of 1,000,000, then an empty name.
        let code = |code: u32| [&[2, 252][..], &code.to_le_bytes(), &[0]].concat();
        assert!(decode_body::<ClientMessage>(&code(999_999)).is_ok());
        assert_eq!(decode_body::<ClientMessage>(&code(1_000_000)), Err(Malformed));
    }

    #[test]
    fn a_string_that_claims_a_terabyte_is_malformed() {
        // Variant 1 (Create), then a varint length of 2^40.
        let bomb = [1, 253, 0, 0, 0, 0, 0, 1, 0, 0];
        assert_eq!(decode_body::<ClientMessage>(&bomb), Err(Malformed));
    }
}
