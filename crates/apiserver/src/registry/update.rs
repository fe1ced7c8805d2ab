//! A changed object: computed from the newest state, written if that is still the newest.
//!
//! The change is a function from the stored object to a draft, so that it can be computed again when somebody else
//! wrote meanwhile. A draft that carries a `resourceVersion` insists on it: replaced from an older state it is refused,
//! patched on top of the newest it carries that one.

use std::future::ready;
use std::sync::Arc;

use futures::future::BoxFuture;
use skiff_api::{ApiError, Errors, Object};
use skiff_store::{Expect, Refused};

use super::{Scope, Written, create, fields, unavailable, unstored};
use crate::admission::{self, Attempt, Operation};
use crate::authz::{self, Ask, Verdict};
use crate::kinds::{Draft, Frozen};
use crate::registry::rules;
use crate::stored::{Change, Stored};

/// Which part of the object a write may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All but the status.
    Whole,
    /// The status, and some metadata.
    Status,
    /// Whether it is approved, and some metadata.
    Approval,
    /// What a subresource of the server's own (binding, finalize) sets; validated, not prepared.
    Internal,
}

/// A draft and what the client should be told about it.
pub(crate) struct Proposal {
    pub(crate) draft: Box<dyn Draft>,
    pub(crate) warnings: Vec<String>,
    /// Whether it carries the owners of its fields, because a configuration was applied.
    pub(crate) applied: bool,
}

impl Proposal {
    /// A draft without warnings.
    pub(crate) fn quiet(draft: Box<dyn Draft>) -> Self {
        Self { draft, warnings: Vec::new(), applied: false }
    }
}

/// What an update makes of an object.
pub(crate) trait Changes: Sync {
    /// What to write in place of the object given. Given nothing, the object is to be created.
    fn propose<'a>(
        &'a self,
        scope: &'a Scope<'_>,
        current: Option<&'a Object>,
    ) -> BoxFuture<'a, Result<Proposal, ApiError>>;
}

impl<F: Fn(Option<&Object>) -> Result<Proposal, ApiError> + Sync> Changes for F {
    fn propose<'a>(
        &'a self,
        _: &'a Scope<'_>,
        current: Option<&'a Object>,
    ) -> BoxFuture<'a, Result<Proposal, ApiError>> {
        Box::pin(ready(self(current)))
    }
}

/// How an update goes about it.
pub(crate) struct Update<'a> {
    pub(crate) part: Part,
    pub(crate) dry_run: bool,
    /// What to write in place of the object given; called again if the object moved on. Given nothing, the object is to
    /// be created: only for kinds whose rows say so.
    pub(crate) change: &'a dyn Changes,
    /// Whether a missing object may be created.
    pub(crate) upsert: bool,
}

/// Carries out an update.
///
/// # Errors
/// Whatever upstream answers: 400, 403, 404, 409, 422.
pub(crate) async fn update(scope: &Scope<'_>, how: &Update<'_>) -> Result<Written, ApiError> {
    loop {
        let Some(current) = scope.current().await? else {
            if !how.upsert {
                return Err(ApiError::not_found(&scope.entry.resource, scope.name));
            }
            may_create(scope).await?;
            let Proposal { mut draft, warnings, applied } = how.change.propose(scope, None).await?;
            check_name(scope, &mut *draft)?;
            let manager = scope.manager.filter(|_| !applied);
            match create::create(&Scope { manager, ..*scope }, draft, how.dry_run).await {
                // Somebody else created it just now: then this is an update after all.
                Err(error) if error.reason() == "AlreadyExists" && scope.current().await?.is_some() => {
                    continue;
                }
                Err(error) => return Err(error),
                Ok(mut written) => {
                    written.warnings.splice(0..0, warnings);
                    return Ok(written);
                }
            }
        };
        if let Some(written) = attempt(scope, how, &current).await? {
            return Ok(written);
        }
    }
}

/// Who may update need not be somebody who may create.
async fn may_create(scope: &Scope<'_>) -> Result<(), ApiError> {
    let resource = &scope.entry.resource;
    let ask = Ask {
        verb: "create",
        group: &resource.group,
        version: &resource.version,
        resource: &resource.plural,
        namespace: scope.namespace,
        name: scope.name,
        ..Ask::nothing(scope.user)
    };
    match authz::judge(scope.api, &ask).await {
        Verdict::Allow(_) => Ok(()),
        Verdict::Deny(why) | Verdict::NoOpinion(why) => Err(ask.refusal(&why)),
    }
}

