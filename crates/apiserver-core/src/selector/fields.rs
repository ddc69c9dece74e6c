//! Field selectors: `path=value` terms over the few fields a kind can be selected by (V-111, V-112).

use std::borrow::Cow;

use api::Kind;
use meta::Status;
use serde_json::Value;

/// A parsed field selector: every term must hold. The default selects everything.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct FieldSelector {
    terms: Vec<Term>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Term {
    /// As the client wrote it.
    label: String,
    source: Source,
    equal: bool,
    value: String,
}

/// Where the value of a selectable field stands in the tree.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Source {
    /// At a path of names.
    Path(Vec<String>),
    /// At the first of two paths that is there: events are stored once and served in two shapes (K-34).
    Either(Vec<String>, Vec<String>),
    /// A number, `0` where it is absent.
    Count(Vec<String>),
    /// Accepted, and never anything but empty (`status.podIPs`).
    Nowhere,
}

impl FieldSelector {
    /// Reads the string form for a kind.
    ///
    /// # Errors
    /// 400 with upstream's text if the text is no selector or the kind does not select by a field.
    pub fn parse(kind: &Kind, text: &str) -> Result<Self, Status> {
        let mut parts = split_at_commas(text);
        parts.sort_unstable();
        let mut terms = Vec::new();
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            let (label, equal, value) = split_term(part)
                .ok_or_else(|| Status::bad_request(format!("invalid selector: '{text}'; can't understand '{part}'")))?;
            let value = unescape(value)?;
            let source = source(kind, label)?;
            terms.push(Term { label: label.to_owned(), source, equal, value });
        }
        Ok(Self { terms })
    }

    /// True if every object matches.
    pub fn selects_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// True if every term holds for the object.
    pub fn matches(&self, object: &Value) -> bool {
        self.terms.iter().all(|term| (term.source.resolve(object) == term.value.as_str()) == term.equal)
    }

    /// The value that a field must have, if one term says so.
    pub fn exact(&self, label: &str) -> Option<&str> {
        self.terms.iter().find(|term| term.equal && term.label == label).map(|term| term.value.as_str())
    }
}

impl Source {
    fn resolve<'a>(&self, object: &'a Value) -> Cow<'a, str> {
        let walk = |path: &[String]| path.iter().try_fold(object, |value, name| value.get(name));
        let value = match self {
            Self::Path(path) => walk(path),
            Self::Count(path) => return Cow::Owned(walk(path).and_then(Value::as_i64).unwrap_or(0).to_string()),
            Self::Either(first, second) => walk(first).or_else(|| walk(second)),
            Self::Nowhere => None,
        };
        match value {
            Some(Value::String(text)) => Cow::Borrowed(text),
            Some(Value::Bool(true)) => Cow::Borrowed("true"),
            Some(Value::Bool(false)) => Cow::Borrowed("false"),
            Some(Value::Number(number)) => Cow::Owned(number.to_string()),
            Some(Value::Null | Value::Array(_) | Value::Object(_)) | None if self.is_flag() => Cow::Borrowed("false"),
            Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => Cow::Borrowed(""),
        }
    }

    /// Fields that are true or false upstream, so that absent is `false`.
    fn is_flag(&self) -> bool {
        matches!(self, Self::Path(path) if matches!(path.last().map(String::as_str), Some("unschedulable" | "hostNetwork")))
    }
}

