//! Request paths, queries, `Accept` headers.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| apiserver::fuzz::request(bytes));
