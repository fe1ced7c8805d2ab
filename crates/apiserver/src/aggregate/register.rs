//! APIServices of what is served here: one for each group and version, built in or defined, made without being asked for.
//!
//! Follows upstream's `kube-aggregator/pkg/controllers/autoregister` and `pkg/controlplane/controller/crdregistration`:
//! those of built-in groups are looked at when the server starts, those of definitions whenever something changes. What is
//! measured here (`metrics.k8s.io`) has one too, which anybody may give to another server; it is only made again when it
//! is gone.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{APIService, APIServiceSpec};
use skiff_api::{ApiError, Object};
use skiff_store::Key;

use super::{Priority, TABLE, priorities};
use crate::api::Api;
use crate::registry::update::{Part, Proposal, Update, update};
use crate::registry::{Scope, delete};
use crate::user::User;
use crate::{bootstrap, crd, resource_metrics};

/// Says how an APIService is kept in step with what is served.
const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";
const ON_START: &str = "onstart";
const ALWAYS: &str = "true";
/// How many are written at once: enough for the store to commit them together.
const AT_ONCE: usize = 64;

/// An APIService that there should be.
struct Wanted {
    spec: APIServiceSpec,
    /// Nothing for one that others may change.
    managed: Option<&'static str>,
}

/// Makes, mends and removes what has to be when the server starts.
///
/// # Errors
/// If an object is refused, or the store fails.
pub(crate) async fn at_start(api: &Api) -> Result<(), ApiError> {
    let kinds = api.catalog.kinds();
    let mut names: BTreeSet<String> = BTreeSet::new();
    for entry in kinds.entries() {
        names.insert(name(&entry.resource.group, &entry.resource.version));
    }
    names.extend(kinds.reviews().iter().map(|review| name(review.group, review.version)));
    names.insert(name(resource_metrics::GROUP, resource_metrics::VERSION));
    for stored in api.store.snapshot(crd::controller::TABLE).objects.values() {
        names.extend(defined_by(stored.object()));
    }
    names.extend(api.store.snapshot(TABLE).objects.keys().map(|name| name.to_string()));
    let mut all: Vec<BoxFuture<'_, Result<(), ApiError>>> = Vec::new();
    for name in &names {
        all.push(Box::pin(reconcile(api, name, true)));
    }
    stream::iter(all).buffer_unordered(AT_ONCE).try_collect().await
}

/// The APIServices of a definition's versions.
pub(super) fn defined_by(definition: &Object) -> Vec<String> {
    let Ok(crd) = definition.decode::<CustomResourceDefinition>() else { return Vec::new() };
    crd.spec.versions.iter().map(|version| name(&crd.spec.group, &version.name)).collect()
}

/// Brings the APIService of a name into step with what is served.
///
/// # Errors
/// If a write is refused, or the store fails.
pub(super) async fn reconcile(api: &Api, name: &str, starting: bool) -> Result<(), ApiError> {
    let wanted = wanted(api, name);
    let Some(stored) = api.store.get(&Key::new(TABLE, name)) else {
        let Some(wanted) = wanted.filter(|wanted| starting || wanted.managed != Some(ON_START)) else {
            return Ok(());
        };
        return bootstrap::ensure(api, "", &object(name, wanted), false).await;
    };
    let object = stored.object();
    match object.meta().labels.get(MANAGED).map(|value| &**value) {
        Some(ON_START) if !starting => return Ok(()),
        Some(ON_START | ALWAYS) => {}
        _ => return Ok(()),
    }
    let Some(wanted) = wanted else {
        let uid = Some(object.meta().uid.to_string());
        return remove(api, name, uid).await;
    };
    let held = object.decode::<APIService>().map_err(ApiError::internal)?;
    if held.spec.as_ref() == Some(&wanted.spec) {
        return Ok(());
    }
    change(api, name, "", &|service| {
        service.spec = Some(wanted.spec.clone());
        Ok(())
    })
    .await
}

