//! Label and field selectors, page tokens.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| apiserver_core::fuzz::selectors(bytes));
