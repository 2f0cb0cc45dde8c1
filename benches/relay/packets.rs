//! Media packets of the sizes that the rows name, sealed as a member would.

use common::ids::{MemberId, Ssrc, StreamKind};
use common::limits::{DATAGRAM_HEADER_BYTES, DATAGRAM_TAG_BYTES};
use common::seal::Sealer;
use common::sequence::{FrameId, MediaTime, SendTime, SequenceNumber};
use common::wire::datagram::Kind;
use common::wire::media::{BlockRun, MediaHeader, VideoHeader};

/// What a datagram has beyond its plaintext.
const SEALING_BYTES: usize = DATAGRAM_HEADER_BYTES + DATAGRAM_TAG_BYTES;

/// A part of a frame whose datagram is this long.
pub(crate) fn video(datagram_bytes: usize) -> Vec<u8> {
    let (ssrc, send_time, timestamp) = (Ssrc::new(MemberId(1), StreamKind::Video), SendTime(0), MediaTime(0));
    let media = MediaHeader { ssrc, sequence: SequenceNumber(0), send_time, timestamp };
    let header = VideoHeader { media, frame: FrameId(1), part: 0, parts: 30, rung: 3, quality: 80 };
    let mut plaintext = vec![0x55; datagram_bytes - SEALING_BYTES];
    plaintext[0] = Kind::Video as u8;
    header.write(&[BlockRun { row: 0, column: 0, blocks: 54 }], &mut plaintext[1..]);
    plaintext
}

/// Writes the datagram of a plaintext to the front of `buffer`; answers its length.
pub(crate) fn seal(sealer: &mut Sealer, buffer: &mut [u8], plaintext: &[u8]) -> usize {
    buffer[Sealer::PLAINTEXT_OFFSET..][..plaintext.len()].copy_from_slice(plaintext);
    sealer.seal(buffer, plaintext.len()).expect("a key lasts for the whole run")
}

/// A ping, by which the relay learns an address.
pub(crate) const PING: [u8; 9] = [Kind::Ping as u8, 0, 0, 0, 0, 0, 0, 0, 1];
