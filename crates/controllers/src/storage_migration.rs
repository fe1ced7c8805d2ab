//! Carries out StorageVersionMigrations: each object of the resource is written as it is, which has the server store it in
//! its present form. Follows upstream's `pkg/controller/storageversionmigrator`.
//!
//! Whatever is written meanwhile is in that form already, so a conflict is as good as a success, and a controller that
//! begins anew after a restart only does harmless work twice.

use k8s_openapi::api::storagemigration::v1::StorageVersionMigration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde::Deserialize;
use serde_json::json;
use skiff_api::{Meta, Resource};
use skiff_client::controller::{Itself, Key, Next, Outcome};
use skiff_client::write::{self, Patch, Place};

use crate::shared::discovery;
use crate::table::{Ctx, Row, on};

pub(crate) const CONTROLLER: Row = Row {
    name: "storage-version-migrator-controller",
    component: "storage-version-migrator-controller",
    wakes: &[on::<StorageVersionMigration, Itself>()],
    may: &[("list patch", "*"), ("patch", "storageversionmigrations.storagemigration.k8s.io/status")],
    workers: 1,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

const METADATA: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
/// So many objects are asked for at once.
const PAGE: usize = 500;

fn has(migration: &StorageVersionMigration, kind: &str) -> bool {
    let conditions = migration.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == kind && condition.status == "True")
}

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let Some(migration) = ctx.get::<StorageVersionMigration>(&key) else { return Ok(Next::Rest) };
    if has(&migration, "Succeeded")
        || has(&migration, "Failed")
        || migration.metadata.deletion_timestamp.is_some()
    {
        return Ok(Next::Rest);
    }
    let Some(wanted) = migration.spec.as_ref().map(|spec| &spec.resource) else { return Ok(Next::Rest) };
    if !has(&migration, "Running") {
        // The cache shows it in a moment, which wakes us.
        conclude(&ctx, &migration, ("Running", "StorageVersionMigrationInProgress", ""), None).await?;
        return Ok(Next::Rest);
    }
    let found = discovery::everything(ctx.link()).await?;
    let served = found.preferred().find(|served| {
        *served.resource.group == *wanted.group && *served.resource.plural == *wanted.resource
    });
    let outcome = match served.filter(|served| served.can("list") && served.can("patch")) {
        Some(served) => write_all(&ctx, &served.resource).await?,
        None => Err("there is no such resource that can be listed and patched".to_owned()),
    };
    match outcome {
        Ok(revision) => {
            let done = ("Succeeded", "StorageVersionMigrationSucceeded", "");
            conclude(&ctx, &migration, done, Some(revision)).await?;
        }
        Err(why) => {
            conclude(&ctx, &migration, ("Failed", "StorageVersionMigrationFailed", &why), None).await?;
        }
    }
    Ok(Next::Rest)
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    metadata: ListMeta,
    items: Vec<Item>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ListMeta {
    resource_version: String,
    #[serde(rename = "continue")]
    next: String,
}

#[derive(Deserialize)]
struct Item {
    metadata: Meta,
}

/// Writes every object; the revision that was current when it began, or what the server says against one of them.
async fn write_all(ctx: &Ctx, resource: &Resource) -> write::Result<Result<String, String>> {
    let (mut next, mut revision) = (String::new(), None);
    loop {
        let next_page: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
        let path = format!("{}?limit={PAGE}&continue={next_page}", resource.path(None));
        let request = http::Request::get(path)
            .header(http::header::ACCEPT, METADATA)
            .body(Vec::new())
            .map_err(kube::Error::HttpError)?;
        let page: Page = match ctx.link().client().request(request).await {
            // The list is no longer known as it was: what changed since is in the present form.
            Err(error) if write::code(&error) == 410 && !next.is_empty() => {
                next.clear();
                continue;
            }
            page => page?,
        };
        let revision = revision.get_or_insert(page.metadata.resource_version);
        for Item { metadata } in &page.items {
            let place = Place::new(resource, metadata.namespace.as_deref(), &metadata.name);
            let body = json!({ "metadata": { "uid": &*metadata.uid, "resourceVersion": metadata.revision.to_string() } });
            match write::patch::<serde_json::Value>(ctx.link(), &place, Patch::Merge, &body).await {
                Ok(_) => {}
                Err(error) if write::is_conflict(&error) || write::is_not_found(&error) => {}
                Err(error) if (400..500).contains(&write::code(&error)) && write::code(&error) != 429 => {
                    return Ok(Err(write::words(&error)));
                }
                Err(error) => return Err(error),
            }
        }
        if page.metadata.next.is_empty() {
            return Ok(Ok(revision.clone()));
        }
        next = page.metadata.next;
    }
}

async fn conclude(
    ctx: &Ctx,
    migration: &StorageVersionMigration,
    (kind, reason, message): (&str, &str, &str),
    revision: Option<String>,
) -> write::Result<()> {
    let mut wanted = migration.clone();
    let status = wanted.status.get_or_insert_default();
    status.resource_version = revision.or(status.resource_version.take());
    let conditions = status.conditions.get_or_insert_default();
    conditions.retain(|condition| condition.type_ != kind);
    conditions.push(Condition {
        type_: kind.to_owned(),
        status: "True".to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: Time(ctx.clock_seconds()),
        observed_generation: migration.metadata.generation,
    });
    ctx.patch_status(migration, &wanted).await
}
