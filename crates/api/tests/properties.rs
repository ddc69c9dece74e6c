//! Properties over trees of every kind, made from the schema table itself.

use api::codec::{Expected, Media, Mode, decode, fuzz, normalise, protobuf};
use api::schema::{Schema, Shape, TypeId};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use proptest::test_runner::TestRng;
use serde_json::{Map, Value, json};

/// Makes a random tree of a type; deeper structs are sparser.
fn tree(schema: &Schema, ty: TypeId, rng: &mut TestRng, depth: u32) -> Value {
    match schema.shape(ty) {
        Shape::Struct(id) => {
            let mut map = Map::new();
            for field in &schema.structure(id).fields {
                let is_type_meta = matches!(field.name, "kind" | "apiVersion") && field.proto == 0;
                if !is_type_meta && rng.random_range(0..1 + depth) == 0 {
                    map.insert(field.name.to_owned(), tree(schema, field.ty, rng, depth + 1));
                }
            }
            Value::Object(map)
        }
        Shape::List(elem) | Shape::WrappedList(elem) => {
            (0..rng.random_range(0..3)).map(|_| tree(schema, elem, rng, depth + 1)).collect()
        }
        Shape::Map(elem) => {
            let keys = (0..rng.random_range(0..3)).map(|i| format!("key.example/{i}"));
            Value::Object(keys.map(|k| (k, tree(schema, elem, rng, depth + 1))).collect())
        }
        Shape::String => json!(["", "a", "web-0", "ünï ☃ \"\\\u{1}"][rng.random_range(0..4)]),
        Shape::Int32 => json!([0, 1, -1, i32::MAX, i32::MIN][rng.random_range(0..5)]),
        Shape::Int64 => json!([0, 1, -1, i64::MAX, i64::MIN][rng.random_range(0..5)]),
        Shape::Bool => json!(rng.random_bool(0.5)),
        Shape::Bytes => json!(STANDARD.encode([rng.random::<u8>(), 0, 255])),
        Shape::Quantity => json!(["0", "1", "500m", "1Gi", "1e3", "0.1", "-3k"][rng.random_range(0..7)]),
        Shape::IntOrString => {
            [json!(0), json!(8080), json!("web"), json!("25%"), json!("")][rng.random_range(0..5)].clone()
        }
        Shape::Time => json!(["2026-11-21T07:30:15Z", "1999-12-31T23:59:59+01:00"][rng.random_range(0..2)]),
        Shape::MicroTime => json!("2026-11-21T07:30:15.123456Z"),
        Shape::RawExtension | Shape::FieldsV1 => json!({"a": [1, null, {"b": "c"}]}),
    }
}

/// Few cases by default; a sweep sets `PROPTEST_CASES` (150,000 of each have passed).
fn config() -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() { default } else { ProptestConfig { cases: 64, ..default } }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn json_and_protobuf_carry_the_same_object(kind in any::<prop::sample::Index>(), mut rng in any::<u64>().prop_perturb(|_, rng| rng)) {
        let schema = Schema::get();
        let roots: Vec<_> = schema.roots().iter().filter(|r| schema.field(r.ty, "kind").is_some()).collect();
        let root = roots[kind.index(roots.len())];
        let expected = Expected::exactly(root.gvk);
        let mut random = tree(schema, root.ty, &mut rng, 0);
        if let Some(metadata) = random.get_mut("metadata").and_then(Value::as_object_mut) {
            // An empty record of managers means something in JSON only.
            metadata.retain(|name, value| name != "managedFields" || *value != json!([]));
        }
        let typed = normalise(random, expected, Mode::Typed).unwrap();
        prop_assert!(typed.problems.is_empty());
        let again = normalise(typed.tree.clone(), expected, Mode::Typed).unwrap().tree;
        prop_assert_eq!(&again, &typed.tree);
        let text = typed.tree.to_string();
        prop_assert_eq!(&decode(text.as_bytes(), Media::Json, expected, Mode::Typed).unwrap().tree, &typed.tree);
        let bytes = protobuf::encode(&typed.tree).unwrap();
        prop_assert_eq!(&decode(&bytes, Media::Protobuf, expected, Mode::Typed).unwrap().tree, &typed.tree);
    }

    #[test]
    fn no_bytes_make_a_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzz::json(&bytes);
        fuzz::yaml(&bytes);
        fuzz::protobuf(&bytes);
    }

    #[test]
    fn damaged_bodies_are_refused_or_keep_their_meaning(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let golden: Value = serde_json::from_str(include_str!("golden/golden.json")).unwrap();
        let objects = golden["objects"].as_array().unwrap();
        let object = &objects[which.index(objects.len())];
        let mut pb = STANDARD.decode(object["protobuf"].as_str().unwrap()).unwrap();
        let place = at.index(pb.len());
        pb[place] = byte;
        fuzz::protobuf(&pb);
        fuzz::protobuf(&pb[..cut.index(pb.len())]);
        let mut text = object["json"].to_string().into_bytes();
        let place = at.index(text.len());
        text[place] = byte;
        fuzz::json(&text);
        fuzz::yaml(&text);
    }
}
