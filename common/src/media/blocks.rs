//! Coded parts of a frame, into datagrams and back into a frame.

use crate::ids::Ssrc;
use crate::media::ladder::Rung;
use crate::sequence::{FrameId, MediaTime};
use crate::wire::media::BlockRun;

/// A part of a frame as the encoder made it and the decoder takes it: one small JPEG without its headers, 16 pixels
/// high and 16 times as many pixels wide as it has blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodedPart {
    /// Where the blocks belong, left to right as they stand in the JPEG; at least one.
    pub runs: Vec<BlockRun>,
    /// Entropy-coded scan, from behind the SOS header up to (without) the EOI marker; at most
    /// [`crate::wire::media::VideoHeader::scan_max_bytes`] of `runs.len()`.
    pub scan: Vec<u8>,
}

/// A frame on its way to the network, or a frame (perhaps with holes) on its way to the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodedFrame {
    /// Picture size.
    pub rung: Rung,
    /// JPEG quality of all parts, 1..=100; sampling is 4:2:0.
    pub quality: u8,
    /// When it was captured, 90 kHz.
    pub timestamp: MediaTime,
    /// What there is of it. A place that no part covers keeps what it showed before.
    pub parts: Vec<CodedPart>,
}

/// A frame to be shown, with its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedFrame {
    /// The stream it came by.
    pub ssrc: Ssrc,
    /// Its number.
    pub frame: FrameId,
    /// Every part arrived.
    pub complete: bool,
    /// The picture.
    pub picture: CodedFrame,
}
