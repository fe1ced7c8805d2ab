//! The owners of an object's fields, as `metadata.managedFields` lists them.
//!
//! Follows upstream's `managedfields/internal/managedfields.go` and `capmanagers.go`. Sets are read only if something is
//! taken from them or given to them, and written again only if they changed.

use std::cell::OnceCell;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use super::owners::{Entry, Owners};
use super::set::Set;

/// How many owners by plain updates an object keeps apart.
const MOST_UPDATERS: usize = 10;
/// The owner of what the oldest of them set.
const ANCIENT: &str = "ancient-changes";
/// The only way to write sets that there is.
const FIELDS_V1: &str = "FieldsV1";
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

/// One owner. Its set is read when it is needed.
#[derive(Clone, Debug)]
pub(super) struct Owner<'a> {
    /// Its entry; `fields_v1` is stale once `changed`.
    pub(super) entry: Entry<'a>,
    fields: OnceCell<Set>,
    changed: bool,
}

impl<'a> Owner<'a> {
    pub(super) fn new(entry: Entry<'a>, fields: Set) -> Self {
        Self { entry, fields: fields.into(), changed: true }
    }

    pub(super) fn fields(&self) -> &Set {
        self.fields.get_or_init(|| self.entry.set().unwrap_or_default())
    }

    /// The set as it is written, where it has not been read yet.
    fn unread(&self) -> Option<&'a str> {
        if self.fields.get().is_some() { None } else { self.entry.fields_v1.map(RawValue::get) }
    }

    /// Whether it owns nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.unread().is_none_or(|written| written == "{}") && self.fields().is_empty()
    }

    fn set_fields(&mut self, fields: Set) {
        if fields != *self.fields() {
            self.fields = fields.into();
            self.changed = true;
        }
    }

    /// Takes fields away from it.
    pub(super) fn lose(&mut self, fields: &Set) {
        let spared = self.unread().is_some_and(|written| fields.written_in(written) == Some(0));
        if !spared && self.fields().meets(fields) {
            self.set_fields(self.fields().difference(fields));
        }
    }

    /// Gives it more fields.
    pub(super) fn gain(&mut self, fields: &Set) {
        let has = self.unread().is_some_and(|written| fields.written_in(written) == Some(fields.len()));
        if !has && !self.fields().holds(fields) {
            self.set_fields(self.fields().union(fields));
        }
    }

    pub(super) fn applied(&self) -> bool {
        self.entry.operation == "Apply"
    }

    /// True if both are the same owner. An applier stays the same whatever version it applies.
    pub(super) fn is(&self, other: &Entry<'_>) -> bool {
        let own = &self.entry;
        own.manager == other.manager
            && own.operation == other.operation
            && own.subresource == other.subresource
            && (self.applied() || own.api_version == other.api_version)
    }

    /// As messages name it.
    pub(super) fn shown(&self) -> String {
        let Entry { manager, subresource, api_version, .. } = &self.entry;
        let mut text = format!("{manager:?}");
        if !subresource.is_empty() {
            text += &format!(" with subresource {subresource:?}");
        }
        if !self.applied() {
            text += &format!(" using {api_version}");
        }
        text
    }

    fn seconds(&self) -> i64 {
        self.entry.time.as_ref().map_or(0, |time| time.0.as_second())
    }

    fn rank(&self) -> impl Ord {
        let Entry { operation, manager, api_version, subresource, .. } = &self.entry;
        (operation, self.seconds(), manager, api_version, subresource)
    }
}

/// As its entry, in the order in which the members of entries are stored.
impl Serialize for Owner<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Entry { api_version, fields_v1, manager, operation, subresource, time, .. } = &self.entry;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("apiVersion", api_version)?;
        map.serialize_entry("fieldsType", FIELDS_V1)?;
        match fields_v1 {
            Some(written) if !self.changed => map.serialize_entry("fieldsV1", written)?,
            _ => map.serialize_entry("fieldsV1", self.fields())?,
        }
        for (name, text) in [("manager", manager), ("operation", operation), ("subresource", subresource)] {
            if !text.is_empty() {
                map.serialize_entry(name, text)?;
            }
        }
        if let Some(time) = time {
            map.serialize_entry("time", time)?;
        }
        map.end()
    }
}

/// The owners of entries; nothing if one of them is malformed. Those that are stored are trusted: they were written by us.
pub(super) fn decode(owners: &Owners, trusted: bool) -> Option<Vec<Owner<'_>>> {
    let entries = owners.entries()?;
    let mut owners: Vec<Owner<'_>> = Vec::with_capacity(entries.len() + 1);
    for entry in entries {
        let known = matches!(&*entry.operation, "Apply" | "Update")
            && !entry.api_version.is_empty()
            && entry.fields_type == FIELDS_V1;
        if !known {
            return None;
        }
        let fields = OnceCell::new();
        if !trusted {
            fields.set(entry.set()?).ok()?;
        }
        owners.retain(|owner| !owner.is(&entry));
        owners.push(Owner { entry, fields, changed: false });
    }
    Some(owners)
}

/// Writes entries, in upstream's order; nothing if nobody owns anything.
pub(super) fn encode(mut owners: Vec<Owner<'_>>) -> Option<Owners> {
    owners.retain(|owner| !owner.is_empty());
    owners.sort_by(|one, other| one.rank().cmp(&other.rank()));
    Owners::of(&owners)
}

/// Joins the oldest updaters of a version into one if there are too many.
pub(super) fn cap(owners: &mut Vec<Owner<'_>>) {
    let mut updaters: Vec<Owner<'_>> = Vec::new();
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
    let mut buckets: Vec<Owner<'_>> = Vec::new();
    let mut rest = updaters.into_iter();
    while left > MOST_UPDATERS {
        let Some(owner) = rest.next() else { break };
        match buckets.iter_mut().find(|bucket| bucket.entry.api_version == owner.entry.api_version) {
            Some(bucket) => {
                bucket.gain(owner.fields());
                bucket.entry = Entry {
                    manager: ANCIENT.into(),
                    subresource: "".into(),
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