/// One try; nothing if the object moved on.
async fn attempt(
    scope: &Scope<'_>,
    how: &Update<'_>,
    current: &Arc<Object>,
) -> Result<Option<Written>, ApiError> {
    let entry = scope.entry;
    let old = scope.thaw(current)?;
    let Proposal { mut draft, mut warnings, applied } = how.change.propose(scope, Some(current)).await?;
    check_name(scope, &mut *draft)?;
    preconditions(scope, how, &*draft, current)?;
    let sent = draft.owners_mut().take();
    inherit(&mut *draft, &*old, how.part);
    draft.set_defaults();
    if applied {
        *draft.owners_mut() = sent;
    } else {
        fields::updated(scope, how.part, (&*old, &**current), &mut *draft, sent).await?;
    }
    let mut attempt = Attempt::new(scope, Operation::Update, Some(&*old)).dry_run(how.dry_run);
    admission::mutate(&mut attempt, &mut draft).await?;
    match how.part {
        Part::Whole => draft.prepare_update(&*old),
        Part::Status => draft.prepare_status(&*old),
        Part::Approval => draft.prepare_approval(&*old),
        Part::Internal => {}
    }
    if matches!(how.part, Part::Status | Part::Approval) {
        draft.date(&*old, &scope.now());
    }
    rules::drop_empty(draft.meta_mut());
    if draft.generation_changed(&*old) {
        draft.meta_mut().generation = Some(old.meta().generation.unwrap_or(0) + 1);
    }
    let mut errors = Errors::new();
    rules::check(entry, draft.meta(), &mut errors);
    rules::check_update(draft.meta(), old.meta(), &mut errors);
    match how.part {
        Part::Whole => {
            draft.validate(&mut errors);
            draft.validate_update(&*old, &mut errors);
        }
        Part::Status => draft.validate_status(&*old, &mut errors),
        Part::Approval => draft.validate_approval(&*old, &mut errors),
        Part::Internal => {}
    }
    if !errors.is_empty() {
        return Err(entry.invalid(scope.name, errors));
    }
    warnings.extend(draft.warnings(Some(&*old)));
    let reservation = scope.api.alloc.begin(scope, &mut *draft, Some(&*old))?;
    admission::validate(&mut attempt, &*draft).await?;
    warnings.append(&mut attempt.warnings);
    let charge = scope.api.quotas.begin(scope, &*draft, Some(&*old), how.dry_run)?;
    if how.dry_run {
        draft.meta_mut().resource_version = Some(current.meta().revision.to_string());
        return Ok(Some(Written { bytes: unstored(&*draft)?, created: false, warnings }));
    }
    let leaves = leaves(&*draft);
    if applied && fields::differ_in_times_only(&*draft, &*old) {
        // Admission made of it what was there before: nothing has happened that could have a time.
        *draft.owners_mut() = old.owners().cloned();
    }
    let frozen = draft.freeze().map_err(ApiError::internal)?;
    let frozen = entry.to_store(frozen).await?;
    // What is stored in an older form is written even if nothing changes for the client.
    let stored = scope.stored().filter(|stored| stored.meta().revision == current.meta().revision);
    if !leaves && stored.is_some_and(|stored| frozen.same_as(&stored)) {
        return Ok(Some(Written { bytes: current.bytes().clone(), created: false, warnings }));
    }
    let expect = Expect::Revision(current.meta().revision);
    let stored = if leaves {
        remove(scope, expect, frozen).await
    } else {
        super::fits(&*frozen)?;
        reservation.put(scope, scope.name, expect, frozen, Change::Modified).await
    };
    match stored {
        Ok(stored) => {
            reservation.commit(scope).await;
            if leaves {
                scope.api.alloc.forget(scope, &*old).await;
            } else {
                charge.commit(stored.object().meta().revision);
            }
            let object = scope.served(stored).await?;
            Ok(Some(Written { bytes: object.bytes().clone(), created: false, warnings }))
        }
        Err(Refused::Moved(_) | Refused::Missing) => Ok(None),
        Err(other) => Err(unavailable(&other)),
    }
}

