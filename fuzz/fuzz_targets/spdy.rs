//! SPDY frames and header blocks.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| apiserver::fuzz::spdy(bytes));
