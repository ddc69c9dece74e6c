//! Layers, unpacked into a folder.
#![no_main]

use std::sync::LazyLock;

/// In memory, if the machine has such a place: a file a run is much for a disk.
static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let shm = std::path::Path::new("/dev/shm");
    let made = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() };
    made.expect("a folder for the fuzzer")
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| images::fuzz::layer(bytes, FOLDER.path()));
