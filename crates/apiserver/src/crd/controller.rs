//! Keeps the catalog and the definitions' status in step: names accepted or refused, kinds established, objects deleted
//! with their definition.
//!
//! Follows upstream's controllers in `apiextensions-apiserver/pkg/controller` (`status`, `establish`, `finalizer`,
//! `nonstructuralschema`, `apiapproval`). A kind is in the catalog before anybody can read that it is established.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use skiff_api::{ApiError, Object};
use skiff_base::task::{Policy, Tasks};
use skiff_store::Key;
use tokio_util::sync::CancellationToken;

use super::names;
use crate::api::Api;
use crate::catalog::Entry;
use crate::kinds::apiextensions::custom_resource_definition::{CLEANUP, holds, says};
use crate::registry::update::{Part, Proposal, Update, update};
use crate::registry::{self, Scope};
use crate::stored::Stored;
use crate::user::User;

/// How long after a failure objects are deleted again.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// The definitions' table.
pub(crate) const TABLE: &str = "apiextensions.k8s.io/customresourcedefinitions";

/// What is served for one definition.
struct Served {
    /// Of the spec, and of its versions alone: typed, a schema of two hundred fields is half a megabyte.
    spec: Digest,
    versions: Digest,
    table: Arc<str>,
    /// Objects written after this revision are as the present schema has them.
    since: u64,
    /// Ends the watches of the kind.
    gone: CancellationToken,
    /// Whether the definition is being deleted.
    going: bool,
    /// A task deletes its objects.
    ending: bool,
}

type Digest = [u8; 32];

fn digest(value: &impl Serialize) -> Digest {
    Sha256::digest(serde_json::to_vec(value).unwrap_or_default()).into()
}

/// What is read of other definitions of a group: their schemas are large.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Other {
    status: CustomResourceDefinitionStatus,
}

/// The controller.
pub(crate) struct Controller {
    api: Arc<Api>,
    served: HashMap<Arc<str>, Served>,
}

impl Controller {
    /// Serves what was established before the server started.
    pub(crate) fn load(api: &Arc<Api>) -> Self {
        let mut controller = Self { api: Arc::clone(api), served: HashMap::new() };
        for (name, stored) in &api.store.snapshot(TABLE).objects {
            match stored.object().decode::<CustomResourceDefinition>() {
                Ok(crd) => controller.serve(name, &crd, stored.object().meta().revision),
                Err(error) => tracing::error!(%error, %name, "a stored definition cannot be read"),
            }
        }
        controller
    }

    /// Follows the definitions until the server stops.
    pub(crate) async fn run(mut self, tasks: Tasks) -> Result<(), Infallible> {
        loop {
            let (snapshot, mut watch) = self.api.store.snapshot_and_watch(TABLE);
            let mut queue: VecDeque<Arc<str>> = snapshot.objects.keys().cloned().collect();
            // Also those that went while nobody looked.
            queue.extend(self.served.keys().filter(|name| !snapshot.objects.contains_key(*name)).cloned());
            drop(snapshot);
            loop {
                while let Some(name) = queue.pop_front() {
                    match self.sync(&name, &tasks).await {
                        Ok(others) => queue.extend(others),
                        Err(error) => {
                            tracing::warn!(%error, %name, "a definition could not be brought into step")
                        }
                    }
                }
                let event = tokio::select! {
                    () = tasks.stopped() => return Ok(()),
                    event = watch.next() => event,
                };
                match event {
                    Some(Ok(event)) => queue.push_back(event.key.name),
                    // Too far behind: look at everything again.
                    Some(Err(_)) => break,
                    None => return Ok(()),
                }
            }
        }
    }

