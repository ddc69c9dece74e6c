//! The verbs on stored objects over HTTP: one path for every kind (D5).

use std::sync::Arc;

use api::Verb;
use api::codec::{self, Expected, Mode};
use apiserver_core::kinds::KindDef;
use apiserver_core::selector::Selector;
use apiserver_core::table::IncludeObject;
use apiserver_core::write::DeletionOptions;
use axum::body::Body;
use futures::StreamExt as _;
use http::{Response, StatusCode};
use meta::{Reason, Status};
use serde_json::{Value, json};
use store_core::Record;

use crate::changes::WatchRequest;
use crate::http::patch::{self, PatchBody};
use crate::http::respond::{self, Shape};
use crate::http::watch::{self, Counted, WatchShape};
use crate::http::{Api, Call, body, method_not_allowed, options};
use crate::negotiate::{Answer, Projection, negotiate};
use crate::registry::{ListAt, ListRequest, Registry, object, too_many};
use crate::writing::{Changed, Deleted, Judged, Target, Written, judge};

impl Api {
    /// Answers a verb on a resource without a subresource.
    ///
    /// # Errors
    /// The refusal as the client sees it.
    pub(super) async fn resource(
        &self,
        def: &'static KindDef,
        verb: Verb,
        call: Call,
    ) -> Result<Response<Body>, Status> {
        match verb {
            Verb::Get => self.get(def, &call),
            Verb::List => self.list(def, &call).await,
            Verb::Watch => self.watch(def, &call).await,
            Verb::Create => self.create(def, call).await,
            Verb::Update => self.update(def, call, "").await,
            Verb::Patch => self.patch(def, call, "").await,
            Verb::Delete => self.delete(def, call).await,
            Verb::DeleteCollection => self.delete_collection(def, call).await,
        }
    }

    /// What an answer looks like, by the request's headers.
    pub(super) fn shape(&self, call: &Call, answer: Answer) -> Result<Shape, Status> {
        let representation = negotiate(&call.parts.headers, &call.query, answer)?;
        let include = match representation.projection {
            Projection::Table(_) => IncludeObject::parse(call.query.text("includeObject"))?,
            Projection::Whole | Projection::Metadata(_) => IncludeObject::Metadata,
        };
        let gzip = Shape::takes_gzip(&call.parts.headers);
        Ok(Shape { representation, include, gzip, now: self.registry.now() })
    }

    /// GET of one object, also through `/status` (V-132).
    pub(super) fn get(&self, def: &KindDef, call: &Call) -> Result<Response<Body>, Status> {
        let shape = self.shape(call, Answer::One)?;
        let object = self.registry.get(def, call.namespace(), call.name())?;
        Ok(respond::one(StatusCode::OK, def, &object, &shape))
    }

    async fn list(&self, def: &KindDef, call: &Call) -> Result<Response<Body>, Status> {
        let shape = self.shape(call, Answer::List)?;
        let request = options::list(&call.query, def, call.namespace())?;
        let page = self.registry.list(def, &request).await?;
        Ok(respond::list(def, page, &shape))
    }

    async fn watch(&self, def: &'static KindDef, call: &Call) -> Result<Response<Body>, Status> {
        let mut shape = self.shape(call, Answer::Watch)?;
        // Frames are lines: readers split at line ends (V-3).
        shape.representation.pretty = false;
        let fields = watched_fields(call)?;
        let selector = Selector::parse(&def.kind, call.query.text("labelSelector"), &fields)?;
        let from = options::watch_from(&call.query)?;
        let request =
            WatchRequest { namespace: call.namespace().map(str::to_owned), selector: Arc::new(selector), from };
        let timeout = call.query.integer("timeoutSeconds")?.filter(|secs| *secs > 0).map(i64::unsigned_abs);
        let bookmarks = call.query.flag("allowWatchBookmarks");
        let watch = WatchShape { def, shape, bookmarks, timeout_secs: timeout };
        let permit = self.registry.watches.clone().try_acquire_owned().map_err(|_| too_many("watches"))?;
        let open = Counted::new(&self.registry.metrics.watches, permit);
        match self.registry.watch(def, request).await {
            Ok(changes) => Ok(watch::response(changes, watch, self.cancel.clone(), open)),
            // Told within the stream, as upstream does (V-78).
            Err(status) if status.is_expired() => Ok(watch::refused(&status, &watch)),
            Err(status) => Err(status),
        }
    }

    async fn create(&self, def: &'static KindDef, call: Call) -> Result<Response<Body>, Status> {
        let shape = self.shape(&call, Answer::One)?;
        let parameters = options::WriteParameters::parse(&call.query, &call.parts.headers, "CreateOptions")?;
        let place = call.place.clone();
        let (tree, mut warnings) = self.decode(def, call, parameters.validation).await?;
        let written = self.registry.create(def, place.namespace.as_deref(), tree, &parameters.write).await?;
        warnings.extend(written.warnings.iter().cloned());
        Ok(answer_written(def, &written, &warnings, &shape))
    }

