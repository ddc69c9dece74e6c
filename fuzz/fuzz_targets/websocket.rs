//! WebSocket messages of remote commands.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| apiserver::fuzz::websocket(bytes));
