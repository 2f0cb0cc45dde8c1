//! The shipped programs on networks as people have them: several addresses, firewalls, tunnels, links that go away. Each
//! test makes hosts of its own (network namespaces of Linux, which need root) and runs the programs in them; elsewhere it
//! says in a line that it was skipped.
//!
//! The programs are those beside this test: `cargo test --workspace` builds them, a single package does not.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "the whole folder is tests")]

mod families;
mod network;
mod program;
mod reaching;
mod several_addresses;
mod udp_outage;
mod udp_silence;
