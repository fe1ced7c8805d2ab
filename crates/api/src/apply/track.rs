//! What a write does to ownership: plain updates take what they change, appliers own what they say.
//!
//! Follows structured-merge-diff's `merge/update.go` and upstream's chain of managers around it (`stripmeta.go`,
//! `managedfieldsupdater.go`, `buildmanagerinfo.go`, `skipnonapplied.go`). What differs for an owner is what differs in the
//! version in which it wrote; an owner in a version that is gone goes.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

use super::conflict::{Conflict, Conflicts};
use super::kin::{Kin, Versions, Wanted};
use super::last_applied;
use super::managers::{self, Owner};
use super::owners::{Entry, Owners};
use super::schema::Schema;
use super::set::Set;
use super::walk::{Compared, Part};

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
    /// Its owners; nothing if there are none.
    pub owners: Option<&'a Owners>,
}

impl<'a> Who<'a> {
    fn entry(&self, operation: &'static str) -> Entry<'a> {
        let manager = if self.manager.is_empty() { "unknown" } else { self.manager };
        Entry {
            api_version: self.api_version.into(),
            manager: manager.into(),
            operation: operation.into(),
            subresource: self.subresource.into(),
            ..Entry::default()
        }
    }
}

/// The owners that count: those of the object, unless the request brings some or does away with all.
fn current<'a>(live: Option<&'a Owners>, sent: Option<&'a Owners>, who: &Who<'_>) -> Vec<Owner<'a>> {
    let stored = || live.and_then(|live| managers::decode(live, true)).unwrap_or_default();
    match sent.filter(|_| who.subresource.is_empty()) {
        None => stored(),
        Some(sent) if sent.is_nobody() => Vec::new(),
        Some(sent) => managers::decode(sent, false).unwrap_or_else(stored),
    }
}

/// What became of the owners in a plain update.
pub enum Tracked {
    /// They are what they were.
    Same,
    /// They are these; none if nobody is tracked.
    Owners(Option<Owners>),
}

/// The owners after a write that brought the whole object, `new`; `sent` are those that came with it.
///
/// # Errors
/// What has to be known of the object in another version first.
pub fn update(
    schema: &Schema,
    before: Before<'_>,
    new: &Value,
    sent: Option<&Owners>,
    who: &Who<'_>,
    kin: &Kin,
) -> Result<Tracked, Box<Wanted>> {
    let Before { object: live, owners: stored } = before;
    let brought = sent.is_some() && who.subresource.is_empty() && sent != stored;
    if live.is_some() && !brought && stored.is_none_or(Owners::is_nobody) {
        return Ok(Tracked::Same);
    }
    let compared = schema.compare(live, new, who.part);
    if !brought && compared.is_empty() {
        return Ok(Tracked::Same);
    }
    let mut owners = current(stored, sent, who);
    if live.is_some() && owners.is_empty() {
        // Reset: from now on nobody is tracked until the first apply.
        return Ok(Tracked::Owners(None));
    }
    let mut entry = who.entry("Update");
    let versions = Versions { own: (who.api_version, schema), kin };
    let mut changes = Changes::new(versions, (live, new), who.part, compared);
    let mut left = Vec::with_capacity(owners.len() + 1);
    for mut owner in owners.drain(..) {
        let Some(change) = changes.seen_by(&owner)? else { continue };
        // What the writer owned already it keeps, whatever it made of it.
        if !owner.is(&entry) {
            owner.lose(&change.set);
        }
        owner.lose(&change.removed);
        left.push(owner);
    }
    let (mut owners, mine) = (left, changes.own().set.clone());
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
    Ok(Tracked::Owners(managers::encode(owners)))
}

/// What a write sets and what it removes, in one version.
struct Change {
    set: Set,
    removed: Set,
}

impl From<Compared> for Change {
    fn from(compared: Compared) -> Self {
        Self { set: compared.modified.union(&compared.added), removed: compared.removed }
    }
}

/// A write as the owners see it, each in its version.
struct Changes<'a> {
    versions: Versions<'a>,
    old: Option<&'a Value>,
    new: &'a Value,
    part: Part,
    /// By version; nothing for those that are gone.
    seen: BTreeMap<String, Option<Change>>,
}

