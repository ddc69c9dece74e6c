//! DNS over UDP and TCP for pods, answered by dns-core.
