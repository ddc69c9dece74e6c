//! Content negotiation: which representation a client accepts (V-1 to V-4, V-140, V-144).

use http::HeaderMap;
use http::header::{ACCEPT, USER_AGENT};
use meta::{Reason, Status};

use crate::query::Query;

/// How a body is written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Encoding {
    /// `application/json`.
    Json,
    /// `application/yaml`.
    Yaml,
    /// `application/vnd.kubernetes.protobuf`.
    Protobuf,
}

/// Media type of the protobuf encoding.
pub const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

impl Encoding {
    /// The response's `Content-Type`, exactly so, without a charset (D-6).
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => PROTOBUF,
        }
    }

    /// The `Content-Type` of a watch in this encoding (V-75).
    pub const fn stream_content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        }
    }
}

/// What of an object is shown.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Projection {
    /// The object itself.
    Whole,
    /// `meta.k8s.io/<version>` `Table`.
    Table(MetaVersion),
    /// `meta.k8s.io/<version>` `PartialObjectMetadata`, or its list.
    Metadata(MetaVersion),
}

/// Version of the `meta.k8s.io` group that a client asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum MetaVersion {
    /// `v1`.
    V1,
    /// `v1beta1`.
    V1Beta1,
}

/// What the answer to this request can be shown as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// One object, or a watch of them.
    One,
    /// A list.
    List,
    /// A watch: as [`Answer::One`], but not in YAML.
    Watch,
    /// A document without projections (discovery, `/version`, reviews).
    Plain,
}

/// The chosen representation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Representation {
    /// How it is written.
    pub encoding: Encoding,
    /// What is shown.
    pub projection: Projection,
    /// Indented JSON (V-3).
    pub pretty: bool,
}

impl Representation {
    /// One line of JSON, whole: for errors before negotiation.
    pub const JSON: Self = Self { encoding: Encoding::Json, projection: Projection::Whole, pretty: false };
}

/// One clause of an `Accept` header.
struct Clause<'a> {
    media: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    quality_milli: u32,
}

impl<'a> Clause<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let parameters: Vec<_> = parts.map(|p| p.split_once('=').unwrap_or((p, ""))).collect();
        let quality = parameters.iter().find(|(key, _)| *key == "q").and_then(|(_, q)| q.parse::<f32>().ok());
        // Truncation to thousandths is what RFC 9110 allows a quality to have.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=1000")]
        let quality_milli = (quality.unwrap_or(1.0).clamp(0.0, 1.0) * 1000.0) as u32;
        Self { media, parameters, quality_milli }
    }

    fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
    }

    fn accept(&self, answer: Answer) -> Option<Representation> {
        let encoding = match self.media {
            "application/json" | "*/*" | "application/*" | "" => Encoding::Json,
            "application/yaml" if answer != Answer::Watch => Encoding::Yaml,
            PROTOBUF => Encoding::Protobuf,
            _ => return None,
        };
        let projection = self.projection(answer)?;
        if encoding == Encoding::Protobuf && matches!(projection, Projection::Table(_)) {
            return None;
        }
        let pretty = self.parameter("pretty") == Some("1");
        Some(Representation { encoding, projection, pretty })
    }

    fn projection(&self, answer: Answer) -> Option<Projection> {
        let Some(wanted) = self.parameter("as") else { return Some(Projection::Whole) };
        if self.parameter("g") != Some("meta.k8s.io") {
            return None;
        }
        let version = match self.parameter("v") {
            Some("v1") => MetaVersion::V1,
            Some("v1beta1") => MetaVersion::V1Beta1,
            _ => return None,
        };
        match (wanted, answer) {
            ("Table", Answer::One | Answer::List | Answer::Watch) => Some(Projection::Table(version)),
            ("PartialObjectMetadata", Answer::One | Answer::Watch) | ("PartialObjectMetadataList", Answer::List) => {
                Some(Projection::Metadata(version))
            }
            _ => None,
        }
    }
}

