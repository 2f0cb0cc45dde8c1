//! The meeting without a window.

pub mod protocol;
