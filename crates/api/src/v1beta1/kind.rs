//! The kinds of 2014 as a table: one file a kind, one row each; routes, lists and printing derive from it.

use std::any::Any;
use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::fault::Fault;
use super::meta::TypeMeta;
use super::value::Map;
use super::{API_VERSION, body, list, merge};
use crate::decode::{self, Legible, Strictness};
use crate::errors::FieldError;

/// What is particular to one kind. Everything else happens once, behind [`Object`].
pub trait Kind:
    Clone + Debug + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The v1 counterpart.
    type V1: Serialize + Legible;
    /// The kind's row.
    const ROW: &'static Row;

    /// The common members.
    fn meta(&self) -> &TypeMeta;
    /// The common members.
    fn meta_mut(&mut self) -> &mut TypeMeta;
    /// The object's labels.
    fn labels(&self) -> Map {
        Map::new()
    }
    /// What 2014 can say of a v1 object.
    fn from_v1(v1: &Self::V1) -> Self;
    /// As v1 has it.
    fn to_v1(&self) -> Self::V1;
    /// Fills in, before an object is created, what one member tells about another.
    fn prepare(&mut self) {}
    /// Takes over from what the client was shown whatever its PUT does not mention: what the server owns, and what is
    /// younger than profile A.
    fn keep(&mut self, shown: &Self) {
        let meta = shown.meta().clone();
        self.meta_mut().keep(&meta);
    }
    /// The rules of 2014 that v1 does not have.
    fn validate(&self, faults: &mut Vec<FieldError>) {
        let _ = faults;
    }
}

/// One row of the table.
#[derive(Clone, Copy)]
pub struct Row {
    /// The path segment, in the camelCase that is always emitted.
    pub segment: &'static str,
    /// Other segments that mean the same.
    pub also: &'static [&'static str],
    /// The kind's word on the wire.
    pub kind: &'static str,
    /// Other words accepted for it.
    pub kind_also: &'static [&'static str],
    /// The list's word.
    pub list_kind: &'static str,
    /// The plural of the v1 counterpart.
    pub plural: &'static str,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// The word of error messages.
    pub word: &'static str,
    /// Whether ids are free text that v1's name format does not hold.
    pub free_names: bool,
    /// From v1 paths of faults to those of 2014, longest first.
    pub paths: &'static [(&'static str, &'static str)],
    /// A v1 object, shown.
    pub read: fn(Value) -> Result<Box<dyn Object>, Fault>,
    /// A body's tree, typed.
    pub decode: fn(Value) -> Result<Box<dyn Object>, Fault>,
    /// What a PUT makes of the stored v1 object.
    pub update: fn(Value, &dyn Object) -> Result<Value, Fault>,
}

impl Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Row").field(&self.segment).finish()
    }
}

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        self.segment == other.segment
    }
}

/// A row with the parts that follow from the type; the words are the kind's file's to set.
pub(super) const fn row<K: Kind>() -> Row {
    Row {
        segment: "",
        also: &[],
        kind: "",
        kind_also: &[],
        list_kind: "",
        plural: "",
        namespaced: true,
        word: "",
        free_names: false,
        paths: &[],
        read: read::<K>,
        decode: decode::<K>,
        update: update::<K>,
    }
}

fn stored<K: Kind>(v1: Value) -> Result<K::V1, Fault> {
    // By way of the text, so that the v1 types are decoded by the same code as everywhere.
    let text = serde_json::to_vec(&v1).unwrap_or_default();
    decode::decode(&text, Strictness::Ignore)
        .map(|decoded| decoded.object)
        .map_err(|error| Fault::Stored { kind: K::ROW.kind, why: error.to_string() })
}

fn read<K: Kind>(v1: Value) -> Result<Box<dyn Object>, Fault> {
    Ok(Box::new(K::from_v1(&stored::<K>(v1)?)))
}

fn decode<K: Kind>(tree: Value) -> Result<Box<dyn Object>, Fault> {
    Ok(Box::new(body::typed::<K>(tree)?))
}

fn update<K: Kind>(v1: Value, sent: &dyn Object) -> Result<Value, Fault> {
    let shown = K::from_v1(&stored::<K>(v1.clone())?);
    let Some(mut sent) = sent.as_any().downcast_ref::<K>().cloned() else {
        return Err(Fault::Kind { sent: sent.row().kind.to_owned(), wanted: K::ROW.kind.to_owned() });
    };
    sent.keep(&shown);
    sent.meta_mut().resource_version = 0;
    let mut shown = shown;
    shown.meta_mut().resource_version = 0;
    Ok(merge::three_way(v1, &tree(&shown.to_v1())?, &tree(&sent.to_v1())?))
}

