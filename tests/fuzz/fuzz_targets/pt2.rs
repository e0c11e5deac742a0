//! Fuzz target of the reader of exported programs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fieldfit_fuzz::pt2::run(data));
