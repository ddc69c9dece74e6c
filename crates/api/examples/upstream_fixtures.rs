//! Compares our codec with upstream's own: reads the fixtures that the Go module `k8s.io/api` carries (each kind once
//! with every field set, as JSON and as protobuf) and says where we differ. Run by hand after `cargo xtask codegen`:
//!
//!     cargo run -p api --example upstream_fixtures -- "$(go env GOMODCACHE)/k8s.io/api@v0.37.0/testdata/HEAD"

use std::path::Path;

use api::codec::{Expected, Media, Mode, decode, protobuf};
use api::schema::Schema;
use serde_json::Value;

fn main() {
    let folder = std::env::args().nth(1).expect("the folder of the fixtures");
    let (mut compared, mut different) = (0, 0);
    for root in Schema::get().roots() {
        let group = if root.gvk.group.is_empty() { "core" } else { root.gvk.group };
        let stem = Path::new(&folder).join(format!("{group}.{}.{}", root.gvk.version, root.gvk.kind));
        let file = |extension: &str| std::fs::read(format!("{}.{extension}", stem.display()));
        let (Ok(json), Ok(pb)) = (file("json"), file("pb")) else { continue };
        compared += 1;
        let expected = Expected::exactly(root.gvk);
        let from_json = decode(&json, Media::Json, expected, Mode::Sparse);
        let from_pb = decode(&pb, Media::Protobuf, expected, Mode::Typed);
        let (mut from_json, mut from_pb) = match (from_json, from_pb) {
            (Ok(a), Ok(b)) if a.problems.is_empty() => (a.tree, b.tree),
            (a, b) => {
                different += 1;
                println!("{:?}: {a:?}\n    {b:?}", root.gvk);
                continue;
            }
        };
        let plain: Value = serde_json::from_slice(&json).expect("fixtures are JSON");
        strip(&mut from_pb);
        strip(&mut from_json);
        let again = protobuf::encode(&from_json).map(|bytes| bytes == pb);
        if from_json != from_pb || from_json != plain && again != Ok(true) {
            different += 1;
            println!("{:?}: encode {again:?}", root.gvk);
            compare("", &from_json, &from_pb);
            compare(" plain ", &plain, &from_json);
        } else if again != Ok(true) {
            println!("{:?}: other bytes ({again:?})", root.gvk);
        }
    }
    println!("{compared} kinds compared, {different} differ");
}

/// Nested kind and version are not in protobuf.
fn strip(tree: &mut Value) {
    if let Some(templates) = tree.pointer_mut("/spec/volumeClaimTemplates").and_then(Value::as_array_mut) {
        for template in templates.iter_mut().filter_map(Value::as_object_mut) {
            template.remove("kind");
            template.remove("apiVersion");
        }
    }
}

fn compare(path: &str, left: &Value, right: &Value) {
    match (left, right) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|k| !a.contains_key(*k))) {
                match (a.get(key), b.get(key)) {
                    (Some(x), Some(y)) => compare(&format!("{path}.{key}"), x, y),
                    (x, y) => println!("    {path}.{key}: {x:?} / {y:?}"),
                }
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (i, (x, y)) in a.iter().zip(b).enumerate() {
                compare(&format!("{path}[{i}]"), x, y);
            }
        }
        _ if left != right => println!("    {path}: {left} / {right}"),
        _ => {}
    }
}
