//! Fuzz entry point: delta files.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fieldfit_fuzz::delta::run(data));
