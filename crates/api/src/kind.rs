//! The row type of the kind table (D5): what a kind *is*, as data.
//!
//! The rows, with their functions for preparation, validation and printing, live in `apiserver-core::kinds`, one file
//! per kind; discovery, OpenAPI, routing and the codec read the data from here.

use meta::ResourceId;

/// Whether objects of a kind live in namespaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// In namespaces.
    Namespaced,
    /// For the whole cluster.
    Cluster,
}

impl Scope {
    /// The word in aggregated discovery (D-23).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Namespaced => "Namespaced",
            Self::Cluster => "Cluster",
        }
    }
}

/// A verb as discovery and authorization spell it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Verb {
    /// POST.
    Create,
    /// DELETE of one object.
    Delete,
    /// DELETE of a collection (V-53).
    DeleteCollection,
    /// GET of one object.
    Get,
    /// GET of a collection.
    List,
    /// PATCH.
    Patch,
    /// PUT.
    Update,
    /// GET of a collection with `watch=true`.
    Watch,
}

impl Verb {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Get => "get",
            Self::List => "list",
            Self::Patch => "patch",
            Self::Update => "update",
            Self::Watch => "watch",
        }
    }
}

/// All verbs of an ordinary resource, in the order discovery prints them (api.md 1.4).
pub const ALL_VERBS: &[Verb] = &[
    Verb::Create,
    Verb::Delete,
    Verb::DeleteCollection,
    Verb::Get,
    Verb::List,
    Verb::Patch,
    Verb::Update,
    Verb::Watch,
];

/// The verbs of a resource without `deletecollection` (namespaces, V-53).
pub const ALL_VERBS_BUT_DELETE_COLLECTION: &[Verb] =
    &[Verb::Create, Verb::Delete, Verb::Get, Verb::List, Verb::Patch, Verb::Update, Verb::Watch];

/// The verbs of `/status`, `/scale` and their like.
pub const GET_PATCH_UPDATE: &[Verb] = &[Verb::Get, Verb::Patch, Verb::Update];

/// The verb of reviews, bindings, evictions and tokens.
pub const CREATE_ONLY: &[Verb] = &[Verb::Create];

/// Group, version and kind: what `apiVersion` and `kind` say together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Gvk<'a> {
    /// API group; empty for the core group.
    pub group: &'a str,
    /// Version within the group.
    pub version: &'a str,
    /// Kind in CamelCase.
    pub kind: &'a str,
}

impl<'a> Gvk<'a> {
    /// A kind known at compile time.
    pub const fn of(group: &'a str, version: &'a str, kind: &'a str) -> Self {
        Self { group, version, kind }
    }

    /// Splits an `apiVersion`: `apps/v1`, or `v1` for the core group.
    pub fn parse(api_version: &'a str, kind: &'a str) -> Self {
        match api_version.split_once('/') {
            Some((group, version)) => Self { group, version, kind },
            None => Self { group: "", version: api_version, kind },
        }
    }

    /// `apps/v1`, or `v1` for the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }
}

/// One subresource of a kind.
#[derive(Clone, Copy, Debug)]
pub struct Subresource {
    /// Path segment: `status`, `scale`, `binding`, `eviction`, `log`, `exec`, `token`, `finalize`.
    pub name: &'static str,
    /// Kind of its body.
    pub kind: &'static str,
    /// Group and version of its body where they are not the parent's (`autoscaling/v1` of Scale, D-13).
    pub group_version: Option<(&'static str, &'static str)>,
    /// What works on it; nothing else is advertised (G-10).
    pub verbs: &'static [Verb],
}

impl Subresource {
    /// The ordinary `/status` of a kind.
    pub const fn status(kind: &'static str) -> Self {
        Self { name: "status", kind, group_version: None, verbs: GET_PATCH_UPDATE }
    }

    /// The ordinary `/scale` (V-133).
    pub const fn scale() -> Self {
        Self { name: "scale", kind: "Scale", group_version: Some(("autoscaling", "v1")), verbs: GET_PATCH_UPDATE }
    }
}

