//! How much does the relay carry, beside what the bare system carries in the same run?
//!
//! One thread of the bench sends and receives, so that the relay has a core of its own on a machine of two; what is
//! compared is what one CPU second of the relay's thread delivers. Each figure is the median of rounds in which the
//! shipped server and the bare loops take turns. `docs/BENCHMARKS.md` explains each row.

#[cfg(target_os = "linux")]
#[path = "../figures/mod.rs"]
mod figures;
#[cfg(target_os = "linux")]
#[path = "../../server/tests/support/mod.rs"]
mod support;

#[cfg(target_os = "linux")]
mod bare;
#[cfg(target_os = "linux")]
mod driver;
#[cfg(target_os = "linux")]
mod load_rows;
#[cfg(target_os = "linux")]
mod meeting;
#[cfg(target_os = "linux")]
mod packets;
#[cfg(target_os = "linux")]
mod peer_rows;
#[cfg(target_os = "linux")]
#[path = "../peers/mod.rs"]
mod peers;
#[cfg(target_os = "linux")]
mod socket_rows;
#[cfg(target_os = "linux")]
mod without_sockets;

#[cfg(target_os = "linux")]
use figures::Figures;

/// Counts what the whole process allocates.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATIONS: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("This bench compares with calls that only Linux has.");
}

#[cfg(target_os = "linux")]
fn main() {
    if std::env::args().any(|argument| argument == load_rows::SERVE) {
        return load_rows::serve();
    }
    let mut figures = Figures::new("relay");
    let wanted = |row: &str| {
        let mut rows = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).peekable();
        rows.peek().is_none() || rows.any(|wanted| wanted.eq_ignore_ascii_case(row))
    };
    if wanted("core") {
        without_sockets::rows(&mut figures);
    }
    if wanted("S1") {
        socket_rows::frames(&mut figures);
        socket_rows::own_address(&mut figures);
    }
    if wanted("S2") {
        socket_rows::audio(&mut figures);
    }
    if wanted("S3") {
        socket_rows::latency(&mut figures);
    }
    if wanted("S4") {
        peer_rows::rows(&mut figures);
    }
    if wanted("S6") {
        load_rows::memory(&mut figures);
    }
    if wanted("S7") {
        load_rows::joins(&mut figures);
    }
    if wanted("S8") {
        load_rows::flood(&mut figures);
    }
    figures.finish();
}
