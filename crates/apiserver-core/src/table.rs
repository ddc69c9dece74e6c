//! `Table` and `PartialObjectMetadata`: what kubectl prints and what metadata clients read (V-140 to V-146).
//!
//! The values here borrow the trees they show and are serialised at once, so that a table of thousands of rows copies no
//! object.

use meta::{Status, Timestamp};
use serde::Serialize;
use serde_json::Value;

use crate::kinds::{Column, KindDef, Row};

/// What rows carry beside their cells (V-141).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IncludeObject {
    /// The object's metadata.
    Metadata,
    /// The whole object.
    Object,
    /// Nothing.
    None,
}

impl IncludeObject {
    /// Reads `?includeObject=`; empty is `Metadata`.
    ///
    /// # Errors
    /// 400 for any other word.
    pub fn parse(text: &str) -> Result<Self, Status> {
        match text {
            "" | "Metadata" => Ok(Self::Metadata),
            "Object" => Ok(Self::Object),
            "None" => Ok(Self::None),
            other => Err(Status::bad_request(format!("unrecognized includeObject value: {other:?}"))),
        }
    }
}

/// `metadata` of lists and tables.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListMeta {
    /// Revision of the snapshot; empty in tables of watch events.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// Token of the next page.
    #[serde(rename = "continue", skip_serializing_if = "Option::is_none")]
    pub continue_token: Option<String>,
    /// Items after this page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining_item_count: Option<u64>,
}

/// An object reduced to its metadata (V-144).
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PartialObject<'a> {
    kind: &'static str,
    api_version: &'a str,
    metadata: &'a Value,
}

/// A list of objects reduced to their metadata.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PartialList<'a> {
    kind: &'static str,
    api_version: &'a str,
    metadata: ListMeta,
    items: Vec<PartialObject<'a>>,
}

/// The metadata of an object; `version` is `v1` or `v1beta1`.
pub fn partial<'a>(object: &'a Value, version: Version) -> PartialObject<'a> {
    static NO_METADATA: Value = Value::Null;
    let metadata = object.get("metadata").unwrap_or(&NO_METADATA);
    PartialObject { kind: "PartialObjectMetadata", api_version: version.api_version(), metadata }
}

/// The metadata of every object of a list: none is ever left out (V-145).
pub fn partial_list<'a>(
    objects: impl IntoIterator<Item = &'a Value>,
    metadata: ListMeta,
    version: Version,
) -> PartialList<'a> {
    let items = objects.into_iter().map(|object| partial(object, version)).collect();
    PartialList { kind: "PartialObjectMetadataList", api_version: version.api_version(), metadata, items }
}

/// The versions of `meta.k8s.io`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// `v1`.
    V1,
    /// `v1beta1`, asked for by old kubectls.
    V1Beta1,
}

impl Version {
    /// Reads the `v=` of an `Accept` clause.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "v1" => Some(Self::V1),
            "v1beta1" => Some(Self::V1Beta1),
            _ => None,
        }
    }

    fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "meta.k8s.io/v1",
            Self::V1Beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

/// A printed table.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Table<'a> {
    kind: &'static str,
    api_version: &'static str,
    metadata: ListMeta,
    column_definitions: Vec<ColumnDefinition>,
    rows: Vec<TableRow<'a>>,
}

#[derive(Clone, Debug, Serialize)]
struct ColumnDefinition {
    name: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    format: &'static str,
    description: &'static str,
    priority: i32,
}

#[derive(Clone, Debug, Serialize)]
struct TableRow<'a> {
    cells: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    conditions: Vec<RowCondition>,
    object: RowObject<'a>,
}

#[derive(Clone, Debug, Serialize)]
struct RowCondition {
    #[serde(rename = "type")]
    kind: &'static str,
    status: &'static str,
    reason: &'static str,
    message: &'static str,
}

#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum RowObject<'a> {
    Partial(PartialObject<'a>),
    Whole(&'a Value),
    None(()),
}

/// How a table is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableOptions {
    /// What rows carry beside their cells.
    pub include: IncludeObject,
    /// Version of `meta.k8s.io`.
    pub version: Version,
    /// Columns are described; false in all events of a watch but the first (V-143).
    pub columns: bool,
    /// Ages are counted from here.
    pub now: Timestamp,
}

