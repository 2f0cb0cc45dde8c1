//! What this process takes of the machine, by the names that client libraries of Prometheus use.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use super::page::Page;

/// Adds when the process started, and what the system tells of it.
pub(super) fn write(page: &mut Page) {
    page.gauge("process_start_time_seconds", "When this process started, seconds since 1970.", start_secs());
    usage(page);
}

/// Seconds since 1970 when this was first asked; so ask at the start.
pub(super) fn start_secs() -> u64 {
    static START: OnceLock<u64> = OnceLock::new();
    *START.get_or_init(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

#[cfg(target_os = "linux")]
fn usage(page: &mut Page) {
    let Ok(process) = procfs::process::Process::myself() else {
        return;
    };
    if let Ok(stat) = process.stat() {
        let cpu_secs = (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64;
        page.counter("process_cpu_seconds_total", "Processor time of this process, user and system.", cpu_secs);
        let resident_bytes = stat.rss * procfs::page_size();
        page.gauge("process_resident_memory_bytes", "Memory of this process that is in RAM.", resident_bytes);
        page.gauge("process_threads", "Threads of this process.", stat.num_threads);
    }
    if let Ok(count) = process.fd_count() {
        page.gauge("process_open_fds", "File descriptors this process has open.", count);
    }
    if let Some(files_max) = crate::open_files::limit() {
        page.gauge("process_max_fds", "File descriptors this process may have open.", files_max);
    }
}

/// Other systems are not asked.
#[cfg(not(target_os = "linux"))]
fn usage(_page: &mut Page) {}
