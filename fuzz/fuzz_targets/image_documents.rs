//! Image names and configurations.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| images::fuzz::documents(bytes));
