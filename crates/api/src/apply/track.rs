//! What a write does to ownership: plain updates take what they change, appliers own what they say.
//!
//! Follows structured-merge-diff's `merge/update.go` and upstream's chain of managers around it (`stripmeta.go`,
//! `managedfieldsupdater.go`, `buildmanagerinfo.go`, `skipnonapplied.go`). A kind has one schema whatever the version an
//! owner used, so nothing is converted.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};
use serde_json::Value;

use super::conflict::{Conflict, Conflicts};
use super::last_applied;
use super::managers::{self, Owner};
use super::schema::Schema;
use super::set::Set;
use super::walk::Part;

/// Who writes, through which door.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// The manager's name.
    pub manager: &'a str,
    /// The version in which it writes, such as `apps/v1`.
    pub api_version: &'a str,
    /// Empty for the object itself.
    pub subresource: &'a str,
    /// What it can touch.
    pub part: Part,
    /// When it does so.
    pub now: &'a Time,
}

/// What is stored.
#[derive(Clone, Copy, Debug, Default)]
pub struct Before<'a> {
    /// The object, without `managedFields`; nothing if it is to be created.
    pub object: Option<&'a Value>,
    /// Its `managedFields`.
    pub owners: Option<&'a [ManagedFieldsEntry]>,
}

impl Who<'_> {
    fn entry(&self, operation: &str) -> ManagedFieldsEntry {
        let manager = if self.manager.is_empty() { "unknown" } else { self.manager };
        ManagedFieldsEntry {
            api_version: Some(self.api_version.to_owned()),
            manager: Some(manager.to_owned()),
            operation: Some(operation.to_owned()),
            subresource: (!self.subresource.is_empty()).then(|| self.subresource.to_owned()),
            ..ManagedFieldsEntry::default()
        }
    }
}

/// The owners that count: those of the object, unless the request brings some or does away with all.
fn current(
    live: Option<&[ManagedFieldsEntry]>,
    sent: Option<&[ManagedFieldsEntry]>,
    who: &Who<'_>,
) -> Vec<Owner> {
    let stored = || managers::decode(live.unwrap_or_default(), true).unwrap_or_default();
    match sent.filter(|_| who.subresource.is_empty()) {
        None => stored(),
        Some([]) => Vec::new(),
        Some([one]) if *one == ManagedFieldsEntry::default() => Vec::new(),
        Some(entries) => managers::decode(entries, false).unwrap_or_else(stored),
    }
}

/// What became of the owners in a plain update.
pub enum Tracked {
    /// They are what they were.
    Same,
    /// They are these; none if nobody is tracked.
    Owners(Option<Vec<ManagedFieldsEntry>>),
}

/// The owners after a write that brought the whole object, `new`; `sent` are those that came with it.
pub fn update(
    schema: &Schema,
    before: Before<'_>,
    new: &Value,
    sent: Option<&[ManagedFieldsEntry]>,
    who: &Who<'_>,
) -> Tracked {
    let Before { object: live, owners: entries } = before;
    let brought = sent.is_some() && who.subresource.is_empty() && sent != entries;
    if live.is_some() && !brought && entries.is_none_or(<[_]>::is_empty) {
        return Tracked::Same;
    }
    let compared = schema.compare(live, new, who.part);
    if !brought && compared.is_empty() {
        return Tracked::Same;
    }
    let mut owners = current(entries, sent, who);
    if live.is_some() && owners.is_empty() {
        // Reset: from now on nobody is tracked until the first apply.
        return Tracked::Owners(None);
    }
    let mine = compared.modified.union(&compared.added);
    let mut entry = who.entry("Update");
    for owner in &mut owners {
        // What the writer owned already it keeps, whatever it made of it.
        if !owner.is(&entry) {
            owner.lose(&mine);
        }
        owner.lose(&compared.removed);
    }
    if !mine.is_empty() {
        entry.time = Some(who.now.clone());
        match owners.iter_mut().find(|owner| owner.is(&entry)) {
            Some(owner) => {
                owner.gain(&mine);
                owner.entry.time = entry.time;
            }
            None => owners.push(Owner::new(entry, mine)),
        }
    }
    owners.retain(|owner| !owner.is_empty());
    managers::cap(&mut owners);
    let entries = managers::encode(owners);
    Tracked::Owners((!entries.is_empty()).then_some(entries))
}

