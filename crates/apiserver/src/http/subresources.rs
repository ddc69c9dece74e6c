//! Subresources over HTTP, other than streams: status, scale, binding, eviction, token, finalize; and reviews.

use api::codec::Expected;
use api::{Gvk, Subresource, Verb};
use apiserver_core::kinds::KindDef;
use apiserver_core::write::{Outcome, UpdatePlan, apply_scale, decide_binding, decide_finalize, scale_of};
use axum::body::Body;
use http::{Response, StatusCode};
use meta::{Reason, Status};
use serde_json::{Value, json};

use crate::http::patch::{PatchBody, PatchKind, check_options};
use crate::http::resources::{answer_written, decode_as, not_supported};
use crate::http::respond::{self, Shape};
use crate::http::{Api, Call, body, options};
use crate::negotiate::Answer;
use crate::registry::Registry;
use crate::reviews;
use crate::tokens;
use crate::writing::{Changed, Target, WriteOptions, Written, patch_invalid};

impl Api {
    /// Answers a verb on a subresource.
    ///
    /// # Errors
    /// The refusal as the client sees it.
    pub(super) async fn subresource(
        &self,
        def: &'static KindDef,
        verb: Verb,
        name: &str,
        call: Call,
    ) -> Result<Response<Body>, Status> {
        let Some(subresource) = def.kind.subresource(name) else {
            let mut status = Status::new(Reason::NotFound, "the server could not find the requested resource");
            status.details = Some(Box::default());
            return Err(status);
        };
        let connects = matches!(name, "exec" | "log");
        if !connects && !subresource.verbs.contains(&verb) {
            return Err(not_supported(def, verb));
        }
        match name {
            "status" => match verb {
                Verb::Get => self.get(def, &call),
                Verb::Update => self.update(def, call, "status").await,
                _ => self.patch(def, call, "status").await,
            },
            "scale" => self.scale(def, verb, call).await,
            "finalize" => self.finalize(def, call).await,
            "binding" => self.binding(def, subresource, call).await,
            "eviction" => self.eviction(def, subresource, call).await,
            "token" => self.token(def, subresource, call).await,
            "log" => self.log(def, call).await,
            "exec" => self.exec(def, call).await,
            _ => Err(not_supported(def, verb)),
        }
    }

    async fn scale(&self, def: &'static KindDef, verb: Verb, call: Call) -> Result<Response<Body>, Status> {
        let shape = self.shape(&call, Answer::One)?;
        let place = call.place.clone();
        let target = place.target("scale");
        match verb {
            Verb::Get => {
                let object = self.registry.get(def, target.namespace, target.name)?;
                Ok(answer_tree(StatusCode::OK, &scale_of(object.tree()), &shape))
            }
            Verb::Update => {
                let parameters = options::WriteParameters::parse(&call.query, &call.parts.headers, "UpdateOptions")?;
                let scale = decode_as(self, call, Expected::exactly(SCALE)).await?;
                let written = self.registry.scale(def, &target, &parameters.write, |_| Ok(scale.clone())).await?;
                Ok(answer_scale(&written, &shape))
            }
            _ => {
                let parameters = options::WriteParameters::parse(&call.query, &call.parts.headers, "PatchOptions")?;
                let kind = PatchKind::of(&call.parts.headers)?;
                check_options(kind, &parameters)?;
                let limit = self.registry.config.limits.body_bytes_max;
                let bytes = body::read(&call.parts.headers, call.body, limit).await?;
                let (patch, _) = PatchBody::decode(kind, &bytes, def, &parameters)?;
                let written = self.registry.patch_scale(def, &target, &parameters.write, &patch).await?;
                Ok(answer_scale(&written, &shape))
            }
        }
    }

    async fn finalize(&self, def: &'static KindDef, call: Call) -> Result<Response<Body>, Status> {
        let shape = self.shape(&call, Answer::One)?;
        let parameters = options::WriteParameters::parse(&call.query, &call.parts.headers, "UpdateOptions")?;
        let place = call.place.clone();
        let new = decode_as(self, call, Expected::exactly(def.kind.gvk())).await?;
        let written = self.registry.finalize(def, &place.target("finalize"), &new, &parameters.write).await?;
        Ok(answer_written(def, &written, &written.warnings, &shape))
    }

    async fn binding(&self, def: &'static KindDef, sub: &Subresource, call: Call) -> Result<Response<Body>, Status> {
        let shape = self.shape(&call, Answer::One)?;
        let parameters = options::WriteParameters::parse(&call.query, &call.parts.headers, "CreateOptions")?;
        let place = call.place.clone();
        let binding = decode_as(self, call, Expected::exactly(body_kind(def, sub))).await?;
        self.registry.bind(def, &place.target("binding"), &binding, &parameters.write).await?;
        Ok(created_success(&shape))
    }

