//! Two walks over an object along its schema: which fields it sets, and which differ between two states of it.
//!
//! Follows structured-merge-diff's `typed/tofieldset.go` and `typed/compare.go`. What nobody ever owns (`apiVersion`, the
//! object's name, what only the server sets in its metadata) is left out, and so are the parts of the object that a
//! write cannot touch (upstream's reset fields).

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use super::element::Element;
use super::schema::{DEDUCED, Items, Ref, Schema, Type, Way};
use super::set::Set;

/// Which part of the object a write can touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    All,
    /// All but the status, which has a subresource of its own.
    NoStatus,
    /// The status, and metadata.
    Status,
}

impl Part {
    /// True if a write of this part may change the member of the object.
    pub(super) fn holds(self, member: &str) -> bool {
        match (self, member) {
            (_, "apiVersion" | "kind") => false,
            (Self::All, _) | (Self::Status, "metadata" | "status") => true,
            (Self::NoStatus, member) => member != "status",
            (Self::Status, _) => false,
        }
    }
}

/// Members of metadata that nobody owns.
fn owned_in_metadata(member: &str) -> bool {
    !matches!(
        member,
        "name"
            | "namespace"
            | "creationTimestamp"
            | "selfLink"
            | "uid"
            | "clusterName"
            | "generation"
            | "managedFields"
            | "resourceVersion"
    )
}

/// What differs between two states of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Not there before.
    pub added: Set,
    /// Another value than before.
    pub modified: Set,
    /// No longer there.
    pub removed: Set,
}

impl Compared {
    /// True if nothing differs.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    fn attach(&mut self, element: &Element, at: Option<Change>, below: Self) {
        for (set, below, change) in [
            (&mut self.added, below.added, Change::Added),
            (&mut self.modified, below.modified, Change::Modified),
            (&mut self.removed, below.removed, Change::Removed),
        ] {
            if at == Some(change) || !below.is_empty() {
                set.attach(element.clone(), at == Some(change), below);
            }
        }
    }
}

/// What happened to one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Added,
    Modified,
    Removed,
}

impl Schema {
    /// The fields that `object` sets in `part`.
    pub fn fields(&self, object: &Value, part: Part) -> Set {
        let mut set = Set::default();
        for (name, value) in object.as_object().into_iter().flatten().filter(|(name, _)| part.holds(name)) {
            let (at, named) = self.member(self.root(), name);
            let (element, below) = (Element::field(name), self.below(at, value));
            if name == "metadata" {
                set.attach(element, false, owned(below));
            } else {
                set.attach(element, self.stands(at, value, named), below);
            }
        }
        set
    }

    /// What differs in `part` between `old` and `new`; a new object has no `old`.
    pub fn compare(&self, old: Option<&Value>, new: &Value, part: Part) -> Compared {
        let mut compared = Compared::default();
        let empty = Map::new();
        let old = old.and_then(Value::as_object).unwrap_or(&empty);
        let new = new.as_object().unwrap_or(&empty);
        for (name, before, after) in zip(old, new).filter(|(name, ..)| part.holds(name)) {
            let (at, below) = self.compare_member(self.root(), name, before, after, true);
            let (at, below) = if name == "metadata" {
                let Compared { added, modified, removed } = below;
                (None, Compared { added: owned(added), modified: owned(modified), removed: owned(removed) })
            } else {
                (at, below)
            };
            compared.attach(&Element::field(name), at, below);
        }
        compared
    }

    /// A member's type, and whether it is a named field of a struct.
    pub(super) fn member(&self, of: Ref, name: &str) -> (Ref, bool) {
        match self.see(of).kind {
            Type::Map(members) => match members.fields.get(name) {
                Some(field) => (field.at, true),
                None => (members.others.unwrap_or(DEDUCED), false),
            },
            _ => (DEDUCED, false),
        }
    }

    /// Whether a member is in the set itself, besides what is below it.
    fn stands(&self, at: Ref, value: &Value, named: bool) -> bool {
        !named || value.is_null() || value.as_object().is_some_and(Map::is_empty) || self.leaf(at, value)
    }

    fn leaf(&self, at: Ref, value: &Value) -> bool {
        let seen = self.see(at);
        match (seen.kind, value) {
            (Type::Map(_), Value::Object(_)) | (Type::List(_), Value::Array(_)) => seen.atomic(),
            (Type::Deduced, Value::Object(_)) => false,
            // A list without members sets nothing, and `null` is told by its parent.
            (Type::Map(_) | Type::List(_), _) => false,
            _ => true,
        }
    }

