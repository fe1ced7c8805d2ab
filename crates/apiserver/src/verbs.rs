//! What a request does, once it may: find the kind, carry out the verb, word the answer.

use std::sync::Arc;

use http::Method;
use skiff_api::ApiError;

use crate::api::Api;
use crate::authz::Authorized;
use crate::catalog::Entry;
use crate::registry::Scope;
use crate::request::{Info, Target, Verb};
use crate::user::User;
use crate::wire::{self, Body, Response, refusal};
use crate::{aggregate, paths, resource_metrics, reviews, subresource};

pub(crate) mod collection;
pub(crate) mod get;
pub(crate) mod input;
pub(crate) mod list;
pub(crate) mod media;
pub(crate) mod patch;
pub(crate) mod select;
pub(crate) mod table;
pub(crate) mod watch;
pub(crate) mod write;

/// Answers an authorised request.
pub(crate) async fn serve(api: &Arc<Api>, call: Authorized) -> Response {
    if let Some(service) = api.aggregation.concerned(api, &call.info) {
        return Box::pin(aggregate::pass::pass(api, &service, call)).await;
    }
    let head = call.info.method == Method::HEAD;
    let outcome = match &call.info.target {
        Some(_) => Box::pin(resource(api, call)).await,
        None => paths::serve(api, call).await,
    };
    let mut response = outcome.unwrap_or_else(|error| refusal(&error));
    if head {
        *response.body_mut() = Body::empty();
    }
    response
}

async fn resource(api: &Arc<Api>, call: Authorized) -> Result<Response, ApiError> {
    let Some(target) = call.info.target.clone() else { return Err(ApiError::no_such_path()) };
    if let Some(review) = reviews::find(api.catalog.kinds().reviews(), &target) {
        if call.info.verb != Verb::Create {
            let message = "the server does not allow this method on the requested resource";
            return Err(ApiError::new(405, "MethodNotAllowed", message));
        }
        // What is answered and not kept has no table.
        media::negotiate_with(call.request.headers(), |form| !matches!(form, media::Form::Table(_)))?;
        return (review.handle)(Arc::clone(api), call).await;
    }
    if resource_metrics::is_ours(&target, call.info.verb) {
        return resource_metrics::serve(api, call).await;
    }
    let entry = api.catalog.find(&target).ok_or_else(ApiError::no_such_path)?;
    if !target.subresource.is_empty() {
        return subresource::serve(api, &entry, &target, call).await;
    }
    placed(&entry, &target, call.info.verb)?;
    let deprecation = entry.deprecation.clone().or_else(|| outdated(&entry));
    let context = Context::new(api, &entry, &target, &call);
    let mut response = verb(&context, call).await?;
    wire::warn(&mut response, deprecation.as_slice());
    Ok(response)
}

/// What clients of a built-in kind that is on its way out are told; upstream's `APILifecycleDeprecated`.
fn outdated(entry: &Entry) -> Option<String> {
    let text = match (&*entry.resource.group, &*entry.resource.plural) {
        ("", "endpoints") => "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
        ("", "componentstatuses") => "v1 ComponentStatus is deprecated in v1.19+",
        _ => return None,
    };
    Some(text.to_owned())
}

async fn verb(context: &Context, call: Authorized) -> Result<Response, ApiError> {
    match call.info.verb {
        Verb::Get => get::get(context, call).await,
        Verb::List => list::list(context, call).await,
        Verb::Watch => watch::watch(context, call).await,
        Verb::Create => write::create(context, call).await,
        Verb::Update => write::update(context, call).await,
        Verb::Patch => patch::patch(context, call).await,
        Verb::Delete => write::delete(context, call).await,
        Verb::DeleteCollection => collection::delete(context, call).await,
        Verb::Other => Err(ApiError::method_not_supported(&context.entry.resource, "")),
    }
}

/// The kind's scope and the path must agree.
fn placed(entry: &Entry, target: &Target, verb: Verb) -> Result<(), ApiError> {
    if !entry.verbs.contains(&verb.word()) {
        let message = "the server does not allow this method on the requested resource";
        return Err(ApiError::new(405, "MethodNotAllowed", message));
    }
    let here = !target.namespace.is_empty() && &*entry.table != "namespaces";
    if here && !entry.resource.namespaced {
        return Err(ApiError::no_such_path());
    }
    let everywhere = entry.resource.namespaced && !here;
    match verb {
        Verb::List | Verb::Watch => Ok(()),
        Verb::Create | Verb::DeleteCollection if everywhere => {
            let message = "the server does not allow this method on the requested resource";
            Err(ApiError::new(405, "MethodNotAllowed", message))
        }
        _ if everywhere => Err(ApiError::no_such_path()),
        Verb::Create if !target.name.is_empty() => {
            let message = "the server does not allow this method on the requested resource";
            Err(ApiError::new(405, "MethodNotAllowed", message))
        }
        Verb::Update | Verb::Patch if target.name.is_empty() => {
            let message = "the server does not allow this method on the requested resource";
            Err(ApiError::new(405, "MethodNotAllowed", message))
        }
        _ => Ok(()),
    }
}

/// What a verb works on.
pub(crate) struct Context {
    pub(crate) api: Arc<Api>,
    pub(crate) entry: Arc<Entry>,
    pub(crate) target: Target,
    /// Who owns the fields that a write sets.
    manager: String,
}

impl Context {
    /// The context of a call on `target`.
    pub(crate) fn new(api: &Arc<Api>, entry: &Arc<Entry>, target: &Target, call: &Authorized) -> Self {
        let manager = match call.info.verb {
            Verb::Create | Verb::Update | Verb::Patch => match call.info.query.get("fieldManager") {
                Some(manager) => manager.to_owned(),
                None => {
                    let agent = call.request.headers().get(http::header::USER_AGENT);
                    let agent = agent.and_then(|agent| agent.to_str().ok()).unwrap_or_default();
                    skiff_api::apply::manager_of_agent(agent)
                }
            },
            _ => String::new(),
        };
        Self { api: Arc::clone(api), entry: Arc::clone(entry), target: target.clone(), manager }
    }

    /// The registry's view of the call.
    pub(crate) fn scope<'a>(&'a self, user: &'a User) -> Scope<'a> {
        let namespace = if self.entry.resource.namespaced { self.target.namespace.as_str() } else { "" };
        Scope {
            api: &self.api,
            entry: &self.entry,
            user,
            namespace,
            name: &self.target.name,
            subresource: &self.target.subresource,
            manager: Some(&self.manager),
            legacy_name: false,
        }
    }

    /// An answer with one object.
    pub(crate) fn object(
        &self,
        info: &Info,
        form: &media::Form,
        code: u16,
        bytes: bytes::Bytes,
    ) -> Result<Response, ApiError> {
        media::object(form, &self.entry, info, code, bytes, self.api.clock.now())
    }
}

/// `Success` with what it was about.
pub(crate) fn success(code: u16, details: serde_json::Value) -> Response {
    let status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
    });
    wire::encoded(code, &status)
}
