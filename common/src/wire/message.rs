//! What travels on stream 0 of the reliable channel: a `u16` length in network byte order, then one bincode message.
//!
//! The bytes of files have streams of their own, which begin with an [`UploadHeader`] on the way to the server and with
//! a [`DownloadHeader`] on the way from it.

use bincode::{Decode, Encode};

use super::Malformed;
use super::control::{decode_body, encode_body};
use super::reader::{Reader, Writer};
use crate::ids::{ChatId, MemberId, TransferId};
use crate::limits::MESSAGE_MAX_BYTES;

/// To whom a chat message or a file goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Recipients {
    /// All other members.
    Everyone,
    /// One member, and nobody else.
    Member(MemberId),
}

/// A message between members. The relay stamps who sent it: see [`Delivery`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Message {
    /// Written words.
    Chat {
        /// Counts the sender's messages from 1.
        id: ChatId,
        /// To whom.
        to: Recipients,
        /// At most [`crate::limits::CHAT_MAX_BYTES`].
        text: String,
    },
    /// The receiver's program has a chat message of `to`.
    ChatDelivered {
        /// Who wrote it.
        to: MemberId,
        /// Which.
        id: ChatId,
    },
    /// A file is on offer.
    FileOffer(FileOffer),
    /// The receiver wants an offered file.
    FileAccept {
        /// Who offered it.
        to: MemberId,
        /// Which.
        transfer: TransferId,
        /// The first byte wanted: 0, or what an earlier attempt left off at.
        offset: u64,
    },
    /// How far a receiver is with a file, told now and then and at the end.
    FileProgress {
        /// Who sends it.
        to: MemberId,
        /// Which.
        transfer: TransferId,
        /// How far.
        state: FileState,
    },
    /// An offer stands no longer.
    FileWithdraw {
        /// The receivers to tell.
        to: Recipients,
        /// Which.
        transfer: TransferId,
        /// Why its sender has it no more; what the server has of it still arrives then. `None`: its sender took it back,
        /// and nothing more arrives.
        why: Option<FileTrouble>,
    },
    /// The sender holds a file back, or goes on with it. What the server has of it still arrives.
    FilePause {
        /// The receivers to tell.
        to: Recipients,
        /// Which.
        transfer: TransferId,
        /// Held back from here on.
        paused: bool,
    },
    /// The server, to who offered a file: its bytes from `offset` on are wanted, on a stream of their own. No member can
    /// send this.
    FileWanted {
        /// Which.
        transfer: TransferId,
        /// The first byte wanted.
        offset: u64,
    },
    /// The server, to who offered a file and to those who were receiving it: the server cannot hand it on. It is tried
    /// anew when it is accepted again. No member can send this.
    FileFailed {
        /// Who offered it.
        from: MemberId,
        /// Which.
        transfer: TransferId,
        /// Why not.
        trouble: FileTrouble,
    },
    /// The server, to who offered a file and to those who were receiving it: nothing of it moves until there is room in
    /// the spool, or it moves again. No member can send this.
    FileWaits {
        /// Who offered it.
        from: MemberId,
        /// Which.
        transfer: TransferId,
        /// It waits from here on.
        waits: bool,
    },
    /// The server, to who wrote a chat message: one of those it was for does not get it, because as much waits for that
    /// member as may. No member can send this.
    ChatMissed {
        /// Which message.
        id: ChatId,
        /// Who does not get it.
        member: MemberId,
    },
}

impl Message {
    /// Who is to get this message.
    pub fn recipients(&self) -> Recipients {
        match self {
            Self::Chat { to, .. } | Self::FilePause { to, .. } | Self::FileWithdraw { to, .. } => *to,
            Self::FileOffer(offer) => offer.to,
            Self::ChatDelivered { to, .. } | Self::FileAccept { to, .. } | Self::FileProgress { to, .. } => {
                Recipients::Member(*to)
            }
            // What the server itself says. From a member it is addressed to nobody.
            Self::ChatMissed { .. } | Self::FileFailed { .. } | Self::FileWaits { .. } | Self::FileWanted { .. } => {
                Recipients::Member(MemberId::SERVER)
            }
        }
    }
}

