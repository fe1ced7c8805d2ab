//! A new object: named, stamped, admitted, validated, numbered.

use skiff_api::{ApiError, Errors};
use skiff_store::{Expect, Refused};

use super::{Scope, Written, fields, rules, unavailable, unstored};
use crate::admission::{self, Attempt, Operation};
use crate::kinds::Draft;
use crate::stored::Change;

/// Suffixes of generated names: no vowels, so no words; no digits that look like letters.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX: usize = 5;
/// A generated name is at most this long before its suffix.
const LONGEST_PREFIX: usize = 63 - SUFFIX;
/// How often a name is generated anew when it is taken.
const TRIES: usize = 8;

/// Creates the object of `draft`.
///
/// # Errors
/// Whatever upstream answers: 400, 403, 404, 409, 422.
pub(crate) async fn create(
    scope: &Scope<'_>,
    mut draft: Box<dyn Draft>,
    dry_run: bool,
) -> Result<Written, ApiError> {
    let entry = scope.entry;
    let sent = draft.owners_mut().take();
    stamp(scope, draft.meta_mut())?;
    let generated = draft.meta().name.as_deref().unwrap_or_default().is_empty()
        && draft.meta().generate_name.as_deref().is_some_and(|prefix| !prefix.is_empty());
    if generated {
        draft.meta_mut().name = Some(generate(draft.meta().generate_name.as_deref().unwrap_or_default()));
    }
    draft.set_defaults();
    fields::created(scope, &mut *draft, sent)?;
    let mut attempt = Attempt::new(scope, Operation::Create, None).dry_run(dry_run);
    admission::mutate(&mut attempt, &mut draft).await?;
    draft.prepare_create();
    draft.requested_by(scope.user);
    rules::drop_empty(draft.meta_mut());
    let name = draft.meta().name.clone().unwrap_or_default();
    let mut errors = Errors::new();
    let old_kind = matches!(&*entry.table, "pods" | "replicationcontrollers");
    let rule = if scope.legacy_name && old_kind { legacy_rule } else { entry.name_rule };
    rules::check_name(rule, draft.meta(), &mut errors);
    rules::check(entry, draft.meta(), &mut errors);
    draft.validate(&mut errors);
    draft.validate_create(&mut errors);
    if !errors.is_empty() {
        return Err(entry.invalid(&name, errors));
    }
    let mut warnings = draft.warnings(None);
    let reservation = scope.api.alloc.begin(scope, &mut *draft, None)?;
    admission::validate(&mut attempt, &*draft).await?;
    warnings.append(&mut attempt.warnings);
    let charge = scope.api.quotas.begin(scope, &*draft, None, dry_run)?;
    if dry_run {
        if scope.api.store.get(&scope.key(&name)).is_some() {
            return Err(ApiError::already_exists(&entry.resource, &name));
        }
        draft.meta_mut().resource_version = None;
        return Ok(Written { bytes: unstored(&*draft)?, created: true, warnings });
    }
    let mut name = String::new();
    for _ in 0..TRIES {
        name = draft.meta().name.clone().unwrap_or_default();
        let again = generated.then(|| draft.copy());
        let frozen = draft.freeze().map_err(ApiError::internal)?;
        let frozen = entry.to_store(frozen).await?;
        super::fits(&*frozen)?;
        match reservation.put(scope, &name, Expect::Absent, frozen, Change::Added).await {
            Ok(stored) => {
                reservation.commit(scope).await;
                charge.commit(stored.object().meta().revision);
                let object = scope.served(stored).await?;
                return Ok(Written { bytes: object.bytes().clone(), created: true, warnings });
            }
            Err(Refused::Exists(_)) => {
                let Some(mut again) = again else {
                    return Err(ApiError::already_exists(&entry.resource, &name));
                };
                let prefix = again.meta().generate_name.clone().unwrap_or_default();
                again.meta_mut().name = Some(generate(&prefix));
                draft = again;
            }
            Err(other) => return Err(unavailable(&other)),
        }
    }
    let mut error = ApiError::already_exists(&entry.resource, &name);
    error.status.message =
        Some(format!("{error}, the server was not able to generate a unique name for the object"));
    Err(error.retry_after(1))
}

/// What the API of 2014 allowed in names.
fn legacy_rule(name: &str) -> Vec<String> {
    skiff_api::v1beta1::name_fault(name).map(|fault| vec![fault.to_string()]).unwrap_or_default()
}

/// Sets what only the server may set.
fn stamp(
    scope: &Scope<'_>,
    meta: &mut k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
) -> Result<(), ApiError> {
    if meta.resource_version.as_deref().is_some_and(|version| !version.is_empty() && version != "0") {
        // Upstream answers this one without a reason.
        let why = "resourceVersion should not be set on objects to be created";
        return Err(ApiError::new(500, "", why));
    }
    if scope.entry.resource.namespaced {
        place(meta, scope.namespace)?;
    }
    meta.uid = Some(uuid::Uuid::new_v4().to_string());
    meta.creation_timestamp = Some(scope.now());
    meta.deletion_timestamp = None;
    meta.deletion_grace_period_seconds = None;
    meta.self_link = None;
    meta.generation = None;
    meta.resource_version = None;
    Ok(())
}

/// Puts the object into the request's namespace, where it must belong.
pub(super) fn place(
    meta: &mut k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
    namespace: &str,
) -> Result<(), ApiError> {
    match meta.namespace.as_deref() {
        None | Some("") => meta.namespace = Some(namespace.to_owned()),
        Some(own) if own == namespace => {}
        Some(_) => {
            return Err(ApiError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
    }
    Ok(())
}

/// A name that begins with `prefix` and is unlikely to be taken.
pub(crate) fn generate(prefix: &str) -> String {
    let mut end = prefix.len().min(LONGEST_PREFIX);
    while !prefix.is_char_boundary(end) {
        end -= 1;
    }
    let mut name = prefix[..end].to_owned();
    for _ in 0..SUFFIX {
        name.push(char::from(LETTERS[rand::random_range(0..LETTERS.len())]));
    }
    name
}
