//! Fuzzes [`entry_points::jpeg_scan`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry_points::jpeg_scan(bytes));
