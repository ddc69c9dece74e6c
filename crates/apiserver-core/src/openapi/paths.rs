//! The operations on a kind as OpenAPI paths.

use api::{Gvk, Kind, Verb};
use serde_json::{Map, Value, json};

use super::gvk_extension;
use super::schemas::{Dialect, Schemas};

const PATCH_TYPES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];
const BODY_TYPES: &[&str] = &["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

/// A query parameter: name, type, description.
type Parameter = (&'static str, &'static str, &'static str);

const DRY_RUN: Parameter = ("dryRun", "string", "`All` makes the server answer as if, and change nothing.");
const FIELD_MANAGER: Parameter = ("fieldManager", "string", "Name under which changed fields are recorded.");
const FIELD_VALIDATION: Parameter =
    ("fieldValidation", "string", "What becomes of unknown and duplicate fields: Ignore, Warn or Strict.");
const FORCE: Parameter = ("force", "boolean", "Take fields that other managers own; apply patches only.");
const LIST: &[Parameter] = &[
    ("allowWatchBookmarks", "boolean", "Send bookmarks on watches."),
    ("continue", "string", "Token of the next page."),
    ("fieldSelector", "string", "Only objects with these field values."),
    ("labelSelector", "string", "Only objects with these labels."),
    ("limit", "integer", "Most objects on a page."),
    ("resourceVersion", "string", "The state to read."),
    ("resourceVersionMatch", "string", "How `resourceVersion` is meant: Exact or NotOlderThan."),
    ("sendInitialEvents", "boolean", "Begin a watch with the current state."),
    ("timeoutSeconds", "integer", "Longest duration of a watch."),
    ("watch", "boolean", "Follow changes."),
];
const DELETE: &[Parameter] = &[
    DRY_RUN,
    ("gracePeriodSeconds", "integer", "Time for a clean end; 0 removes at once."),
    ("propagationPolicy", "string", "What becomes of dependents: Orphan, Background or Foreground."),
];
const WRITE: &[Parameter] = &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION];
const PATCH: &[Parameter] = &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION, FORCE];

const DELETE_OPTIONS: Gvk<'static> = Gvk::of("", "v1", "DeleteOptions");
const STATUS: Gvk<'static> = Gvk::of("", "v1", "Status");

/// One operation.
struct Operation<'a> {
    verb: Verb,
    /// Kind that the operation is about.
    gvk: Gvk<'a>,
    /// Kind of the answer.
    answer: Gvk<'a>,
    /// Kind of the body.
    body: Option<Gvk<'a>>,
    parameters: Vec<Parameter>,
    /// `NamespacedPodEviction`: the end of the operation's id.
    place: String,
}

/// All paths of a kind.
pub(super) fn of_kind(kind: &Kind, schemas: &mut Schemas<'_>) -> Map<String, Value> {
    let mut paths = Map::new();
    let base = if kind.resource.group.is_empty() {
        format!("/api/{}", kind.resource.version)
    } else {
        format!("/apis/{}/{}", kind.resource.group, kind.resource.version)
    };
    let scoped = if kind.is_namespaced() { format!("{base}/namespaces/{{namespace}}") } else { base.clone() };
    let collection = format!("{scoped}/{}", kind.resource.resource);
    let prefix = if kind.is_namespaced() { "Namespaced" } else { "" };
    let own = format!("{prefix}{}", kind.kind);
    let operation = |verb, place: &str| ordinary(kind, verb, place);

    let on_collection = [Verb::List, Verb::Create, Verb::DeleteCollection];
    let operations: Vec<_> =
        on_collection.into_iter().filter(|v| kind.allows(*v)).map(|v| operation(v, &own)).collect();
    put(&mut paths, schemas, &collection, operations);
    if kind.is_namespaced() && kind.allows(Verb::List) {
        let place = format!("{}ForAllNamespaces", kind.kind);
        put(&mut paths, schemas, &format!("{base}/{}", kind.resource.resource), vec![operation(Verb::List, &place)]);
    }
    let item = format!("{collection}/{{name}}");
    let on_item = [Verb::Get, Verb::Update, Verb::Patch, Verb::Delete];
    let operations: Vec<_> = on_item.into_iter().filter(|v| kind.allows(*v)).map(|v| operation(v, &own)).collect();
    put(&mut paths, schemas, &item, operations);
    for subresource in kind.subresources {
        let (group, version) = subresource.group_version.unwrap_or((&kind.resource.group, &kind.resource.version));
        let gvk = Gvk { group, version, kind: subresource.kind };
        let mut name = subresource.name.to_owned();
        name[..1].make_ascii_uppercase();
        let operations = subresource.verbs.iter().map(|verb| Operation {
            verb: *verb,
            gvk,
            answer: gvk,
            body: matches!(verb, Verb::Create | Verb::Update).then_some(gvk),
            parameters: parameters(*verb).to_vec(),
            place: format!("{own}{name}"),
        });
        put(&mut paths, schemas, &format!("{item}/{}", subresource.name), operations.collect());
    }
    paths
}

