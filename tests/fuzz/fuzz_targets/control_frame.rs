//! Fuzzes [`entry_points::control_frame`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry_points::control_frame(bytes));
