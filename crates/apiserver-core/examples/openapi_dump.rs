//! Writes all discovery and OpenAPI documents of the served kinds into a folder, to look at or to feed to other tools:
//!
//!     cargo run -p apiserver-core --example openapi_dump -- /tmp/openapi

use std::path::Path;
use std::time::Instant;

use apiserver_core::discovery::{Aggregated, Discovery, Root};
use apiserver_core::kinds;
use apiserver_core::openapi::OpenApi;

fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1).expect("the folder to write to");
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder)?;
    let discovery = Discovery::new(kinds::all().iter().map(|def| &def.kind));
    let start = Instant::now();
    let built = OpenApi::build(&discovery);
    println!("built in {:?}", start.elapsed());
    std::fs::write(folder.join("v2.json"), built.v2_json.plain())?;
    std::fs::write(folder.join("v2.pb"), built.v2_protobuf.plain())?;
    std::fs::write(folder.join("v3.json"), built.v3_index())?;
    for (key, document) in &built.v3 {
        std::fs::write(folder.join(format!("v3-{}.json", key.replace('/', "-"))), document.plain())?;
    }
    let packed: usize = built.v3.values().chain([&built.v2_json, &built.v2_protobuf]).map(|d| d.gzip.len()).sum();
    println!("{} documents, {} kB packed", built.v3.len() + 2, packed / 1000);
    std::fs::write(folder.join("api.json"), discovery.aggregated(Root::Api, Aggregated::V2).body)?;
    std::fs::write(folder.join("apis.json"), discovery.aggregated(Root::Apis, Aggregated::V2).body)?;
    std::fs::write(folder.join("api-plain.json"), discovery.core_versions("127.0.0.1").body)?;
    std::fs::write(folder.join("apis-plain.json"), discovery.groups().body)?;
    for (group, version) in discovery.versions() {
        let document = discovery.resources(group, version).expect("a version that discovery named");
        std::fs::write(folder.join(format!("resources-{group}-{version}.json")), document.body)?;
    }
    Ok(())
}
