//! Who owns whom, and what follows from it for one object; pure.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use skiff_api::meta::Owner;
use skiff_api::{Meta, Object, Resource};
use skiff_client::write::Place;

use super::{FOREGROUND, ORPHAN, Uid};

/// An object as far as ownership goes.
#[derive(Clone, Debug)]
pub(super) struct Item {
    uid: Uid,
    resource: Resource,
    namespace: Option<Arc<str>>,
    name: Arc<str>,
    revision: u64,
    owners: Vec<Owner>,
    leaving: bool,
    orphans: bool,
    foreground: bool,
}

impl Item {
    pub(super) fn new(resource: &Resource, meta: &Meta) -> Self {
        let held_by = |finalizer: &str| meta.finalizers.iter().any(|held| &**held == finalizer);
        Self {
            uid: Arc::clone(&meta.uid),
            resource: resource.clone(),
            namespace: meta.namespace.clone(),
            name: Arc::clone(&meta.name),
            revision: meta.revision,
            owners: meta.owner_references.clone(),
            leaving: meta.deletion_timestamp.is_some(),
            orphans: held_by(ORPHAN),
            foreground: held_by(FOREGROUND),
        }
    }

    pub(super) fn place(&self) -> Place {
        Place::new(&self.resource, self.namespace.as_deref(), &self.name)
    }

    pub(super) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    pub(super) fn resource(&self) -> &Resource {
        &self.resource
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn uid(&self) -> &Uid {
        &self.uid
    }

    /// The state that was judged.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether it may be the owner that the reference of a dependent in `namespace` means: uids alone can be made up.
    fn is_meant_by(&self, reference: &Owner, namespace: Option<&str>) -> bool {
        let group = reference.api_version.rsplit_once('/').map_or("", |(group, _)| group);
        let here = self.namespace.is_none() || self.namespace.as_deref() == namespace;
        here && *self.name == *reference.name
            && *self.resource.kind == *reference.kind
            && *self.resource.group == *group
    }

    pub(super) fn is_owned_by(&self, owner: &Self) -> bool {
        self.owners.iter().any(|reference| *reference.uid == *owner.uid)
    }

    /// It is being deleted and waits for those it owns to go first.
    fn waits(&self) -> bool {
        self.leaving && self.foreground
    }
}

/// What to do about an object.
#[derive(Debug)]
pub(super) enum Step {
    /// Delete it with this policy; first let nobody wait for it, where it would wait for them in turn.
    Delete { policy: &'static str, unblock: bool },
    /// Take references to these owners from it.
    Disown(Vec<Uid>),
    /// Let all that it owns go, then take its `orphan` finalizer.
    Orphan,
    /// Nothing holds it any more: take its `foregroundDeletion` finalizer.
    Release,
    /// It waits for these: look at them.
    Press(Vec<Uid>),
}

/// All objects with an owner, or being one.
#[derive(Debug, Default)]
pub(super) struct Graph {
    items: HashMap<Uid, Item>,
    /// Whom each owner owns; also of owners that are not (or no longer) known.
    owned: HashMap<Box<str>, HashSet<Uid>>,
}

impl Graph {
    /// Takes in all objects of a kind; whom to attend to.
    pub(super) fn reset(&mut self, resource: &Resource, objects: &[Arc<Object>]) -> Vec<Uid> {
        let kept: HashSet<&str> = objects.iter().map(|object| &*object.meta().uid).collect();
        let lost: Vec<Uid> = self
            .items
            .values()
            .filter(|item| item.resource == *resource && !kept.contains(&*item.uid))
            .map(|item| Arc::clone(&item.uid))
            .collect();
        let mut affected: Vec<Uid> = lost.iter().flat_map(|uid| self.gone(uid)).collect();
        for object in objects {
            affected.extend(self.put(resource, object));
        }
        affected
    }

    /// Takes in an object; whom to attend to.
    pub(super) fn put(&mut self, resource: &Resource, object: &Object) -> Vec<Uid> {
        let item = Item::new(resource, object.meta());
        let uid = Arc::clone(&item.uid);
        let before = self.items.remove(&uid);
        if let Some(before) = &before {
            self.unlink(before);
        }
        for owner in &item.owners {
            self.owned.entry(owner.uid.clone()).or_default().insert(Arc::clone(&uid));
        }
        let mut affected = Vec::new();
        let same_owners = before.as_ref().is_some_and(|before| before.owners == item.owners);
        if !item.owners.is_empty() && !same_owners || item.leaving && (item.orphans || item.foreground) {
            affected.push(Arc::clone(&uid));
        }
        // An owner that waits may wait for one less.
        if let Some(before) = &before
            && !same_owners
        {
            affected.extend(self.waiting_owners(before));
        }
        self.items.insert(uid, item);
        affected
    }

    /// An object is gone; whom to attend to.
    pub(super) fn gone(&mut self, uid: &str) -> Vec<Uid> {
        let mut affected: Vec<Uid> = self.owned.get(uid).into_iter().flatten().cloned().collect();
        if let Some(item) = self.items.remove(uid) {
            self.unlink(&item);
            affected.extend(self.waiting_owners(&item));
        }
        affected
    }