    /// Reads and decodes the object in a request's body; the warnings of its unknown fields come with it.
    async fn decode(
        &self,
        def: &KindDef,
        call: Call,
        validation: codec::FieldValidation,
    ) -> Result<(Value, Vec<String>), Status> {
        let media = body::media(&call.parts.headers)?;
        let bytes = body::read(&call.parts.headers, call.body, self.registry.config.limits.body_bytes_max).await?;
        let decoded = codec::decode(&bytes, media, Expected::exactly(def.kind.gvk()), Mode::Typed);
        let decoded = decoded.map_err(|error| error.to_status())?;
        let warnings = judge(def, &decoded.problems, validation, Judged::Body)?;
        let mut tree = decoded.tree;
        def.default_object(&mut tree);
        Ok((tree, warnings))
    }

    /// PUT of an object or of its `/status`.
    pub(super) async fn update(
        &self,
        def: &'static KindDef,
        call: Call,
        subresource: &'static str,
    ) -> Result<Response<Body>, Status> {
        let shape = self.shape(&call, Answer::One)?;
        let parameters = options::WriteParameters::parse(&call.query, &call.parts.headers, "UpdateOptions")?;
        let place = call.place.clone();
        let (tree, mut warnings) = self.decode(def, call, parameters.validation).await?;
        let target = place.target(subresource);
        let change =
            |_: &Value| Ok(Changed { tree: tree.clone(), applied: false, warnings: Vec::new(), decided: None });
        let mut written = self.registry.update(def, &target, &parameters.write, change).await;
        let creates = def.kind.update_of_missing == api::UpdateOfMissing::Creates && subresource.is_empty();
        if creates && matches!(&written, Err(status) if status.is_not_found()) {
            let mut tree = tree;
            name_created(&mut tree, target.name)?;
            written = self.registry.create(def, target.namespace, tree, &parameters.write).await;
        }
        let written = written?;
        warnings.extend(written.warnings.iter().cloned());
        Ok(answer_written(def, &written, &warnings, &shape))
    }

    /// PATCH of an object or of its `/status`.
    pub(super) async fn patch(
        &self,
        def: &'static KindDef,
        call: Call,
        subresource: &'static str,
    ) -> Result<Response<Body>, Status> {
        let shape = self.shape(&call, Answer::One)?;
        let parameters = options::WriteParameters::parse(&call.query, &call.parts.headers, "PatchOptions")?;
        let place = call.place.clone();
        let kind = patch::PatchKind::of(&call.parts.headers)?;
        patch::check_options(kind, &parameters)?;
        let limit = self.registry.config.limits.body_bytes_max;
        let bytes = body::read(&call.parts.headers, call.body, limit).await?;
        let (body, mut warnings) = PatchBody::decode(kind, &bytes, def, &parameters)?;
        let target = place.target(subresource);
        let written = self.registry.patch(def, &target, &body, &parameters.write, parameters.validation).await?;
        warnings.extend(written.warnings.iter().cloned());
        Ok(answer_written(def, &written, &warnings, &shape))
    }

    /// The options of a deletion, from the body if there is one.
    pub(super) async fn deletion_options(&self, call: &mut Call) -> Result<DeletionOptions, Status> {
        let limit = self.registry.config.limits.body_bytes_max;
        let incoming = std::mem::take(&mut call.body);
        let bytes = body::read(&call.parts.headers, incoming, limit).await?;
        if bytes.is_empty() {
            return options::deletion(&call.query, None);
        }
        let media = body::media(&call.parts.headers)?;
        let gvk = api::Gvk::of("meta.k8s.io", "v1", "DeleteOptions");
        let decoded = codec::decode(&bytes, media, Expected::any_version(gvk), Mode::Typed);
        options::deletion(&call.query, Some(decoded.map_err(|error| error.to_status())?.tree))
    }

    async fn delete(&self, def: &'static KindDef, mut call: Call) -> Result<Response<Body>, Status> {
        let shape = self.shape(&call, Answer::One)?;
        let options = self.deletion_options(&mut call).await?;
        let place = call.place.clone();
        let deleted = self.registry.delete(def, &place.target(""), &options).await?;
        Ok(answer_deleted(def, &deleted, &options, &shape))
    }

