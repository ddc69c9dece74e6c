//! Columns and rows of printed tables (V-140 to V-151).

use serde_json::Value;

/// One column of a kind's table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Column {
    /// Title, for example `Ready`; kubectl prints it in capitals.
    pub name: &'static str,
    /// OpenAPI type of the cells: `string`, `integer`, `date`.
    pub kind: &'static str,
    /// `name` for the first column, else empty.
    pub format: &'static str,
    /// What the column shows.
    pub description: &'static str,
    /// 0 is always printed, 1 with `-o wide` only.
    pub priority: i32,
}

impl Column {
    /// The object's name: the first column of every kind.
    pub const NAME: Self = Self {
        name: "Name",
        kind: "string",
        format: "name",
        description: "Name of the object, unique within its namespace and kind.",
        priority: 0,
    };
    /// How long ago the object was created.
    pub const AGE: Self = Self::text("Age", "Time since the object was created.");

    /// When the object was created: the column of kinds about which there is nothing else to say.
    pub const CREATED_AT: Self =
        Self { kind: "date", ..Self::text("Created At", "The moment in which the object was created.") };

    /// What runs in the pods of a template, on wide screens.
    pub const CONTAINERS: Self = Self::text("Containers", "Names of the containers.").wide();
    /// From what it runs, on wide screens.
    pub const IMAGES: Self = Self::text("Images", "Images of the containers.").wide();
    /// Which pods are meant, on wide screens.
    pub const SELECTOR: Self = Self::text("Selector", "Labels of the pods.").wide();

    /// A column of texts.
    pub const fn text(name: &'static str, description: &'static str) -> Self {
        Self { name, kind: "string", format: "", description, priority: 0 }
    }

    /// A column of whole numbers.
    pub const fn int(name: &'static str, description: &'static str) -> Self {
        Self { name, kind: "integer", format: "", description, priority: 0 }
    }

    /// The same column, shown with `-o wide` only.
    #[must_use]
    pub const fn wide(self) -> Self {
        Self { priority: 1, ..self }
    }
}

/// One printed line.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Row {
    /// One cell for each column.
    pub cells: Vec<Value>,
    /// Set for a finished pod: the phase, which becomes the reason of the row's condition `Completed`.
    pub completed: Option<Completed>,
}

/// Why a row says `Completed`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Completed {
    /// The pod's phase.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: &'static str,
}

impl Row {
    /// A line of cells.
    pub fn of<const N: usize>(cells: [Value; N]) -> Self {
        Self { cells: cells.into(), completed: None }
    }
}