/// The body must speak of the object the path names.
fn check_name(scope: &Scope<'_>, draft: &mut dyn Draft) -> Result<(), ApiError> {
    let meta = draft.meta_mut();
    if scope.entry.resource.namespaced {
        create::place(meta, scope.namespace)?;
    }
    match meta.name.as_deref() {
        None | Some("") => meta.name = Some(scope.name.to_owned()),
        Some(own) if own == scope.name => {}
        Some(own) => {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({own}) does not match the name on the URL ({})",
                scope.name
            )));
        }
    }
    Ok(())
}

fn preconditions(
    scope: &Scope<'_>,
    how: &Update<'_>,
    draft: &dyn Draft,
    current: &Object,
) -> Result<(), ApiError> {
    let meta = draft.meta();
    let resource = &scope.entry.resource;
    match meta.resource_version.as_deref().unwrap_or_default() {
        "" | "0" if how.part == Part::Whole && !scope.entry.unconditional_update => {
            let mut errors = Errors::new();
            errors.at("metadata", |errors| {
                errors.push(
                    skiff_api::errors::Fault::Invalid,
                    "resourceVersion",
                    "0".to_owned(),
                    "must be specified for an update",
                );
            });
            return Err(scope.entry.invalid(scope.name, errors));
        }
        "" | "0" => {}
        version => match version.parse::<u64>() {
            Ok(number) if number == current.meta().revision => {}
            Ok(_) => return Err(ApiError::modified(resource, scope.name)),
            Err(_) => {
                let why = format!("strconv.ParseUint: parsing {version:?}: invalid syntax");
                return Err(ApiError::bad_request(format!(
                    "metadata.resourceVersion: Invalid value: {version:?}: {why}"
                )));
            }
        },
    }
    match meta.uid.as_deref().unwrap_or_default() {
        "" => Ok(()),
        uid if uid == &*current.meta().uid => Ok(()),
        uid => Err(uid_conflict(scope, uid, &current.meta().uid)),
    }
}

/// The object is another one of the same name.
pub(super) fn uid_conflict(scope: &Scope<'_>, wanted: &str, found: &str) -> ApiError {
    let why = format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}");
    ApiError::conflict(&scope.entry.resource, scope.name, why)
}

/// Takes over what a client need not send or may not change.
fn inherit(draft: &mut dyn Draft, old: &dyn Draft, part: Part) {
    let before = old.meta();
    let meta = draft.meta_mut();
    if matches!(part, Part::Status | Part::Approval) {
        // A status may come with labels, annotations and finalizers; all else is the object's.
        let sent = std::mem::take(meta);
        *meta = before.clone();
        meta.labels = sent.labels;
        meta.annotations = sent.annotations;
        meta.finalizers = sent.finalizers;
    }
    meta.uid.clone_from(&before.uid);
    if meta.creation_timestamp.is_none() {
        meta.creation_timestamp.clone_from(&before.creation_timestamp);
    }
    if meta.deletion_timestamp.is_none() {
        meta.deletion_timestamp.clone_from(&before.deletion_timestamp);
    }
    if meta.deletion_grace_period_seconds.is_none() {
        meta.deletion_grace_period_seconds = before.deletion_grace_period_seconds;
    }
    if meta.generate_name.is_none() {
        meta.generate_name.clone_from(&before.generate_name);
    }
    meta.generation = before.generation;
    meta.self_link = None;
}

/// True if a deleted object has lost the last thing that held it.
fn leaves(draft: &dyn Draft) -> bool {
    let meta = draft.meta();
    meta.deletion_timestamp.is_some()
        && meta.finalizers.as_deref().unwrap_or_default().is_empty()
        && meta.deletion_grace_period_seconds.unwrap_or(0) == 0
        && !draft.held()
}

/// Deletes the object; its last state is the draft's.
async fn remove(
    scope: &Scope<'_>,
    expect: Expect,
    frozen: Box<dyn Frozen>,
) -> Result<Arc<Stored>, Refused<Stored>> {
    let write = skiff_store::Write::delete(scope.key(scope.name), expect, move |revision, _| {
        frozen.stamp(revision, Change::Deleted).0
    });
    scope.api.store.write(write).await
}