impl<'a> Changes<'a> {
    /// `own` is what differs in the request's version.
    fn new(
        versions: Versions<'a>,
        (old, new): (Option<&'a Value>, &'a Value),
        part: Part,
        own: Compared,
    ) -> Self {
        let seen = BTreeMap::from([(versions.own.0.to_owned(), Some(own.into()))]);
        Self { versions, old, new, part, seen }
    }

    fn own(&self) -> &Change {
        // It was put there at the beginning.
        static NOTHING: std::sync::LazyLock<Change> =
            std::sync::LazyLock::new(|| Change { set: Set::default(), removed: Set::default() });
        self.seen.get(self.versions.own.0).and_then(Option::as_ref).unwrap_or(&NOTHING)
    }

    /// What an owner sees; nothing if its version is gone.
    fn seen_by(&mut self, owner: &Owner<'_>) -> Result<Option<&Change>, Box<Wanted>> {
        let version = &*owner.entry.api_version;
        let version = if self.versions.kin.has(version) { version } else { self.versions.own.0 };
        if !self.seen.contains_key(version) {
            let change = self.in_version(version)?;
            self.seen.insert(version.to_owned(), change);
        }
        Ok(self.seen.get(version).and_then(Option::as_ref))
    }

    fn in_version(&self, version: &str) -> Result<Option<Change>, Box<Wanted>> {
        let Some(schema) = self.versions.schema(version) else { return Ok(None) };
        let convert = |object: &Value| self.versions.convert(object, self.versions.own.0, version);
        let old = self.old.map(convert).transpose()?;
        Ok(Some(schema.compare(old.as_ref(), &convert(self.new)?, self.part).into()))
    }
}

/// An object with a configuration applied.
pub struct Applied {
    /// The object, before defaulting; without `managedFields`.
    pub object: Value,
    /// Its owners; nothing if nobody owns anything.
    pub owners: Option<Owners>,
}

/// Why a configuration is not applied, or not yet.
#[derive(Debug)]
pub enum Refused {
    /// Others own what would change.
    Conflicts(Conflicts),
    /// Something has to be known of the object in another version first.
    Wanted(Box<Wanted>),
}

/// Lays `config` over the object; neither holds `managedFields`.
///
/// # Errors
/// See [`Refused`]; there are no conflicts with `force`.
pub fn apply(
    schema: &Schema,
    before: Before<'_>,
    config: &Value,
    who: &Who<'_>,
    force: bool,
    kin: &Kin,
) -> Result<Applied, Refused> {
    let Before { object: live, owners: stored } = before;
    let decode = |owners| managers::decode(owners, true).unwrap_or_default();
    let mut owners = stored.map(decode).unwrap_or_default();
    let first;
    if let Some(live) = live.filter(|_| owners.is_empty()) {
        // Nobody was tracked so far: all that is there gets an owner, so that it is not overwritten without a word.
        let before = Who { manager: "before-first-apply", ..*who };
        first = update(schema, Before::default(), live, None, &before, kin).map_err(Refused::Wanted)?;
        if let Tracked::Owners(Some(first)) = &first {
            owners = decode(first);
        }
    }
    let versions = Versions { own: (who.api_version, schema), kin };
    let mut applied = lay(versions, live, config, owners.clone(), who, force);
    if let (Err(Stop::Conflicts(conflicts)), Some(live), last_applied::MANAGER) =
        (&mut applied, live, who.manager)
        && let Some(allowed) = last_applied::unchanged(schema, live, who.api_version)
    {
        conflicts.retain(|(_, path)| !allowed.has(path));
        if conflicts.is_empty() {
            applied = lay(versions, Some(live), config, owners, who, true);
        }
    }
    let mut applied = applied.map_err(|stop| {
        let conflict = |(owner, path): (String, Vec<super::Element>)| Conflict {
            owner,
            field: path.iter().map(ToString::to_string).collect(),
        };
        match stop {
            Stop::Conflicts(paths) => {
                Refused::Conflicts(Conflicts(paths.into_iter().map(conflict).collect()))
            }
            Stop::Wanted(wanted) => Refused::Wanted(wanted),
        }
    })?;
    if who.manager == last_applied::MANAGER {
        last_applied::refresh(&mut applied.object, config);
    }
    Ok(applied)
}

type Paths = Vec<(String, Vec<super::Element>)>;

