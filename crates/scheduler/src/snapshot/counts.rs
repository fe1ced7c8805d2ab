//! How many of something there are on each node, and in each domain (a node label's value) of the keys of interest.
//!
//! Kept current by what changes: a pod that comes or goes costs one step per key, a node that changes its labels one
//! step per key whose value changed.

use std::collections::{BTreeMap, HashMap};

/// A node's place in the snapshot.
pub(crate) type NodeId = u32;

/// Labels of a node.
pub(crate) type Labels = BTreeMap<Box<str>, Box<str>>;

/// Numbers by node and by domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    nodes: HashMap<NodeId, i64>,
    /// By topology key.
    domains: HashMap<Box<str>, Domains>,
}

/// Numbers by the value of one key; domains that have none are not listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Domains {
    values: HashMap<Box<str>, i64>,
    /// How many domains have so many.
    levels: BTreeMap<i64, usize>,
}

impl Counts {
    /// Adds to (or takes from) a node and its domains.
    pub(crate) fn add(&mut self, node: NodeId, labels: &Labels, number: i64) {
        let here = self.nodes.entry(node).or_default();
        *here += number;
        if *here == 0 {
            self.nodes.remove(&node);
        }
        for (key, domains) in &mut self.domains {
            if let Some(value) = labels.get(key) {
                domains.add(value, number);
            }
        }
    }

    /// Counts by this key too; `labels` tells those of a node.
    pub(crate) fn cover<'a>(&mut self, key: &str, labels: impl Fn(NodeId) -> Option<&'a Labels>) {
        if self.domains.contains_key(key) {
            return;
        }
        let mut domains = Domains::default();
        for (node, number) in &self.nodes {
            if let Some(value) = labels(*node).and_then(|labels| labels.get(key)) {
                domains.add(value, *number);
            }
        }
        self.domains.insert(key.into(), domains);
    }

    /// A node's labels changed.
    pub(crate) fn relabel(&mut self, node: NodeId, before: &Labels, after: &Labels) {
        let Some(number) = self.nodes.get(&node).copied() else { return };
        for (key, domains) in &mut self.domains {
            let (before, after) = (before.get(key), after.get(key));
            if before != after {
                before.into_iter().for_each(|value| domains.add(value, -number));
                after.into_iter().for_each(|value| domains.add(value, number));
            }
        }
    }

    /// How many a node has.
    pub(crate) fn on(&self, node: NodeId) -> i64 {
        self.nodes.get(&node).copied().unwrap_or(0)
    }

    /// How many each domain has, if that is counted.
    pub(crate) fn by(&self, key: &str) -> Option<&Domains> {
        self.domains.get(key)
    }
}

impl Domains {
    fn add(&mut self, value: &str, number: i64) {
        let before = self.values.get(value).copied().unwrap_or(0);
        let after = before + number;
        if before != 0
            && let Some(level) = self.levels.get_mut(&before)
        {
            *level -= 1;
            if *level == 0 {
                self.levels.remove(&before);
            }
        }
        if after == 0 {
            self.values.remove(value);
            return;
        }
        *self.levels.entry(after).or_default() += 1;
        match self.values.get_mut(value) {
            Some(held) => *held = after,
            None => {
                self.values.insert(value.into(), after);
            }
        }
    }

    /// How many a domain has.
    pub(crate) fn of(&self, value: &str) -> i64 {
        self.values.get(value).copied().unwrap_or(0)
    }

    /// How many the emptiest of so many domains has.
    pub(crate) fn least(&self, domains: usize) -> i64 {
        if self.values.len() < domains { 0 } else { self.levels.keys().next().copied().unwrap_or(0) }
    }

    /// True if no domain has any.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// Which values nodes have for the keys of interest.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Topology {
    keys: HashMap<Box<str>, Values>,
}

/// The values of one key.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Values {
    by_value: HashMap<Box<str>, usize>,
    /// How many nodes have the key.
    pub(crate) nodes: usize,
}

impl Topology {
    /// Follows this key too.
    pub(crate) fn cover<'a>(&mut self, key: &str, nodes: impl Iterator<Item = &'a Labels>) {
        if self.keys.contains_key(key) {
            return;
        }
        let mut values = Values::default();
        nodes.filter_map(|labels| labels.get(key)).for_each(|value| values.add(value));
        self.keys.insert(key.into(), values);
    }

    /// A node's labels changed; it has none before it comes and after it went.
    pub(crate) fn relabel(&mut self, before: &Labels, after: &Labels) {
        for (key, values) in &mut self.keys {
            let (before, after) = (before.get(key), after.get(key));
            if before != after {
                before.into_iter().for_each(|value| values.remove(value));
                after.into_iter().for_each(|value| values.add(value));
            }
        }
    }

    /// The values of a key, if it is followed.
    pub(crate) fn of(&self, key: &str) -> Option<&Values> {
        self.keys.get(key)
    }
}

impl Values {
    /// How many domains there are.
    pub(crate) fn len(&self) -> usize {
        self.by_value.len()
    }

    fn add(&mut self, value: &str) {
        self.nodes += 1;
        *self.by_value.entry(value.into()).or_default() += 1;
    }

    fn remove(&mut self, value: &str) {
        let Some(nodes) = self.by_value.get_mut(value) else { return };
        self.nodes -= 1;
        *nodes -= 1;
        if *nodes == 0 {
            self.by_value.remove(value);
        }
    }
}
