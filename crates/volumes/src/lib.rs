//! Volumes of pods on this machine: trait, real implementation, in-memory twin.
