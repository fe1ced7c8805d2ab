//! A set as `fieldsV1` writes it: read and written without a tree of JSON between.
//!
//! Most writes take nothing from most owners, and give the writer nothing new. That is seen by one look along an owner's
//! text, so that most sets are never read.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use super::{Element, Node, Set};

/// Says of a step that has others below it that it is in the set itself.
const SELF: &str = ".";

/// What a step without others below it is.
const LEAF: Node = Node { member: true, below: Set(Vec::new()) };

#[derive(Deserialize)]
struct Step<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Set {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(deserializer.deserialize_map(Nodes)?.below)
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Nodes)
    }
}

struct Nodes;

impl<'de> Visitor<'de> for Nodes {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of steps")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let (mut member, mut leaf, mut steps) = (false, true, Vec::new());
        while let Some(Step(step)) = map.next_key()? {
            leaf = false;
            if step == SELF {
                map.next_value::<IgnoredAny>()?;
                member = true;
                continue;
            }
            let node = map.next_value::<Option<Node>>()?.unwrap_or(LEAF);
            steps.push((Element::parse(&step).map_err(A::Error::custom)?, node.member, node.below));
        }
        Ok(Node { member: member || leaf, below: steps.into_iter().collect() })
    }
}

impl Serialize for Set {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(element, node)| (element.as_str(), node)))
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if self.member && !self.below.is_empty() {
            map.serialize_entry(SELF, &Set::default())?;
        }
        for (element, node) in &self.below.0 {
            map.serialize_entry(element.as_str(), node)?;
        }
        map.end()
    }
}

impl Set {
    /// How many of its paths are in a set that is still text; nothing where that must be read to be sure, since keys and
    /// values can be written in several ways.
    pub(in crate::apply) fn written_in(&self, text: &str) -> Option<usize> {
        if self.is_empty() {
            return Some(0);
        }
        if !self.is_of_names() {
            return None;
        }
        Seek { member: false, below: self }.deserialize(&mut serde_json::Deserializer::from_str(text)).ok()
    }

    fn is_of_names(&self) -> bool {
        self.0.iter().all(|(element, node)| element.name().is_some() && node.below.is_of_names())
    }
}

/// Looks for paths in the text of a set.
struct Seek<'s> {
    member: bool,
    below: &'s Set,
}

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of steps")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<usize, A::Error> {
        let (mut found, mut own, mut leaf) = (0, false, true);
        while let Some(Step(step)) = map.next_key()? {
            leaf = false;
            own |= step == SELF;
            match self.below.get(&step) {
                Some(node) => {
                    found += map.next_value_seed(Seek { member: node.member, below: &node.below })?
                }
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found + usize::from(self.member && (own || leaf)))
    }
}
