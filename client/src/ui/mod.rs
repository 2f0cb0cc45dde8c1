//! The window: what the engine tells, drawn; what a person wants, sent.
//!
//! [`model::Model`] is the meeting as this window knows it, and [`model::Model::apply`] the only way it changes. A
//! view is a function of the model: it reads, edits its own draft, and pushes [`Command`]s. [`app::run`] ties both to
//! an engine and an eframe window. Colours stand in [`theme`] alone.
//!
//! [`Command`]: crate::engine::protocol::Command

pub mod analytics;
pub mod app;
pub mod browser;
pub mod chat;
pub mod diagnosis;
pub mod files;
pub mod fold;
pub mod history;
pub mod home;
pub mod icons;
pub mod meeting;
pub mod model;
pub mod people;
pub mod rows;
pub mod settings;
pub mod theme;
pub mod toasts;
pub mod toolbar;
pub mod transfers;
pub mod video_tile;
pub mod waiting;

pub use app::{App, EngineLink, Start, run};
pub use diagnosis::{Diagnosis, Quality, diagnose, examine};
pub use model::{Model, Screen};
pub use settings::DeviceLists;

#[cfg(test)]
mod samples;