    /// DELETE of a collection: each match through the ordinary path (V-53).
    async fn delete_collection(&self, def: &'static KindDef, mut call: Call) -> Result<Response<Body>, Status> {
        let shape = self.shape(&call, Answer::List)?;
        let options = self.deletion_options(&mut call).await?;
        let request = ListRequest { at: ListAt::Latest, ..options::list(&call.query, def, call.namespace())? };
        let page = self.registry.list(def, &request).await?;
        // Preconditions are about one object and mean nothing here.
        let each = DeletionOptions { uid: None, resource_version: None, ..options };
        let limit = self.registry.config.limits.delete_parallel_max;
        let records = page.records.clone();
        let deletions =
            records.into_iter().map(|record| delete_record(self.registry.clone(), def, record, each.clone()));
        let mut running = futures::stream::iter(deletions).buffer_unordered(limit);
        while let Some(outcome) = running.next().await {
            outcome.or_else(|status| if status.is_not_found() { Ok(()) } else { Err(status) })?;
        }
        Ok(respond::list(def, page, &shape))
    }
}

/// Deletes the object of a record, whatever state it is in by now.
async fn delete_record(
    registry: Arc<Registry>,
    def: &'static KindDef,
    record: Arc<Record>,
    options: DeletionOptions,
) -> Result<(), Status> {
    let object = object(def, &record);
    let namespace = Some(object.namespace()).filter(|namespace| !namespace.is_empty());
    let target = Target { namespace, name: object.name(), subresource: "" };
    registry.delete(def, &target, &options).await.map(|_| ())
}

/// The field selector of a watch, joined with the name in its URL (V-86).
fn watched_fields(call: &Call) -> Result<String, Status> {
    let fields = call.query.text("fieldSelector").to_owned();
    let Some(name) = call.place.name.as_deref() else { return Ok(fields) };
    if fields.is_empty() {
        return Ok(format!("metadata.name={name}"));
    }
    let named =
        fields.split(',').find_map(|term| term.strip_prefix("metadata.name=")).map(|n| n.trim_start_matches('='));
    match named {
        Some(other) if other != name => {
            Err(Status::bad_request("both a name and a field selector for another name were given"))
        }
        Some(_) => Ok(fields),
        None => Ok(format!("{fields},metadata.name={name}")),
    }
}

/// A PUT that creates takes the name of the URL (V-35, V-36).
fn name_created(tree: &mut Value, name: &str) -> Result<(), Status> {
    let given = tree["metadata"]["name"].as_str().unwrap_or_default();
    if !given.is_empty() && given != name {
        return Err(Status::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({name})"
        )));
    }
    tree["metadata"]["name"] = name.into();
    Ok(())
}

/// The answer of a write.
pub(super) fn answer_written(def: &KindDef, written: &Written, warnings: &[String], shape: &Shape) -> Response<Body> {
    let code = if written.created { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = respond::one(code, def, &written.object, shape);
    respond::warn(&mut response, warnings);
    response
}

/// The answer of a deletion (V-46, V-52).
pub(super) fn answer_deleted(
    def: &KindDef,
    deleted: &Deleted,
    options: &DeletionOptions,
    shape: &Shape,
) -> Response<Body> {
    let pending = !deleted.gone && options.orphan_dependents_false;
    let code = if pending { StatusCode::ACCEPTED } else { StatusCode::OK };
    let mut response = if deleted.gone && def.kind.delete_answer == api::DeleteAnswer::Status {
        respond::document(StatusCode::OK, &success(def, deleted), &shape.clone().whole())
    } else {
        respond::one(code, def, &deleted.object, shape)
    };
    respond::warn(&mut response, &deleted.warnings);
    response
}

fn success(def: &KindDef, deleted: &Deleted) -> Value {
    let mut details = json!({
        "name": deleted.object.name(),
        "kind": def.kind.resource.resource,
        "uid": deleted.object.uid().0,
    });
    if !def.kind.resource.group.is_empty() {
        details["group"] = json!(def.kind.resource.group);
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

/// 405 for a verb that a resource does not have (V-7). Of a watch upstream says more than of other verbs.
pub(super) fn not_supported(def: &KindDef, verb: Verb) -> Status {
    if verb != Verb::Watch {
        return method_not_allowed();
    }
    let what = def.kind.resource.group_resource();
    let mut status = Status::new(
        Reason::MethodNotAllowed,
        format!("{} is not supported on resources of kind \"{what}\"", verb.as_str()),
    );
    let details = status.details.get_or_insert_default();
    details.group = def.kind.resource.group.to_string();
    details.kind = def.kind.resource.resource.to_string();
    status
}

/// Decodes a small body of some other kind (a binding, an eviction, a scale) to a tree with its defaults.
pub(super) async fn decode_as(api: &Api, call: Call, expected: Expected<'_>) -> Result<Value, Status> {
    let media = body::media(&call.parts.headers)?;
    let bytes = body::read(&call.parts.headers, call.body, api.registry.config.limits.body_bytes_max).await?;
    let decoded = codec::decode(&bytes, media, expected, Mode::Typed);
    decoded.map(|decoded| decoded.tree).map_err(|error| error.to_status())
}
