//! A set of paths to fields, as a tree, with the algebra that ownership needs.
//!
//! A path may be in the set without those below it, and the other way round. No node is kept that neither is a member
//! nor leads to one, so that two equal sets are equal trees.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::element::Element;

/// A set of paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set(BTreeMap<Element, Node>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    /// Whether the path itself is in the set.
    member: bool,
    below: Set,
}

/// Why `fieldsV1` could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error decoding set: {0}")]
pub struct BadSet(String);

impl Set {
    /// Reads `fieldsV1`.
    ///
    /// # Errors
    /// If a step is malformed.
    pub fn decode(fields: &Value) -> Result<Self, BadSet> {
        let Value::Object(fields) = fields else {
            return Err(BadSet(format!("expected object, got {fields}")));
        };
        let mut set = Self::default();
        for (key, below) in fields.iter().filter(|(key, _)| *key != ".") {
            let element = Element::parse(key).map_err(BadSet)?;
            let member = is_member(below);
            let below = if below.is_object() { Self::decode(below)? } else { Self::default() };
            set.attach(element, member, below);
        }
        Ok(set)
    }

    /// Writes `fieldsV1`.
    pub fn encode(&self) -> Value {
        Value::Object(self.map())
    }

    fn map(&self) -> Map<String, Value> {
        let node = |(element, node): (&Element, &Node)| {
            let mut below = node.below.map();
            if node.member && !below.is_empty() {
                below.insert(".".to_owned(), Value::Object(Map::new()));
            }
            (element.as_str().to_owned(), Value::Object(below))
        };
        self.0.iter().map(node).collect()
    }

    /// Adds a step with what is below it; `member` says whether the step itself is in the set.
    pub(super) fn attach(&mut self, element: Element, member: bool, below: Self) {
        if member || !below.is_empty() {
            let node = self.0.entry(element).or_default();
            node.member |= member;
            node.below = if node.below.is_empty() { below } else { node.below.union(&below) };
        }
    }

    /// Adds a path.
    pub fn insert(&mut self, path: &[Element]) {
        match path {
            [] => {}
            [last] => self.attach(last.clone(), true, Self::default()),
            [first, rest @ ..] => {
                let mut below = Self::default();
                below.insert(rest);
                self.attach(first.clone(), false, below);
            }
        }
    }

    /// True if nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if the path is in it.
    pub fn has(&self, path: &[Element]) -> bool {
        match path {
            [] => false,
            [last] => self.0.get(last).is_some_and(|node| node.member),
            [first, rest @ ..] => self.0.get(first).is_some_and(|node| node.below.has(rest)),
        }
    }

    /// True if a path is in both.
    pub fn meets(&self, other: &Self) -> bool {
        self.0.iter().any(|(element, node)| {
            other
                .0
                .get(element)
                .is_some_and(|theirs| node.member && theirs.member || node.below.meets(&theirs.below))
        })
    }

    /// True if every path of `other` is in it.
    pub fn holds(&self, other: &Self) -> bool {
        other.0.iter().all(|(element, node)| {
            self.0
                .get(element)
                .is_some_and(|own| (own.member || !node.member) && own.below.holds(&node.below))
        })
    }

    /// As [`Set::meets`], of a set that is still as it was written; nothing where that must be read to be sure: keys and
    /// values can be written in several ways.
    pub(super) fn meets_written(&self, written: &Value) -> Option<bool> {
        for (element, node) in &self.0 {
            element.name()?;
            let Some(theirs) = written.get(element.as_str()) else { continue };
            if node.member && is_member(theirs) || node.below.meets_written(theirs)? {
                return Some(true);
            }
        }
        Some(false)
    }

    /// Whether all of it is in a set that is still as it was written; nothing where that must be read to be sure.
    pub(super) fn is_within_written(&self, written: &Value) -> Option<bool> {
        for (element, node) in &self.0 {
            element.name()?;
            let Some(theirs) = written.get(element.as_str()) else { return Some(false) };
            if node.member && !is_member(theirs) || !node.below.is_within_written(theirs)? {
                return Some(false);
            }
        }
        Some(true)
    }

    /// True if this one step is in it.
    pub(super) fn has_element(&self, element: &Element) -> bool {
        self.0.get(element).is_some_and(|node| node.member)
    }

    /// What is below a step, if anything.
    pub(super) fn below(&self, element: &Element) -> Option<&Self> {
        self.0.get(element).map(|node| &node.below).filter(|below| !below.is_empty())
    }

    /// The steps at this level: each with whether it is a member, and what is below it.
    pub(super) fn steps(&self) -> impl Iterator<Item = (&Element, bool, &Self)> {
        self.0.iter().map(|(element, node)| (element, node.member, &node.below))
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut both = self.clone();
        for (element, node) in &other.0 {
            both.attach(element.clone(), node.member, node.below.clone());
        }
        both
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut both = Self::default();
        for (element, node) in &self.0 {
            if let Some(theirs) = other.0.get(element) {
                let below = node.below.intersection(&theirs.below);
                both.attach(element.clone(), node.member && theirs.member, below);
            }
        }
        both
    }

