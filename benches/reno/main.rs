//! How much does our Reno carry over a path that loses, how late does a message come, and what does a call beside it
//! notice?
//!
//! Connections over a seeded link in virtual time, so the machine does not matter: the same source gives the same
//! figures everywhere. `make lab-reno` measures the same over real sockets, beside the kernel's Reno.

#[path = "../figures/mod.rs"]
mod figures;
mod goodput;
mod messages;
mod sharing;

use std::path::Path;

use figures::Figures;

fn main() {
    let mut figures = Figures::new("reno");
    goodput::add(&mut figures);
    messages::add(&mut figures);
    sharing::add(&mut figures);
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), Into::into);
    figures.finish_beside(&target);
}
