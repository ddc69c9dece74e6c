//! Against what upstream's own Go code wrote and said (`golden/make.go`).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop here")]

use api::Gvk;
use api::codec::{Expected, FieldValidation, Media, Mode, decode, normalise, protobuf};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Golden {
    objects: Vec<Object>,
    refusals: Vec<Refusal>,
}

#[derive(Deserialize)]
struct Object {
    json: Value,
    protobuf: String,
}

#[derive(Deserialize)]
struct Refusal {
    group: String,
    version: String,
    kind: String,
    body: String,
    error: String,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/golden.json")).unwrap()
}

fn gvk(tree: &Value) -> Gvk<'_> {
    Gvk::parse(tree["apiVersion"].as_str().unwrap(), tree["kind"].as_str().unwrap())
}

#[test]
fn protobuf_that_go_wrote_reads_like_the_json_that_go_wrote() {
    for object in golden().objects {
        let expected = Expected::exactly(gvk(&object.json));
        let pb = STANDARD.decode(&object.protobuf).unwrap();
        let from_pb = decode(&pb, Media::Protobuf, expected, Mode::Typed).unwrap().tree;
        let from_json = normalise(object.json.clone(), expected, Mode::Typed).unwrap();
        assert_eq!(from_json.problems, []);
        assert_eq!(from_pb, from_json.tree);
    }
}

#[test]
fn what_go_writes_is_what_a_typed_round_trip_gives_before_defaults() {
    for object in golden().objects {
        let expected = Expected::exactly(gvk(&object.json));
        let sparse = normalise(object.json.clone(), expected, Mode::Sparse).unwrap().tree;
        assert_eq!(sparse, object.json);
    }
}

#[test]
fn our_own_protobuf_reads_back() {
    for object in golden().objects {
        let expected = Expected::exactly(gvk(&object.json));
        let tree = normalise(object.json.clone(), expected, Mode::Typed).unwrap().tree;
        let pb = protobuf::encode(&tree).unwrap();
        assert_eq!(decode(&pb, Media::Protobuf, expected, Mode::Typed).unwrap().tree, tree);
    }
}

#[test]
fn a_list_encoded_item_by_item_is_the_list_encoded_at_once() {
    let objects = golden().objects;
    let list = objects.iter().find(|o| o.json["kind"] == "PodList").unwrap();
    let mut encoder = protobuf::ListEncoder::new(gvk(&list.json), &list.json["metadata"]).unwrap();
    for item in list.json["items"].as_array().unwrap() {
        encoder.push(item).unwrap();
    }
    assert_eq!(encoder.finish(), protobuf::encode(&list.json).unwrap());
}

#[test]
fn refusals_have_the_words_of_go() {
    for refusal in golden().refusals {
        let gvk = Gvk::of(&refusal.group, &refusal.version, &refusal.kind);
        let decoded = decode(refusal.body.as_bytes(), Media::Json, Expected::exactly(gvk), Mode::Typed);
        let error = decoded.and_then(|d| FieldValidation::Strict.judge(&d.problems, gvk)).unwrap_err();
        let frame = format!("{0} in version \"{1}\" cannot be handled as a {0}: ", refusal.kind, refusal.version);
        assert_eq!(error.to_string().strip_prefix(&frame), Some(refusal.error.as_str()), "{}", refusal.body);
    }
}
