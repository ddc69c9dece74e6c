//! The write path: what a client creates.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| apiserver_core::fuzz::creates(bytes));
