//! `conclave`: the window, and the same participant on a terminal.

use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("CONCLAVE_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(client::headless::log).init();
    // For a meeting of its own server, and for a window that shows fifty people.
    let files_max = server::open_files::raise();
    tracing::info!(files_max, "open files");
    client::headless::run()
}
