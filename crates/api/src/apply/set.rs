//! A set of paths to fields, as a tree, with the algebra that ownership needs.
//!
//! A path may be in the set without those below it, and the other way round. No node is kept that neither is a member
//! nor leads to one, so that two equal sets are equal trees. How a set is written (`fieldsV1`), and what can be told of
//! one from its text alone, is in [`written`].

use super::element::Element;

mod written;

/// A set of paths: steps in the order of their texts. Most steps lead to few, and arrive in that order; where they may not,
/// they are collected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set(Vec<(Element, Node)>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    /// Whether the path itself is in the set.
    member: bool,
    below: Set,
}

impl Set {
    /// Where a step is, or would be.
    fn place(&self, step: &str) -> Result<usize, usize> {
        match self.0.last() {
            Some((last, _)) if last.as_str() < step => Err(self.0.len()),
            _ => self.0.binary_search_by(|(own, _)| own.as_str().cmp(step)),
        }
    }

    fn get(&self, step: &str) -> Option<&Node> {
        self.place(step).ok().map(|place| &self.0[place].1)
    }

    /// Adds a step with what is below it; `member` says whether the step itself is in the set. For steps that mostly come
    /// in order: one that does not moves all behind it.
    pub(super) fn attach(&mut self, element: Element, member: bool, below: Self) {
        if !member && below.is_empty() {
            return;
        }
        match self.place(element.as_str()) {
            Err(place) => self.0.insert(place, (element, Node { member, below })),
            Ok(place) => {
                let node = &mut self.0[place].1;
                node.member |= member;
                node.below = if node.below.is_empty() { below } else { node.below.union(&below) };
            }
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

    /// How many paths are in it.
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|(_, node)| usize::from(node.member) + node.below.len()).sum()
    }

    /// True if the path is in it.
    pub fn has(&self, path: &[Element]) -> bool {
        match path {
            [] => false,
            [last] => self.get(last.as_str()).is_some_and(|node| node.member),
            [first, rest @ ..] => self.get(first.as_str()).is_some_and(|node| node.below.has(rest)),
        }
    }

    /// True if a path is in both.
    pub fn meets(&self, other: &Self) -> bool {
        self.0.iter().any(|(element, node)| {
            other
                .get(element.as_str())
                .is_some_and(|theirs| node.member && theirs.member || node.below.meets(&theirs.below))
        })
    }

    /// True if every path of `other` is in it.
    pub fn holds(&self, other: &Self) -> bool {
        other.0.iter().all(|(element, node)| {
            self.get(element.as_str())
                .is_some_and(|own| (own.member || !node.member) && own.below.holds(&node.below))
        })
    }

    /// True if this one step is in it.
    pub(super) fn has_element(&self, element: &Element) -> bool {
        self.get(element.as_str()).is_some_and(|node| node.member)
    }

    /// What is below a step, if anything.
    pub(super) fn below(&self, element: &Element) -> Option<&Self> {
        self.get(element.as_str()).map(|node| &node.below).filter(|below| !below.is_empty())
    }

    /// The steps at this level: each with whether it is a member, and what is below it.
    pub(super) fn steps(&self) -> impl Iterator<Item = (&Element, bool, &Self)> {
        self.0.iter().map(|(element, node)| (element, node.member, &node.below))
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let steps = self.steps().chain(other.steps());
        steps.map(|(element, member, below)| (element.clone(), member, below.clone())).collect()
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut both = Self::default();
        for (element, node) in &self.0 {
            if let Some(theirs) = other.get(element.as_str()) {
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
            match other.get(element.as_str()) {
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

/// Steps in any order, each with whether it is in the set itself and what is below it; the same step may come again.
impl FromIterator<(Element, bool, Self)> for Set {
    fn from_iter<T: IntoIterator<Item = (Element, bool, Self)>>(steps: T) -> Self {
        let mut steps: Vec<_> = steps.into_iter().collect();
        steps.sort_by(|(one, ..), (other, ..)| one.as_str().cmp(other.as_str()));
        let mut set = Self(Vec::with_capacity(steps.len()));
        for (element, member, below) in steps {
            set.attach(element, member, below);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn set(value: Value) -> Set {
        serde_json::from_value(value).unwrap()
    }

    fn text(set: &Set) -> String {
        serde_json::to_string(set).unwrap()
    }

    #[test]
    fn wire_form_is_kept_and_foreign_keys_are_brought_into_one_form() {
        let wire = json!({"f:spec": {"f:replicas": {}, "f:ports": {".": {}, "k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}}},
            "f:finalizers": {"v:\"a\"": {}, "i:3": {}}});
        assert_eq!(text(&set(wire.clone())), wire.to_string());
        let foreign = json!({"k:{\"protocol\": \"TCP\", \"port\": 80}": {}});
        assert_eq!(text(&set(foreign)), json!({"k:{\"port\":80,\"protocol\":\"TCP\"}": {}}).to_string());
    }

    #[test]
    fn malformed_steps_are_refused() {
        for (step, why) in [
            ("x", "key must be 2 characters long:"),
            ("spec", "missing colon: spec"),
            ("x:spec", "unknown path element type"),
            ("i:a", "strconv.Atoi: parsing \"a\": invalid syntax"),
        ] {
            let refused = serde_json::from_value::<Set>(json!({step: {}})).unwrap_err();
            assert_eq!(refused.to_string(), why);
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
            prop_assert_eq!(serde_json::from_str::<Set>(&text(&a)).unwrap(), a);
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
            prop_assert!(a.written_in(&text(&b)).is_none_or(|count| count == fa.intersection(&fb).count()));
            prop_assert_eq!(a.len(), fa.len());
            prop_assert_eq!(a.difference(&b).union(&a.intersection(&b)), a);
        }
    }
}
