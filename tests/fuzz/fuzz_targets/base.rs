//! Fuzz entry point: model folders.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fieldfit_fuzz::base::run(data));
