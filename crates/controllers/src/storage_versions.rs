//! What an API server said of its storage goes with the lease by which it said who it is; when nobody says anything any
//! more, the StorageVersion goes. Follows upstream's `pkg/controller/storageversiongc`.

use k8s_openapi::api::apiserverinternal::v1alpha1::StorageVersion;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions};
use skiff_api::{Object, Resource, names, storage_version};
use skiff_client::Change;
use skiff_client::cache::{Index, decode};
use skiff_client::controller::{Caches, How, Itself, Key, Next, Outcome};
use skiff_client::write::{self, Place};

use crate::Settings;
use crate::identity_leases::{NAMESPACE, is_of_server};
use crate::table::{Ctx, Row, on};

pub(crate) const CONTROLLER: Row = Row {
    name: "storage-version-garbage-collector",
    component: "storage-version-garbage-collector",
    wakes: &[on::<StorageVersion, Itself>().indexed(&[BY_SERVER]), on::<Lease, OfItsServers>()],
    may: &[
        ("get", "leases.coordination.k8s.io"),
        ("delete", "storageversions.internal.apiserver.k8s.io"),
        ("patch", "storageversions.internal.apiserver.k8s.io/status"),
    ],
    workers: 1,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

/// Finds StorageVersions by the servers that they know.
const BY_SERVER: Index = Index { name: "servers of storage versions", values: |object| servers(object) };

fn servers(object: &Object) -> Vec<Box<str>> {
    let Ok(version) = object.decode::<StorageVersion>() else { return Vec::new() };
    let said = version.status.iter().flat_map(|status| status.storage_versions.iter().flatten());
    said.map(|said| said.api_server_id.as_str().into()).collect()
}

/// The StorageVersions of a server that is one no more.
struct OfItsServers;

impl How<Settings> for OfItsServers {
    fn keys(change: &Change, caches: &Caches, _: &Settings) -> Vec<Key> {
        let was = change.old.as_ref().filter(|lease| is_of_server(lease));
        let Some(was) = was.filter(|_| !change.new.as_ref().is_some_and(|lease| is_of_server(lease))) else {
            return Vec::new();
        };
        let versions = caches.of::<StorageVersion>().by(&BY_SERVER, &was.meta().name);
        versions.iter().map(|version| version.meta().key().into()).collect()
    }
}

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let Some(object) = ctx.cache::<StorageVersion>().get(key.as_str()) else { return Ok(Next::Rest) };
    let Some(version) = decode::<StorageVersion>(&object) else { return Ok(Next::Rest) };
    let mut gone = Vec::new();
    for server in servers(&object) {
        if !is_there(&ctx, &server).await? {
            gone.push(server);
        }
    }
    if gone.is_empty() {
        return Ok(Next::Rest);
    }
    let mut left = StorageVersion::clone(&version);
    let said = left.status.get_or_insert_default().storage_versions.get_or_insert_default();
    said.retain(|said| !gone.iter().any(|server| **server == said.api_server_id));
    if !said.is_empty() {
        storage_version::agree(&mut left, ctx.clock_seconds());
        ctx.patch_status(&*version, &left).await?;
        return Ok(Next::Rest);
    }
    // Only as it was looked at: somebody may have begun to say something.
    let conditions = Preconditions {
        uid: version.metadata.uid.clone(),
        resource_version: version.metadata.resource_version.clone(),
    };
    let options = DeleteOptions { preconditions: Some(conditions), ..DeleteOptions::default() };
    ctx.delete(&*version, options).await?;
    Ok(Next::Rest)
}

/// Whether there is a server of this name. What the cache does not show may have come a moment ago.
async fn is_there(ctx: &Ctx, server: &str) -> write::Result<bool> {
    let key = Key::new(Some(NAMESPACE), server);
    if ctx.cache::<Lease>().get(key.as_str()).is_some_and(|lease| is_of_server(&lease)) {
        return Ok(true);
    }
    let place = Place::new(&Resource::of::<Lease>(), Some(NAMESPACE), server);
    match write::get::<Lease>(ctx.link(), &place).await {
        Ok(lease) => {
            let labels = lease.metadata.labels.unwrap_or_default();
            Ok(labels.get(names::IDENTITY).is_some_and(|component| component == names::API_SERVER))
        }
        Err(error) if write::is_not_found(&error) => Ok(false),
        Err(error) => Err(error),
    }
}
