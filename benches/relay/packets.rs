//! Media packets of the sizes that the rows name, sealed as a member would.

use common::ids::{MemberId, Ssrc, StreamKind};
use common::limits::{AUDIO_BLOCK_SAMPLES, DATAGRAM_HEADER_BYTES, DATAGRAM_TAG_BYTES};
use common::seal::Sealer;
use common::sequence::{FrameId, MediaTime, SendTime, SequenceNumber};
use common::wire::datagram::Kind;
use common::wire::media::{AudioFormat, AudioHeader, BlockRun, MediaHeader, VideoHeader};

/// What a datagram has beyond its plaintext.
const SEALING_BYTES: usize = DATAGRAM_HEADER_BYTES + DATAGRAM_TAG_BYTES;

/// A part of a frame whose datagram is this long.
pub(crate) fn video(datagram_bytes: usize) -> Vec<u8> {
    let media = media_header(StreamKind::Video);
    let header = VideoHeader { media, frame: FrameId(1), part: 0, parts: 30, rung: 3, quality: 80 };
    let mut plaintext = vec![0x55; datagram_bytes - SEALING_BYTES];
    plaintext[0] = Kind::Video as u8;
    header.write(&[BlockRun { row: 0, column: 0, blocks: 54 }], &mut plaintext[1..]);
    plaintext
}

/// 10 ms of PCM.
pub(crate) fn audio() -> Vec<u8> {
    let header = AudioHeader { media: media_header(StreamKind::Audio), format: AudioFormat::L16, level: 20 };
    let mut plaintext = vec![0x55; 1 + AudioHeader::BYTES + 2 * AUDIO_BLOCK_SAMPLES];
    plaintext[0] = Kind::Audio as u8;
    header.write(&mut plaintext[1..]);
    plaintext
}

fn media_header(kind: StreamKind) -> MediaHeader {
    let (send_time, timestamp) = (SendTime(0), MediaTime(0));
    MediaHeader { ssrc: Ssrc::new(MemberId(1), kind), sequence: SequenceNumber(0), send_time, timestamp }
}

/// Writes the datagram of a plaintext to the front of `buffer`; answers its length.
pub(crate) fn seal(sealer: &mut Sealer, buffer: &mut [u8], plaintext: &[u8]) -> usize {
    buffer[Sealer::PLAINTEXT_OFFSET..][..plaintext.len()].copy_from_slice(plaintext);
    sealer.seal(buffer, plaintext.len()).expect("a key lasts for the whole run")
}

/// A ping, by which the relay learns an address.
pub(crate) const PING: [u8; 9] = [Kind::Ping as u8, 0, 0, 0, 0, 0, 0, 0, 1];
