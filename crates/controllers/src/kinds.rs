//! The kinds that can own or be owned: what an owner reference's `apiVersion` and `kind` mean.

use std::sync::LazyLock;

use api::{Scope, Verb, resources};
use apiserver_core::kinds;
use meta::ResourceId;

/// One kind.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) kind: &'static str,
    pub(crate) resource: ResourceId,
    pub(crate) namespaced: bool,
}

/// Every stored kind but Events, which own nothing and expire by themselves; from the API server's own table, so that a
/// new kind is collected from its first day.
pub(crate) static KINDS: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let events = [resources::EVENTS, resources::EVENTS_V1];
    let stored = kinds::all().iter().map(|def| &def.kind).filter(|kind| kind.verbs.contains(&Verb::Watch));
    let rows = stored.filter(|kind| !events.contains(&kind.resource)).map(|kind| Row {
        kind: kind.kind,
        resource: kind.resource.clone(),
        namespaced: kind.scope == Scope::Namespaced,
    });
    rows.collect()
});

/// The kind that an owner reference means; versions of one group are the same objects.
pub(crate) fn of_reference(api_version: &str, kind: &str) -> Option<&'static Row> {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    KINDS.iter().find(|row| row.kind == kind && row.resource.group == group)
}
