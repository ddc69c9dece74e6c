//! store-core on an engine: group commit on redb, in-memory twin.
