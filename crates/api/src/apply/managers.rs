//! The owners of an object's fields, as `metadata.managedFields` lists them.
//!
//! Follows upstream's `managedfields/internal/managedfields.go` and `capmanagers.go`. Sets are encoded again only if they
//! changed.

use std::cell::OnceCell;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use serde_json::{Map, Value};

use super::set::Set;

/// How many owners by plain updates an object keeps apart.
const MOST_UPDATERS: usize = 10;
/// The owner of what the oldest of them set.
const ANCIENT: &str = "ancient-changes";
/// Upstream's bound for a manager's name, in bytes.
const LONGEST: usize = 128;

/// The manager of a request that names none: its user agent's first part.
pub fn manager_of_agent(agent: &str) -> String {
    let mut manager = String::new();
    for letter in agent.split('/').next().unwrap_or_default().chars().filter(|letter| !letter.is_control()) {
        if manager.len() + letter.len_utf8() > LONGEST {
            break;
        }
        manager.push(letter);
    }
    manager
}

/// One owner. Its set is read when it is needed: most writes take nothing from most owners.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    /// Its entry; `fields_v1` is stale once `changed`.
    pub(super) entry: ManagedFieldsEntry,
    fields: OnceCell<Set>,
    changed: bool,
}

impl Owner {
    pub(super) fn new(entry: ManagedFieldsEntry, fields: Set) -> Self {
        Self { entry, fields: fields.into(), changed: true }
    }

    pub(super) fn fields(&self) -> &Set {
        self.fields.get_or_init(|| {
            let fields = self.entry.fields_v1.as_ref().map(|fields| Set::decode(&fields.0));
            fields.and_then(Result::ok).unwrap_or_default()
        })
    }

    /// The set as it is written, where it has not been read yet.
    fn unread(&self) -> Option<&Value> {
        if self.fields.get().is_some() { None } else { self.entry.fields_v1.as_ref().map(|fields| &fields.0) }
    }

    /// Whether it owns nothing.
    pub(super) fn is_empty(&self) -> bool {
        match self.unread() {
            Some(written) => written.as_object().is_none_or(Map::is_empty),
            None => self.fields().is_empty(),
        }
    }

    fn set_fields(&mut self, fields: Set) {
        if fields != *self.fields() {
            self.fields = fields.into();
            self.changed = true;
        }
    }

    /// Takes fields away from it.
    pub(super) fn lose(&mut self, fields: &Set) {
        let spared = self.unread().is_some_and(|written| fields.meets_written(written) == Some(false));
        if !spared && self.fields().meets(fields) {
            self.set_fields(self.fields().difference(fields));
        }
    }

    /// Gives it more fields.
    pub(super) fn gain(&mut self, fields: &Set) {
        let has = self.unread().is_some_and(|written| fields.is_within_written(written) == Some(true));
        if !has && !self.fields().holds(fields) {
            self.set_fields(self.fields().union(fields));
        }
    }

    pub(super) fn applied(&self) -> bool {
        self.entry.operation.as_deref() == Some("Apply")
    }

    /// True if both are the same owner. An applier stays the same whatever version it applies.
    pub(super) fn is(&self, other: &ManagedFieldsEntry) -> bool {
        let own = &self.entry;
        own.manager == other.manager
            && own.operation == other.operation
            && own.subresource == other.subresource
            && (self.applied() || own.api_version == other.api_version)
    }

    /// As messages name it.
    pub(super) fn shown(&self) -> String {
        let manager = self.entry.manager.as_deref().unwrap_or_default();
        let mut text = format!("{manager:?}");
        if let Some(subresource) = self.entry.subresource.as_deref().filter(|name| !name.is_empty()) {
            text += &format!(" with subresource {subresource:?}");
        }
        if !self.applied() {
            text += &format!(" using {}", self.entry.api_version.as_deref().unwrap_or_default());
        }
        text
    }

    fn seconds(&self) -> i64 {
        self.entry.time.as_ref().map_or(0, |time| time.0.as_second())
    }
}

/// Reads entries; nothing if one of them is malformed. Those that are stored are trusted: they were written by us.
pub(super) fn decode(entries: &[ManagedFieldsEntry], trusted: bool) -> Option<Vec<Owner>> {
    let mut owners: Vec<Owner> = Vec::with_capacity(entries.len() + 1);
    for entry in entries {
        let known = matches!(entry.operation.as_deref(), Some("Apply" | "Update"))
            && entry.api_version.as_deref().is_some_and(|version| !version.is_empty())
            && entry.fields_type.as_deref() == Some("FieldsV1");
        if !known {
            return None;
        }
        let fields = OnceCell::new();
        if !trusted {
            let empty = Value::Object(Map::new());
            fields
                .set(Set::decode(entry.fields_v1.as_ref().map_or(&empty, |fields| &fields.0)).ok()?)
                .ok()?;
        }
        owners.retain(|owner| !owner.is(entry));
        owners.push(Owner { entry: entry.clone(), fields, changed: false });
    }
    Some(owners)
}

/// Writes entries, in upstream's order.
pub(super) fn encode(mut owners: Vec<Owner>) -> Vec<ManagedFieldsEntry> {
    owners.retain(|owner| !owner.is_empty());
    let key = |owner: &Owner| {
        let entry = &owner.entry;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        (
            text(&entry.operation),
            owner.seconds(),
            text(&entry.manager),
            text(&entry.api_version),
            text(&entry.subresource),
        )
    };
    owners.sort_by_key(key);
    let entry = |owner: Owner| ManagedFieldsEntry {
        fields_v1: if owner.changed {
            Some(FieldsV1(owner.fields().encode()))
        } else {
            owner.entry.fields_v1
        },
        fields_type: Some("FieldsV1".to_owned()),
        ..owner.entry
    };
    owners.into_iter().map(entry).collect()
}

/// Joins the oldest updaters of a version into one if there are too many.
pub(super) fn cap(owners: &mut Vec<Owner>) {
    let mut updaters: Vec<Owner> = Vec::new();
    let mut left = owners.iter().filter(|owner| !owner.applied()).count();
    if left <= MOST_UPDATERS {
        return;
    }
    owners.retain(|owner| {
        if !owner.applied() {
            updaters.push(owner.clone());
        }
        owner.applied()
    });
    updaters.sort_by_key(|owner| (owner.seconds(), owner.entry.manager.clone()));
    let mut buckets: Vec<Owner> = Vec::new();
    let mut rest = updaters.into_iter();
    while left > MOST_UPDATERS {
        let Some(owner) = rest.next() else { break };
        match buckets.iter_mut().find(|bucket| bucket.entry.api_version == owner.entry.api_version) {
            Some(bucket) => {
                bucket.gain(owner.fields());
                bucket.entry = ManagedFieldsEntry {
                    manager: Some(ANCIENT.to_owned()),
                    subresource: None,
                    time: owner.entry.time,
                    ..bucket.entry.clone()
                };
                left -= 1;
            }
            None => buckets.push(owner),
        }
    }
    owners.extend(buckets);
    owners.extend(rest);
}