/// The first acceptable clause of the `Accept` header, by quality and then by order (V-1).
///
/// # Errors
/// 406 `NotAcceptable` if there is none.
pub fn negotiate(headers: &HeaderMap, query: &Query, answer: Answer) -> Result<Representation, Status> {
    let pretty = pretty(headers, query);
    let mut clauses: Vec<Clause<'_>> = Vec::new();
    for value in headers.get_all(ACCEPT) {
        clauses.extend(value.to_str().unwrap_or_default().split(',').map(|clause| Clause::parse(clause.trim())));
    }
    if clauses.is_empty() {
        return Ok(Representation { pretty, ..Representation::JSON });
    }
    clauses.sort_by_key(|clause| std::cmp::Reverse(clause.quality_milli));
    let mut chosen = clauses
        .iter()
        .filter(|clause| clause.quality_milli > 0)
        .find_map(|clause| clause.accept(answer))
        .ok_or_else(|| not_acceptable(answer))?;
    chosen.pretty |= pretty;
    Ok(chosen)
}

/// The representation of an error: the encoding that was asked for if it is one of ours, else JSON (B-8).
pub fn negotiate_error(headers: &HeaderMap, query: &Query) -> Representation {
    let chosen = negotiate(headers, query, Answer::One).unwrap_or(Representation::JSON);
    Representation { projection: Projection::Whole, ..chosen }
}

fn not_acceptable(answer: Answer) -> Status {
    let accepted = match answer {
        Answer::Watch => "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch",
        Answer::One | Answer::List | Answer::Plain => {
            "application/json, application/yaml, application/vnd.kubernetes.protobuf"
        }
    };
    Status::new(Reason::NotAcceptable, format!("only the following media types are accepted: {accepted}"))
}

/// Indented JSON is for people: if asked for, or from a browser or command-line fetcher (V-3).
fn pretty(headers: &HeaderMap, query: &Query) -> bool {
    if let Some(asked) = query.get("pretty") {
        return !matches!(asked, "0" | "false");
    }
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    ["curl", "Wget", "Mozilla/5.0"].iter().any(|person| agent.starts_with(person))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use http::HeaderMap;
    use http::header::ACCEPT;

    use super::{Answer, negotiate};
    use crate::query::Query;

    fn check(accept: &str, answer: Answer, expected: Expect) {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        let text = match negotiate(&headers, &Query::default(), answer) {
            Ok(chosen) => format!("{:?} {:?}", chosen.encoding, chosen.projection),
            Err(status) => format!("{} {}", status.code, status.message),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn the_first_acceptable_clause_wins() {
        check("*/*", Answer::List, expect!["Json Whole"]);
        check("application/vnd.kubernetes.protobuf,application/json", Answer::List, expect!["Protobuf Whole"]);
        check("text/html, application/json;q=0.5, application/yaml;q=0.8", Answer::One, expect!["Yaml Whole"]);
        check("application/cbor, */*", Answer::One, expect!["Json Whole"]);
    }

    #[test]
    fn tables_are_for_json_only() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        check(kubectl, Answer::List, expect!["Json Table(V1)"]);
        check(kubectl, Answer::Plain, expect!["Json Whole"]);
        check(
            "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io, application/json",
            Answer::List,
            expect!["Json Whole"],
        );
    }

    #[test]
    fn metadata_of_a_list_and_of_an_object_are_different_kinds() {
        let one = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        check(one, Answer::One, expect!["Protobuf Metadata(V1)"]);
        check(one, Answer::Watch, expect!["Protobuf Metadata(V1)"]);
        check(
            one,
            Answer::List,
            expect![
                "406 only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf"
            ],
        );
    }

    #[test]
    fn nothing_acceptable_is_406() {
        check(
            "text/html",
            Answer::One,
            expect![
                "406 only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf"
            ],
        );
    }
}
