//! Stub with the signatures that shells are written against.
#![expect(missing_docs, reason = "stub")]
use std::time::Instant;

use crate::ids::{ConnectionId, MemberId, TransferId};
use crate::media::blocks::{CodedFrame, ReceivedFrame};
use crate::media::ladder::{Rung, VideoTarget};
use crate::seal::Secrets;
use crate::stats::NetworkSnapshot;
use crate::wire::control::CipherSuite;
use crate::wire::message::{Delivery, Message};

/// One block of audio: 480 samples, 48 kHz mono.
pub type Block = [i16; crate::limits::AUDIO_BLOCK_SAMPLES];

/// A stream of a file's bytes on the reliable channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u32);

/// What a read of a stream gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Read {
    pub bytes: usize,
    pub finished: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The reliable channel is dead: no progress for CHANNEL_STALL_TIMEOUT, or the server broke the protocol.
    ChannelFailed,
    /// Our file stream with its end is with the server: done.
    FileAcknowledged(StreamId),
    /// A file begins to arrive.
    FileOpened {
        stream: StreamId,
        from: MemberId,
        transfer: TransferId,
    },
    /// Bytes of a file, or its end, can be read.
    FileReadable(StreamId),
    /// Its sender gave this file up.
    FileReset(StreamId),
    /// Its receiver wants no more of this file of ours.
    FileStopped(StreamId),
    /// After a write was cut short there is room again.
    FileWritable(StreamId),
    /// A picture to be decoded and shown.
    Frame(ReceivedFrame),
    /// A message from a member.
    Message(Delivery),
    /// Who is speaking, loudest first; given when it changes.
    Speaking(Vec<MemberId>),
}

/// The reliable channel holds as many messages as it may; try again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelFull;

#[derive(Debug)]
pub struct Endpoint;

impl Endpoint {
    pub fn new(
        _now: Instant,
        _you: MemberId,
        _connection: ConnectionId,
        _suite: CipherSuite,
        _secrets: &Secrets,
    ) -> Self {
        Self
    }
    /// A datagram came from the server; opened in place.
    pub fn handle_datagram(&mut self, _now: Instant, _datagram: &mut [u8]) {}
    /// The next datagram to send, in the front of `buffer` (DATAGRAM_MAX_BYTES long).
    pub fn poll_transmit(&mut self, _now: Instant, _buffer: &mut [u8]) -> Option<usize> {
        None
    }
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }
    pub fn handle_timeout(&mut self, _now: Instant) {}
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }
    /// Sends a block of the microphone, captured just now, unless it is silence.
    pub fn push_audio(&mut self, _now: Instant, _block: &Block) {}
    /// The next block for the speaker: all other members mixed. Call once for every 10 ms the speaker plays.
    pub fn pull_audio(&mut self, _now: Instant, _block: &mut Block) {}
    /// Sends a frame of the camera, captured just now, paced.
    pub fn push_video(&mut self, _now: Instant, _frame: CodedFrame) {}
    /// What the camera and the encoder should produce right now.
    pub fn video_target(&self) -> VideoTarget {
        VideoTarget::default()
    }
    /// Never asks the camera for more than this size.
    pub fn limit_video(&mut self, _largest: Rung) {}
    pub fn send_message(&mut self, _message: &Message) -> Result<(), ChannelFull> {
        Ok(())
    }
    /// Opens a stream for the bytes of our file `transfer`, from the offset that `to` accepted on. `None` when
    /// STREAMS_PER_CHANNEL are open.
    pub fn open_file(&mut self, _to: MemberId, _transfer: TransferId) -> Option<StreamId> {
        None
    }
    /// Takes bytes; answers how many (0 when the send buffer is full: wait for FileWritable).
    pub fn write_file(&mut self, _stream: StreamId, _bytes: &[u8]) -> usize {
        0
    }
    pub fn finish_file(&mut self, _stream: StreamId) {}
    /// The sender gives a file up.
    pub fn reset_file(&mut self, _stream: StreamId) {}
    /// Reads bytes of an arriving file; reading opens its window again, so read no faster than the disk writes.
    pub fn read_file(&mut self, _stream: StreamId, _buffer: &mut [u8]) -> Read {
        Read::default()
    }
    /// The receiver wants no more of an arriving file.
    pub fn stop_file(&mut self, _stream: StreamId) {}
    /// A member is gone: forget the playout buffer and frames.
    pub fn remove_member(&mut self, _member: MemberId) {}
    pub fn snapshot(&mut self, _now: Instant) -> NetworkSnapshot {
        NetworkSnapshot::default()
    }
}
