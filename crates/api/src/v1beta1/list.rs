//! Lists of objects: items carry neither `kind` nor `apiVersion`, and there is always an `items`.

use serde_json::Value;

use super::fault::Fault;
use super::kind::{Object, Row};
use super::meta::TypeMeta;
use super::{API_VERSION, body};

/// Objects of one kind.
#[derive(Debug)]
pub struct List {
    /// The kind of the items.
    pub row: &'static Row,
    /// Only `selfLink` and `resourceVersion` mean something.
    pub meta: TypeMeta,
    /// The objects.
    pub items: Vec<Box<dyn Object>>,
}

impl List {
    /// A list with its words filled in.
    pub fn new(row: &'static Row, items: Vec<Box<dyn Object>>) -> Self {
        Self { row, meta: list_meta(row.list_kind), items }
    }

    /// Its JSON. A MinionList has its items under the old name too.
    pub fn json(&self) -> String {
        let items: Vec<String> = self.items.iter().map(|item| item.json()).collect();
        let items = items.join(",");
        let mut text = open(&self.meta);
        if self.row.kind == "Minion" {
            text.push_str(&format!(",\"minions\":[{items}]"));
        }
        text.push_str(&format!(",\"items\":[{items}]}}"));
        text
    }
}

/// A list of a kind that never has items here.
pub fn empty_json(list_kind: &str, self_link: &str) -> String {
    let mut meta = list_meta(list_kind);
    self_link.clone_into(&mut meta.self_link);
    format!("{},\"items\":[]}}", open(&meta))
}

fn list_meta(kind: &str) -> TypeMeta {
    TypeMeta { kind: kind.to_owned(), api_version: API_VERSION.to_owned(), ..TypeMeta::default() }
}

/// The JSON of the common members without its closing brace; never empty, as `creationTimestamp` is always there.
fn open(meta: &TypeMeta) -> String {
    let mut text = serde_json::to_string(meta).unwrap_or_default();
    text.pop();
    text
}

/// Reads a list's tree; `items` may be missing, and win over a MinionList's `minions`.
pub(super) fn decode(row: &'static Row, mut tree: Value) -> Result<List, Fault> {
    let members = tree.as_object_mut().ok_or(Fault::NotAnObject)?;
    let old = members.remove("minions");
    let items = match members.remove("items").filter(|items| items.as_array().is_none_or(|i| !i.is_empty())) {
        None => old.unwrap_or_else(|| Value::Array(Vec::new())),
        Some(items) => items,
    };
    let Value::Array(items) = items else {
        return Err(Fault::Member("items: not a list".to_owned()));
    };
    let items = items.into_iter().map(row.decode).collect::<Result<_, _>>()?;
    Ok(List { row, meta: body::typed(tree)?, items })
}
