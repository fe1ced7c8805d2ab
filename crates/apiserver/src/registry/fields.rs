//! Who owns which field of what is written (`metadata.managedFields`), and configurations that are applied.
//!
//! Ownership is reckoned where upstream does it: on the object as the client wanted it, defaulted, before admission and
//! before what a write may not touch is put back. The reckoning itself is `skiff_api::apply`; here it meets drafts, from
//! which what a request says of owners has been taken. It costs one more encoding of a draft and one more reading of what
//! differs, so it is left out where nothing is tracked.

use std::sync::Arc;

use futures::future::BoxFuture;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;
use skiff_api::apply::{self, Before, Kin, Owners, Refused, Tracked, Wanted, Who};
use skiff_api::{ApiError, Object, Strictness};

use super::Scope;
use super::update::{Changes, Part, Proposal};
use crate::catalog::Entry;
use crate::kinds::Draft;
use crate::verbs::input;

/// Gives a new object its owners.
///
/// # Errors
/// 500 if the draft cannot be encoded.
pub(crate) fn created(
    scope: &Scope<'_>,
    draft: &mut dyn Draft,
    sent: Option<Owners>,
) -> Result<(), ApiError> {
    let Some(manager) = scope.manager else {
        *draft.owners_mut() = sent;
        return Ok(());
    };
    let value = draft.value().map_err(ApiError::internal)?;
    let now = scope.now();
    let who = Who { manager, ..who(scope, Part::Whole, &now) };
    let schema = scope.entry.ops.apply_schema();
    // Whatever version owners of a new object name, it is this one that they come with.
    let tracked = apply::update(&schema, Before::default(), &value, sent.as_ref(), &who, &Kin::default());
    if let Ok(Tracked::Owners(owners)) = tracked {
        *draft.owners_mut() = owners;
    }
    Ok(())
}

/// The other versions in which somebody owns something of an object.
fn kin(scope: &Scope<'_>, owners: Option<&Owners>) -> Kin {
    let mut kin = Kin::default();
    for version in owners.map(Owners::versions).unwrap_or_default() {
        if version != scope.entry.api_version && !kin.has(&version) {
            kin.add(&version, relative(scope, &version).map(|entry| entry.ops.apply_schema()));
        }
    }
    kin
}

/// The kind in a version, if it is served.
fn relative(scope: &Scope<'_>, version: &str) -> Option<Arc<Entry>> {
    if version == scope.entry.api_version {
        return Some(Arc::clone(scope.entry));
    }
    let is_it = |entry: &&Arc<Entry>| entry.api_version == version && scope.entry.is_kin_of(entry);
    scope.api.catalog.kinds().entries().iter().find(is_it).cloned()
}

/// Converts what is wanted.
async fn convert(scope: &Scope<'_>, wanted: &Wanted) -> Result<Value, ApiError> {
    let find = |version: &str| {
        let gone = || ApiError::internal(format!("{version} is no longer served"));
        relative(scope, version).ok_or_else(gone)
    };
    find(&wanted.from)?.as_version(&*find(&wanted.to)?, &wanted.object).await
}

/// Gives a changed object its owners.
///
/// # Errors
/// 500 if the draft cannot be encoded or the stored object cannot be read.
pub(crate) async fn updated(
    scope: &Scope<'_>,
    part: Part,
    old: (&dyn Draft, &Object),
    draft: &mut dyn Draft,
    sent: Option<Owners>,
) -> Result<(), ApiError> {
    let (old, current) = old;
    let owners = old.owners();
    let nobody = owners.is_none_or(Owners::is_nobody) && sent.as_ref().is_none_or(Owners::is_nobody);
    if let Some(manager) = scope.manager.filter(|_| !nobody) {
        let now = scope.now();
        let who = Who { manager, ..who(scope, part, &now) };
        let mut kin = kin(scope, owners);
        let (live, new) = if kin.is_empty() {
            let json = draft.json().map_err(ApiError::internal)?;
            apply::narrowed(&current.without(owners), &json, who.part).map_err(ApiError::internal)?
        } else {
            // What is converted must be whole.
            (current.value().map_err(ApiError::internal)?, draft.value().map_err(ApiError::internal)?)
        };
        let (live, new) = (bare(live), bare(new));
        let schema = scope.entry.ops.apply_schema();
        let before = Before { object: Some(&live), owners };
        loop {
            match apply::update(&schema, before, &new, sent.as_ref(), &who, &kin) {
                Ok(Tracked::Same) => break,
                Ok(Tracked::Owners(owners)) => {
                    *draft.owners_mut() = owners;
                    return Ok(());
                }
                Err(wanted) => {
                    let converted = bare(convert(scope, &wanted).await?);
                    kin.learn(*wanted, converted);
                }
            }
        }
    }
    *draft.owners_mut() = owners.cloned();
    Ok(())
}

/// An object without what tells of owners.
fn bare(mut object: Value) -> Value {
    if let Some(meta) = object["metadata"].as_object_mut() {
        meta.remove("managedFields");
    }
    object
}

/// Whether the only difference between the two is when managers set their fields. Follows upstream's
/// `IgnoreManagedFieldsTimestampsTransformer`.
pub(super) fn differ_in_times_only(draft: &dyn Draft, old: &dyn Draft) -> bool {
    let timeless = |draft: &dyn Draft| {
        let mut object = draft.value().ok()?;
        let meta = object["metadata"].as_object_mut()?;
        meta.remove("resourceVersion");
        let owners = meta.get_mut("managedFields").and_then(Value::as_array_mut);
        owners
            .into_iter()
            .flatten()
            .filter_map(Value::as_object_mut)
            .for_each(|owner| drop(owner.remove("time")));
        Some(object)
    };
    timeless(draft).is_some_and(|new| timeless(old).is_some_and(|before| new == before))
}

