//! DNS messages and names.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some(query) = dns_server::parse(bytes) {
        dns_core::Question::parse(&query.name, "cluster.local");
    }
    if let Ok(name) = std::str::from_utf8(bytes) {
        dns_core::Question::parse(name, "cluster.local");
    }
});