    /// Brings one definition into step; gives others that may have to be looked at again.
    async fn sync(&mut self, name: &Arc<str>, tasks: &Tasks) -> Result<Vec<Arc<str>>, ApiError> {
        let key = Key { table: TABLE.into(), name: Arc::clone(name) };
        let Some(stored) = self.api.store.get(&key) else {
            self.withdraw(name);
            return Ok(self.refused(name));
        };
        let object = Arc::clone(stored.object());
        let crd = object.decode::<CustomResourceDefinition>().map_err(ApiError::internal)?;
        if crd.metadata.deletion_timestamp.is_some() {
            self.serve(name, &crd, object.meta().revision);
            self.end(name, &crd, tasks);
            return Ok(Vec::new());
        }
        let others: Vec<_> = self.others(name).into_iter().map(|(_, status)| status).collect();
        let status = names::status(&crd, &others, self.api.clock.now_seconds());
        let decided = CustomResourceDefinition { status: Some(status), ..(*crd).clone() };
        self.serve(name, &decided, object.meta().revision);
        if decided.status != crd.status {
            self.write(name, &decided).await?;
            let renamed = |crd: &CustomResourceDefinition| {
                crd.status.as_ref().and_then(|status| status.accepted_names.clone())
            };
            if renamed(&crd) != renamed(&decided) {
                return Ok(self.refused(name));
            }
        }
        Ok(Vec::new())
    }

    /// All other definitions of the same group: their names and status.
    fn others(&self, name: &str) -> Vec<(Arc<str>, CustomResourceDefinitionStatus)> {
        let group = name.split_once('.').map_or("", |(_, group)| group);
        let snapshot = self.api.store.snapshot(TABLE);
        let same = |(other, _): &(&Arc<str>, _)| {
            &***other != name && other.split_once('.').is_some_and(|(_, own)| own == group)
        };
        let read = |(name, stored): (&Arc<str>, &Arc<Stored>)| {
            let other: Other = serde_json::from_slice(stored.object().bytes()).ok()?;
            Some((Arc::clone(name), other.status))
        };
        snapshot.objects.iter().filter(same).filter_map(read).collect()
    }

    /// Those of the group whose names are not accepted.
    fn refused(&self, name: &str) -> Vec<Arc<str>> {
        let waiting = |status: &CustomResourceDefinitionStatus| !says(status, "NamesAccepted");
        self.others(name).into_iter().filter(|(_, status)| waiting(status)).map(|(name, _)| name).collect()
    }

    /// Puts the definition's kinds into the catalog, if they are not there as it says.
    fn serve(&mut self, name: &Arc<str>, crd: &CustomResourceDefinition, revision: u64) {
        if !holds(crd, "Established") {
            return;
        }
        let going = crd.metadata.deletion_timestamp.is_some();
        let spec = digest(&crd.spec);
        let same = self.served.get(name).is_some_and(|served| served.spec == spec && served.going == going);
        if same {
            return;
        }
        let before = self.served.remove(name);
        // Only a new schema makes what is stored old.
        let schemas = digest(&crd.spec.versions);
        let kept = before.as_ref().filter(|before| before.versions == schemas);
        let since = kept.map_or(revision, |before| before.since);
        let gone = before.as_ref().map(|before| before.gone.clone()).unwrap_or_default();
        let versions = super::entries(crd, since, &gone, &self.api);
        let table: Arc<str> = format!("{}/{}", crd.spec.group, crd.spec.names.plural).into();
        let visible = versions.into_iter().filter(|(served, _)| *served).map(|(_, entry)| entry).collect();
        self.api.catalog.replace(&table, visible);
        let ending = before.is_some_and(|before| before.ending);
        let served = Served { spec, versions: schemas, table, since, gone, going, ending };
        self.served.insert(Arc::clone(name), served);
    }

    fn withdraw(&mut self, name: &str) {
        if let Some(served) = self.served.remove(name) {
            self.api.catalog.replace(&served.table, Vec::new());
            served.gone.cancel();
        }
    }

    /// Writes a definition's status.
    async fn write(&self, name: &str, decided: &CustomResourceDefinition) -> Result<(), ApiError> {
        let status = decided.status.clone();
        change(&self.api, name, &|crd| crd.status.clone_from(&status)).await
    }

