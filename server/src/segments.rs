//! How long the segments of a TCP connection may be.

use socket2::Socket;

/// Bytes of a TCP segment that pass every path: what IPv6 promises of one (RFC 8200 §5: 1,280 bytes) without the headers
/// of IPv6 and TCP. The first message of a client, with its post-quantum key, takes two; on a path that carries less
/// than the card and does not say so, it would otherwise be lost for ever.
pub(crate) const SEGMENT_MAX_BYTES: u32 = 1_280 - 40 - 20;

/// Has both ends of a connection send no longer segments than every path carries: this end does not, and asks the other
/// end not to (RFC 9293 §3.7.1). For a socket that listens, and for one before it connects; the BSDs and macOS take it only from
/// one that is connected, so there it is for what is sent from there on. Where it is refused, the other end's limit holds
/// for both.
#[cfg(unix)]
pub fn limit_segments(socket: &Socket) {
    let _ = socket.set_tcp_mss(SEGMENT_MAX_BYTES);
}

/// Windows has no such setting, so the other end's limit holds for both.
#[cfg(not(unix))]
pub fn limit_segments(_: &Socket) {
    const { assert!(SEGMENT_MAX_BYTES > 0) };
}
