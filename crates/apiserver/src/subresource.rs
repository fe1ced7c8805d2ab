//! What stands behind an object's name in a path: one table, one file a row.

use std::sync::Arc;

use futures::future::BoxFuture;
use skiff_api::ApiError;

use crate::api::Api;
use crate::authz::Authorized;
use crate::catalog::Entry;
use crate::request::Target;
use crate::verbs::Context;
use crate::wire::Response;

mod approval;
mod binding;
mod ephemeral;
mod eviction;
mod finalize;
mod pod_part;
mod resize;
mod scale;
mod status;
mod token;

pub(crate) use binding::BINDINGS;

/// Carries out a call on a subresource.
type Handler = fn(Context, Authorized) -> BoxFuture<'static, Result<Response, ApiError>>;

/// Whose a subresource is.
#[derive(Clone, Copy)]
pub(crate) enum Of {
    /// The kind's with this table, such as `pods`.
    Table(&'static str),
    /// That of every kind whose entry says so.
    Entries(fn(&Entry) -> bool),
}

/// One subresource.
pub(crate) struct Sub {
    /// Whose it is.
    pub(crate) of: Of,
    pub(crate) name: &'static str,
    /// Its verbs, as discovery lists them.
    pub(crate) verbs: &'static [&'static str],
    /// Its kind, where that is not the object's.
    pub(crate) kind: Option<&'static str>,
    /// The kind's group and version, where they are not the object's.
    pub(crate) group_version: Option<(&'static str, &'static str)>,
    pub(crate) handle: Handler,
}

/// Every subresource.
static ALL: &[&Sub] = &[
    &status::SUB,
    &approval::SUB,
    &finalize::SUB,
    &crate::stream::proxy::NODES,
    &crate::stream::pod::ATTACH,
    &binding::SUB,
    &ephemeral::SUB,
    &eviction::SUB,
    &crate::stream::pod::EXEC,
    &crate::stream::pod::LOG,
    &crate::stream::pod::PORT_FORWARD,
    &crate::stream::proxy::PODS,
    &resize::SUB,
    &scale::SUB,
    &crate::stream::proxy::SERVICES,
    &token::SUB,
];

/// The subresources of a kind.
pub(crate) fn of(entry: &Entry) -> impl Iterator<Item = &'static Sub> {
    ALL.iter().copied().filter(|sub| belongs(sub, entry))
}

fn belongs(sub: &Sub, entry: &Entry) -> bool {
    match sub.of {
        Of::Table(table) => table == &*entry.table,
        Of::Entries(has) => has(entry),
    }
}

/// Answers a call on a subresource.
pub(crate) async fn serve(
    api: &Arc<Api>,
    entry: &Arc<Entry>,
    target: &Target,
    call: Authorized,
) -> Result<Response, ApiError> {
    let sub = of(entry).find(|sub| sub.name == target.subresource).ok_or_else(ApiError::no_such_path)?;
    let proxied = sub.verbs.len() > 4;
    if !proxied && !sub.verbs.contains(&call.info.verb.word()) {
        let message = "the server does not allow this method on the requested resource";
        return Err(ApiError::new(405, "MethodNotAllowed", message));
    }
    let here = entry.resource.namespaced;
    if here && target.namespace.is_empty() {
        return Err(ApiError::no_such_path());
    }
    let context = Context::new(api, entry, target, &call);
    (sub.handle)(context, call).await
}
