//! An object's end: at once, or marked and kept until nothing holds it.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Time};
use skiff_api::{ApiError, Errors, Object};
use skiff_store::{Expect, Refused, Write};

use super::rules::{FOREGROUND, ORPHAN};
use super::{Scope, unavailable, update::uid_conflict};
use crate::admission::{self, Attempt, Operation};
use crate::kinds::{Dependents, Draft};
use crate::stored::{Change, Stored};

/// What became of the object.
pub(crate) struct Deleted {
    /// Its last state, or the state in which it waits.
    pub(crate) object: Arc<Object>,
    /// False if it is still there.
    pub(crate) gone: bool,
}

/// What a deletion does.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// The object goes now.
    Remove,
    /// The draft says that it is going; something holds it.
    Mark,
    /// It is going already, and nothing changes.
    Wait,
}

/// Checks what upstream checks of delete options.
///
/// # Errors
/// 422.
pub(crate) fn check(options: &DeleteOptions) -> Result<bool, ApiError> {
    let mut errors = Errors::new();
    if let Some(policy) = &options.propagation_policy {
        if options.orphan_dependents.is_some() {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            errors.invalid("propagationPolicy", policy, why);
        }
        if !["Foreground", "Background", "Orphan"].contains(&policy.as_str()) {
            errors.not_supported("propagationPolicy", policy, &["Background", "Foreground", "Orphan", "nil"]);
        }
    }
    let values = options.dry_run.iter().flatten().map(String::as_str);
    let dry_run = crate::request::options::dry_run(values, &mut errors);
    if errors.is_empty() {
        Ok(dry_run)
    } else {
        Err(ApiError::invalid("meta.k8s.io", "DeleteOptions", "", errors))
    }
}

/// Deletes the object the scope names.
///
/// # Errors
/// Whatever upstream answers: 403, 404, 409, 422.
pub(crate) async fn delete(scope: &Scope<'_>, options: &DeleteOptions) -> Result<Deleted, ApiError> {
    delete_as(scope, options, &|_, _| {}).await
}

/// The same; `mark` writes on the object, as it goes, why it does.
///
/// # Errors
/// As for any deletion.
pub(crate) async fn delete_as(
    scope: &Scope<'_>,
    options: &DeleteOptions,
    mark: &(dyn Fn(&mut dyn Draft, Timestamp) + Sync),
) -> Result<Deleted, ApiError> {
    let dry_run = check(options)?;
    // Without a garbage collector nobody would ever lift its finalizers, so none are set.
    let dependents = scope.api.settings.garbage_collector.then_some(scope.entry.dependents);
    loop {
        let current = scope.existing().await?;
        preconditions(scope, options, &current)?;
        let old = scope.thaw(&current)?;
        let mut attempt = Attempt::new(scope, Operation::Delete, Some(&*old)).dry_run(dry_run);
        attempt.options = serde_json::to_value(options).unwrap_or_default();
        admission::delete(&mut attempt).await?;
        let mut draft = old.copy();
        let step = plan(&mut *draft, options, scope.now(), dependents);
        if dry_run || step == Step::Wait {
            return Ok(Deleted { object: current, gone: step == Step::Remove });
        }
        let gone = step == Step::Remove;
        mark(&mut *draft, scope.api.clock.now_seconds());
        let frozen = scope.entry.to_store(draft.freeze().map_err(ApiError::internal)?).await?;
        let expect = Expect::Revision(current.meta().revision);
        let outcome = if gone {
            let write = Write::delete(scope.key(scope.name), expect, move |revision, _: &Stored| {
                frozen.stamp(revision, Change::Deleted).0
            });
            scope.api.store.write(write).await
        } else {
            scope.put(scope.name, expect, frozen, Change::Modified).await
        };
        match outcome {
            Ok(stored) => {
                if gone {
                    scope.api.alloc.forget(scope, &*old).await;
                }
                return Ok(Deleted { object: scope.served(stored).await?, gone });
            }
            // Somebody wrote first: judge the new state.
            Err(Refused::Moved(_) | Refused::Missing) => {}
            Err(other) => return Err(unavailable(&other)),
        }
    }
}

