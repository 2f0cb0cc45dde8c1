//! Fuzzes [`entry_points::media_header`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry_points::media_header(bytes));
