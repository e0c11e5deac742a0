//! Fuzz entry point: recordings of robots.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fieldfit_fuzz::recording::run(data));
