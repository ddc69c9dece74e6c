//! List-watch cache with read-your-writes, and a work queue per key.
