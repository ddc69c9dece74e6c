//! `cargo xtask codegen`: builds the schema table of `crates/api` from upstream's published definitions.
//!
//! Three sources, joined by type name: the definitions in the Python package `kubernetes-validate` (descriptions,
//! required fields, every `x-kubernetes-*` extension), the Go types of the modules `k8s.io/api` and
//! `k8s.io/apimachinery` (JSON names, pointers, omitted zeros, Go type names for error texts, declared defaults,
//! enumerations) and their `generated.proto` files (the wire check of the protobuf numbers). Our own [`supplement`] adds
//! the defaults that upstream writes as code. The result is committed; nobody needs the network to build.

mod build;
mod golang;
mod proto;
mod sources;
mod supplement;

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::ZlibEncoder;

/// The upstream release that the table describes.
const UPSTREAM: &str = "1.37.0";
/// The release of the Go modules that belongs to [`UPSTREAM`].
const UPSTREAM_GO: &str = "v0.37.0";

/// Arguments of `cargo xtask codegen`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where downloads are kept between runs.
    #[arg(long, default_value = "target/codegen")]
    cache: std::path::PathBuf,
}

/// Fetches the sources through the ordinary package clients, builds the table and writes it into `crates/api`.
///
/// # Errors
/// If a source cannot be fetched, or the three sources contradict each other.
pub(crate) fn run(args: &Args) -> Result<()> {
    let sources = sources::fetch(&args.cache, UPSTREAM, UPSTREAM_GO)?;
    let built = build::table(&sources, UPSTREAM)?;
    let folder = Path::new("crates/api/src/schema");
    let table = serde_json::to_vec(&built.table).context("encode the table")?;
    let written = write_compressed(&folder.join("table.json.z"), &table)?;
    let docs = write_compressed(&folder.join("docs.txt.z"), built.docs.as_bytes())?;
    println!(
        "{} types, {} structs, {} fields, {} kinds; table {} kB ({} kB packed), docs {} kB ({} kB packed)",
        built.table.types.len(),
        built.table.structs.len(),
        built.table.structs.iter().map(|s| s.fields.len()).sum::<usize>(),
        built.table.roots.len(),
        table.len() / 1000,
        written / 1000,
        built.docs.len() / 1000,
        docs / 1000,
    );
    Ok(())
}

/// Writes zlib; the same bytes for the same input, so that a second run changes nothing.
fn write_compressed(path: &Path, bytes: &[u8]) -> Result<usize> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    let packed = encoder.finish()?;
    std::fs::write(path, &packed).with_context(|| format!("write {}", path.display()))?;
    Ok(packed.len())
}