fn name(group: &str, version: &str) -> String {
    format!("{version}.{group}")
}

fn wanted(api: &Api, name: &str) -> Option<Wanted> {
    let (version, group) = name.split_once('.')?;
    let spec = |priority: Priority| APIServiceSpec {
        group: (!group.is_empty()).then(|| group.to_owned()),
        version: Some(version.to_owned()),
        group_priority_minimum: priority.group,
        version_priority: priority.version,
        ..APIServiceSpec::default()
    };
    let answered = group == resource_metrics::GROUP || api.catalog.kinds().has(group, version);
    if let Some(priority) = priorities::of(group, version).filter(|_| answered) {
        let managed = (group != resource_metrics::GROUP).then_some(ON_START);
        return Some(Wanted { spec: spec(priority), managed });
    }
    let definitions = api.store.snapshot(crd::controller::TABLE);
    let of_group = definitions
        .objects
        .iter()
        .filter(|(name, _)| name.split_once('.').is_some_and(|(_, own)| own == group));
    let served = |definition: &Object| {
        let crd = definition.decode::<CustomResourceDefinition>();
        crd.is_ok_and(|crd| crd.spec.versions.iter().any(|own| own.served && own.name == version))
    };
    let mut of_group = of_group.map(|(_, stored)| stored.object());
    of_group
        .any(|definition| served(definition))
        .then(|| Wanted { spec: spec(priorities::DEFINED), managed: Some(ALWAYS) })
}

fn object(name: &str, wanted: Wanted) -> APIService {
    let labels = wanted.managed.map(|how| BTreeMap::from([(MANAGED.to_owned(), how.to_owned())]));
    APIService {
        metadata: ObjectMeta { name: Some(name.to_owned()), labels, ..ObjectMeta::default() },
        spec: Some(wanted.spec),
        status: None,
    }
}

async fn remove(api: &Api, name: &str, uid: Option<String>) -> Result<(), ApiError> {
    let Some(entry) = api.catalog.of::<APIService>() else { return Ok(()) };
    let user = User::server();
    let scope = scope(api, &entry, &user, name, "");
    let preconditions = Some(Preconditions { uid, ..Preconditions::default() });
    let options = DeleteOptions { preconditions, ..DeleteOptions::default() };
    match delete::delete(&scope, &options).await {
        // It has gone, or changed, meanwhile; that is told as well.
        Err(error) if matches!(error.code(), 404 | 409) => Ok(()),
        other => other.map(|_| ()),
    }
}

/// Changes an APIService, if it is there, on the server's own behalf.
///
/// # Errors
/// If the change, or the server, refuses.
pub(super) async fn change(
    api: &Api,
    name: &str,
    subresource: &str,
    how: &(dyn Fn(&mut APIService) -> Result<(), ApiError> + Sync),
) -> Result<(), ApiError> {
    let Some(entry) = api.catalog.of::<APIService>() else { return Ok(()) };
    let user = User::server();
    let scope = scope(api, &entry, &user, name, subresource);
    let changed = |current: Option<&Object>| {
        let current = current.ok_or_else(ApiError::no_such_path)?;
        let mut draft = entry.ops.thaw(current).map_err(ApiError::internal)?;
        if let Some(service) = draft.as_any_mut().downcast_mut::<APIService>() {
            how(service)?;
        }
        Ok(Proposal::quiet(draft))
    };
    let update_of = Update { part: Part::Internal, dry_run: false, change: &changed, upsert: false };
    match update(&scope, &update_of).await {
        Err(error) if error.code() == 404 => Ok(()),
        other => other.map(|_| ()),
    }
}

fn scope<'a>(
    api: &'a Api,
    entry: &'a std::sync::Arc<crate::catalog::Entry>,
    user: &'a User,
    name: &'a str,
    subresource: &'a str,
) -> Scope<'a> {
    Scope { name, subresource, manager: Some("kube-apiserver"), ..Scope::own(api, entry, user) }
}
