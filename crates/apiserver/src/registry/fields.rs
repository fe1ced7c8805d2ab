//! Who owns which field of what is written (`metadata.managedFields`), and configurations that are applied.
//!
//! Ownership is reckoned where upstream does it: on the object as the client wanted it, defaulted, before admission and
//! before what a write may not touch is put back. The reckoning itself is `skiff_api::apply`; here it meets drafts. It
//! costs one more encoding of a draft and one more reading of what differs, so it is left out where nothing is tracked.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};
use serde_json::Value;
use skiff_api::apply::{self, Before, Tracked, Who};
use skiff_api::{ApiError, Object, Strictness};

use super::Scope;
use super::update::{Part, Proposal};
use crate::kinds::Draft;
use crate::verbs::input;

/// What came in the request, taken out of the draft before the server touches it.
pub(crate) type Sent = Option<Vec<ManagedFieldsEntry>>;

/// Takes what the request says of owners out of a draft.
pub(crate) fn take(draft: &mut dyn Draft) -> Sent {
    draft.meta_mut().managed_fields.take()
}

/// Gives a new object its owners.
///
/// # Errors
/// 500 if the draft cannot be encoded.
pub(crate) fn created(scope: &Scope<'_>, draft: &mut dyn Draft, sent: Sent) -> Result<(), ApiError> {
    let Some(manager) = scope.manager else {
        draft.meta_mut().managed_fields = sent;
        return Ok(());
    };
    let value = draft.value().map_err(ApiError::internal)?;
    let now = scope.now();
    let who = Who { manager, ..who(scope, Part::Whole, &now) };
    let schema = scope.entry.ops.apply_schema();
    if let Tracked::Owners(owners) = apply::update(&schema, Before::default(), &value, sent.as_deref(), &who)
    {
        draft.meta_mut().managed_fields = owners;
    }
    Ok(())
}

/// Gives a changed object its owners.
///
/// # Errors
/// 500 if the draft cannot be encoded or the stored object cannot be read.
pub(crate) fn updated(
    scope: &Scope<'_>,
    part: Part,
    old: (&dyn Draft, &Object),
    draft: &mut dyn Draft,
    sent: Sent,
) -> Result<(), ApiError> {
    let (old, current) = old;
    let owners = old.meta().managed_fields.as_deref();
    let nobody = owners.is_none_or(<[_]>::is_empty) && sent.as_deref().is_none_or(<[_]>::is_empty);
    if let Some(manager) = scope.manager.filter(|_| !nobody) {
        let now = scope.now();
        let who = Who { manager, ..who(scope, part, &now) };
        let json = draft.json().map_err(ApiError::internal)?;
        let (live, new) = apply::narrowed(current.bytes(), &json, who.part).map_err(ApiError::internal)?;
        let schema = scope.entry.ops.apply_schema();
        let before = Before { object: Some(&live), owners };
        if let Tracked::Owners(owners) = apply::update(&schema, before, &new, sent.as_deref(), &who) {
            draft.meta_mut().managed_fields = owners;
            return Ok(());
        }
    }
    draft.meta_mut().managed_fields = owners.map(<[_]>::to_vec);
    Ok(())
}

/// Whether the only difference between the two is when managers set their fields. Follows upstream's
/// `IgnoreManagedFieldsTimestampsTransformer`.
pub(super) fn differ_in_times_only(draft: &dyn Draft, old: &dyn Draft) -> bool {
    let timeless = |draft: &dyn Draft| {
        let mut copy = draft.copy();
        let meta = copy.meta_mut();
        meta.managed_fields.iter_mut().flatten().for_each(|owner| owner.time = None);
        meta.resource_version = None;
        copy.value()
    };
    matches!((timeless(draft), timeless(old)), (Ok(new), Ok(before)) if new == before)
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
    pub(crate) fn propose(
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
        let mut live = current.map(Object::value).transpose().map_err(ApiError::internal)?;
        let owners = live.as_mut().and_then(|live| live["metadata"].as_object_mut()?.remove("managedFields"));
        let owners: Option<Vec<ManagedFieldsEntry>> =
            owners.map(serde_json::from_value).transpose().map_err(ApiError::internal)?;
        let now = scope.now();
        let before = Before { object: live.as_ref(), owners: owners.as_deref() };
        let applied = apply::apply(&schema, before, &self.value, &who(scope, part, &now), self.force)?;
        let json = serde_json::to_vec(&applied.object).map_err(ApiError::internal)?;
        let mut proposal = input::decode(entry, &json, Strictness::Ignore)?;
        proposal.draft.meta_mut().managed_fields = Some(applied.owners);
        proposal.applied = true;
        Ok(proposal)
    }
}

/// As Go prints a kind: `apps/v1, Kind=Deployment`.
fn qualified(api_version: &str, kind: &str) -> String {
    let slash = if api_version.contains('/') { "" } else { "/" };
    format!("{slash}{api_version}, Kind={kind}")
}
