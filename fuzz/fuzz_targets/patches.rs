//! Patches of every kind.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| apiserver_core::fuzz::patches(bytes));
