//! Which values nodes have for the keys that pods look at, as numbers.
//!
//! A key gets its number when somebody first asks for it, a value when the first node has it; the number of a value that no
//! node has any more is given to another. Each node knows its own by the number of the key ([`Whereabouts`]).

use std::collections::{BTreeMap, HashMap};

/// Labels of a node.
pub(crate) type Labels = BTreeMap<Box<str>, Box<str>>;
/// A label key that somebody looks at.
pub(crate) type KeyId = u32;
/// One value of a key: a domain.
pub(crate) type DomainId = u32;

/// The domain of a key that a node has no value for.
const NOWHERE: DomainId = DomainId::MAX;

/// A node's domains, by the number of their key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Whereabouts(Vec<DomainId>);

impl Whereabouts {
    /// The node's domain of a key.
    pub(crate) fn of(&self, key: KeyId) -> Option<DomainId> {
        self.0.get(key as usize).copied().filter(|domain| *domain != NOWHERE)
    }

    /// Whether the node has a value for the key.
    pub(crate) fn has(&self, key: KeyId) -> bool {
        self.of(key).is_some()
    }
}

/// The keys of interest and their values.
#[derive(Debug, Default)]
pub(crate) struct Topology {
    ids: HashMap<Box<str>, KeyId>,
    keys: Vec<Values>,
}

/// The values of one key.
#[derive(Debug, Default)]
pub(crate) struct Values {
    key: Box<str>,
    ids: HashMap<Box<str>, DomainId>,
    /// By domain: its value, and how many nodes have it.
    domains: Vec<(Box<str>, usize)>,
    free: Vec<DomainId>,
    /// How many nodes have the key.
    pub(crate) nodes: usize,
}

impl Topology {
    /// The number of a key, if it is followed.
    pub(crate) fn id(&self, key: &str) -> Option<KeyId> {
        self.ids.get(key).copied()
    }

    /// The values of a key.
    pub(crate) fn of(&self, key: KeyId) -> Option<&Values> {
        self.keys.get(key as usize)
    }

    /// Follows this key too; the nodes have to be told.
    pub(super) fn cover(&mut self, key: &str) -> KeyId {
        let id = KeyId::try_from(self.keys.len()).unwrap_or(KeyId::MAX);
        self.ids.insert(key.into(), id);
        self.keys.push(Values { key: key.into(), ..Values::default() });
        id
    }

    /// A node with these labels came: where it is.
    pub(super) fn enter(&mut self, labels: &Labels) -> Whereabouts {
        let domain = |values: &mut Values| labels.get(&values.key).map_or(NOWHERE, |value| values.add(value));
        Whereabouts(self.keys.iter_mut().map(domain).collect())
    }

    /// A node that is there learns its domain of a key that was not followed before.
    pub(super) fn learn(&mut self, key: KeyId, labels: &Labels, place: &mut Whereabouts) {
        let Some(values) = self.keys.get_mut(key as usize) else { return };
        place.0.resize(key as usize + 1, NOWHERE);
        if let Some(value) = labels.get(&values.key) {
            place.0[key as usize] = values.add(value);
        }
    }

    /// A node that was there went.
    pub(super) fn leave(&mut self, place: &Whereabouts) {
        for (values, domain) in self.keys.iter_mut().zip(&place.0).filter(|(_, domain)| **domain != NOWHERE) {
            values.remove(*domain);
        }
    }

    /// How many nodes have which value of a key.
    #[cfg(test)]
    pub(super) fn nodes(&self, key: &str) -> BTreeMap<&str, usize> {
        let Some(values) = self.id(key).and_then(|id| self.of(id)) else { return BTreeMap::new() };
        values.ids.iter().map(|(value, id)| (&**value, values.domains[*id as usize].1)).collect()
    }
}

impl Values {
    /// How many domains there are.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    fn add(&mut self, value: &str) -> DomainId {
        self.nodes += 1;
        if let Some(id) = self.ids.get(value) {
            self.domains[*id as usize].1 += 1;
            return *id;
        }
        let id = self.free.pop().unwrap_or_else(|| {
            self.domains.push((Box::default(), 0));
            DomainId::try_from(self.domains.len() - 1).unwrap_or(NOWHERE)
        });
        self.domains[id as usize] = (value.into(), 1);
        self.ids.insert(value.into(), id);
        id
    }

    fn remove(&mut self, domain: DomainId) {
        let Some((value, nodes)) = self.domains.get_mut(domain as usize) else { return };
        self.nodes -= 1;
        *nodes -= 1;
        if *nodes == 0 {
            self.ids.remove(value);
            self.free.push(domain);
        }
    }
}
