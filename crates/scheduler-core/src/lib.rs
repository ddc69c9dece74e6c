//! Snapshot, filter, score, bind; decides only.
