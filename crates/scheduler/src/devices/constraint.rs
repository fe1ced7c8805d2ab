//! What the devices of a claim must have in common, or not.

use std::collections::BTreeSet;

use k8s_openapi::api::resource::v1::{DeviceAttribute, DeviceConstraint};

use super::device::Device;
use super::wanted::Ask;

/// A constraint of a claim.
#[derive(Clone, Debug)]
pub(crate) struct Constraint {
    /// The requests that it is about; all if there are none.
    requests: BTreeSet<String>,
    attribute: String,
    /// Whether all must have a value in common; else no two may have one.
    alike: bool,
}

/// A value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum One<'a> {
    Bool(bool),
    Int(i64),
    Text(&'a str),
    Version(&'a str),
}

impl Constraint {
    /// Reads a constraint; nothing if it is of a kind that is not known.
    pub(crate) fn of(given: &DeviceConstraint) -> Option<Self> {
        let (attribute, alike) = match (&given.match_attribute, &given.distinct_attribute) {
            (Some(attribute), _) => (attribute.clone(), true),
            (None, Some(attribute)) => (attribute.clone(), false),
            (None, None) => return None,
        };
        Some(Self { requests: given.requests.iter().flatten().cloned().collect(), attribute, alike })
    }

    fn concerns(&self, ask: &Ask) -> bool {
        self.requests.is_empty() || self.requests.contains(&ask.parent) || self.requests.contains(&ask.name)
    }

    /// Whether the device can join those that the claim has so far.
    pub(crate) fn allows<'a>(
        &self,
        ask: &Ask,
        device: &Device,
        so_far: impl Iterator<Item = (&'a Ask, &'a Device)>,
    ) -> bool {
        if !self.concerns(ask) {
            return true;
        }
        let values = |device: &'a Device| device.attribute(&self.attribute).map(set).unwrap_or_default();
        let Some(mut own) = device.attribute(&self.attribute).map(set).filter(|own| !own.is_empty()) else {
            return false;
        };
        let mut others = so_far.filter(|(ask, _)| self.concerns(ask)).map(|(_, device)| values(device));
        if !self.alike {
            return others.all(|other| other.is_disjoint(&own));
        }
        others.for_each(|other| own.retain(|value| other.contains(value)));
        !own.is_empty()
    }
}

/// A single value is a set of one.
fn set(attribute: &DeviceAttribute) -> BTreeSet<One<'_>> {
    let mut set = BTreeSet::new();
    set.extend(attribute.bool.iter().chain(attribute.bools.iter().flatten()).map(|it| One::Bool(*it)));
    set.extend(attribute.int.iter().chain(attribute.ints.iter().flatten()).map(|it| One::Int(*it)));
    set.extend(attribute.string.iter().chain(attribute.strings.iter().flatten()).map(|it| One::Text(it)));
    set.extend(
        attribute.version.iter().chain(attribute.versions.iter().flatten()).map(|it| One::Version(it)),
    );
    set
}