/// What a successful DELETE that removes the object at once answers (V-46).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeleteAnswer {
    /// A `Status` with the details of what is gone.
    Status,
    /// The last state of the object.
    Object,
}

/// What a PUT to a name that does not exist does (V-35).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UpdateOfMissing {
    /// 404.
    NotFound,
    /// Creates it, 201.
    Creates,
}

/// What a PUT without `metadata.resourceVersion` does (V-37).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UpdateWithoutVersion {
    /// Overwrites whatever is there.
    Unconditional,
    /// 422.
    Refused,
}

/// When `metadata.generation` counts (V-130).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Generation {
    /// The kind has none.
    None,
    /// 1 on creation, one more with each change of `spec` and when deletion begins.
    Spec,
    /// As [`Self::Spec`], and one more with each change of the annotations (Deployment).
    SpecAndAnnotations,
    /// 1 on creation and one more when deletion begins only (EndpointSlice, PriorityClass).
    CreationOnly,
}

/// One row: everything about a kind that is not a function.
#[derive(Clone, Debug)]
pub struct Kind {
    /// Group, version and plural name as in URLs.
    pub resource: ResourceId,
    /// Kind in CamelCase.
    pub kind: &'static str,
    /// Kind of its list.
    pub list_kind: &'static str,
    /// Singular name; usually the kind in lower case.
    pub singular: &'static str,
    /// Short names that kubectl accepts.
    pub short_names: &'static [&'static str],
    /// Categories that kubectl accepts, for example `all`.
    pub categories: &'static [&'static str],
    /// Namespaced or not.
    pub scope: Scope,
    /// What works on it; nothing else is advertised (G-10). [`CREATE_ONLY`] marks kinds that are never stored
    /// (access reviews).
    pub verbs: &'static [Verb],
    /// Subresources in alphabetical order.
    pub subresources: &'static [Subresource],
    /// Resource under whose keys the objects are stored, where it is not `resource` itself: the two Event groups share
    /// one storage (K-34).
    pub stored_as: Option<ResourceId>,
    /// Answer of a DELETE.
    pub delete_answer: DeleteAnswer,
    /// PUT to a missing name.
    pub update_of_missing: UpdateOfMissing,
    /// PUT without a resourceVersion.
    pub update_without_version: UpdateWithoutVersion,
    /// Counting of `metadata.generation`.
    pub generation: Generation,
    /// Field selector paths beyond `metadata.name` and `metadata.namespace` (V-112).
    pub selectable_fields: &'static [&'static str],
}

impl Kind {
    /// A kind with every verb about which nothing is special: most rows say only what is different.
    pub const fn ordinary(
        resource: ResourceId,
        scope: Scope,
        kind: &'static str,
        list_kind: &'static str,
        singular: &'static str,
    ) -> Self {
        Self {
            resource,
            kind,
            list_kind,
            singular,
            short_names: &[],
            categories: &[],
            scope,
            verbs: ALL_VERBS,
            subresources: &[],
            stored_as: None,
            delete_answer: DeleteAnswer::Status,
            update_of_missing: UpdateOfMissing::NotFound,
            update_without_version: UpdateWithoutVersion::Unconditional,
            generation: Generation::None,
            selectable_fields: &[],
        }
    }

    /// Group, version and kind.
    pub fn gvk(&self) -> Gvk<'_> {
        Gvk { group: &self.resource.group, version: &self.resource.version, kind: self.kind }
    }

    /// Group, version and kind of its list.
    pub fn list_gvk(&self) -> Gvk<'_> {
        Gvk { kind: self.list_kind, ..self.gvk() }
    }

    /// True if objects live in namespaces.
    pub fn is_namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }

    /// True if `/status` is served: then `status` in other writes is dropped (V-29).
    pub fn has_status(&self) -> bool {
        self.subresource("status").is_some()
    }

    /// The subresource of that name.
    pub fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }

    /// True if the verb works on the resource itself.
    pub fn allows(&self, verb: Verb) -> bool {
        self.verbs.contains(&verb)
    }

    /// The resource under whose keys objects are stored.
    pub fn storage(&self) -> &ResourceId {
        self.stored_as.as_ref().unwrap_or(&self.resource)
    }
}
