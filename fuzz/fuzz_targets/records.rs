//! The store's records.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| store_core::fuzz::records(bytes));
