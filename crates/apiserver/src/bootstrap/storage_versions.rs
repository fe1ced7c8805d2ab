//! What this server says of its storage: for each built-in kind the version in which it keeps objects, and those that it
//! reads and serves. Nothing is said where StorageVersion is not served, as it is not by default.
//!
//! Follows upstream's `k8s.io/apiserver/pkg/storageversion`. Upstream says it all again every ten minutes; here that is done
//! when somebody has changed it.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::apiserverinternal::v1alpha1::{ServerStorageVersion, StorageVersion};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use skiff_api::{ApiError, Object, storage_version};
use skiff_store::{Event, Watch};

use crate::api::Api;
use crate::catalog::{Entry, Kinds};
use crate::kinds;
use crate::registry::Scope;
use crate::registry::update::{Part, Proposal, Update, update};
use crate::stored::Stored;
use crate::user::User;

/// How many are written at once: enough for the store to commit them together.
const AT_ONCE: usize = 64;

/// Says how each kind is stored, unless that is said already.
///
/// # Errors
/// If a write is refused, or the store fails.
pub(super) async fn record(api: &Api, server: &str) -> Result<(), ApiError> {
    let Some(entry) = api.catalog.of::<StorageVersion>() else { return Ok(()) };
    let all = said(&api.catalog.kinds(), server).into_iter();
    let writes = all.map(|(name, said)| say(api, &entry, name, said));
    stream::iter(writes.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).try_collect().await
}

/// What there is to say, by the names of the objects that say it.
fn said(kinds: &Kinds, server: &str) -> BTreeMap<String, ServerStorageVersion> {
    // Versions that are not served are read all the same.
    let known: Vec<Entry> = kinds::ALL.iter().map(|row| Entry::built_in(row)).collect();
    let mut found = BTreeMap::new();
    for stored in known.iter().filter(|entry| entry.conversion.is_none() && entry.computed.is_none()) {
        let served = kinds.entries().iter().filter(|entry| entry.table == stored.table);
        let served: Vec<String> = served.map(|entry| entry.api_version.clone()).collect();
        if served.is_empty() {
            continue;
        }
        let others = known.iter().filter(|entry| entry.table == stored.table && entry.conversion.is_some());
        let mut decodable = vec![stored.api_version.clone()];
        decodable.extend(others.map(|entry| entry.api_version.clone()));
        let said = ServerStorageVersion {
            api_server_id: server.to_owned(),
            encoding_version: stored.api_version.clone(),
            decodable_versions: decodable,
            served_versions: Some(served),
        };
        found.insert(storage_version::name(&stored.resource.group, &stored.resource.plural), said);
    }
    found
}

async fn say(
    api: &Api,
    entry: &Arc<Entry>,
    name: String,
    said: ServerStorageVersion,
) -> Result<(), ApiError> {
    let missing = StorageVersion {
        metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
        ..StorageVersion::default()
    };
    super::ensure(api, "", &missing, false).await?;
    let user = User::server();
    let scope = Scope {
        name: &name,
        subresource: "status",
        manager: Some("kube-apiserver"),
        ..Scope::own(api, entry, &user)
    };
    let change = |current: Option<&Object>| {
        let current = current.ok_or_else(ApiError::no_such_path)?;
        let mut draft = entry.ops.thaw(current).map_err(ApiError::internal)?;
        if let Some(version) = draft.as_any_mut().downcast_mut::<StorageVersion>()
            && !says(version, &said)
        {
            storage_version::say(version, said.clone(), api.clock.now_seconds());
        }
        Ok(Proposal::quiet(draft))
    };
    let how = Update { part: Part::Status, dry_run: false, change: &change, upsert: false };
    match update(&scope, &how).await {
        // Somebody has deleted it just now, of which we are told.
        Err(error) if error.code() == 404 => Ok(()),
        other => other.map(|_| ()),
    }
}

fn says(version: &StorageVersion, said: &ServerStorageVersion) -> bool {
    version.status.iter().flat_map(|status| status.storage_versions.iter().flatten()).any(|own| own == said)
}

/// Tells when something that this server has said is said no more.
pub(super) fn amiss(api: &Arc<Api>, server: &str) -> BoxStream<'static, ()> {
    let Some(entry) = api.catalog.of::<StorageVersion>() else { return stream::pending().boxed() };
    let (api, said) = (Arc::clone(api), said(&api.catalog.kinds(), server));
    let watch = Some(api.store.snapshot_and_watch(&entry.table).1);
    // A watcher that falls behind starts anew; what it missed is looked at.
    stream::unfold(watch, move |watch: Option<Watch<Stored>>| {
        let (api, table) = (Arc::clone(&api), Arc::clone(&entry.table));
        async move {
            let mut watch = watch.unwrap_or_else(|| api.store.snapshot_and_watch(&table).1);
            match watch.next().await? {
                Ok(event) => Some((Some(event), Some(watch))),
                Err(_too_far_behind) => Some((None, None)),
            }
        }
    })
    .filter_map(move |event| {
        let missing = event.is_none_or(|event| is_missing(&event, &said));
        std::future::ready(missing.then_some(()))
    })
    .boxed()
}

fn is_missing(event: &Event<Stored>, said: &BTreeMap<String, ServerStorageVersion>) -> bool {
    let Some(said) = said.get(&*event.key.name) else { return false };
    // As it is made it says nothing yet.
    let changed = event.deleted || event.previous.is_some();
    let version = event.object.object().decode::<StorageVersion>();
    changed && (event.deleted || version.is_ok_and(|version| !says(&version, said)))
}
