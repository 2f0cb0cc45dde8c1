//! What the program `conclave-server` has around a [`crate::Server`]: settings, figures for a monitoring system, and
//! commands for whoever runs it. A server inside another program needs none of it.

#[cfg(unix)]
pub mod admin;
pub mod metrics;
pub mod settings;
