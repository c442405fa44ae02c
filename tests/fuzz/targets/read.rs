//! Any request of a backend, read, written and answered. The laws are in `../laws.rs`.
#![no_main]

#[path = "../laws.rs"]
mod laws;

libfuzzer_sys::fuzz_target!(|input: &[u8]| laws::read(input));