/// A file on offer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct FileOffer {
    /// Counts the sender's offers.
    pub transfer: TransferId,
    /// To whom.
    pub to: Recipients,
    /// The last component of its path at the sender; the receiver makes it safe ([`crate::names::safe_file_name`]).
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// BLAKE3 of the content.
    pub hash: [u8; 32],
}

/// How far a receiver is with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum FileState {
    /// Stopped by the receiver, or by its disk.
    Cancelled,
    /// All bytes arrived, but their hash is not the offered one: nothing was kept.
    Corrupt,
    /// Not wanted.
    Declined,
    /// It broke off with this many bytes on the receiver's disk, for this reason. Unless that is a final one, it goes on
    /// from there when it is accepted again.
    Interrupted(u64, FileTrouble),
    /// Stopped by the receiver for a while, with this many bytes on the disk.
    Paused(u64),
    /// This many bytes of it are on the receiver's disk.
    Receiving(u64),
    /// All bytes arrived, the hash is the offered one, the file has its name.
    Verified,
}

/// Why a file does not go on. What it means is said by each program in its own words: no text of one machine is shown on
/// another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum FileTrouble {
    /// The connection broke, or whoever knows more has not told.
    Connection,
    /// The receiver's disk fails.
    ReceiverDisk,
    /// The receiver's folder for files is no folder.
    ReceiverFolder,
    /// The receiver's disk has not enough room.
    ReceiverFull {
        /// Bytes that are lacking, as far as that is known: at least 1.
        missing: u64,
    },
    /// The receiver has left.
    ReceiverLeft,
    /// The receiver's folder for files cannot be written.
    ReceiverReadOnly,
    /// The receiver's disk takes no file of this size.
    ReceiverTooLarge,
    /// The sender has left.
    SenderLeft,
    /// The server's disk fails.
    ServerDisk,
    /// The server's disk is full.
    ServerFull,
    /// The file has other content than was offered.
    SourceChanged,
    /// The file is not where it was when it was offered.
    SourceGone,
    /// The file cannot be read.
    SourceUnreadable,
}

impl FileTrouble {
    /// Whether the file, as it was offered, goes on for nobody any more.
    pub fn is_final(self) -> bool {
        match self {
            Self::SenderLeft | Self::SourceChanged | Self::SourceGone | Self::SourceUnreadable => true,
            Self::Connection
            | Self::ReceiverDisk
            | Self::ReceiverFolder
            | Self::ReceiverFull { .. }
            | Self::ReceiverLeft
            | Self::ReceiverReadOnly
            | Self::ReceiverTooLarge
            | Self::ServerDisk
            | Self::ServerFull => false,
        }
    }
}

/// A message as the relay hands it on: with the sender it was stamped with.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Delivery {
    /// Who sent it, by the key that opened its datagrams.
    pub from: MemberId,
    /// What was sent.
    pub message: Message,
}

/// Writes a message or delivery with its length in front.
pub fn encode<M: Encode>(message: &M) -> Vec<u8> {
    let body = encode_body(message);
    let length = u16::try_from(body.len()).expect("texts are bounded far below 64 KiB before they get here");
    [&length.to_be_bytes()[..], &body].concat()
}

/// Cuts stream 0 into messages.
#[derive(Debug, Default)]
pub struct MessageFramer {
    received: Vec<u8>,
}

impl MessageFramer {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes it takes at most right now; give it no more.
    pub fn capacity(&self) -> usize {
        LENGTH_BYTES + MESSAGE_MAX_BYTES - self.received.len()
    }

