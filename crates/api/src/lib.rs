//! Kubernetes object types in one place: the kind table, the schema table, decoding and encoding of trees.
