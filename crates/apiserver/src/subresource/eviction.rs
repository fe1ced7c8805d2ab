//! `pods/eviction`: a deletion that may be refused. Disruption budgets come with their kind.

use futures::future::BoxFuture;
use k8s_openapi::api::policy::v1::Eviction;
use serde_json::json;
use skiff_api::ApiError;

use super::{Of, Sub};
use crate::authz::Authorized;
use crate::registry;
use crate::request::options::WriteOptions;
use crate::verbs::{Context, input, success};
use crate::wire::Response;

pub(super) static SUB: Sub = Sub {
    of: Of::Table("pods"),
    name: "eviction",
    verbs: &["create"],
    kind: Some("Eviction"),
    group_version: Some(("policy", "v1")),
    handle,
};

fn handle(context: Context, call: Authorized) -> BoxFuture<'static, Result<Response, ApiError>> {
    Box::pin(async move {
        let options = WriteOptions::parse(&call.info.query, "CreateOptions")?;
        let (parts, body) = call.request.into_parts();
        let json = input::json(&parts.headers, body).await?;
        let eviction: Eviction = input::typed("policy/v1", "Eviction", &json, options.strictness)?.object;
        let named = eviction.metadata.name.as_deref().unwrap_or_default();
        let name = &context.target.name;
        if !named.is_empty() && named != name {
            return Err(ApiError::bad_request("name in URL does not match name in Eviction object"));
        }
        let mut delete = eviction.delete_options.unwrap_or_default();
        if options.dry_run {
            delete.dry_run = Some(vec!["All".to_owned()]);
        }
        registry::delete::delete(&context.scope(&call.user), &delete).await?;
        Ok(success(201, json!({})))
    })
}