/// As [`Refused`], with paths.
enum Stop {
    Conflicts(Paths),
    Wanted(Box<Wanted>),
}

impl From<Box<Wanted>> for Stop {
    fn from(wanted: Box<Wanted>) -> Self {
        Self::Wanted(wanted)
    }
}

fn lay(
    versions: Versions<'_>,
    live: Option<&Value>,
    config: &Value,
    mut owners: Vec<Owner<'_>>,
    who: &Who<'_>,
    force: bool,
) -> Result<Applied, Stop> {
    let schema = versions.own.1;
    let empty = Value::Object(serde_json::Map::new());
    let entry = who.entry("Apply");
    let wanted = schema.fields(config, who.part);
    let last = owners.iter().position(|owner| owner.is(&entry)).map(|at| owners.swap_remove(at));
    let mut object = schema.merge(live.unwrap_or(&empty), config);
    if let Some(last) = last.as_ref().filter(|last| !last.fields().is_empty()) {
        object = prune(versions, object, last, &wanted, &owners, who.part)?;
    }
    let compared = schema.compare(live, &object, who.part);
    let unchanged = compared.is_empty();
    let mut changes = Changes::new(versions, (live, &object), who.part, compared);
    owners.sort_by_cached_key(Owner::shown);
    let mut conflicts: Paths = Vec::new();
    let mut left = Vec::with_capacity(owners.len() + 1);
    for mut owner in owners {
        let Some(change) = changes.seen_by(&owner)? else { continue };
        if !force {
            let paths = owner.fields().intersection(&change.set).paths();
            conflicts.extend(paths.into_iter().map(|path| (owner.shown(), path)));
        }
        owner.lose(&change.set);
        owner.lose(&change.removed);
        left.push(owner);
    }
    if !conflicts.is_empty() {
        return Err(Stop::Conflicts(conflicts));
    }
    let mut owners = left;
    let mut own = Owner::new(entry, wanted);
    // The time tells of the last change, not of the last request.
    let changed = !unchanged || last.as_ref().is_none_or(|last| last.fields() != own.fields());
    own.entry.time = match last {
        Some(last) if !changed => last.entry.time,
        _ => Some(who.now.clone()),
    };
    owners.push(own);
    Ok(Applied { object, owners: managers::encode(owners) })
}

/// Takes out what the applier gave up and no other applier holds, each looked at in the version in which it was applied.
fn prune(
    versions: Versions<'_>,
    merged: Value,
    last: &Owner<'_>,
    wanted: &Set,
    others: &[Owner<'_>],
    part: Part,
) -> Result<Value, Box<Wanted>> {
    let own = versions.own.0;
    let last_version = versions.name(&last.entry.api_version);
    let Some(schema) = versions.schema(last_version) else { return Ok(merged) };
    let whole = versions.convert(&merged, own, last_version)?;
    let last = schema.with_named(last.fields());
    let mut pruned = schema.remove(&whole, &last);
    let mut held: BTreeMap<&str, Set> = BTreeMap::from([(own, wanted.clone())]);
    for owner in others.iter().filter(|owner| owner.applied()) {
        let version = versions.name(&owner.entry.api_version);
        let set = held.entry(version).or_default();
        *set = set.union(owner.fields());
    }
    let mut held: Vec<(&str, Set)> = held.into_iter().collect();
    // What was pruned first comes back first: other versions may not be told without it.
    held.sort_by_key(|(version, _)| *version != last_version);
    let (mut here, mut all) = (last_version, whole.clone());
    for (version, set) in held {
        let Some(schema) = versions.schema(version) else { continue };
        (all, pruned) = (versions.convert(&all, here, version)?, versions.convert(&pruned, here, version)?);
        here = version;
        let fields = |object: &Value| schema.with_named(&schema.fields(object, part));
        let kept = fields(&pruned).union(&schema.with_named(&set));
        pruned = schema.remove(&all, &fields(&all).difference(&kept));
    }
    let pruned = versions.convert(&pruned, here, last_version)?;
    let fields = |object: &Value| schema.with_named(&schema.fields(object, part));
    let gone = fields(&whole).difference(&fields(&pruned)).intersection(&last);
    versions.convert(&schema.remove(&whole, &gone), last_version, own)
}