fn who<'a>(scope: &Scope<'a>, part: Part, now: &'a Time) -> Who<'a> {
    let part = match part {
        Part::Status => apply::Part::Status,
        _ if scope.entry.status => apply::Part::NoStatus,
        _ => apply::Part::All,
    };
    Who {
        manager: scope.manager.unwrap_or_default(),
        api_version: &scope.entry.api_version,
        subresource: scope.subresource,
        part,
        now,
    }
}

/// A configuration to apply, read once and applied as often as the object moves.
pub(crate) struct Config {
    value: Value,
    force: bool,
}

impl Config {
    /// Reads a configuration of the given version and kind, in YAML or JSON.
    ///
    /// # Errors
    /// 400 in upstream's words.
    pub(crate) fn read(body: &[u8], force: bool, api_version: &str, kind: &str) -> Result<Self, ApiError> {
        let yaml = |why: &dyn std::fmt::Display| ApiError::bad_request(format!("error decoding YAML: {why}"));
        // JSON is YAML, but much cheaper to read.
        let value: Value = match serde_json::from_slice(body) {
            Ok(value) => value,
            Err(_) => {
                let json = skiff_api::decode::yaml_to_json(body).map_err(|fault| yaml(&fault))?;
                serde_json::from_slice(&json).map_err(|error| yaml(&error))?
            }
        };
        if !value.is_object() {
            return Err(yaml(&"json: cannot unmarshal into Go value of type map[string]interface {}"));
        }
        let (own_version, own_kind) =
            (value["apiVersion"].as_str().unwrap_or_default(), value["kind"].as_str().unwrap_or_default());
        if (own_version, own_kind) != (api_version, kind) {
            let qualified = qualified(own_version, own_kind);
            return Err(ApiError::bad_request(format!("invalid object type: {qualified}")));
        }
        if !value["metadata"]["managedFields"].is_null() {
            return Err(ApiError::bad_request("metadata.managedFields must be nil"));
        }
        Ok(Self { value, force })
    }

    /// What was sent.
    pub(crate) fn value(&self) -> &Value {
        &self.value
    }

    /// Another object with the same will to be applied.
    pub(crate) fn with(&self, value: Value) -> Self {
        Self { value, force: self.force }
    }

    /// The draft of the object with the configuration laid over it.
    ///
    /// # Errors
    /// 409 for conflicts, 500 without a reason (as upstream) for what does not fit the kind.
    async fn propose(
        &self,
        scope: &Scope<'_>,
        part: Part,
        current: Option<&Object>,
    ) -> Result<Proposal, ApiError> {
        let entry = scope.entry;
        let schema = entry.ops.apply_schema();
        if let Some(why) = apply::check(&schema, &self.value) {
            let kind = qualified(&entry.api_version, &entry.resource.kind);
            let (namespace, name) = (scope.namespace, scope.name);
            let message = format!("failed to create typed patch object ({namespace}/{name}; {kind}): {why}");
            return Err(ApiError::new(500, "", message));
        }
        let meta = &self.value["metadata"];
        if current.is_none() {
            if let Some(uid) = meta["uid"].as_str().filter(|uid| !uid.is_empty()) {
                let why = format!(
                    "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
                );
                return Err(ApiError::conflict(&entry.resource, scope.name, why));
            }
            if meta["name"].as_str().is_none_or(str::is_empty) {
                let why = "was undeterminable: name must be provided";
                let message = format!("the name of the object ({} based on URL) {why}", scope.name);
                return Err(ApiError::bad_request(message));
            }
        }
        let live = current.map(Object::value).transpose().map_err(ApiError::internal)?.map(bare);
        let owners = current.map(Object::owners).transpose().map_err(ApiError::internal)?.flatten();
        let now = scope.now();
        let before = Before { object: live.as_ref(), owners: owners.as_ref() };
        let (who, mut kin) = (who(scope, part, &now), kin(scope, owners.as_ref()));
        let applied = loop {
            match apply::apply(&schema, before, &self.value, &who, self.force, &kin) {
                Ok(applied) => break applied,
                Err(Refused::Conflicts(conflicts)) => return Err(conflicts.into()),
                Err(Refused::Wanted(wanted)) => {
                    let converted = bare(convert(scope, &wanted).await?);
                    kin.learn(*wanted, converted);
                }
            }
        };
        let json = serde_json::to_vec(&applied.object).map_err(ApiError::internal)?;
        let mut proposal = input::decode(entry, &json, Strictness::Ignore)?;
        *proposal.draft.owners_mut() = applied.owners;
        proposal.applied = true;
        Ok(proposal)
    }
}

/// The change that applies a configuration to a part of an object.
pub(crate) struct Applying<'a> {
    pub(crate) config: &'a Config,
    pub(crate) part: Part,
}

impl Changes for Applying<'_> {
    fn propose<'a>(
        &'a self,
        scope: &'a Scope<'_>,
        current: Option<&'a Object>,
    ) -> BoxFuture<'a, Result<Proposal, ApiError>> {
        Box::pin(self.config.propose(scope, self.part, current))
    }
}

/// As Go prints a kind: `apps/v1, Kind=Deployment`.
fn qualified(api_version: &str, kind: &str) -> String {
    let slash = if api_version.contains('/') { "" } else { "/" };
    format!("{slash}{api_version}, Kind={kind}")
}
