//! A configuration laid over an object, and fields taken out of one.
//!
//! Follows structured-merge-diff's `typed/merge.go` and `typed/remove.go`: maps merge member by member, lists with keys and
//! sets item by item, all else is replaced. Items keep the object's order as far as the configuration does not say
//! otherwise.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::element::Element;
use super::schema::{DEDUCED, Ref, Schema, Type};
use super::set::Set;
use super::walk::{group, step};

impl Schema {
    /// `live` with `config` laid over it.
    pub(super) fn merge(&self, live: &Value, config: &Value) -> Value {
        self.merge_at(self.root(), live, config)
    }

    fn merge_at(&self, at: Ref, live: &Value, config: &Value) -> Value {
        let seen = self.see(at);
        if seen.atomic() {
            return config.clone();
        }
        match (seen.kind, live, config) {
            (Type::Map(_) | Type::Deduced, Value::Object(live), Value::Object(config)) => {
                let mut merged = live.clone();
                for (name, value) in config {
                    let value = match live.get(name) {
                        Some(old) => self.merge_at(self.member(at, name).0, old, value),
                        None => value.clone(),
                    };
                    merged.insert(name.clone(), value);
                }
                Value::Object(merged)
            }
            // Nothing said of what is there: it stays.
            (Type::Map(_), Value::Object(map), Value::Null) if !map.is_empty() => live.clone(),
            (Type::List(_), Value::Array(list), Value::Null) if !list.is_empty() => live.clone(),
            (Type::List(items), Value::Array(live), Value::Array(config)) => {
                let merged = |old: &Value, new: &Value| self.merge_at(items.item, old, new);
                Value::Array(arrange(group(items, live), group(items, config), merged))
            }
            _ => config.clone(),
        }
    }

    /// `object` without the fields of `gone`; what only led to them goes as well.
    pub(super) fn remove(&self, object: &Value, gone: &Set) -> Value {
        self.remove_at(self.root(), object, gone)
    }

    fn remove_at(&self, at: Ref, value: &Value, gone: &Set) -> Value {
        let seen = self.see(at);
        if seen.atomic() {
            return Value::Null;
        }
        match (seen.kind, value) {
            (Type::Map(_) | Type::Deduced, Value::Object(map)) => {
                let mut left = Map::new();
                for (name, value) in map {
                    let element = Element::field(name);
                    if gone.has_element(&element) {
                        continue;
                    }
                    let value = match gone.below(&element) {
                        Some(below) => self.remove_at(self.member(at, name).0, value, below),
                        None => value.clone(),
                    };
                    left.insert(name.clone(), value);
                }
                if left.is_empty() { Value::Null } else { Value::Object(left) }
            }
            (Type::List(items), Value::Array(list)) => {
                let mut left = Vec::new();
                for value in list {
                    let Ok(element) = step(items, value) else {
                        left.push(value.clone());
                        continue;
                    };
                    if gone.has_element(&element) {
                        continue;
                    }
                    left.push(match gone.below(&element) {
                        Some(below) => self.remove_at(items.item, value, below),
                        None => value.clone(),
                    });
                }
                if left.is_empty() { Value::Null } else { Value::Array(left) }
            }
            (_, value) => value.clone(),
        }
    }

    /// `set` with the named fields that only lead to others: a struct is owned by who owns something in it.
    pub(super) fn with_named(&self, set: &Set) -> Set {
        self.with_named_at(self.root(), set)
    }

    fn with_named_at(&self, at: Ref, set: &Set) -> Set {
        let mut named = Set::default();
        for (element, member, below) in set.steps() {
            let (child, is_named) = match (element.name(), self.see(at).kind) {
                (Some(name), _) => self.member(at, name),
                (None, Type::List(items)) => (items.item, false),
                (None, _) => (DEDUCED, false),
            };
            let inner = self.with_named_at(child, below);
            named.attach(element.clone(), member || is_named && !below.is_empty(), inner);
        }
        named
    }
}

type Items<'a> = Vec<(Element, Vec<&'a Value>)>;

/// Both sides' items. Shared items come in the configuration's order; others stay near where they were.
fn arrange(live: Items<'_>, config: Items<'_>, merged: impl Fn(&Value, &Value) -> Value) -> Vec<Value> {
    let old: HashMap<&Element, &Value> = live.iter().map(|(element, values)| (element, values[0])).collect();
    let new: HashSet<&Element> = config.iter().map(|(element, _)| element).collect();
    let in_live = |element: &Element| old.get(element).copied();
    let in_config = |element: &Element| new.contains(element);
    let take =
        |element: &Element, new: &Value| in_live(element).map_or_else(|| new.clone(), |old| merged(old, new));
    let mut shared = config.iter().map(|(element, _)| element).filter(|element| in_live(element).is_some());
    let mut next = shared.next();
    let mut out = Vec::with_capacity(live.len().max(config.len()));
    let (mut l, mut c) = (0, 0);
    while l < live.len() || c < config.len() {
        if let (Some((ours, _)), Some((theirs, new))) = (live.get(l), config.get(c)) {
            if ours == theirs {
                out.push(take(theirs, new[0]));
                (l, c) = (l + 1, c + 1);
                next = shared.next();
                continue;
            }
            if in_config(ours) && next.is_some_and(|next| next != ours) {
                // Shared, but it is not its turn; the configuration brings it later.
                l += 1;
                continue;
            }
        }
        if let Some((ours, values)) = live.get(l)
            && !in_config(ours)
        {
            out.extend(values.iter().map(|value| (*value).clone()));
            l += 1;
            continue;
        }
        if let Some((theirs, new)) = config.get(c) {
            out.push(take(theirs, new[0]));
            c += 1;
            if next == Some(theirs) {
                next = shared.next();
            }
        } else {
            l += 1;
        }
    }
    out
}
