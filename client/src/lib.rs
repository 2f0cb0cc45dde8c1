//! One participant of a meeting: engine, devices and, with the feature `gui`, the window.

pub mod amount;
pub mod devices;
pub mod engine;
pub mod headless;
pub mod load;
mod reach;
pub mod reasons;
#[cfg(feature = "gui")]
pub mod ui;