    /// The fields below a value.
    fn below(&self, at: Ref, value: &Value) -> Set {
        let seen = self.see(at);
        match (seen.kind, value) {
            _ if seen.atomic() => Set::default(),
            (Type::Map(_) | Type::Deduced, Value::Object(map)) => {
                let member = |(name, value): (&String, &Value)| {
                    let (child, named) = self.member(at, name);
                    (Element::field(name), self.stands(child, value, named), self.below(child, value))
                };
                map.iter().map(member).collect()
            }
            (Type::List(items), Value::Array(list)) => {
                groups(items, list, |one| self.below(items.item, one)).collect()
            }
            _ => Set::default(),
        }
    }

    /// A member that is on one side only, as whether it is owned itself and what is owned below it. `parents` says whether
    /// its parent is on both sides.
    fn lone_member(&self, of: Ref, name: &str, value: &Value, parents: bool) -> (bool, Set) {
        let (at, _) = self.member(of, name);
        if !parents || !self.always(of, name) || self.leaf(at, value) {
            return (true, self.lone(at, value, false));
        }
        // Upstream's struct has the field on both sides, `null` or empty where ours has none.
        match value {
            Value::Object(map) if map.is_empty() => (false, Set::default()),
            Value::Object(_) => (false, self.lone(at, value, true)),
            Value::Array(list) if !list.is_empty() => (false, self.lone(at, value, true)),
            _ => (true, Set::default()),
        }
    }

    /// What is owned below a value that is on one side only.
    fn lone(&self, at: Ref, value: &Value, parents: bool) -> Set {
        let seen = self.see(at);
        match (seen.kind, value) {
            _ if seen.atomic() => Set::default(),
            (Type::Map(_) | Type::Deduced, Value::Object(map)) => {
                let member = |(name, value): (&String, &Value)| {
                    let (stands, below) = self.lone_member(at, name, value, parents);
                    (Element::field(name), stands, below)
                };
                map.iter().map(member).collect()
            }
            (Type::List(items), Value::Array(list)) => {
                groups(items, list, |one| self.lone(items.item, one, false)).collect()
            }
            _ => Set::default(),
        }
    }

    /// True for a field that upstream's struct always has.
    fn always(&self, of: Ref, name: &str) -> bool {
        match self.see(of).kind {
            Type::Map(members) => members.fields.get(name).is_some_and(|field| field.always),
            _ => false,
        }
    }

    fn compare_member(
        &self,
        of: Ref,
        name: &str,
        old: Option<&Value>,
        new: Option<&Value>,
        parents: bool,
    ) -> (Option<Change>, Compared) {
        match (old, new) {
            (Some(old), Some(new)) => self.compare_at(self.member(of, name).0, old, new),
            (None, Some(new)) => {
                let (stands, added) = self.lone_member(of, name, new, parents);
                (stands.then_some(Change::Added), Compared { added, ..Compared::default() })
            }
            (Some(old), None) => {
                let (stands, removed) = self.lone_member(of, name, old, parents);
                (stands.then_some(Change::Removed), Compared { removed, ..Compared::default() })
            }
            (None, None) => (None, Compared::default()),
        }
    }

    fn compare_at(&self, at: Ref, old: &Value, new: &Value) -> (Option<Change>, Compared) {
        let seen = self.see(at);
        let mut below = Compared::default();
        let whole = seen.atomic() || empty(old) && empty(new);
        match seen.kind {
            Type::Map(_) | Type::Deduced if !whole && maps(old, new) => {
                let none = Map::new();
                let (before, after) = (old.as_object(), new.as_object());
                for (name, before, after) in zip(before.unwrap_or(&none), after.unwrap_or(&none)) {
                    let (change, inner) = self.compare_member(at, name, before, after, true);
                    below.attach(&Element::field(name), change, inner);
                }
                (None, below)
            }
            Type::List(items) if !whole && lists(old, new) => {
                if old != new {
                    self.compare_items(items, old, new, &mut below);
                }
                (None, below)
            }
            _ => ((old != new).then_some(Change::Modified), below),
        }
    }

