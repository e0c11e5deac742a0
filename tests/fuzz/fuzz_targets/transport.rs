//! Fuzz entry point: compressed deltas.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fieldfit_fuzz::transport::run(data));
