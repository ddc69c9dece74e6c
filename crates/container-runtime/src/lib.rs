//! Pod sandboxes and containers: trait, libcontainer helper process, in-memory twin.
