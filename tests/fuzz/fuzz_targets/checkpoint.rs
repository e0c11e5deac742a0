//! Fuzz entry point: checkpoint files to import.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fieldfit_fuzz::checkpoint::run(data));
