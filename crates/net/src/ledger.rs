//! What is in the kernel's sets, and who put it there (a service, a pod); pure.
//!
//! Two may want the same element (a pod behind both, an external address used twice). The first to claim it
//! has it; when it lets go, the next in line gets it. So removing one never cuts off another.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;

use crate::model::Key;
use crate::netlink::nft::{Batch, Element};

/// Which set of a table.
pub(crate) trait Set: Copy + Ord + Hash {
    /// Its name in the kernel.
    fn name(&self) -> String;

    /// In a map to chains: the chain that a value stands for.
    fn chain(&self, _value: &[u8]) -> Option<String> {
        None
    }
}

/// Writes elements into a set.
pub(crate) fn add<S: Set>(batch: &mut Batch<'_>, set: S, elements: &[Element]) {
    let name = set.name();
    if elements.first().is_none_or(|(_, value)| set.chain(value).is_none()) {
        batch.add(&name, elements);
        return;
    }
    for (key, value) in elements {
        if let Some(chain) = set.chain(value) {
            batch.jump(&name, key, &chain);
        }
    }
}

/// An element of a set, with the set.
pub(crate) type Entry<S> = (S, Vec<u8>, Vec<u8>);
/// Elements by set.
pub(crate) type Elements<S> = BTreeMap<S, Vec<Element>>;

type Place<S> = (S, Vec<u8>);
/// An element's value before the first change of a round, and now.
type Change = (Option<Vec<u8>>, Option<Vec<u8>>);

/// Who claims what.
#[derive(Debug)]
pub(crate) struct Ledger<S> {
    claims: HashMap<Place<S>, Vec<(Key, Vec<u8>)>>,
    of: HashMap<Key, Vec<Place<S>>>,
}

/// What to take out of the sets and what to put in.
#[derive(Debug)]
pub(crate) struct Difference<S> {
    changed: HashMap<Place<S>, Change>,
}

impl<S> Default for Ledger<S> {
    fn default() -> Self {
        Self { claims: HashMap::new(), of: HashMap::new() }
    }
}

impl<S> Default for Difference<S> {
    fn default() -> Self {
        Self { changed: HashMap::new() }
    }
}

impl<S: Set> Ledger<S> {
    /// From now on `who` wants these elements and no others.
    pub(crate) fn set(&mut self, who: &Key, wanted: Vec<Entry<S>>, difference: &mut Difference<S>) {
        let wanted: HashMap<Place<S>, Vec<u8>> =
            wanted.into_iter().map(|(set, key, value)| ((set, key), value)).collect();
        let before = self.of.remove(who).unwrap_or_default();
        let gone = before.into_iter().filter(|place| !wanted.contains_key(place));
        for place in gone.collect::<Vec<_>>() {
            self.change(place, difference, |claims| claims.retain(|(owner, _)| owner != who));
        }
        let places: Vec<Place<S>> = wanted.keys().cloned().collect();
        for (place, value) in wanted {
            self.change(place, difference, |claims| {
                match claims.iter_mut().find(|(owner, _)| owner == who) {
                    Some((_, known)) => *known = value,
                    None => claims.push((who.clone(), value)),
                }
            });
        }
        if !places.is_empty() {
            self.of.insert(who.clone(), places);
        }
    }

    fn change(
        &mut self,
        place: Place<S>,
        difference: &mut Difference<S>,
        edit: impl FnOnce(&mut Vec<(Key, Vec<u8>)>),
    ) {
        let claims = self.claims.entry(place.clone()).or_default();
        let before = claims.first().map(|(_, value)| value.clone());
        edit(claims);
        let now = claims.first().map(|(_, value)| value.clone());
        if claims.is_empty() {
            self.claims.remove(&place);
        }
        if before != now {
            difference.changed.entry(place).or_insert((before, None)).1 = now;
        }
    }

    /// Everything that should be in the sets.
    pub(crate) fn all(&self) -> Elements<S> {
        let mut all = Elements::new();
        for ((set, key), claims) in &self.claims {
            if let Some((_, value)) = claims.first() {
                all.entry(*set).or_default().push((key.clone(), value.clone()));
            }
        }
        all
    }
}

impl<S: Set> Difference<S> {
    /// True if nothing changed.
    pub(crate) fn is_empty(&self) -> bool {
        self.changed.is_empty()
    }

    /// The sets that get new elements.
    pub(crate) fn sets(&self) -> BTreeSet<S> {
        self.changed.iter().filter(|(_, (_, now))| now.is_some()).map(|((set, _), _)| *set).collect()
    }

    /// Writes the changes; removals first, since an element can't change its value in place.
    pub(crate) fn write(&self, batch: &mut Batch<'_>) {
        let (mut out, mut new) = (Elements::new(), Elements::new());
        for ((set, key), (before, now)) in &self.changed {
            if before == now {
                continue;
            }
            if let Some(value) = before {
                out.entry(*set).or_default().push((key.clone(), value.clone()));
            }
            if let Some(value) = now {
                new.entry(*set).or_default().push((key.clone(), value.clone()));
            }
        }
        for (set, elements) in out {
            batch.remove(&set.name(), &elements);
        }
        for (set, elements) in new {
            add(batch, set, &elements);
        }
    }

    /// The elements that are gone or have another value now.
    pub(crate) fn lost(&self) -> impl Iterator<Item = (S, &[u8])> {
        let lost = self.changed.iter().filter(|(_, (before, now))| before.is_some() && before != now);
        lost.map(|((set, key), _)| (*set, key.as_slice()))
    }
}
