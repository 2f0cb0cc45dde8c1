//! The lab: our Reno beside the kernel's and quinn's over the same emulated path, in the same run.
//!
//! One program, many processes. The one that a person starts (`rows`) starts a link for each run, which makes two
//! network namespaces and carries packets between them (`link`), and in each namespace a peer (`peers`). All speak
//! lines of JSON over their outputs.

#[cfg(target_os = "linux")]
mod clock;
#[cfg(target_os = "linux")]
#[path = "../../../benches/figures/mod.rs"]
mod figures;
#[cfg(target_os = "linux")]
mod link;
#[cfg(target_os = "linux")]
mod options;
#[cfg(target_os = "linux")]
mod peers;
#[cfg(target_os = "linux")]
mod priority;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod rows;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod schedule;
#[cfg(target_os = "linux")]
mod traffic;

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    match options::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("conclave-lab: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("conclave-lab: the lab needs Linux: it is made of network namespaces and TUN devices");
    ExitCode::FAILURE
}
