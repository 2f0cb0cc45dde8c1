//! Fuzzes [`entry_points::names`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry_points::names(bytes));
