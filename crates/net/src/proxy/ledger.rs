//! What is in the kernel's sets, and which service put it there; pure.
//!
//! Two services may want the same element (a pod behind both, an external address used twice). The first to claim it
//! has it; when it lets go, the next in line gets it. So removing one service never cuts off another.

use std::collections::{BTreeSet, HashMap};

use crate::model::Key;
use crate::netlink::nft::Batch;
use crate::proxy::Elements;
use crate::proxy::plan::{Entry, Face};
use crate::proxy::table::SetId;

type Place = (SetId, Vec<u8>);
/// An element's value before the first change of a round, and now.
type Change = (Option<Vec<u8>>, Option<Vec<u8>>);

/// Who claims what.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    claims: HashMap<Place, Vec<(Key, Vec<u8>)>>,
    of: HashMap<Key, Vec<Place>>,
}

/// What to take out of the sets and what to put in.
#[derive(Debug, Default)]
pub(super) struct Difference {
    changed: HashMap<Place, Change>,
}

impl Ledger {
    /// From now on `service` wants these elements and no others.
    pub(super) fn set(&mut self, service: &Key, wanted: Vec<Entry>, difference: &mut Difference) {
        let wanted: HashMap<Place, Vec<u8>> =
            wanted.into_iter().map(|(set, key, value)| ((set, key), value)).collect();
        let before = self.of.remove(service).unwrap_or_default();
        let gone = before.into_iter().filter(|place| !wanted.contains_key(place));
        for place in gone.collect::<Vec<_>>() {
            self.change(place, difference, |claims| claims.retain(|(owner, _)| owner != service));
        }
        let places: Vec<Place> = wanted.keys().cloned().collect();
        for (place, value) in wanted {
            self.change(place, difference, |claims| {
                match claims.iter_mut().find(|(owner, _)| owner == service) {
                    Some((_, known)) => *known = value,
                    None => claims.push((service.clone(), value)),
                }
            });
        }
        if !places.is_empty() {
            self.of.insert(service.clone(), places);
        }
    }

    fn change(
        &mut self,
        place: Place,
        difference: &mut Difference,
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
    pub(super) fn all(&self) -> Elements {
        let mut all = Elements::new();
        for ((set, key), claims) in &self.claims {
            if let Some((_, value)) = claims.first() {
                all.entry(*set).or_default().push((key.clone(), value.clone()));
            }
        }
        all
    }
}

impl Difference {
    /// True if nothing changed.
    pub(super) fn is_empty(&self) -> bool {
        self.changed.is_empty()
    }

    /// The sets that get new elements.
    pub(super) fn sets(&self) -> BTreeSet<SetId> {
        self.changed.iter().filter(|(_, (_, now))| now.is_some()).map(|((set, _), _)| *set).collect()
    }

    /// Writes the changes; removals first, since an element can't change its value in place.
    pub(super) fn write(&self, batch: &mut Batch<'_>) {
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
            batch.add(&set.name(), &elements);
        }
    }

    /// The UDP faces whose endpoints changed or that had none.
    pub(super) fn udp_faces(&self) -> BTreeSet<Face> {
        let lost = self.changed.iter().filter(|(_, (before, now))| before.is_some() && before != now);
        lost.filter_map(|((set, key), _)| match set {
            SetId::Slots(_) | SetId::Reject | SetId::Drop => udp_face(key),
            _ => None,
        })
        .collect()
    }
}

fn udp_face(key: &[u8]) -> Option<Face> {
    let address: [u8; 4] = key.get(..4)?.try_into().ok()?;
    let port = u16::from_be_bytes(key.get(8..10)?.try_into().ok()?);
    (*key.get(4)? == crate::model::Protocol::Udp.number()).then(|| (address.into(), port))
}
