//! Entries for `cargo fuzz`: whatever a client sends, an answer and no panic.

use std::net::Ipv4Addr;

use api::codec::{Expected, Media, Mode, decode};
use meta::Timestamp;
use serde_json::Value;

use crate::kinds;
use crate::page::ContinueToken;
use crate::patch::fuzz::patch_in_every_way;
use crate::selector::Selector;
use crate::write::{AddressPool, CreateContext, NamespaceState, Outcome, UpdateContext, decide_create, decide_update};

/// Two JSON texts, one line each: every patch of the first by the second.
pub fn patches(bytes: &[u8]) {
    let mut lines = bytes.splitn(2, |byte| *byte == b'\n').map(serde_json::from_slice::<Value>);
    if let (Some(Ok(live)), Some(Ok(patch))) = (lines.next(), lines.next()) {
        patch_in_every_way(&live, &patch);
    }
}

/// Label selectors, field selectors of every kind and page tokens; what is accepted can be asked.
pub fn selectors(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(selector) = meta::LabelSelector::parse(text) {
        assert_eq!(meta::LabelSelector::parse(&selector.to_string()), Ok(selector.clone()), "the text form comes back");
        selector.matches_object(&Value::Null);
    }
    for def in kinds::all() {
        if let Ok(selector) = Selector::parse(&def.kind, "", text) {
            selector.matches(&Value::Null);
        }
    }
    // Whatever a token says, decoding it again says the same.
    if let Ok(token) = ContinueToken::decode(text) {
        assert_eq!(ContinueToken::decode(&token.encode()).ok(), Some(token));
    }
}

/// A JSON body of any kind, created; what is accepted can be written back and changes nothing.
pub fn creates(bytes: &[u8]) {
    for def in kinds::all() {
        let expected = Expected::exactly(def.kind.gvk());
        let Ok(decoded) = decode(bytes, Media::Json, expected, Mode::Typed) else { continue };
        let pool = AddressPool::new(Ipv4Addr::new(10, 96, 0, 0), 16);
        let namespaced = def.kind.is_namespaced();
        let context = CreateContext {
            now: Timestamp::UNIX_EPOCH,
            uid: "6f5b2d0e-6d0c-4c6e-9d2c-6d8f3f1f0a11",
            seed: 7,
            field_manager: "fuzz",
            namespace: if namespaced { "default" } else { "" },
            namespace_state: if namespaced { NamespaceState::Active } else { NamespaceState::NotNeeded },
            service_account: None,
            storage_classes: &[],
            limit_ranges: &[],
            priority_classes: &[],
            addresses: Some(&pool),
            applied: false,
        };
        let Ok(plan) = decide_create(def, decoded.tree, &context) else { continue };
        let mut stored = plan.object;
        stored["metadata"]["resourceVersion"] = "100".into();
        let again = UpdateContext {
            now: Timestamp::UNIX_EPOCH,
            field_manager: "fuzz",
            subresource: "",
            limit_ranges: &[],
            addresses: Some(&pool),
            seed: 7,
            applied: false,
        };
        let written = decide_update(def, &stored, stored.clone(), &again);
        assert!(
            written.as_ref().is_ok_and(|written| written.outcome == Outcome::Unchanged),
            "what was created cannot be written back: {written:?}"
        );
    }
}
