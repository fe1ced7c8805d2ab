//! How many of something there are on each node, and in each domain (a node label's value) of the keys of interest.
//!
//! Kept current by what changes: a pod that comes or goes costs one step per key, a node that changes its labels one
//! step per key whose value changed. Nodes, keys and domains are numbers here (`topology.rs`): every node is asked for every
//! pod that looks at others, and comparing names would be most of that.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use super::topology::{DomainId, KeyId, Whereabouts};

/// A node's place in the snapshot.
pub(crate) type NodeId = u32;

/// Spreads small numbers that we gave ourselves, so that nobody can choose them badly.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Quick(u64);

impl Hasher for Quick {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// Numbers by number.
pub(crate) type Numbers = HashMap<u32, i64, BuildHasherDefault<Quick>>;

/// Numbers by node and by domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    nodes: Numbers,
    /// By topology key, in the order of their numbers.
    domains: Vec<(KeyId, Domains)>,
}

/// Numbers by the value of one key; domains that have none are not listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Domains {
    values: Numbers,
    /// How many domains have so many.
    levels: BTreeMap<i64, usize>,
}

impl Counts {
    /// Adds to (or takes from) a node and its domains.
    pub(crate) fn add(&mut self, node: NodeId, place: &Whereabouts, number: i64) {
        let here = self.nodes.entry(node).or_default();
        *here += number;
        if *here == 0 {
            self.nodes.remove(&node);
        }
        for (key, domains) in &mut self.domains {
            if let Some(domain) = place.of(*key) {
                domains.add(domain, number);
            }
        }
    }

    /// Counts by this key too; `place` tells where a node is.
    pub(crate) fn cover<'a>(&mut self, key: KeyId, place: impl Fn(NodeId) -> Option<&'a Whereabouts>) {
        let Err(at) = self.domains.binary_search_by_key(&key, |(key, _)| *key) else { return };
        let mut domains = Domains::default();
        for (node, number) in &self.nodes {
            if let Some(domain) = place(*node).and_then(|place| place.of(key)) {
                domains.add(domain, *number);
            }
        }
        self.domains.insert(at, (key, domains));
    }

    /// A node's labels changed.
    pub(crate) fn relabel(&mut self, node: NodeId, before: &Whereabouts, after: &Whereabouts) {
        let Some(number) = self.nodes.get(&node).copied() else { return };
        for (key, domains) in &mut self.domains {
            let (before, after) = (before.of(*key), after.of(*key));
            if before != after {
                before.into_iter().for_each(|domain| domains.add(domain, -number));
                after.into_iter().for_each(|domain| domains.add(domain, number));
            }
        }
    }

    /// How many a node has.
    pub(crate) fn on(&self, node: NodeId) -> i64 {
        self.nodes.get(&node).copied().unwrap_or(0)
    }

    /// How many each domain has, if that is counted.
    pub(crate) fn by(&self, key: KeyId) -> Option<&Domains> {
        self.domains.iter().find(|(held, _)| *held == key).map(|(_, domains)| domains)
    }
}

impl Domains {
    fn add(&mut self, domain: DomainId, number: i64) {
        let value = self.values.entry(domain).or_default();
        let before = *value;
        *value += number;
        let after = *value;
        if before != 0
            && let Some(level) = self.levels.get_mut(&before)
        {
            *level -= 1;
            if *level == 0 {
                self.levels.remove(&before);
            }
        }
        if after == 0 {
            self.values.remove(&domain);
        } else {
            *self.levels.entry(after).or_default() += 1;
        }
    }

    /// How many a domain has.
    pub(crate) fn of(&self, domain: DomainId) -> i64 {
        self.values.get(&domain).copied().unwrap_or(0)
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
