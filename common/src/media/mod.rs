//! Media that cannot wait: pictures cut into parts, sound cut into blocks, and when to send and play them.

pub mod bandwidth;
pub mod blocks;
pub mod changes;
mod comfort;
pub mod conceal;
pub mod freezes;
pub mod jitter;
pub mod jpeg;
pub mod ladder;
pub mod meter;
pub mod mixer;
pub mod mos;
pub mod pacer;
pub mod pack;
pub mod pcm;
mod pitch;
pub mod playout;
pub mod redundancy;

/// Where the virtual time of a test begins; the rest of it is arithmetic.
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an Instant cannot be made from nothing")]
pub(crate) fn virtual_time() -> std::time::Instant {
    std::time::Instant::now()
}