/// Prints objects of one kind.
pub fn table<'a>(
    def: &KindDef,
    objects: impl IntoIterator<Item = &'a Value>,
    metadata: ListMeta,
    options: TableOptions,
) -> Table<'a> {
    let row = |object: &'a Value| {
        let Row { cells, completed } = (def.row)(object, options.now);
        debug_assert_eq!(cells.len(), def.columns.len(), "a cell for each column of {}", def.kind.kind);
        let conditions = completed.into_iter().map(|completed| RowCondition {
            kind: "Completed",
            status: "True",
            reason: completed.reason,
            message: completed.message,
        });
        TableRow { cells, conditions: conditions.collect(), object: row_object(object, options) }
    };
    let rows = objects.into_iter().map(row).collect();
    let columns = if options.columns { def.columns.iter().map(definition).collect() } else { Vec::new() };
    Table { kind: "Table", api_version: options.version.api_version(), metadata, column_definitions: columns, rows }
}

/// The table of a watch bookmark: one row without cells, whose object carries the bookmark's metadata (V-100).
pub fn bookmark<'a>(bookmark: &'a Value, resource_version: String, version: Version) -> Table<'a> {
    Table {
        kind: "Table",
        api_version: version.api_version(),
        metadata: ListMeta { resource_version, ..ListMeta::default() },
        column_definitions: Vec::new(),
        rows: vec![TableRow {
            cells: Vec::new(),
            conditions: Vec::new(),
            object: RowObject::Partial(partial(bookmark, version)),
        }],
    }
}

fn row_object(object: &Value, options: TableOptions) -> RowObject<'_> {
    match options.include {
        IncludeObject::Metadata => RowObject::Partial(partial(object, options.version)),
        IncludeObject::Object => RowObject::Whole(object),
        IncludeObject::None => RowObject::None(()),
    }
}

fn definition(column: &Column) -> ColumnDefinition {
    let Column { name, kind, format, description, priority } = *column;
    ColumnDefinition { name, kind, format, description, priority }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds;
    use expect_test::expect;
    use serde_json::json;

    fn printed(include: &str, columns: bool) -> String {
        let def = kinds::all().iter().find(|def| def.kind.kind == "ConfigMap").expect("config maps are served");
        let objects = [json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "settings", "creationTimestamp": "2026-11-21T06:00:00Z" },
            "data": { "a": "1", "b": "2" },
        })];
        let options = TableOptions {
            include: IncludeObject::parse(include).expect("it is known"),
            version: Version::V1,
            columns,
            now: "2026-11-21T06:01:30Z".parse().expect("it is a time"),
        };
        let meta = ListMeta { resource_version: "7".to_owned(), ..ListMeta::default() };
        let table = table(def, &objects, meta, options);
        let mut value = serde_json::to_value(&table).expect("tables are JSON");
        for column in value["columnDefinitions"].as_array_mut().expect("a list") {
            column["description"].take();
        }
        value.to_string()
    }

    #[test]
    fn rows_carry_metadata_unless_asked_otherwise() {
        expect![[r#"{"apiVersion":"meta.k8s.io/v1","columnDefinitions":[{"description":null,"format":"name","name":"Name","priority":0,"type":"string"},{"description":null,"format":"","name":"Data","priority":0,"type":"integer"},{"description":null,"format":"","name":"Age","priority":0,"type":"string"}],"kind":"Table","metadata":{"resourceVersion":"7"},"rows":[{"cells":["settings",2,"90s"],"object":{"apiVersion":"meta.k8s.io/v1","kind":"PartialObjectMetadata","metadata":{"creationTimestamp":"2026-11-21T06:00:00Z","name":"settings"}}}]}"#]]
            .assert_eq(&printed("", true));
        expect![[r#"{"apiVersion":"meta.k8s.io/v1","columnDefinitions":[],"kind":"Table","metadata":{"resourceVersion":"7"},"rows":[{"cells":["settings",2,"90s"],"object":{"apiVersion":"v1","data":{"a":"1","b":"2"},"kind":"ConfigMap","metadata":{"creationTimestamp":"2026-11-21T06:00:00Z","name":"settings"}}}]}"#]]
            .assert_eq(&printed("Object", false));
        assert!(printed("None", false).contains(r#""object":null"#));
        assert_eq!(IncludeObject::parse("Some").expect_err("no such word").code, 400);
    }
}