    /// Takes bytes as they came from the stream. Answers how many were taken.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.capacity());
        self.received.extend_from_slice(&bytes[..taken]);
        taken
    }

    /// The next whole message, or `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`Malformed`] when the length is above [`MESSAGE_MAX_BYTES`] or the bytes are no message: the peer does not
    /// speak the protocol.
    pub fn next_message<M: Decode<()>>(&mut self) -> Result<Option<M>, Malformed> {
        let Some(prefix) = self.received.first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes(*prefix));
        if length > MESSAGE_MAX_BYTES {
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

const LENGTH_BYTES: usize = 2;

/// First bytes of a stream that carries a file from its sender to the server: which file. The file's bytes follow, from
/// the offset on to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadHeader {
    /// Which of the sender's files.
    pub transfer: TransferId,
    /// The first byte that follows, as [`Message::FileWanted`] asked.
    pub offset: u64,
}

impl UploadHeader {
    /// Bytes of the header.
    pub const BYTES: usize = 12;

    /// Reads the header from the first bytes of a stream.
    pub fn parse(bytes: &[u8; Self::BYTES]) -> Self {
        let mut reader = Reader::new(bytes);
        let transfer = TransferId(reader.u32().unwrap_or_default());
        Self { transfer, offset: reader.u64().unwrap_or_default() }
    }

    /// The header as it stands in the stream.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let mut writer = Writer::new(&mut bytes);
        writer.u32(self.transfer.0);
        writer.u64(self.offset);
        bytes
    }
}

/// First bytes of a stream that carries a file from the server to a receiver: whose file, and which. The file's bytes
/// follow, from the offset on to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DownloadHeader {
    /// Who offered it.
    pub from: MemberId,
    /// Which of the sender's files.
    pub transfer: TransferId,
    /// The first byte that follows, as the receiver asked.
    pub offset: u64,
}

impl DownloadHeader {
    /// Bytes of the header.
    pub const BYTES: usize = 14;

    /// Reads the header from the first bytes of a stream.
    pub fn parse(bytes: &[u8; Self::BYTES]) -> Self {
        let mut reader = Reader::new(bytes);
        let from = MemberId(reader.u16().unwrap_or_default());
        let transfer = TransferId(reader.u32().unwrap_or_default());
        Self { from, transfer, offset: reader.u64().unwrap_or_default() }
    }

    /// The header as it stands in the stream.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let mut writer = Writer::new(&mut bytes);
        writer.u16(self.from.0);
        writer.u32(self.transfer.0);
        writer.u64(self.offset);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_any_split_of_their_bytes() {
        let chat = Message::Chat { id: ChatId(7), to: Recipients::Member(MemberId(2)), text: "Grüße".into() };
        let delivery = Delivery { from: MemberId(9), message: chat };
        let bytes = [encode(&delivery), encode(&delivery)].concat();
        for cut in 0..bytes.len() {
            let mut framer = MessageFramer::new();
            let mut found = Vec::new();
            for piece in [&bytes[..cut], &bytes[cut..]] {
                assert_eq!(framer.push(piece), piece.len());
                while let Some(message) = framer.next_message::<Delivery>().unwrap() {
                    found.push(message);
                }
            }
            assert_eq!(found, [delivery.clone(), delivery.clone()]);
        }
    }

    #[test]
    fn a_message_above_the_limit_is_malformed() {
        let mut framer = MessageFramer::new();
        framer.push(&u16::MAX.to_be_bytes());
        assert_eq!(framer.next_message::<Message>(), Err(Malformed));
    }

    #[test]
    fn the_headers_of_file_streams_read_as_they_were_written() {
        let (transfer, offset) = (TransferId(0x0304_0506), 0x0708);
        let up = UploadHeader { transfer, offset };
        assert_eq!(up.to_bytes(), [3, 4, 5, 6, 0, 0, 0, 0, 0, 0, 7, 8]);
        assert_eq!(UploadHeader::parse(&up.to_bytes()), up);
        let down = DownloadHeader { from: MemberId(0x0102), transfer, offset };
        assert_eq!(down.to_bytes()[..2], [1, 2]);
        assert_eq!(down.to_bytes()[2..], up.to_bytes());
        assert_eq!(DownloadHeader::parse(&down.to_bytes()), down);
    }
}