    fn compare_items(&self, items: &Items, old: &Value, new: &Value, below: &mut Compared) {
        const NONE: &[Value] = &[];
        let old = old.as_array().map_or(NONE, Vec::as_slice);
        let new = new.as_array().map_or(NONE, Vec::as_slice);
        let mut before: HashMap<Element, Vec<&Value>> = group(items, old).into_iter().collect();
        let mut after = group(items, new);
        after.sort_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
        let lone = |values: &[&Value]| alone(values, |one| self.lone(items.item, one, false));
        for (element, now) in after {
            let then = before.remove(&element).unwrap_or_default();
            match (then.as_slice(), now.as_slice()) {
                ([], now) => below.added.attach(element, true, lone(now)),
                ([old], [new]) => {
                    let (change, inner) = self.compare_at(items.item, old, new);
                    below.attach(&element, change, inner);
                }
                (then, now) if then != now => below.modified.attach(element, true, Set::default()),
                _ => {}
            }
        }
        let gone: Set = before.into_iter().map(|(element, then)| (element, true, lone(&then))).collect();
        below.removed = below.removed.union(&gone);
    }
}

/// What is below the items that share a step: those that are there twice are owned as one.
fn alone(values: &[&Value], below: impl FnOnce(&Value) -> Set) -> Set {
    match values {
        [one] => below(one),
        _ => Set::default(),
    }
}

/// The steps to the items of a list, each with what is below it.
fn groups<'a>(
    items: &'a Items,
    list: &'a [Value],
    below: impl Fn(&Value) -> Set + 'a,
) -> impl Iterator<Item = (Element, bool, Set)> + 'a {
    group(items, list).into_iter().map(move |(element, values)| (element, true, alone(&values, &below)))
}

fn owned(metadata: Set) -> Set {
    let mut set = Set::default();
    for (element, member, below) in metadata.steps() {
        if element.name().is_none_or(owned_in_metadata) {
            set.attach(element.clone(), member, below.clone());
        }
    }
    set
}

fn empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// True if both sides are maps, or nothing.
fn maps(old: &Value, new: &Value) -> bool {
    [old, new].into_iter().all(|value| value.is_object() || value.is_null())
}

fn lists(old: &Value, new: &Value) -> bool {
    [old, new].into_iter().all(|value| value.is_array() || value.is_null())
}

/// The members of two maps, side by side.
fn zip<'a>(
    old: &'a Map<String, Value>,
    new: &'a Map<String, Value>,
) -> impl Iterator<Item = (&'a str, Option<&'a Value>, Option<&'a Value>)> {
    let both = old.iter().map(|(name, before)| (name.as_str(), Some(before), new.get(name)));
    let fresh = new.iter().filter(|(name, _)| !old.contains_key(*name));
    both.chain(fresh.map(|(name, after)| (name.as_str(), None, Some(after))))
}

/// A list of at most this many items is searched from its beginning.
const SHORT: usize = 16;

/// A list's items by their steps, in the order of their first appearance; items that cannot be told apart are left out.
pub(super) fn group<'a>(items: &Items, list: &'a [Value]) -> Vec<(Element, Vec<&'a Value>)> {
    let mut groups: Vec<(Element, Vec<&Value>)> = Vec::with_capacity(list.len());
    // Most lists are so short that looking along them is quicker.
    let mut places: HashMap<Element, usize> = HashMap::new();
    let short = list.len() <= SHORT;
    for value in list {
        let Ok(element) = step(items, value) else { continue };
        let place = match short {
            true => groups.iter().position(|(own, _)| *own == element),
            false => places.get(&element).copied(),
        };
        match place {
            Some(place) => groups[place].1.push(value),
            None => {
                if !short {
                    places.insert(element.clone(), groups.len());
                }
                groups.push((element, vec![value]));
            }
        }
    }
    groups
}

/// The step to an item of a list that is not atomic.
///
/// # Errors
/// In upstream's words, if the item lacks what tells it apart.
pub(super) fn step(items: &Items, value: &Value) -> Result<Element, String> {
    match &items.way {
        Way::Atomic => Err("an atomic list has no items of its own".to_owned()),
        Way::Set => match value {
            Value::Object(_) => {
                Err("associative list without keys has an element that's a map type".to_owned())
            }
            Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
            Value::Null => {
                Err("associative list without keys has an element that's an explicit null".to_owned())
            }
            scalar => Ok(Element::value(scalar)),
        },
        Way::Keyed(keys) => {
            let Value::Object(map) = value else {
                let what = if value.is_null() { "a null element" } else { "non-map elements" };
                return Err(format!("associative list with keys may not have {what}"));
            };
            let mut found = BTreeMap::new();
            for key in keys {
                match map.get(&*key.name).or(key.default.as_ref()) {
                    Some(value) => {
                        found.insert(&*key.name, value);
                    }
                    None if !key.required && keys.len() > 1 => {}
                    None => {
                        return Err(format!(
                            "associative list with keys has an element that omits key field {:?} (and doesn't have default value)",
                            key.name
                        ));
                    }
                }
            }
            Ok(Element::key(&found))
        }
    }
}
