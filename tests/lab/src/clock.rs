//! The one clock that all processes of a run share.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds since some moment before this machine was started, the same in every process and namespace.
pub(crate) fn nanos() -> u64 {
    // CLOCK_MONOTONIC is there on every Linux; a zero would show as an impossible delay.
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |time| time.tv_sec() as u64 * NANOS_PER_SEC + time.tv_nsec() as u64)
}

/// Nanoseconds in a second.
pub(crate) const NANOS_PER_SEC: u64 = 1_000_000_000;
