//! Numbers that wrap, with an order of their own (RFC 1982 serial number arithmetic).
//!
//! `a.distance(b)` is how far `a` is ahead of `b`, negative when behind; two numbers half the space apart have
//! no order, and the packets of a live stream never are.

/// Sequence number of a media packet: one more for each packet of a stream, modulo 2^16 (RFC 3550 §5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SequenceNumber(pub u16);

impl SequenceNumber {
    /// The number after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// The number `packets` before this one, modulo 2^16.
    #[must_use]
    pub fn minus(self, packets: u16) -> Self {
        Self(self.0.wrapping_sub(packets))
    }

    /// How many packets this one is ahead of `other`, -32,768..=32,767.
    pub fn distance(self, other: Self) -> i16 {
        self.0.wrapping_sub(other.0) as i16
    }
}

/// Number of a video frame of one stream, modulo 2^16.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameId(pub u16);

impl FrameId {
    /// The number after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// How many frames this one is ahead of `other`, -32,768..=32,767.
    pub fn distance(self, other: Self) -> i16 {
        self.0.wrapping_sub(other.0) as i16
    }
}

/// Media time modulo 2^32, in units of the stream's clock: 1/48,000 s for audio, 1/90,000 s for video
/// (the customary video clock, RFC 3551 §5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MediaTime(pub u32);

impl MediaTime {
    /// This time `units` later.
    #[must_use]
    pub fn plus(self, units: u32) -> Self {
        Self(self.0.wrapping_add(units))
    }

    /// How many units this time is after `other`; negative when before.
    pub fn distance(self, other: Self) -> i32 {
        self.0.wrapping_sub(other.0) as i32
    }
}

/// The sender's monotonic clock in microseconds modulo 2^32 (71 minutes); its zero means nothing to others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendTime(pub u32);

impl SendTime {
    /// How many microseconds this time is after `other`; negative when before.
    pub fn micros_since(self, other: Self) -> i32 {
        self.0.wrapping_sub(other.0) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_after_the_last_one_is_ahead_of_it() {
        assert_eq!(SequenceNumber(u16::MAX).next(), SequenceNumber(0));
        assert_eq!(SequenceNumber(3).distance(SequenceNumber(65_534)), 5);
        assert_eq!(SequenceNumber(65_534).distance(SequenceNumber(3)), -5);
        assert_eq!(MediaTime(10).distance(MediaTime(u32::MAX)), 11);
        assert_eq!(SendTime(0).micros_since(SendTime(u32::MAX)), 1);
    }
}