/// Where a kind's selectable field stands.
fn source(kind: &Kind, label: &str) -> Result<Source, Status> {
    let path = |label: &str| label.split('.').map(str::to_owned).collect::<Vec<_>>();
    let is_event = kind.kind == "Event";
    match label {
        "metadata.name" => return Ok(Source::Path(path(label))),
        "metadata.namespace" if kind.kind != "Namespace" => return Ok(Source::Path(path(label))),
        "status.podIPs" if kind.kind == "Pod" => return Ok(Source::Nowhere),
        "status.successful" if kind.kind == "Job" => return Ok(Source::Count(path("status.succeeded"))),
        "spec.host" if kind.kind == "Pod" => return Ok(Source::Path(path("spec.nodeName"))),
        _ => {}
    }
    if !kind.selectable_fields.contains(&label) {
        let text = if kind.kind == "Job" {
            format!("field label {label:?} not supported for Job")
        } else if kind.selectable_fields.is_empty() {
            format!("{label:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
        } else {
            format!("field label not supported: {label}")
        };
        return Err(Status::bad_request(text));
    }
    let other = match label {
        _ if !is_event => None,
        "source" => return Ok(Source::Either(path("source.component"), path("reportingComponent"))),
        "reportingComponent" => Some("reportingController".to_owned()),
        "reportingController" => Some("reportingComponent".to_owned()),
        label => match label.split_once('.') {
            Some(("involvedObject", rest)) => Some(format!("regarding.{rest}")),
            Some(("regarding", rest)) => Some(format!("involvedObject.{rest}")),
            _ => None,
        },
    };
    Ok(match other {
        Some(other) => Source::Either(path(label), path(&other)),
        None => Source::Path(path(label)),
    })
}

/// The parts between commas that no backslash escapes.
fn split_at_commas(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut is_escaped) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            ',' => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// Field, whether it must be equal, and the value, at the first operator.
fn split_term(part: &str) -> Option<(&str, bool, &str)> {
    for at in part.char_indices().map(|(at, _)| at) {
        let (field, rest) = part.split_at(at);
        for (operator, equal) in [("!=", false), ("==", true), ("=", true)] {
            if let Some(value) = rest.strip_prefix(operator) {
                return Some((field, equal, value));
            }
        }
    }
    None
}

/// A value without its escapes.
fn unescape(text: &str) -> Result<String, Status> {
    if !text.contains(['\\', ',', '=']) {
        return Ok(text.to_owned());
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(escaped @ ('\\' | ',' | '=')) => out.push(escaped),
                other => {
                    let sequence: String = std::iter::once('\\').chain(other).collect();
                    return Err(Status::bad_request(format!(
                        "invalid field selector: invalid escape sequence: {sequence}"
                    )));
                }
            },
            ',' | '=' => {
                let text = format!("invalid field selector: unescaped character in value: {c}");
                return Err(Status::bad_request(text));
            }
            other => out.push(other),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::{ALL_VERBS, DeleteAnswer, Generation, Scope, UpdateOfMissing, UpdateWithoutVersion, resources};
    use serde_json::json;

    /// A kind with the fields of V-112.
    fn kind(name: &str) -> Kind {
        let (kind, selectable_fields): (_, &[&str]) = match name {
            "Pod" => ("Pod", &["spec.nodeName", "spec.hostNetwork", "status.phase", "status.podIPs"]),
            "Node" => ("Node", &["spec.unschedulable"]),
            "Namespace" => ("Namespace", &["status.phase"]),
            "Secret" => ("Secret", &["type"]),
            "Job" => ("Job", &[]),
            "Event" => ("Event", &["involvedObject.kind", "involvedObject.name", "source"]),
            _ => ("StatefulSet", &[]),
        };
        Kind {
            resource: resources::PODS,
            kind,
            list_kind: "",
            singular: "",
            short_names: &[],
            categories: &[],
            scope: Scope::Namespaced,
            verbs: ALL_VERBS,
            subresources: &[],
            stored_as: None,
            delete_answer: DeleteAnswer::Object,
            update_of_missing: UpdateOfMissing::NotFound,
            update_without_version: UpdateWithoutVersion::Unconditional,
            generation: Generation::None,
            selectable_fields,
        }
    }

    fn selects(kind_name: &str, selector: &str, object: Value) -> bool {
        FieldSelector::parse(&kind(kind_name), selector).expect("the selector is good").matches(&object)
    }

    fn refusal(kind_name: &str, selector: &str) -> String {
        let status = FieldSelector::parse(&kind(kind_name), selector).expect_err("the selector is bad");
        assert_eq!(status.code, 400);
        status.message
    }

    #[test]
    fn terms_are_read_with_all_operators_and_escapes() {
        let pod = json!({ "metadata": { "name": "a,b=c\\d" }, "spec": { "nodeName": "n" }, "status": { "phase": "Running" } });
        assert!(selects("Pod", "", pod.clone()));
        assert!(selects("Pod", "metadata.name=a\\,b\\=c\\\\d", pod.clone()));
        assert!(selects("Pod", "spec.nodeName=n,status.phase!=Succeeded,status.phase!=Failed", pod.clone()));
        assert!(selects("Pod", "spec.host==n", pod.clone()));
        assert!(!selects("Pod", "spec.nodeName!=n", pod.clone()));
        assert!(selects("Pod", "status.podIPs=", pod.clone()));
        assert!(selects("Pod", "spec.hostNetwork=false", pod));
    }

    #[test]
    fn fields_of_other_kinds_resolve_too() {
        assert!(selects("Node", "spec.unschedulable=false", json!({ "spec": {} })));
        assert!(selects("Node", "spec.unschedulable=true", json!({ "spec": { "unschedulable": true } })));
        assert!(selects("Secret", "type=Opaque", json!({ "type": "Opaque" })));
        let event = json!({ "involvedObject": { "kind": "Pod", "name": "p" }, "source": { "component": "kubelet" } });
        assert!(selects("Event", "involvedObject.name=p,involvedObject.kind=Pod,source=kubelet", event));
    }

    #[test]
    fn unknown_fields_and_broken_selectors_are_refused_with_upstream_s_text() {
        assert_eq!(refusal("Pod", "spec.foo=1"), "field label not supported: spec.foo");
        assert_eq!(refusal("Job", "spec.foo=1"), "field label \"spec.foo\" not supported for Job");
        assert_eq!(refusal("Namespace", "metadata.namespace=x"), "field label not supported: metadata.namespace");
        assert_eq!(
            refusal("StatefulSet", "spec.foo=1"),
            "\"spec.foo\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        );
        assert_eq!(refusal("Pod", "a"), "invalid selector: 'a'; can't understand 'a'");
        assert_eq!(refusal("Pod", "metadata.name=a=b"), "invalid field selector: unescaped character in value: =");
        assert_eq!(refusal("Pod", "metadata.name=\\a"), "invalid field selector: invalid escape sequence: \\a");
    }

    #[test]
    fn an_exact_name_is_known() {
        let selector = FieldSelector::parse(&kind("Pod"), "metadata.name=x,spec.nodeName!=y").expect("good");
        assert_eq!(selector.exact("metadata.name"), Some("x"));
        assert_eq!(selector.exact("spec.nodeName"), None);
    }
}
