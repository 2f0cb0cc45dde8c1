//! Pictures that cannot wait: a frame cut into blocks, the changed ones coded into parts that need no other, and put together
//! again.
//!
//! At the camera: [`ladder`] says how large, how fine and how often, [`changes`] which blocks, [`blocks`] packs them into
//! datagrams, [`jpeg`] spares each its headers, [`pacer`] spreads them over time. At the eye: [`blocks`] again, and
//! [`freezes`] counts how often a picture stood still.

pub mod blocks;
pub mod changes;
pub mod freezes;
pub mod jpeg;
pub mod ladder;
pub mod pacer;
