//! What patches need to know of the schema: one place of a tree at a time.

use api::Gvk;
use api::schema::{self, Field, Schema, TypeId};
use serde_json::Value;

/// How the items of a list belong together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ListType {
    /// One value; owned and replaced as a whole.
    Atomic,
    /// Scalars, each at most once.
    Set,
    /// Objects told apart by their [`Place::keys`].
    Map,
}

/// What stands at a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    /// Declared fields.
    Struct {
        /// Owned as a whole (P-27).
        atomic: bool,
    },
    /// Free keys, one type of value.
    Map {
        /// Owned as a whole (P-27).
        atomic: bool,
    },
    /// Items of one type.
    List(ListType),
    /// Text.
    Text,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// Text or a number: quantities, int-or-string.
    Scalar,
    /// Anything; never looked into.
    Opaque,
}

impl Shape {
    /// True if the value is owned and merged as a whole.
    pub(crate) fn is_leaf(self) -> bool {
        !matches!(
            self,
            Self::Struct { atomic: false } | Self::Map { atomic: false } | Self::List(ListType::Set | ListType::Map)
        )
    }
}

/// A place in a described tree: a type, and what the field that holds it says about merging (P-26).
#[derive(Clone, Copy, Debug)]
pub struct Place {
    ty: TypeId,
    field: Option<&'static Field>,
}

impl Place {
    /// The top of an object of a kind.
    pub fn root(gvk: Gvk<'_>) -> Option<Self> {
        Schema::get().root(gvk).map(|ty| Self { ty, field: None })
    }

    /// The top of an object whose type is known.
    pub fn of_type(ty: TypeId) -> Self {
        Self { ty, field: None }
    }

    /// What stands here.
    pub(crate) fn shape(self) -> Shape {
        use schema::Shape as Of;
        match Schema::get().shape(self.ty) {
            Of::Struct(id) => {
                let atomic = Schema::get().structure(id).atomic || self.field.is_some_and(Field::is_map_atomic);
                Shape::Struct { atomic }
            }
            Of::Map(_) => Shape::Map { atomic: self.field.is_some_and(Field::is_map_atomic) },
            Of::List(_) | Of::WrappedList(_) => Shape::List(match self.field.map(Field::list_type) {
                Some(schema::ListType::Map) => ListType::Map,
                Some(schema::ListType::Set) => ListType::Set,
                Some(schema::ListType::Atomic) | None => ListType::Atomic,
            }),
            Of::String | Of::Bytes | Of::Time | Of::MicroTime => Shape::Text,
            Of::Int32 | Of::Int64 => Shape::Number,
            Of::Bool => Shape::Boolean,
            Of::Quantity | Of::IntOrString => Shape::Scalar,
            Of::RawExtension | Of::FieldsV1 => Shape::Opaque,
        }
    }

    /// The place of a declared field; `None` if this is not a struct or has no such field.
    pub(crate) fn field(self, name: &str) -> Option<Self> {
        Schema::get().field(self.ty, name).map(|field| Self { ty: field.ty, field: Some(field) })
    }

    /// The place of every item of a list or every value of a map.
    pub(crate) fn item(self) -> Option<Self> {
        Schema::get().element(self.ty).map(Self::of_type)
    }

    /// The place of a member of an object: a declared field or a value of a map.
    pub(crate) fn member(self, name: &str) -> Option<Self> {
        match Schema::get().shape(self.ty) {
            schema::Shape::Struct(_) => self.field(name),
            schema::Shape::Map(_) => self.item(),
            _ => None,
        }
    }

    /// The key fields of a [`ListType::Map`], in no particular order.
    pub(crate) fn keys(self) -> &'static [&'static str] {
        self.field.map_or(&[], Field::list_map_keys)
    }

    /// The value an absent field takes.
    pub(crate) fn default(self) -> Option<&'static Value> {
        self.field.and_then(Field::default)
    }

    /// The merge key of strategic merge patches.
    pub(crate) fn merge_key(self) -> Option<&'static str> {
        self.field.and_then(Field::patch_merge_key)
    }

    /// True if strategic merge patches merge this list.
    pub(crate) fn merges(self) -> bool {
        self.has_strategy("merge")
    }

    /// True if strategic merge patches replace this map as a whole.
    pub(crate) fn replaces(self) -> bool {
        self.has_strategy("replace")
    }

    fn has_strategy(self, strategy: &str) -> bool {
        self.field.is_some_and(|field| field.patch_strategies().any(|s| s == strategy))
    }

    /// The fields that the type has even when nothing was written: structs that are no pointers upstream, and lists
    /// that are written when empty.
    pub(crate) fn always_there(self) -> impl Iterator<Item = (&'static str, Self)> {
        let fields = Schema::get().struct_of(self.ty).map(|s| &*s.fields).unwrap_or_default();
        fields.iter().filter_map(|field| {
            let place = Self { ty: field.ty, field: Some(field) };
            let is_there = match place.shape() {
                Shape::Struct { .. } => !field.is_pointer(),
                Shape::List(_) => !field.is_pointer() && !field.omits_empty(),
                _ => false,
            };
            is_there.then_some((field.name, place))
        })
    }
}

/// The shape of a place that may be undeclared; what is undeclared is opaque.
pub(crate) fn shape_of(place: Option<Place>) -> Shape {
    place.map_or(Shape::Opaque, Place::shape)
}
