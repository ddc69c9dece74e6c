//! The running binary judged by programs we did not write.
//!
//! Here live the test bed (a network namespace of its own, a cluster in it, real kubectl, images made of Debian
//! packages) and, under `tests/`, the scenarios. `xtask` uses the same test bed for the demo and the benchmarks. What
//! is not here: anything that knows the inside of Roadstead. Start with [`Cluster`].

mod cluster;
mod images;
mod netns;
mod run;
mod tools;

pub use cluster::{Cluster, Up};
pub use images::{TestImage, build_image};
pub use netns::Netns;
pub use run::{Output, run, say};
pub use tools::{Kubectl, Tools, root_folder};
