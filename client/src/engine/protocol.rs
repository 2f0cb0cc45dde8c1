//! What the window says to the engine ([`Command`]) and what it hears back ([`Event`]). Neither knows a window.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::ids::{ChatId, KnockId, MemberId, RoomCode, TransferId};
use common::reno::Traced;
use common::stats::NetworkSnapshot;
use common::wire::control::{Action, LeaveReason, MediaState, Member, Reach, View};
use common::wire::message::{FileOffer, FileState, FileTrouble, Recipients};

use crate::devices::processing::VoiceProcessing;
use crate::devices::{DeviceChoice, Picture};

/// What a person wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Opens a meeting as its host, on `server` (`host` or `host:port`) or, without one, on a server inside this
    /// program.
    StartMeeting {
        /// The host's display name.
        name: String,
        /// Where, or `None` for this machine.
        server: Option<String>,
    },
    /// Knocks at a meeting.
    Join {
        /// `host` or `host:port`.
        server: String,
        /// Its six digits.
        code: RoomCode,
        /// The guest's display name.
        name: String,
    },
    /// Asks for something in the room; what the host's buttons do.
    Act(Action),
    /// Turns the camera on or off.
    SetCamera(bool),
    /// Turns the microphone on or mutes it.
    SetMicrophone(bool),
    /// Uses another camera from here on.
    ChooseCamera(DeviceChoice),
    /// Uses another microphone from here on.
    ChooseMicrophone(DeviceChoice),
    /// Uses another speaker from here on.
    ChooseSpeaker(DeviceChoice),
    /// Does this to what the microphone hears, from here on.
    ChooseVoiceProcessing(VoiceProcessing),
    /// Writes to all or to one.
    SendChat {
        /// To whom.
        to: Recipients,
        /// What; surrounding white space is removed.
        text: String,
    },
    /// Offers a file to all or to one.
    OfferFile {
        /// To whom.
        to: Recipients,
        /// Where it lies.
        path: PathBuf,
    },
    /// Takes an offered file; it goes to the engine's download folder.
    AcceptFile {
        /// Who offers it.
        from: MemberId,
        /// Which.
        transfer: TransferId,
    },
    /// Turns an offered file down.
    DeclineFile {
        /// Who offers it.
        from: MemberId,
        /// Which.
        transfer: TransferId,
    },
    /// Stops a file: takes back our own offer (`from` is ourselves), or stops receiving somebody's.
    CancelFile {
        /// Who offered it.
        from: MemberId,
        /// Which.
        transfer: TransferId,
    },
    /// Stops a file for a while: holds our own back (`from` is ourselves), or stops receiving somebody's. What is here of
    /// it stays.
    PauseFile {
        /// Who offered it.
        from: MemberId,
        /// Which.
        transfer: TransferId,
    },
    /// Goes on with a file that was paused or interrupted, from where it was.
    ResumeFile {
        /// Who offered it.
        from: MemberId,
        /// Which.
        transfer: TransferId,
    },
    /// Whether files sent from here shall not yield to the call.
    HurryFiles(bool),
    /// Leaves the meeting, or stops waiting at its door.
    Leave,
    /// Shows these members from here on, each in a picture no larger than this, and nobody else: what the window has
    /// tiles for. Before the first one everybody is shown.
    Watch(Vec<View>),
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The engine connects to a server.
    Connecting {
        /// As it was given.
        server: String,
    },
    /// The server was seen for the first time; its key is remembered from here on.
    ServerRemembered {
        /// As it was given.
        server: String,
        /// SHA-256 of its public key, as hexadecimal digits in groups of four.
        fingerprint: String,
    },
    /// The knock is at the door; the host has been told.
    Knocking {
        /// Of the meeting.
        code: RoomCode,
    },
    /// We are in.
    Joined(Joined),
    /// We are not in (any more): the sentence to show. Everything of the meeting is gone.
    Ended {
        /// Why, as a sentence.
        reason: String,
        /// Nobody did anything wrong: we left, or the host ended the meeting.
        expected: bool,
        /// We were in, only the connection was lost: the meeting may go on without us.
        rejoin: bool,
    },
    /// To the host: somebody is at the door.
    KnockArrived {
        /// Names the knock in [`Action`].
        knock: KnockId,
        /// Display name.
        name: String,
    },
    /// To the host: somebody is no longer at the door.
    KnockGone(KnockId),
    /// Our control connection broke. The meeting goes on as far as it can, and we try to come back.
    Reconnecting,
    /// We are connected again; what changed meanwhile follows.
    Reconnected,
    /// Somebody else's control connection broke, and may come back.
    MemberAway(MemberId),
    /// Somebody else, who was away, is connected again.
    MemberBack(MemberId),
    /// Datagrams go both ways again between the server and a member, perhaps ourselves, or one way or none. Of our own the
    /// sentence comes as a [`Event::Notice`].
    ReachChanged {
        /// Whose.
        member: MemberId,
        /// Which ways work.
        reach: Reach,
    },
    /// Somebody came in.
    MemberJoined(Member),
    /// Somebody is gone.
    MemberLeft {
        /// Who.
        member: MemberId,
        /// Why.
        reason: LeaveReason,
    },
    /// Somebody's devices, perhaps our own, were turned on or off.
    MediaChanged {
        /// Whose.
        member: MemberId,
        /// As they are now.
        media: MediaState,
    },
    /// The host role passed on.
    HostChanged(MemberId),
    /// The door was locked or opened.
    Locked(bool),
    /// The host asks us to mute; the engine has muted the microphone already.
    MuteRequested,
    /// Who is speaking, loudest first; sent when it changes.
    Speaking(Vec<MemberId>),
    /// A new picture of this member (perhaps ourselves) is in the [`FrameSlots`].
    Frame(MemberId),
    /// Somebody, perhaps ourselves, wrote.
    Chat(ChatLine),
    /// A message of ours is with the server, which hands it on.
    ChatSent(ChatId),
    /// A message of ours does not reach those it was for.
    ChatFailed {
        /// Which.
        id: ChatId,
        /// Why.
        why: ChatFailure,
    },
    /// A message of ours to everyone does not reach one of them: too much waits for that member already.
    ChatMissed {
        /// Which.
        id: ChatId,
        /// Who does not get it.
        member: MemberId,
    },
    /// A message of ours is with this many of those it was for.
    ChatDelivered {
        /// Which.
        id: ChatId,
        /// How many have it.
        delivered: usize,
    },
    /// A file is on offer, perhaps our own.
    FileOffered {
        /// Who offers it.
        from: MemberId,
        /// What.
        offer: FileOffer,
    },
    /// How far a file is, at its receiver.
    FileChanged {
        /// Who offered it.
        from: MemberId,
        /// Which.
        transfer: TransferId,
        /// Who receives it, perhaps ourselves.
        receiver: MemberId,
        /// How far.
        state: FileState,
        /// Where it lies, once it is ours and verified.
        path: Option<PathBuf>,
    },
    /// The sender, perhaps ourselves, holds a file back or goes on with it.
    FileHeld {
        /// Who offered it.
        from: MemberId,
        /// Which.
        transfer: TransferId,
        /// Held back from here on.
        held: bool,
    },
    /// A file, perhaps our own, waits for room on the server's disk, or goes on.
    FileWaits {
        /// Who offered it.
        from: MemberId,
        /// Which.
        transfer: TransferId,
        /// It waits from here on.
        waits: bool,
    },
    /// An offer, perhaps our own, stands no longer.
    FileWithdrawn {
        /// Who offered it.
        from: MemberId,
        /// Which.
        transfer: TransferId,
        /// Why its sender has it no more; `None` when he took it back.
        why: Option<FileTrouble>,
    },
    /// A file of ours is not on offer.
    OfferFailed {
        /// Where it lies.
        path: PathBuf,
        /// Why not, as a sentence.
        reason: String,
    },
    /// The network, four times a second.
    Statistics(Box<NetworkSnapshot>),
    /// What the sender of our reliable channel did since the last one of these, oldest first; only when it is asked for.
    Trace(Vec<Traced>),
    /// Something to be told in passing: a missing camera, a file that could not be read.
    Notice(String),
}

