//! `namespaces/finalize`: the namespace controller says that nothing is left; the only way to change `spec.finalizers`.

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Namespace;
use skiff_api::{ApiError, Object};

use super::{Of, Sub};
use crate::authz::Authorized;
use crate::registry::update::{Part, Proposal, Update, update};
use crate::request::options::WriteOptions;
use crate::verbs::{Context, input, media, write};
use crate::wire::Response;

pub(super) static SUB: Sub = Sub {
    of: Of::Table("namespaces"),
    name: "finalize",
    verbs: &["update"],
    kind: None,
    group_version: None,
    handle,
};

fn handle(context: Context, call: Authorized) -> BoxFuture<'static, Result<Response, ApiError>> {
    Box::pin(async move {
        let options = WriteOptions::parse(&call.info.query, "UpdateOptions")?;
        let form = media::negotiate(call.request.headers())?;
        let (parts, body) = call.request.into_parts();
        let json = input::json(&parts.headers, body).await?;
        let sent = input::decode(&context.entry, &json, options.strictness)?.draft;
        let wanted = sent.as_any().downcast_ref::<Namespace>();
        let finalizers = wanted.and_then(|namespace| namespace.spec.as_ref()?.finalizers.clone());
        let change = |current: Option<&Object>| {
            let current = current.ok_or_else(ApiError::no_such_path)?;
            let mut draft = context.entry.ops.thaw(current).map_err(ApiError::internal)?;
            let version = sent.meta().resource_version.clone().filter(|version| !version.is_empty());
            draft.meta_mut().resource_version = version;
            if let Some(namespace) = draft.as_any_mut().downcast_mut::<Namespace>() {
                namespace.spec.get_or_insert_default().finalizers.clone_from(&finalizers);
            }
            Ok(Proposal::quiet(draft))
        };
        let how = Update { part: Part::Internal, dry_run: options.dry_run, change: &change, upsert: false };
        let written = update(&context.scope(&call.user), &how).await?;
        write::answer(&context, &call.info, &form, written)
    })
}
