//! Query parameters of the verbs, checked (V-60 to V-66, V-95 to V-99, V-120 to V-124).

use api::codec::FieldValidation;
use apiserver_core::kinds::KindDef;
use apiserver_core::page::ContinueToken;
use apiserver_core::selector::Selector;
use apiserver_core::write::DeletionOptions;
use http::HeaderMap;
use http::header::USER_AGENT;
use meta::Status;
use serde_json::{Map, Value, json};
use store_core::Revision;

use crate::changes::WatchFrom;
use crate::query::{Query, invalid_option};
use crate::registry::{ListAt, ListRequest};
use crate::writing::WriteOptions;

/// Longest name of a field manager, in bytes (V-121).
const FIELD_MANAGER_BYTES_MAX: usize = 128;

/// Options of a write over HTTP.
#[derive(Clone, Debug)]
pub struct WriteParameters {
    /// Those that the registry knows.
    pub write: WriteOptions,
    /// What becomes of unknown fields.
    pub validation: FieldValidation,
    /// Apply: take fields from others.
    pub force: Option<bool>,
    /// `fieldManager` was given, not derived.
    pub manager_given: bool,
}

impl WriteParameters {
    /// Reads the parameters; `kind` is that of the options in upstream's error texts (`CreateOptions`, …).
    ///
    /// # Errors
    /// 422 for values that are not known.
    pub fn parse(query: &Query, headers: &HeaderMap, kind: &str) -> Result<Self, Status> {
        let kind = format!("{kind}.meta.k8s.io");
        let validation = FieldValidation::parse(query.text("fieldValidation")).ok_or_else(|| {
            let given = query.text("fieldValidation");
            let text = format!("Unsupported value: {given:?}: supported values: \"Ignore\", \"Warn\", \"Strict\"");
            invalid_option(&kind, "fieldValidation", "FieldValueNotSupported", &text)
        })?;
        let manager = query.text("fieldManager");
        if manager.len() > FIELD_MANAGER_BYTES_MAX {
            let text = format!("Too long: may not be more than {FIELD_MANAGER_BYTES_MAX} bytes");
            return Err(invalid_option(&kind, "fieldManager", "FieldValueTooLong", &text));
        }
        if manager.chars().any(char::is_control) {
            let text = format!("Invalid value: {manager:?}: should only contain printable characters");
            return Err(invalid_option(&kind, "fieldManager", "FieldValueInvalid", &text));
        }
        let field_manager = if manager.is_empty() { manager_of_agent(headers) } else { manager.to_owned() };
        Ok(Self {
            write: WriteOptions { field_manager, dry_run: dry_run(query, &kind)?, ..WriteOptions::default() },
            validation,
            force: query.get("force").map(|_| query.flag("force")),
            manager_given: !manager.is_empty(),
        })
    }
}

/// The manager of a client that gave none: its user agent up to the first slash (V-121).
fn manager_of_agent(headers: &HeaderMap) -> String {
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let name = agent.split('/').next().unwrap_or_default();
    let end = (0..=name.len().min(FIELD_MANAGER_BYTES_MAX)).rev().find(|&end| name.is_char_boundary(end));
    name[..end.unwrap_or_default()].to_owned()
}

/// Whether nothing is to be stored; the one value is `All` (V-120).
fn dry_run(query: &Query, kind: &str) -> Result<bool, Status> {
    let mut asked = false;
    for value in query.all("dryRun").filter(|value| !value.is_empty()) {
        if value != "All" {
            let text = format!("Unsupported value: [{value:?}]: supported values: \"All\"");
            return Err(invalid_option(kind, "dryRun", "FieldValueNotSupported", &text));
        }
        asked = true;
    }
    Ok(asked)
}

/// A resourceVersion parameter; 0 and empty are told apart by the caller.
fn revision(text: &str) -> Result<Revision, Status> {
    text.parse().map(Revision).map_err(|_| Status::bad_request(format!("invalid resource version: {text:?}")))
}

