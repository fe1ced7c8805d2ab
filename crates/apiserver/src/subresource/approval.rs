//! `approval`: whether a certificate signing request may be signed; touches nothing else.

use futures::future::BoxFuture;
use skiff_api::ApiError;

use super::{Of, Sub};
use crate::authz::Authorized;
use crate::registry::update::Part;
use crate::request::Verb;
use crate::verbs::{Context, get, patch, write};
use crate::wire::Response;

pub(super) static SUB: Sub = Sub {
    of: Of::Table("certificates.k8s.io/certificatesigningrequests"),
    name: "approval",
    verbs: &["get", "patch", "update"],
    kind: None,
    group_version: None,
    handle,
};

fn handle(context: Context, call: Authorized) -> BoxFuture<'static, Result<Response, ApiError>> {
    Box::pin(async move {
        match call.info.verb {
            Verb::Get => get::get(&context, call).await,
            Verb::Update => write::replace(&context, call, Part::Approval).await,
            _ => patch::patch_part(&context, call, Part::Approval).await,
        }
    })
}
