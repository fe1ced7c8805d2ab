//! The cluster's own levels and schemas: followed while the server runs.
//!
//! Without the kinds in the catalog the built-in configuration stays.

use std::convert::Infallible;
use std::sync::Arc;

use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use skiff_api::Readable;
use skiff_base::task::Tasks;

use super::config::{self, Config};
use crate::api::Api;

/// Follows the objects until the tasks stop.
pub(crate) async fn run(api: Arc<Api>, tasks: Tasks) -> Result<(), Infallible> {
    let tables = table::<PriorityLevelConfiguration>(&api).zip(table::<FlowSchema>(&api));
    let Some((levels, schemas)) = tables else { return Ok(()) };
    loop {
        let (level_objects, mut level_watch) = api.store.snapshot_and_watch(&levels);
        let (schema_objects, mut schema_watch) = api.store.snapshot_and_watch(&schemas);
        let found =
            Config::new(&read(level_objects.objects.values()), &read(schema_objects.objects.values()));
        if found.catches_all() {
            api.fairness.set(found);
        } else {
            // Half of the objects are there, or somebody has deleted what nobody can do without.
            api.fairness.set(config::built_in());
        }
        tokio::select! {
            () = tasks.stopped() => return Ok(()),
            event = futures::StreamExt::next(&mut level_watch) => if event.is_none() { return Ok(()) },
            event = futures::StreamExt::next(&mut schema_watch) => if event.is_none() { return Ok(()) },
        }
    }
}

fn table<K: Readable>(api: &Api) -> Option<Arc<str>> {
    api.catalog.of::<K>().map(|entry| Arc::clone(&entry.table))
}

fn read<'a, K: Readable>(objects: impl Iterator<Item = &'a Arc<crate::stored::Stored>>) -> Vec<K> {
    objects
        .filter_map(|stored| {
            let decoded = skiff_api::decode::decode(stored.object().bytes(), skiff_api::Strictness::Ignore);
            decoded.ok().map(|decoded| decoded.object)
        })
        .collect()
}