    /// What is in this one only; a path in `other` takes nothing away below itself.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut rest = Self::default();
        for (element, node) in &self.0 {
            match other.0.get(element) {
                None => rest.attach(element.clone(), node.member, node.below.clone()),
                Some(theirs) => {
                    let below = node.below.difference(&theirs.below);
                    rest.attach(element.clone(), node.member && !theirs.member, below);
                }
            }
        }
        rest
    }

    /// Every path, each level's own members before those below them.
    pub fn paths(&self) -> Vec<Vec<Element>> {
        let mut all = Vec::new();
        self.collect(&mut Vec::new(), &mut all);
        all
    }

    fn collect(&self, at: &mut Vec<Element>, all: &mut Vec<Vec<Element>>) {
        for (element, _) in self.0.iter().filter(|(_, node)| node.member) {
            all.push(at.iter().chain([element]).cloned().collect());
        }
        for (element, node) in &self.0 {
            at.push(element.clone());
            node.below.collect(at, all);
            at.pop();
        }
    }
}

/// Whether a step as it is written is in the set itself.
fn is_member(written: &Value) -> bool {
    written.as_object().is_none_or(|map| map.is_empty() || map.contains_key("."))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn set(value: Value) -> Set {
        Set::decode(&value).unwrap()
    }

    #[test]
    fn wire_form_is_kept_and_foreign_keys_are_brought_into_one_form() {
        let wire = json!({"f:spec": {"f:replicas": {}, "f:ports": {".": {}, "k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}}},
            "f:finalizers": {"v:\"a\"": {}, "i:3": {}}});
        assert_eq!(set(wire.clone()).encode(), wire);
        let foreign = json!({"k:{\"protocol\": \"TCP\", \"port\": 80}": {}});
        assert_eq!(set(foreign).encode(), json!({"k:{\"port\":80,\"protocol\":\"TCP\"}": {}}));
    }

    #[test]
    fn malformed_steps_are_refused() {
        for (step, why) in [
            ("x", "key must be 2 characters long:"),
            ("spec", "missing colon: spec"),
            ("x:spec", "unknown path element type"),
            ("i:a", "strconv.Atoi: parsing \"a\": invalid syntax"),
        ] {
            assert_eq!(Set::decode(&json!({step: {}})).unwrap_err(), BadSet(why.to_owned()));
        }
    }

    #[test]
    fn parents_and_children_are_told_apart() {
        let parent = set(json!({"f:a": {}}));
        let child = set(json!({"f:a": {"f:b": {}}}));
        let both = set(json!({"f:a": {".": {}, "f:b": {}}}));
        assert_eq!(parent.union(&child), both);
        assert_eq!(parent.difference(&child), parent);
        assert_eq!(child.difference(&parent), child);
        assert_eq!(both.difference(&parent), child);
        assert_eq!(parent.intersection(&child), Set::default());
    }

    #[test]
    fn paths_read_as_upstream_writes_them() {
        let all =
            set(json!({"f:spec": {".": {}, "k:{\"name\":\"a\",\"port\":80}": {"f:x": {}}, "v:\"q\"": {}}}));
        let shown: Vec<String> =
            all.paths().iter().map(|path| path.iter().map(ToString::to_string).collect()).collect();
        assert_eq!(shown, [".spec", r#".spec[="q"]"#, r#".spec[name="a",port=80].x"#]);
    }

    fn any_set() -> impl Strategy<Value = Set> {
        let step = prop_oneof![
            "[a-c]".prop_map(|name| Element::field(&name)),
            (0..3i64).prop_map(|value| Element::value(&value.into())),
            "[a-b]".prop_map(|name| Element::key(&BTreeMap::from([("name", &Value::from(name))]))),
        ];
        proptest::collection::vec(proptest::collection::vec(step, 1..4), 0..8).prop_map(|paths| {
            let mut set = Set::default();
            paths.iter().for_each(|path| set.insert(path));
            set
        })
    }

    proptest! {
        #[test]
        fn encoding_and_decoding_is_the_identity(a in any_set()) {
            prop_assert_eq!(Set::decode(&a.encode()).unwrap(), a);
        }

        #[test]
        fn the_algebra_agrees_with_sets_of_paths(a in any_set(), b in any_set()) {
            use std::collections::BTreeSet;
            let flat = |set: &Set| set.paths().into_iter().collect::<BTreeSet<_>>();
            let (fa, fb) = (flat(&a), flat(&b));
            prop_assert_eq!(flat(&a.union(&b)), fa.union(&fb).cloned().collect());
            prop_assert_eq!(flat(&a.intersection(&b)), fa.intersection(&fb).cloned().collect());
            prop_assert_eq!(flat(&a.difference(&b)), fa.difference(&fb).cloned().collect());
            prop_assert_eq!(a.meets(&b), !a.intersection(&b).is_empty());
            prop_assert_eq!(a.holds(&b), b.difference(&a).is_empty());
            prop_assert!(a.meets_written(&b.encode()).is_none_or(|meets| meets == a.meets(&b)));
            prop_assert!(a.is_within_written(&b.encode()).is_none_or(|within| within == b.holds(&a)));
            prop_assert_eq!(a.difference(&b).union(&a.intersection(&b)), a);
        }
    }
}
