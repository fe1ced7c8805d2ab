//! A kind's table: its headings, and what gives the cells below them.
//!
//! Most kinds give [`Column`]s, whose cells look at the typed object. A kind that is listed by the ten thousand may
//! read the few fields that its cells need from the JSON instead ([`Table::new`]).

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::Value;
use skiff_api::Object;
use skiff_api::object::DecodeError;
use skiff_api::resource::Readable;

/// Gives the cells of one object; an error if the stored JSON does not fit the type any more.
pub type Printer = Box<dyn Fn(&Object, Timestamp) -> Result<Vec<Value>, DecodeError> + Send + Sync>;

/// The headings, and what prints an object below them.
pub struct Table {
    /// One for each cell.
    pub headings: Vec<Heading>,
    /// The cells, in the order of the headings; `now` is for ages.
    pub printer: Printer,
}

/// The heading of a column.
#[derive(Clone, Debug)]
pub struct Heading {
    /// `Restarts`.
    pub name: Cow<'static, str>,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: Cow<'static, str>,
    /// As in OpenAPI; mostly empty.
    pub format: Cow<'static, str>,
    /// 0: always shown; 1: with `-o wide`.
    pub priority: i32,
    /// What the column says.
    pub description: Cow<'static, str>,
}

/// A column whose cells are made from the typed object.
pub struct Column<K> {
    /// The heading, such as `Restarts`.
    pub name: &'static str,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: &'static str,
    /// 0: always shown; 1: with `-o wide`.
    pub priority: i32,
    /// What the column says, for `kubectl get --show-...` tools.
    pub description: &'static str,
    /// The cell of one object; `now` is for ages.
    pub cell: fn(&K, now: Timestamp) -> Value,
}

impl Table {
    /// A table whose cells are read by `cells`.
    pub fn new(
        headings: Vec<Heading>,
        cells: impl Fn(&Object, Timestamp) -> Result<Vec<Value>, DecodeError> + Send + Sync + 'static,
    ) -> Self {
        Self { headings, printer: Box::new(cells) }
    }

    /// The table of columns that look at the typed object.
    pub fn of<K: Readable>(columns: Vec<Column<K>>) -> Self {
        let heading = |column: &Column<K>| Heading {
            kind: column.kind.into(),
            priority: column.priority,
            description: column.description.into(),
            ..Heading::text(column.name)
        };
        let headings = columns.iter().map(heading).collect();
        Self::new(headings, move |object, now| {
            let typed = object.decode::<K>()?;
            Ok(columns.iter().map(|column| (column.cell)(&typed, now)).collect())
        })
    }
}

impl Heading {
    /// The heading of a column of text.
    pub const fn text(name: &'static str) -> Self {
        Self {
            name: Cow::Borrowed(name),
            kind: Cow::Borrowed("string"),
            format: Cow::Borrowed(""),
            priority: 0,
            description: Cow::Borrowed(""),
        }
    }

    /// The same heading, shown only with `-o wide`.
    #[must_use]
    pub fn wide(self) -> Self {
        Self { priority: 1, ..self }
    }
}

impl<K: Readable> Column<K> {
    /// A column of text.
    pub const fn text(name: &'static str, cell: fn(&K, Timestamp) -> Value) -> Self {
        Self { name, kind: "string", priority: 0, description: "", cell }
    }

    /// A column of whole numbers.
    pub const fn number(name: &'static str, cell: fn(&K, Timestamp) -> Value) -> Self {
        Self { name, kind: "integer", priority: 0, description: "", cell }
    }

    /// The same column, shown only with `-o wide`.
    #[must_use]
    pub const fn wide(mut self) -> Self {
        self.priority = 1;
        self
    }

    /// How long ago the object was created.
    pub fn age() -> Self {
        Self::text("Age", |object, now| {
            age(object.metadata().creation_timestamp.as_ref().map(|time| time.0), now)
        })
    }
}

/// The cell that tells an object's age.
pub(crate) fn age(created: Option<Timestamp>, now: Timestamp) -> Value {
    created.map_or_else(|| "<unknown>".into(), |created| skiff_api::table::age(created, now).into())
}