/// The meeting as it is when we come in.
#[derive(Clone, Debug, PartialEq)]
pub struct Joined {
    /// Its six digits.
    pub code: RoomCode,
    /// Our own id.
    pub you: MemberId,
    /// Everybody, ourselves included.
    pub members: Vec<Member>,
    /// The door is locked.
    pub locked: bool,
    /// `host:port` that guests use to reach the server, best guess first; none where the host has no network.
    pub addresses: Vec<String>,
    /// What the host should know of these addresses, as a sentence.
    pub addresses_note: Option<String>,
    /// The server is inside this program: when we leave, the meeting is over for everybody.
    pub server_is_ours: bool,
}

/// Why a message does not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatFailure {
    /// The reliable channel broke before the server had it.
    ChannelBroken,
    /// The only person it was for has left.
    RecipientLeft,
    /// Too much waits for the only person it was for, to whom nothing gets through.
    RecipientUnreachable,
}

/// A line of chat.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatLine {
    /// Who wrote it.
    pub from: MemberId,
    /// Numbers the writer's messages.
    pub id: ChatId,
    /// To whom it went.
    pub to: Recipients,
    /// What, without control or bidirectional formatting characters.
    pub text: String,
}

/// The newest picture of each member, between the decoder that puts and the window that takes.
///
/// Newest wins: a picture that was not taken in time is written over. Pictures that were shown come back by
/// [`FrameSlots::give_back`], so that their memory serves the next ones.
#[derive(Clone, Debug, Default)]
pub struct FrameSlots(Arc<Mutex<Slots>>);

#[derive(Debug, Default)]
struct Slots {
    newest: BTreeMap<MemberId, Picture>,
    spare: Vec<Picture>,
}

impl FrameSlots {
    /// Shown pictures kept for their memory: one for each of nine large tiles, 1.7 MB each.
    pub const SPARE_MAX: usize = 9;

    /// Puts a picture; gives back the one that was there, so that its memory can be used again.
    pub fn put(&self, member: MemberId, picture: Picture) -> Option<Picture> {
        self.slots().newest.insert(member, picture)
    }

    /// Takes the newest picture of a member, if there is one that was not taken yet.
    pub fn take(&self, member: MemberId) -> Option<Picture> {
        self.slots().newest.remove(&member)
    }

    /// Hands a picture back that was shown; beyond [`FrameSlots::SPARE_MAX`] it is dropped.
    pub fn give_back(&self, picture: Picture) {
        let mut slots = self.slots();
        if slots.spare.len() < Self::SPARE_MAX {
            slots.spare.push(picture);
        }
    }

    /// A picture that was shown, with old pixels in it, to be written over.
    pub fn spare(&self) -> Option<Picture> {
        self.slots().spare.pop()
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