fn preconditions(scope: &Scope<'_>, options: &DeleteOptions, current: &Object) -> Result<(), ApiError> {
    let Some(wanted) = &options.preconditions else { return Ok(()) };
    if let Some(uid) = wanted.uid.as_deref().filter(|uid| *uid != &*current.meta().uid) {
        return Err(uid_conflict(scope, uid, &current.meta().uid));
    }
    let revision = current.meta().revision.to_string();
    match wanted.resource_version.as_deref() {
        Some(version) if version != revision => {
            let why = format!(
                "Precondition failed: ResourceVersion in precondition: {version}, ResourceVersion in object meta: {revision}"
            );
            Err(ApiError::conflict(&scope.entry.resource, scope.name, why))
        }
        _ => Ok(()),
    }
}

/// Decides, and makes `draft` say so. Follows upstream's `rest.BeforeDelete` and the generic store after it.
/// `dependents` says what becomes of those by default; nothing without a garbage collector.
fn plan(draft: &mut dyn Draft, options: &DeleteOptions, now: Time, dependents: Option<Dependents>) -> Step {
    let before = draft.meta().clone();
    if let Some(dependents) = dependents {
        let held = before.finalizers.as_deref().unwrap_or_default();
        draft.meta_mut().finalizers = finalizers(held, options, dependents != Dependents::Go);
    }
    let changed = draft.meta().finalizers.as_deref().unwrap_or_default()
        != before.finalizers.as_deref().unwrap_or_default();
    let held = draft.held() || !draft.meta().finalizers.as_deref().unwrap_or_default().is_empty();
    let grace = draft.grace(options.grace_period_seconds);
    let (left, shortened) = match (before.deletion_timestamp.as_ref(), before.deletion_grace_period_seconds) {
        // Already going: only a shorter wait may be asked for.
        (Some(when), Some(set)) if set > 0 => match options.grace_period_seconds.map(|asked| asked.max(0)) {
            Some(asked) if asked < set => {
                let when = when.0 - jiff::SignedDuration::from_secs(set - asked);
                draft.meta_mut().deletion_timestamp = Some(Time(when));
                draft.meta_mut().deletion_grace_period_seconds = Some(asked);
                (asked, true)
            }
            _ => (set, false),
        },
        (Some(_), _) => (0, false),
        (None, _) => {
            let grace = grace.unwrap_or(0);
            let meta = draft.meta_mut();
            meta.deletion_timestamp = Some(Time(now.0 + jiff::SignedDuration::from_secs(grace)));
            meta.deletion_grace_period_seconds = Some(grace);
            if let Some(generation) = meta.generation.filter(|generation| *generation > 0) {
                meta.generation = Some(generation + 1);
            }
            draft.begin_deletion();
            (grace, true)
        }
    };
    if left == 0 && !held {
        if grace.is_none() && before.deletion_timestamp.is_none() {
            // Kinds that go at once go as they were.
            *draft.meta_mut() = before;
        }
        return Step::Remove;
    }
    if changed || shortened { Step::Mark } else { Step::Wait }
}

/// The finalizers as the propagation policy wants them.
fn finalizers(before: &[String], options: &DeleteOptions, stay: bool) -> Option<Vec<String>> {
    let has = |name: &str| before.iter().any(|finalizer| finalizer == name);
    let (orphan, foreground) = match (options.orphan_dependents, options.propagation_policy.as_deref()) {
        (Some(orphan), _) => (orphan, false),
        (_, Some("Orphan")) => (true, false),
        (_, Some("Foreground")) => (false, true),
        (_, Some(_)) => (false, false),
        (_, None) if has(ORPHAN) || has(FOREGROUND) => (has(ORPHAN), has(FOREGROUND)),
        (_, None) => (stay, false),
    };
    let mut after: Vec<String> =
        before.iter().filter(|name| *name != ORPHAN && *name != FOREGROUND).cloned().collect();
    if orphan {
        after.push(ORPHAN.to_owned());
    }
    if foreground {
        after.push(FOREGROUND.to_owned());
    }
    (!after.is_empty()).then_some(after)
}