    fn unlink(&mut self, item: &Item) {
        for owner in &item.owners {
            if let Some(owned) = self.owned.get_mut(&owner.uid) {
                owned.remove(&item.uid);
                if owned.is_empty() {
                    self.owned.remove(&owner.uid);
                }
            }
        }
    }

    fn waiting_owners(&self, item: &Item) -> Vec<Uid> {
        let owners = item.owners.iter().filter_map(|owner| self.owner(item, owner));
        owners.filter(|owner| owner.waits()).map(|owner| Arc::clone(&owner.uid)).collect()
    }

    /// The object's owners that are not in the graph, with the namespace to look for them in.
    pub(super) fn unknown_owners(&self, uid: &str) -> Vec<(Owner, Option<Arc<str>>)> {
        let Some(item) = self.items.get(uid).filter(|item| !item.leaving) else { return Vec::new() };
        let unknown = item.owners.iter().filter(|owner| self.owner(item, owner).is_none());
        unknown.map(|owner| (owner.clone(), item.namespace.clone())).collect()
    }

    /// The item that one of `dependent`'s references means, if it is known.
    fn owner(&self, dependent: &Item, reference: &Owner) -> Option<&Item> {
        let item = self.items.get(&*reference.uid)?;
        item.is_meant_by(reference, dependent.namespace()).then_some(item)
    }

    /// The references of an object to known objects that are in another namespace.
    pub(super) fn misplaced_owners(&self, uid: &str) -> Vec<(Item, Owner)> {
        let Some(item) = self.items.get(uid) else { return Vec::new() };
        let misplaced = item.owners.iter().filter(|reference| {
            let owner = self.items.get(&*reference.uid);
            owner.is_some_and(|owner| owner.namespace.is_some() && owner.namespace != item.namespace)
        });
        misplaced.map(|reference| (item.clone(), reference.clone())).collect()
    }

    /// What to do about an object, if anything; `absent` are those of its owners that are surely gone.
    pub(super) fn step(&self, uid: &str, absent: &[Uid]) -> Option<(Item, Step)> {
        let item = self.items.get(uid)?;
        let step = if item.leaving { self.leave(item) } else { self.stay(item, absent) };
        step.map(|step| (item.clone(), step))
    }

    fn dependents<'a>(&'a self, item: &Item) -> impl Iterator<Item = &'a Item> {
        self.owned.get(&*item.uid).into_iter().flatten().filter_map(|uid| self.items.get(uid))
    }

    /// An object that is being deleted and has a finalizer of ours.
    fn leave(&self, item: &Item) -> Option<Step> {
        if item.orphans {
            return Some(Step::Orphan);
        }
        if !item.foreground {
            return None;
        }
        // Who waits for this one in turn will not go first.
        if !self.blocking(item).any(|dependent| !self.waits_for(dependent, item)) {
            return Some(Step::Release);
        }
        let pressed = self.dependents(item).filter(|dependent| !dependent.leaving);
        Some(Step::Press(pressed.map(|dependent| Arc::clone(&dependent.uid)).collect()))
    }

    /// The dependents that a waiting owner waits for.
    fn blocking<'a>(&'a self, owner: &'a Item) -> impl Iterator<Item = &'a Item> {
        self.dependents(owner).filter(|dependent| {
            dependent.owners.iter().any(|held| *held.uid == *owner.uid && held.block_owner_deletion)
        })
    }

    /// Whether `item` waits for `other`, by however many in between.
    fn waits_for(&self, item: &Item, other: &Item) -> bool {
        let (mut seen, mut next) = (HashSet::new(), vec![item]);
        while let Some(item) = next.pop() {
            if item.uid == other.uid {
                return true;
            }
            if item.waits() && seen.insert(&item.uid) {
                next.extend(self.blocking(item));
            }
        }
        false
    }

    /// An object that lives: does anybody still want it to?
    fn stay(&self, item: &Item, absent: &[Uid]) -> Option<Step> {
        if item.owners.is_empty() {
            return None;
        }
        let is_absent = |owner: &&Owner| absent.iter().any(|uid| **uid == *owner.uid);
        let waits = |owner: &&Owner| self.owner(item, owner).is_some_and(Item::waits);
        let lost: Vec<&Owner> = item.owners.iter().filter(is_absent).collect();
        let waiting: Vec<&Owner> = item.owners.iter().filter(waits).collect();
        if lost.len() + waiting.len() < item.owners.len() {
            // Somebody solid owns it: only the others' references go.
            let gone = lost.iter().chain(&waiting).map(|owner| Uid::from(&*owner.uid));
            let gone: Vec<Uid> = gone.collect();
            return (!gone.is_empty()).then_some(Step::Disown(gone));
        }
        if !waiting.is_empty() && self.dependents(item).next().is_some() {
            // Two that own each other would wait for ever.
            let unblock = self.dependents(item).any(Item::waits);
            return Some(Step::Delete { policy: "Foreground", unblock });
        }
        let policy = if item.orphans {
            "Orphan"
        } else if item.foreground {
            "Foreground"
        } else {
            "Background"
        };
        Some(Step::Delete { policy, unblock: false })
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
