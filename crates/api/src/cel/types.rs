//! The types of the language, for checking an expression before there are values.
//!
//! Two types fit each other as in upstream's checker (`cel-go/checker/types.go`): what is not known fits everything, null
//! fits what can be absent, all else fits its own kind. They are written as its messages write them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

mod known;
mod schema;

/// A type.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are the language's types")]
pub enum Type {
    /// Anything: told only when the expression runs.
    Dyn,
    /// What the items of an empty list are: whatever the other side asks for.
    Free,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Timestamp,
    Duration,
    /// A type as a value.
    Kind,
    List(Arc<Type>),
    Map(Arc<Type>, Arc<Type>),
    Optional(Arc<Type>),
    Object(Arc<Structure>),
    /// A type of a library, by its name.
    Opaque(&'static str),
}

/// An object with its declared fields. Two are the same type if they have the same name.
#[derive(Clone, Debug)]
pub struct Structure {
    /// Its name, such as `Deployment.spec`.
    pub name: String,
    /// Its fields, as expressions write them.
    pub fields: BTreeMap<String, Type>,
}

impl PartialEq for Structure {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Type {
    /// An object type.
    pub fn object(name: &str, fields: impl IntoIterator<Item = (String, Type)>) -> Self {
        Self::Object(Arc::new(Structure { name: name.to_owned(), fields: fields.into_iter().collect() }))
    }

    /// A list of these.
    pub fn list(item: Type) -> Self {
        Self::List(Arc::new(item))
    }

    /// A map from text to these.
    pub fn map(value: Type) -> Self {
        Self::Map(Arc::new(Self::String), Arc::new(value))
    }

    pub(super) fn is_unknown(&self) -> bool {
        matches!(self, Self::Dyn | Self::Free)
    }

    /// True if a value of the one type can stand where the other is asked for.
    pub(super) fn fits(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Dyn | Self::Free, _) | (_, Self::Dyn | Self::Free) => true,
            (Self::Null, any) | (any, Self::Null) => any.is_nullable(),
            (Self::List(own), Self::List(their)) | (Self::Optional(own), Self::Optional(their)) => {
                own.fits(their)
            }
            (Self::Map(key, value), Self::Map(their_key, their_value)) => {
                key.fits(their_key) && value.fits(their_value)
            }
            (own, their) => own == their,
        }
    }

    fn is_nullable(&self) -> bool {
        matches!(
            self,
            Self::Null
                | Self::Timestamp
                | Self::Duration
                | Self::Optional(_)
                | Self::Object(_)
                | Self::Opaque(_)
        )
    }

    /// Of two types that fit, what both are.
    pub(super) fn general(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Free, known) | (known, Self::Free) => known.clone(),
            (Self::Dyn, _) | (_, Self::Dyn) => Self::Dyn,
            (Self::Null, known) => known.clone(),
            (Self::List(own), Self::List(their)) => Self::list(own.general(their)),
            (Self::Optional(own), Self::Optional(their)) => Self::Optional(Arc::new(own.general(their))),
            (Self::Map(key, value), Self::Map(their_key, their_value)) => {
                Self::Map(Arc::new(key.general(their_key)), Arc::new(value.general(their_value)))
            }
            (own, _) => own.clone(),
        }
    }

    /// As a composed variable has it: upstream forgets the fields of objects there (`convertCelTypeToDeclType`).
    pub fn composed(&self) -> Self {
        match self {
            Self::List(item) => Self::list(item.composed()),
            Self::Map(key, value) => Self::Map(Arc::new(key.composed()), Arc::new(value.composed())),
            Self::Bool | Self::Int | Self::Uint | Self::Double | Self::String | Self::Bytes => self.clone(),
            Self::Timestamp | Self::Duration => self.clone(),
            _ => Self::Dyn,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dyn | Self::Free => f.write_str("dyn"),
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Uint => f.write_str("uint"),
            Self::Double => f.write_str("double"),
            Self::String => f.write_str("string"),
            Self::Bytes => f.write_str("bytes"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Duration => f.write_str("duration"),
            Self::Kind => f.write_str("type"),
            Self::List(item) => write!(f, "list({item})"),
            Self::Map(key, value) => write!(f, "map({key}, {value})"),
            Self::Optional(value) => write!(f, "optional_type({value})"),
            Self::Object(object) => f.write_str(&object.name),
            Self::Opaque(name) => f.write_str(name),
        }
    }
}