/// Reads the parameters of a list.
///
/// # Errors
/// 400 and 422 with upstream's texts (V-64, V-66).
pub fn list(query: &Query, def: &KindDef, namespace: Option<&str>) -> Result<ListRequest, Status> {
    let selector = Selector::parse(&def.kind, query.text("labelSelector"), query.text("fieldSelector"))?;
    let limit = usize::try_from(query.integer("limit")?.unwrap_or_default()).unwrap_or_default();
    let (version, matching, token) =
        (query.text("resourceVersion"), query.text("resourceVersionMatch"), query.text("continue"));
    let refuse =
        |field: &str, reason: &str, text: &str| Err(invalid_option("ListOptions.meta.k8s.io", field, reason, text));
    if query.get("sendInitialEvents").is_some_and(|value| !value.is_empty()) {
        return refuse(
            "sendInitialEvents",
            "FieldValueForbidden",
            "Forbidden: sendInitialEvents is forbidden for list",
        );
    }
    if !matching.is_empty() {
        if version.is_empty() {
            let text = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided";
            return refuse("resourceVersionMatch", "FieldValueForbidden", text);
        }
        if !token.is_empty() {
            let text = "Forbidden: resourceVersionMatch is forbidden when continue is provided";
            return refuse("resourceVersionMatch", "FieldValueForbidden", text);
        }
        if !matches!(matching, "Exact" | "NotOlderThan") {
            let text = format!("Unsupported value: {matching:?}: supported values: \"Exact\", \"NotOlderThan\", \"\"");
            return refuse("resourceVersionMatch", "FieldValueNotSupported", &text);
        }
        if matching == "Exact" && version == "0" {
            let text = "Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            return refuse("resourceVersionMatch", "FieldValueForbidden", text);
        }
    }
    if !token.is_empty() && !matches!(version, "" | "0") {
        return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
    }
    let at = match (version, matching) {
        ("" | "0", _) => ListAt::Latest,
        (version, "Exact") => ListAt::Exactly(revision(version)?),
        // A limited list at a revision shows that one, so that its pages fit together (V-63).
        (version, "") if limit > 0 => ListAt::Exactly(revision(version)?),
        (version, _) => ListAt::NotOlderThan(revision(version)?),
    };
    let continue_token = if token.is_empty() { None } else { Some(ContinueToken::decode(token)?) };
    // A list at "any" revision is answered whole (V-68).
    let limit = if version == "0" && continue_token.is_none() { 0 } else { limit };
    Ok(ListRequest { namespace: namespace.map(str::to_owned), selector, limit, continue_token, at })
}

/// Reads where a watch begins.
///
/// # Errors
/// 400 and 422 with upstream's texts (V-64, V-97).
pub fn watch_from(query: &Query) -> Result<WatchFrom, Status> {
    let (version, matching) = (query.text("resourceVersion"), query.text("resourceVersionMatch"));
    let initial = query.get("sendInitialEvents").filter(|value| !value.is_empty());
    let refuse =
        |field: &str, reason: &str, text: &str| Err(invalid_option("ListOptions.meta.k8s.io", field, reason, text));
    if initial.is_some() && matching != "NotOlderThan" {
        let text = if matching.is_empty() {
            "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan".to_owned()
        } else {
            format!("Unsupported value: {matching:?}: supported values: \"NotOlderThan\"")
        };
        let reason = if matching.is_empty() { "FieldValueForbidden" } else { "FieldValueNotSupported" };
        return refuse("resourceVersionMatch", reason, &text);
    }
    if initial.is_none() && !matching.is_empty() {
        let text = "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        return refuse("resourceVersionMatch", "FieldValueForbidden", text);
    }
    let at = if matches!(version, "" | "0") { Revision::ZERO } else { revision(version)? };
    Ok(match initial {
        Some(_) if query.flag("sendInitialEvents") => WatchFrom::NowMarked(at),
        Some(_) if at == Revision::ZERO => WatchFrom::Now(at),
        None if at == Revision::ZERO => WatchFrom::Now(at),
        Some(_) | None => WatchFrom::After(at),
    })
}

/// The options of a deletion, from a decoded body or from the query (V-45).
///
/// # Errors
/// 422 for values that are not known.
pub fn deletion(query: &Query, body: Option<Value>) -> Result<DeletionOptions, Status> {
    if let Some(body) = body {
        return DeletionOptions::from_tree(&body);
    }
    let mut tree = Map::new();
    if let Some(grace) = query.integer("gracePeriodSeconds")? {
        tree.insert("gracePeriodSeconds".to_owned(), grace.into());
    }
    if let Some(policy) = query.get("propagationPolicy").filter(|policy| !policy.is_empty()) {
        tree.insert("propagationPolicy".to_owned(), policy.into());
    }
    if query.get("orphanDependents").is_some() {
        tree.insert("orphanDependents".to_owned(), query.flag("orphanDependents").into());
    }
    let dry_run: Vec<&str> = query.all("dryRun").filter(|value| !value.is_empty()).collect();
    if !dry_run.is_empty() {
        tree.insert("dryRun".to_owned(), json!(dry_run));
    }
    let mut preconditions = Map::new();
    for (parameter, name) in [("preconditions.uid", "uid"), ("preconditions.resourceVersion", "resourceVersion")] {
        if let Some(value) = query.get(parameter).filter(|value| !value.is_empty()) {
            preconditions.insert(name.to_owned(), value.into());
        }
    }
    if !preconditions.is_empty() {
        tree.insert("preconditions".to_owned(), preconditions.into());
    }
    DeletionOptions::from_tree(&Value::Object(tree))
}
