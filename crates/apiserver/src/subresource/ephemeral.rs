//! `pods/ephemeralcontainers`: the only way to add a container to a pod that is there; none may change or go.

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{EphemeralContainer, Pod};
use serde_json::Value;
use skiff_api::{ApiError, Errors, Object};

use super::{Of, Sub};
use crate::authz::Authorized;
use crate::registry::update::{Part, Proposal, Update, update};
use crate::request::Verb;
use crate::request::options::WriteOptions;
use crate::verbs::patch::Patch;
use crate::verbs::{Context, get, input, media, write};
use crate::wire::Response;

pub(super) static SUB: Sub = Sub {
    of: Of::Table("pods"),
    name: "ephemeralcontainers",
    verbs: &["get", "patch", "update"],
    kind: None,
    group_version: None,
    handle,
};

/// What was sent: a pod, or a patch to make one.
enum Sent {
    Pod(Value),
    Patch(Patch),
}

fn handle(context: Context, call: Authorized) -> BoxFuture<'static, Result<Response, ApiError>> {
    Box::pin(async move {
        if call.info.verb == Verb::Get {
            return get::get(&context, call).await;
        }
        let options = WriteOptions::parse(&call.info.query, "UpdateOptions")?;
        let form = media::negotiate(call.request.headers())?;
        let (parts, body) = call.request.into_parts();
        let sent = if call.info.verb == Verb::Update {
            let json = input::json(&parts.headers, body).await?;
            Sent::Pod(
                serde_json::from_slice(&json).map_err(|error| ApiError::bad_request(error.to_string()))?,
            )
        } else {
            let media = input::media_type(&parts.headers).to_owned();
            Sent::Patch(Patch::read(&media, &input::read(&parts.headers, body).await?)?)
        };
        let change = |current: Option<&Object>| {
            let current = current.ok_or_else(ApiError::no_such_path)?;
            let new = match &sent {
                Sent::Pod(pod) => pod.clone(),
                Sent::Patch(patch) => {
                    let value = current.value().map_err(ApiError::internal)?;
                    patch.apply(&context.entry.ops.patch_schema(), value)?
                }
            };
            let json = serde_json::to_vec(&new).map_err(ApiError::internal)?;
            let proposal = input::decode(&context.entry, &json, options.strictness)?;
            let version = proposal.draft.meta().resource_version.clone();
            let wanted = proposal.draft.as_any().downcast_ref::<Pod>();
            let wanted = wanted.and_then(|pod| pod.spec.as_ref()?.ephemeral_containers.clone());
            let mut draft = context.entry.ops.thaw(current).map_err(ApiError::internal)?;
            draft.meta_mut().resource_version = version;
            if let Some(pod) = draft.as_any_mut().downcast_mut::<Pod>() {
                let spec = pod.spec.get_or_insert_default();
                check(&context.target.name, spec.ephemeral_containers.as_deref(), wanted.as_deref())?;
                spec.ephemeral_containers = wanted;
            }
            Ok(Proposal { draft, ..proposal })
        };
        let how = Update { part: Part::Internal, dry_run: options.dry_run, change: &change, upsert: false };
        let written = update(&context.scope(&call.user), &how).await?;
        write::answer(&context, &call.info, &form, written)
    })
}

fn check(
    name: &str,
    old: Option<&[EphemeralContainer]>,
    new: Option<&[EphemeralContainer]>,
) -> Result<(), ApiError> {
    let mut errors = Errors::new();
    let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
    errors.at("spec", |errors| {
        for was in old {
            match new.iter().find(|container| container.name == was.name) {
                Some(is) if is == was => {}
                Some(_) => {
                    let why = format!("existing ephemeral containers {:?} may not be changed\n", was.name);
                    errors.forbidden("ephemeralContainers", why);
                }
                None => {
                    let why = format!("existing ephemeral containers {:?} may not be removed\n", was.name);
                    errors.forbidden("ephemeralContainers", why);
                }
            }
        }
        for (index, container) in new.iter().enumerate() {
            errors.item("ephemeralContainers", index, |errors| {
                if container.name.is_empty() {
                    errors.required("name", "");
                }
                if container.image.as_deref().unwrap_or_default().is_empty() {
                    errors.required("image", "");
                }
            });
        }
    });
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid("", "Pod", name, errors)) }
}
