//! Fuzzes [`entry_points::segment`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry_points::segment(bytes));
