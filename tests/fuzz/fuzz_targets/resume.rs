//! Fuzz entry point: checkpoints of adaptations.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fieldfit_fuzz::resume::run(data));
