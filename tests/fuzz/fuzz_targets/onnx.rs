//! Fuzz target of the ONNX reader.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fieldfit_fuzz::onnx::run(data));
