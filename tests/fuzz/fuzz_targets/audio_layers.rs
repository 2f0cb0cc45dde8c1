//! Fuzzes [`entry_points::audio_layers`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entry_points::audio_layers(bytes));
