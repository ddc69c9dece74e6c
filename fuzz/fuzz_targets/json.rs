//! JSON bodies.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| api::codec::fuzz::json(bytes));
