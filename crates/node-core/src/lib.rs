//! The life of a pod on a node as a machine; decides only.