fn tree<T: Serialize>(v1: &T) -> Result<Value, Fault> {
    decode::tree(v1).map_err(|error| Fault::Member(error.to_string()))
}

/// An object of any of the kinds.
pub trait Object: Debug + Send + Sync {
    /// Its row.
    fn row(&self) -> &'static Row;
    /// The common members.
    fn meta(&self) -> &TypeMeta;
    /// The common members.
    fn meta_mut(&mut self) -> &mut TypeMeta;
    /// Its labels.
    fn labels(&self) -> Map;
    /// Its JSON, members in the order of 2014.
    fn json(&self) -> String;
    /// Its v1 counterpart as a tree.
    fn to_v1(&self) -> Value;
    /// See [`Kind::prepare`].
    fn prepare(&mut self);
    /// See [`Kind::validate`].
    fn faults(&self) -> Vec<FieldError>;
    /// For the kind's own printers.
    fn as_any(&self) -> &dyn Any;
    /// For commands that change one member.
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

impl<K: Kind> Object for K {
    fn row(&self) -> &'static Row {
        K::ROW
    }
    fn meta(&self) -> &TypeMeta {
        Kind::meta(self)
    }
    fn meta_mut(&mut self) -> &mut TypeMeta {
        Kind::meta_mut(self)
    }
    fn labels(&self) -> Map {
        Kind::labels(self)
    }
    fn json(&self) -> String {
        // Maps with string keys and plain data: serde_json has nothing to fail on.
        serde_json::to_string(self).unwrap_or_default()
    }
    fn to_v1(&self) -> Value {
        decode::tree(&Kind::to_v1(self)).unwrap_or_default()
    }
    fn prepare(&mut self) {
        Kind::prepare(self);
    }
    fn faults(&self) -> Vec<FieldError> {
        let mut faults = Vec::new();
        self.validate(&mut faults);
        faults
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

/// All kinds that have a v1 counterpart.
pub const KINDS: &[&Row] = &[
    super::Pod::ROW,
    super::ReplicationController::ROW,
    super::Service::ROW,
    super::Endpoints::ROW,
    super::Minion::ROW,
    super::Event::ROW,
    super::Binding::ROW,
    super::Namespace::ROW,
    super::Secret::ROW,
];

/// The row of a path segment, in camelCase or all lower case.
pub fn by_segment(segment: &str) -> Option<&'static Row> {
    let fits = |word: &str| word == segment || word.to_ascii_lowercase() == segment;
    KINDS.iter().copied().find(|row| fits(row.segment) || row.also.iter().any(|word| fits(word)))
}

/// The row of a `kind`.
pub fn by_kind(kind: &str) -> Option<&'static Row> {
    KINDS.iter().copied().find(|row| row.kind == kind || row.kind_also.contains(&kind))
}

impl Row {
    /// Reads a body as this kind. A missing `kind` is the path's, a missing `apiVersion` is v1beta1.
    ///
    /// # Errors
    /// [`Fault`], whose text is the answer's message.
    pub fn parse(&self, text: &[u8]) -> Result<Box<dyn Object>, Fault> {
        let tree = body::tree(text)?;
        let (kind, version) = body::claims(&tree)?;
        check_version(version)?;
        if !kind.is_empty() && kind != self.kind && !self.kind_also.contains(&kind) {
            return Err(Fault::Kind { sent: kind.to_owned(), wanted: self.kind.to_owned() });
        }
        (self.decode)(tree)
    }

    /// Reads a body as an object or as a list of this kind.
    ///
    /// # Errors
    /// [`Fault`], whose text names what is wrong.
    pub fn parse_any(&'static self, text: &[u8]) -> Result<Parsed, Fault> {
        let tree = body::tree(text)?;
        let (kind, version) = body::claims(&tree)?;
        check_version(version)?;
        if kind == self.list_kind || (kind.is_empty() && tree.get("items").is_some()) {
            return Ok(Parsed::List(Box::new(list::decode(self, tree)?)));
        }
        self.parse(text).map(Parsed::One)
    }
}

/// What a text of unknown shape turned out to be.
#[derive(Debug)]
pub enum Parsed {
    /// One object.
    One(Box<dyn Object>),
    /// A list.
    List(Box<list::List>),
}

fn check_version(version: &str) -> Result<(), Fault> {
    // v1beta2 differs in members that this door reads in both forms.
    if version.is_empty() || version == API_VERSION || version == "v1beta2" {
        return Ok(());
    }
    Err(Fault::Version(version.to_owned()))
}
