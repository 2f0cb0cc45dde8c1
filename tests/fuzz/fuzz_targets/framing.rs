//! Fuzzes [`entry_points::framing`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry_points::framing(bytes));
