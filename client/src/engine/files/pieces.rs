//! What a file is to be, and the pieces in which it moves.

/// Bytes read or written at a time.
pub(super) const PIECE_BYTES: usize = 64 * 1024;

/// A file as it was offered.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) hash: [u8; 32],
}