    /// Deletes a definition's objects, then lets it go. Each ending has a task of its own, since finalizers may take long.
    fn end(&mut self, name: &Arc<str>, crd: &CustomResourceDefinition, tasks: &Tasks) {
        if !crd.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == CLEANUP) {
            return;
        }
        let served = self.served.get_mut(name);
        if served.is_some_and(|served| std::mem::replace(&mut served.ending, true)) {
            return;
        }
        let gone = CancellationToken::new();
        let versions = super::entries(crd, 0, &gone, &self.api);
        let storage = crd.spec.versions.iter().position(|version| version.storage);
        let entry = storage.and_then(|index| versions.get(index)).map(|(_, entry)| Arc::clone(entry));
        let (api, name) = (Arc::clone(&self.api), Arc::clone(name));
        let stopped = tasks.clone();
        tasks.spawn("end of a definition", Policy::Optional, async move {
            tokio::select! {
                () = stopped.stopped() => {}
                () = insist(&api, &name, entry.as_ref()) => {}
            }
            Ok::<_, Infallible>(())
        });
    }
}

/// Ends a definition, however often that fails: nobody tells when what refuses to let an object go has changed its mind.
async fn insist(api: &Arc<Api>, name: &str, entry: Option<&Arc<Entry>>) {
    while let Err(error) = finish(api, name, entry).await {
        tracing::warn!(%error, %name, "the objects of a definition could not be deleted");
        tokio::time::sleep(TRY_AGAIN).await;
    }
}

/// Deletes everything, waits for what finalizers hold, and takes the definition's own finalizer away.
async fn finish(api: &Arc<Api>, name: &str, entry: Option<&Arc<Entry>>) -> Result<(), ApiError> {
    if let Some(entry) = entry {
        let user = User::server();
        let (mut snapshot, mut watch) = api.store.snapshot_and_watch(&entry.table);
        while !snapshot.objects.is_empty() {
            let standing = |stored: &&Arc<Stored>| stored.object().meta().deletion_timestamp.is_none();
            for stored in snapshot.objects.values().filter(standing) {
                let meta = stored.object().meta();
                let scope = Scope {
                    namespace: meta.namespace.as_deref().unwrap_or_default(),
                    name: &meta.name,
                    ..Scope::own(api, entry, &user)
                };
                match registry::delete::delete(&scope, &DeleteOptions::default()).await {
                    Err(error) if error.code() != 404 => return Err(error),
                    _ => {}
                }
            }
            snapshot = api.store.snapshot(&entry.table);
            if !snapshot.objects.is_empty() && watch.next().await.is_none() {
                return Ok(());
            }
        }
    }
    change(api, name, &|crd| {
        crd.metadata.finalizers.iter_mut().for_each(|finalizers| finalizers.retain(|own| own != CLEANUP));
    })
    .await
}

/// Changes a definition on the server's own behalf.
async fn change(
    api: &Arc<Api>,
    name: &str,
    how: &(dyn Fn(&mut CustomResourceDefinition) + Sync),
) -> Result<(), ApiError> {
    let Some(entry) = api.catalog.of::<CustomResourceDefinition>() else { return Ok(()) };
    let user = User::server();
    let scope = Scope {
        name,
        subresource: "status",
        manager: Some("kube-apiserver"),
        ..Scope::own(api, &entry, &user)
    };
    let changed = |current: Option<&Object>| {
        let current = current.ok_or_else(ApiError::no_such_path)?;
        let mut draft = entry.ops.thaw(current).map_err(ApiError::internal)?;
        if let Some(crd) = draft.as_any_mut().downcast_mut::<CustomResourceDefinition>() {
            how(crd);
        }
        Ok(Proposal::quiet(draft))
    };
    let update_of = Update { part: Part::Internal, dry_run: false, change: &changed, upsert: false };
    match update(&scope, &update_of).await {
        Err(error) if error.code() == 404 => Ok(()),
        other => other.map(|_| ()),
    }
}
