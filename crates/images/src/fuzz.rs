//! Entries for `cargo fuzz`: whatever an archive holds, an error that says so, and no file outside of its folder.

use std::fs;
use std::path::Path;

use crate::archive::{Archive, decompressed};
use crate::layer::{LayerLimits, unpack};
use crate::name::{normal, parse};
use crate::record::read_config;
use crate::transfer::Meter;

/// Small, so that a bomb is met soon.
const LIMITS: LayerLimits = LayerLimits { entries_max: 200, bytes_max: 1 << 20, path_bytes_max: 4095 };

/// A packed or plain layer, unpacked below `folder`, which is emptied.
///
/// # Panics
/// If something appeared beside the layer.
pub fn layer(bytes: &[u8], folder: &Path) {
    let root = folder.join("root");
    fs::create_dir_all(&root).expect("the folder is ours");
    if let Ok(plain) = decompressed(bytes) {
        let _ = unpack(plain, &root, LIMITS);
    }
    let beside = fs::read_dir(folder).expect("the folder is ours").count();
    assert_eq!(beside, 1, "a layer left its folder");
    fs::remove_dir_all(&root).expect("what was unpacked can be removed");
}

/// An archive of images, as a file in `folder`: what its documents say is read, and each layer's first bytes.
pub fn archive(bytes: &[u8], folder: &Path) {
    let path = folder.join("images.tar");
    fs::write(&path, bytes).expect("the folder is ours");
    let mut meter = Meter::new(folder, "fuzz");
    let Ok(archive) = Archive::open(&path, folder, &mut meter) else { return };
    for image in archive.images(&path).into_iter().flatten() {
        if let Ok(config) = archive.document(&image.config) {
            let _ = read_config(&config, "fuzz");
        }
        for layer in &image.layers {
            let _ = archive.document(layer);
        }
    }
}

/// An image's name and its configuration.
pub fn documents(bytes: &[u8]) {
    let _ = read_config(bytes, "fuzz");
    let Some(reference) = std::str::from_utf8(bytes).ok().and_then(|text| parse(text).ok()) else { return };
    let name = normal(&reference);
    assert_eq!(parse(&name).map(|again| normal(&again)).ok(), Some(name), "a normal name is its own normal name");
}
