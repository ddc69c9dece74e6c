//! The write path, judged by manifests: every case is text, every answer an inline snapshot.

mod bad_input;
mod bed;
mod claims_and_volumes;
mod deletion;
mod evictions;
mod jobs;
mod metadata;
mod pods;
mod policies;
mod printing;
mod properties;
mod services;
mod small_kinds;
mod stateful_sets;
mod subresources;
mod unenforced;
mod updates;
mod workloads;
