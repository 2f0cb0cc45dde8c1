//! Media that cannot wait: pictures cut into parts, sound cut into blocks, and when to send and play them.

pub mod bandwidth;
pub mod blocks;
pub mod changes;
pub mod freezes;
pub mod jitter;
pub mod jpeg;
pub mod ladder;
pub mod meter;
pub mod pacer;
