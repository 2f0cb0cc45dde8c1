//! Media that cannot wait: pictures cut into parts, sound cut into blocks, and when to send and play them.

pub mod bandwidth;
pub mod jitter;
pub mod meter;
