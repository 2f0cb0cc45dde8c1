//! Fuzzes [`entry_points::datagram`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry_points::datagram(bytes));
