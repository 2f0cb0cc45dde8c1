//! Fuzzes [`entry_points::control_plane`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry_points::control_plane(bytes));
