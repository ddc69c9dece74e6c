//! What agent and helper say to each other; log lines.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| container_runtime::fuzz::wire(bytes));
