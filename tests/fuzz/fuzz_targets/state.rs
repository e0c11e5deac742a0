//! Fuzz entry point: states of a store.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fieldfit_fuzz::state::run(data));