    async fn eviction(&self, def: &'static KindDef, sub: &Subresource, call: Call) -> Result<Response<Body>, Status> {
        let shape = self.shape(&call, Answer::One)?;
        let parameters = options::WriteParameters::parse(&call.query, &call.parts.headers, "CreateOptions")?;
        let place = call.place.clone();
        let eviction = decode_as(self, call, Expected::any_version(body_kind(def, sub))).await?;
        self.registry.evict(def, &place.target("eviction"), &eviction, &parameters.write).await?;
        Ok(created_success(&shape))
    }

    async fn token(&self, def: &'static KindDef, sub: &Subresource, call: Call) -> Result<Response<Body>, Status> {
        let shape = self.shape(&call, Answer::One)?;
        let place = call.place.clone();
        let request = decode_as(self, call, Expected::exactly(body_kind(def, sub))).await?;
        let answered = tokens::request(&self.registry, def, &place.target("token"), request)?;
        Ok(answer_tree(StatusCode::CREATED, &answered, &shape))
    }

    /// A question that is answered and not stored.
    pub(super) async fn review(&self, def: &'static KindDef, call: Call) -> Result<Response<Body>, Status> {
        let shape = self.shape(&call, Answer::One)?;
        let (user, namespace) = (call.user.clone(), call.place.namespace.clone());
        let review = decode_as(self, call, Expected::exactly(def.kind.gvk())).await?;
        let answered = reviews::answer(&self.registry, def, review, &user, namespace.as_deref())?;
        Ok(answer_tree(StatusCode::CREATED, &answered, &shape))
    }
}

/// The kind of every scale.
pub const SCALE: Gvk<'static> = Gvk::of("autoscaling", "v1", "Scale");

fn body_kind(def: &'static KindDef, sub: &Subresource) -> Gvk<'static> {
    let own = def.kind.gvk();
    let (group, version) = sub.group_version.unwrap_or((own.group, own.version));
    Gvk { group, version, kind: sub.kind }
}

/// An answer of a kind that has no table of its own.
fn answer_tree(code: StatusCode, tree: &Value, shape: &Shape) -> Response<Body> {
    respond::document(code, tree, &shape.clone().whole())
}

fn answer_scale(written: &Written, shape: &Shape) -> Response<Body> {
    let mut response = answer_tree(StatusCode::OK, &scale_of(written.object.tree()), shape);
    respond::warn(&mut response, &written.warnings);
    response
}

fn created_success(shape: &Shape) -> Response<Body> {
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    answer_tree(StatusCode::CREATED, &body, shape)
}

impl Registry {
    /// Writes `spec.replicas` through a scale that is computed from the current one (V-133).
    ///
    /// # Errors
    /// The refusal as the client sees it.
    pub async fn scale(
        &self,
        def: &KindDef,
        target: &Target<'_>,
        options: &WriteOptions,
        scale: impl Fn(&Value) -> Result<Value, Status> + Send + Sync,
    ) -> Result<Written, Status> {
        let change = |current: &Value| {
            let scale = scale(&scale_of(current))?;
            let tree = apply_scale(def, current, &scale)?;
            Ok(Changed { tree, applied: false, warnings: Vec::new(), decided: None })
        };
        self.update(def, target, options, change).await
    }

    /// Patches a scale.
    ///
    /// # Errors
    /// The refusal as the client sees it.
    pub async fn patch_scale(
        &self,
        def: &KindDef,
        target: &Target<'_>,
        options: &WriteOptions,
        patch: &PatchBody,
    ) -> Result<Written, Status> {
        if let PatchBody::Apply { config, force } = patch {
            return self.apply_to_scale(def, target, options, (config, *force)).await;
        }
        let place = apiserver_core::patch::Place::root(SCALE);
        let place = place.ok_or_else(|| Status::internal("scales have no schema"))?;
        let patched = |scale: &Value| {
            let patched = patch.patched(place, scale, target.subresource)?;
            let decoded = api::codec::normalise(patched, Expected::exactly(SCALE), api::codec::Mode::Typed);
            decoded.map(|decoded| decoded.tree).map_err(|error| patch_invalid(&error))
        };
        self.scale(def, target, options, patched).await
    }

    /// Takes over `spec.finalizers` of a namespace (M-3).
    ///
    /// # Errors
    /// The refusal as the client sees it.
    pub async fn finalize(
        &self,
        def: &KindDef,
        target: &Target<'_>,
        new: &Value,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let change = |current: &Value| Ok(decided(decide_finalize(def, current, new)?));
        self.update(def, target, options, change).await
    }

    /// Gives a pod its node (K-32).
    ///
    /// # Errors
    /// The refusal as the client sees it.
    pub async fn bind(
        &self,
        def: &KindDef,
        target: &Target<'_>,
        binding: &Value,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let change = |current: &Value| {
            let bound = decide_binding(current, binding, self.now())?;
            Ok(decided(UpdatePlan { outcome: Outcome::Write(bound), warnings: Vec::new() }))
        };
        self.update(def, target, options, change).await
    }
}

fn decided(plan: UpdatePlan) -> Changed {
    Changed { tree: Value::Null, applied: false, warnings: Vec::new(), decided: Some(plan) }
}