fn ordinary<'k>(kind: &'k Kind, verb: Verb, place: &str) -> Operation<'k> {
    let gvk = kind.gvk();
    Operation {
        verb,
        gvk,
        answer: match verb {
            Verb::List | Verb::Watch => kind.list_gvk(),
            Verb::DeleteCollection => STATUS,
            Verb::Delete if kind.delete_answer == api::DeleteAnswer::Status => STATUS,
            Verb::Delete | Verb::Create | Verb::Get | Verb::Patch | Verb::Update => gvk,
        },
        body: match verb {
            Verb::Create | Verb::Update => Some(gvk),
            Verb::Delete | Verb::DeleteCollection => Some(DELETE_OPTIONS),
            Verb::Get | Verb::List | Verb::Patch | Verb::Watch => None,
        },
        parameters: parameters(verb).to_vec(),
        place: place.to_owned(),
    }
}

fn parameters(verb: Verb) -> &'static [Parameter] {
    match verb {
        Verb::Create | Verb::Update => WRITE,
        Verb::Patch => PATCH,
        Verb::Delete => DELETE,
        Verb::DeleteCollection | Verb::List | Verb::Watch => LIST,
        Verb::Get => &[],
    }
}

/// Adds a path with its operations, unless there are none.
fn put(paths: &mut Map<String, Value>, schemas: &mut Schemas<'_>, path: &str, operations: Vec<Operation<'_>>) {
    if operations.is_empty() {
        return;
    }
    let mut item = Map::new();
    for operation in operations {
        let method = match operation.verb {
            Verb::Get | Verb::List | Verb::Watch => "get",
            Verb::Create => "post",
            Verb::Update => "put",
            Verb::Patch => "patch",
            Verb::Delete | Verb::DeleteCollection => "delete",
        };
        item.insert(method.to_owned(), operation_body(&operation, schemas));
    }
    let in_path: Vec<_> = ["namespace", "name"]
        .into_iter()
        .filter(|name| path.contains(&format!("{{{name}}}")))
        .map(|name| parameter(schemas.dialect, "path", &(name, "string", "Part of the object's address.")))
        .collect();
    if !in_path.is_empty() {
        item.insert("parameters".to_owned(), Value::Array(in_path));
    }
    paths.insert(path.to_owned(), Value::Object(item));
}

fn operation_body(operation: &Operation<'_>, schemas: &mut Schemas<'_>) -> Value {
    let (word, action) = match operation.verb {
        Verb::Create => ("create", "post"),
        Verb::Delete => ("delete", "delete"),
        Verb::DeleteCollection => ("deleteCollection", "deletecollection"),
        Verb::Get => ("read", "get"),
        Verb::List => ("list", "list"),
        Verb::Patch => ("patch", "patch"),
        Verb::Update => ("replace", "put"),
        Verb::Watch => ("watch", "watch"),
    };
    let gvk = operation.gvk;
    let group = if gvk.group.is_empty() { "core" } else { gvk.group.split('.').next().unwrap_or_default() };
    let mut body = json!({
        "description": format!("{word} {}", operation.place),
        "operationId": format!("{word}{}{}{}", capital(group), capital(gvk.version), operation.place),
        "tags": [format!("{group}_{}", gvk.version)],
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": gvk_extension(gvk),
    });
    let mut parameters: Vec<_> = operation.parameters.iter().map(|p| parameter(schemas.dialect, "query", p)).collect();
    let request = match operation.verb {
        Verb::Patch => Some((schemas.patch(), PATCH_TYPES)),
        _ => operation.body.and_then(|gvk| schemas.kind(gvk)).map(|schema| (schema, BODY_TYPES)),
    };
    let is_required = matches!(operation.verb, Verb::Create | Verb::Update | Verb::Patch);
    let answer = schemas.kind(operation.answer);
    match schemas.dialect {
        Dialect::V2 => {
            body["produces"] = json!(BODY_TYPES);
            if let Some((schema, types)) = request {
                body["consumes"] = json!(types);
                parameters.push(json!({"in": "body", "name": "body", "required": is_required, "schema": schema}));
            }
            let mut ok = json!({"description": "OK"});
            if let Some(schema) = answer {
                ok["schema"] = schema;
            }
            body["responses"] = json!({"200": ok, "401": {"description": "Unauthorized"}});
            body["schemes"] = json!(["https"]);
        }
        Dialect::V3 => {
            if let Some((schema, types)) = request {
                body["requestBody"] = json!({"content": content(types, &schema), "required": is_required});
            }
            let mut ok = json!({"description": "OK"});
            if let Some(schema) = answer {
                ok["content"] = content(BODY_TYPES, &schema);
            }
            body["responses"] = json!({"200": ok, "401": {"description": "Unauthorized"}});
        }
    }
    if !parameters.is_empty() {
        body["parameters"] = Value::Array(parameters);
    }
    body
}

fn content(types: &[&str], schema: &Value) -> Value {
    let entries = types.iter().map(|t| ((*t).to_owned(), json!({"schema": schema})));
    Value::Object(entries.collect())
}

fn parameter(dialect: Dialect, place: &str, (name, ty, description): &Parameter) -> Value {
    let mut body = json!({"name": name, "in": place, "description": description});
    if place == "path" {
        body["required"] = json!(true);
    }
    match dialect {
        Dialect::V2 => {
            body["type"] = json!(ty);
            body["uniqueItems"] = json!(true);
        }
        Dialect::V3 => body["schema"] = json!({"type": ty, "uniqueItems": true}),
    }
    body
}

fn capital(text: &str) -> String {
    let mut text = text.to_owned();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}
