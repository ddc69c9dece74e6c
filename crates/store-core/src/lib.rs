//! Revisions, multi-version index, transactions, watch positions and compaction over opaque bytes; decides only.