/// An object with a configuration applied.
pub struct Applied {
    /// The object, before defaulting; without `managedFields`.
    pub object: Value,
    /// Its owners.
    pub owners: Vec<ManagedFieldsEntry>,
}

/// Lays `config` over the object; neither holds `managedFields`.
///
/// # Errors
/// [`Conflicts`] if others own what would change, unless `force`.
pub fn apply(
    schema: &Schema,
    before: Before<'_>,
    config: &Value,
    who: &Who<'_>,
    force: bool,
) -> Result<Applied, Conflicts> {
    let Before { object: live, owners: entries } = before;
    let mut owners = managers::decode(entries.unwrap_or_default(), true).unwrap_or_default();
    if let Some(live) = live.filter(|_| owners.is_empty()) {
        // Nobody was tracked so far: all that is there gets an owner, so that it is not overwritten without a word.
        let before = Who { manager: "before-first-apply", ..*who };
        if let Tracked::Owners(Some(first)) = update(schema, Before::default(), live, None, &before) {
            owners = managers::decode(&first, true).unwrap_or_default();
        }
    }
    let mut applied = lay(schema, live, config, owners.clone(), who, force);
    if let (Err(conflicts), Some(live), last_applied::MANAGER) = (&mut applied, live, who.manager)
        && let Some(allowed) = last_applied::unchanged(schema, live, who.api_version)
    {
        conflicts.retain(|(_, path)| !allowed.has(path));
        if conflicts.is_empty() {
            applied = lay(schema, Some(live), config, owners, who, true);
        }
    }
    let mut applied = applied.map_err(|conflicts| {
        let conflict = |(owner, path): (String, Vec<super::Element>)| Conflict {
            owner,
            field: path.iter().map(ToString::to_string).collect(),
        };
        Conflicts(conflicts.into_iter().map(conflict).collect())
    })?;
    if who.manager == last_applied::MANAGER {
        last_applied::refresh(&mut applied.object, config);
    }
    Ok(applied)
}

type Paths = Vec<(String, Vec<super::Element>)>;

fn lay(
    schema: &Schema,
    live: Option<&Value>,
    config: &Value,
    mut owners: Vec<Owner>,
    who: &Who<'_>,
    force: bool,
) -> Result<Applied, Paths> {
    let empty = Value::Object(serde_json::Map::new());
    let entry = who.entry("Apply");
    let wanted = schema.fields(config, who.part);
    let last = owners.iter().position(|owner| owner.is(&entry)).map(|at| owners.swap_remove(at));
    let mut object = schema.merge(live.unwrap_or(&empty), config);
    if let Some(last) = last.as_ref().map(Owner::fields).filter(|last| !last.is_empty()) {
        object = prune(schema, object, last, &wanted, &owners, who.part);
    }
    let compared = schema.compare(live, &object, who.part);
    let mine = compared.modified.union(&compared.added);
    owners.sort_by_cached_key(Owner::shown);
    if !force {
        let conflicts: Paths = owners
            .iter()
            .flat_map(|owner| {
                let shown = owner.shown();
                let paths = owner.fields().intersection(&mine).paths();
                paths.into_iter().map(move |path| (shown.clone(), path))
            })
            .collect();
        if !conflicts.is_empty() {
            return Err(conflicts);
        }
    }
    for owner in &mut owners {
        owner.lose(&mine);
        owner.lose(&compared.removed);
    }
    let mut own = Owner::new(entry, wanted);
    // The time tells of the last change, not of the last request.
    let changed = !compared.is_empty() || last.as_ref().is_none_or(|last| last.fields() != own.fields());
    own.entry.time = match last {
        Some(last) if !changed => last.entry.time,
        _ => Some(who.now.clone()),
    };
    owners.push(own);
    Ok(Applied { object, owners: managers::encode(owners) })
}

/// Takes out what the applier gave up and no other applier holds.
fn prune(schema: &Schema, merged: Value, last: &Set, wanted: &Set, others: &[Owner], part: Part) -> Value {
    let fields = |object: &Value| schema.with_named(&schema.fields(object, part));
    let last = schema.with_named(last);
    let pruned = schema.remove(&merged, &last);
    let all = fields(&merged);
    let held = others
        .iter()
        .filter(|owner| owner.applied())
        .fold(wanted.clone(), |held, owner| held.union(owner.fields()));
    let pruned = schema.remove(&merged, &all.difference(&fields(&pruned).union(&schema.with_named(&held))));
    schema.remove(&merged, &all.difference(&fields(&pruned)).intersection(&last))
}
