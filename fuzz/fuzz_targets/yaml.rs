//! YAML bodies and files.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| api::codec::fuzz::yaml(bytes));
