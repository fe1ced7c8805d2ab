//! `pods/binding`: the scheduler's decision. A pod is bound once.

use std::sync::Arc;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Binding, Pod, PodCondition, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;
use skiff_api::{ApiError, Errors, Object, Resource};

use super::{Of, Sub};
use crate::admission::{self, StandIn};
use crate::api::Api;
use crate::authz::Authorized;
use crate::registry::Scope;
use crate::registry::update::{Part, Proposal, Update, update};
use crate::request::options::WriteOptions;
use crate::reviews::Review;
use crate::verbs::{Context, input, success};
use crate::wire::Response;

pub(super) static SUB: Sub = Sub {
    of: Of::Table("pods"),
    name: "binding",
    verbs: &["create"],
    kind: Some("Binding"),
    group_version: None,
    handle,
};

/// The old path, `POST .../bindings`: the pod's name stands in the body.
pub(crate) static BINDINGS: Review = Review {
    group: "",
    version: "v1",
    plural: "bindings",
    kind: "Binding",
    namespaced: true,
    handle: create,
};

fn create(api: Arc<Api>, call: Authorized) -> BoxFuture<'static, Result<Response, ApiError>> {
    Box::pin(async move {
        let entry = api.catalog.of::<Pod>().ok_or_else(ApiError::no_such_path)?;
        let target = call.info.target.clone().unwrap_or_default();
        bind(Context::new(&api, &entry, &target, &call), call).await
    })
}

fn handle(context: Context, call: Authorized) -> BoxFuture<'static, Result<Response, ApiError>> {
    Box::pin(bind(context, call))
}

async fn bind(mut context: Context, call: Authorized) -> Result<Response, ApiError> {
    let options = WriteOptions::parse(&call.info.query, "CreateOptions")?;
    let (parts, body) = call.request.into_parts();
    let json = input::json(&parts.headers, body).await?;
    let binding: Binding = input::typed("v1", "Binding", &json, options.strictness)?.object;
    let named = binding.metadata.name.clone().unwrap_or_default();
    if context.target.subresource.is_empty() {
        context.target.name = named;
    } else if !named.is_empty() && named != context.target.name {
        let path = &context.target.name;
        return Err(ApiError::bad_request(format!(
            "name in URL does not match name in Binding object: {path} != {named}"
        )));
    }
    check(&binding, &context.target.name)?;
    let review = StandIn {
        operation: "CREATE",
        kind: ("", "v1", "Binding"),
        object: serde_json::from_slice(&json).unwrap_or_default(),
        old: serde_json::Value::Null,
        dry_run: options.dry_run,
    };
    context.target.subresource = "binding".to_owned();
    admission::review(&context.scope(&call.user), review).await?;
    let now = Time(context.api.clock.now_seconds());
    let change = |current: Option<&Object>| {
        let current = current.ok_or_else(ApiError::no_such_path)?;
        let mut draft = context.entry.ops.thaw(current).map_err(ApiError::internal)?;
        draft.meta_mut().resource_version = None;
        if let Some(pod) = draft.as_any_mut().downcast_mut::<Pod>() {
            assign(pod, &binding, &now).map_err(|why| conflict(&context.target.name, why))?;
        }
        Ok(Proposal::quiet(draft))
    };
    let how = Update { part: Part::Internal, dry_run: options.dry_run, change: &change, upsert: false };
    // As upstream: nobody owns what the binding sets.
    update(&Scope { manager: None, ..context.scope(&call.user) }, &how).await?;
    Ok(success(201, json!({})))
}

fn check(binding: &Binding, name: &str) -> Result<(), ApiError> {
    let mut errors = Errors::new();
    let kind = binding.target.kind.as_deref().unwrap_or_default();
    if !matches!(kind, "" | "Node") {
        errors.not_supported("target.kind", kind, &["Node", "<empty>"]);
    }
    if binding.target.name.as_deref().unwrap_or_default().is_empty() {
        errors.required("target.name", "");
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid("", "Binding", name, errors)) }
}

fn conflict(name: &str, why: String) -> ApiError {
    let about = Resource {
        group: "".into(),
        version: "v1".into(),
        plural: "pods/binding".into(),
        kind: "Binding".into(),
        namespaced: true,
    };
    ApiError::conflict(&about, name, why)
}

fn assign(pod: &mut Pod, binding: &Binding, now: &Time) -> Result<(), String> {
    let name = pod.metadata.name.clone().unwrap_or_default();
    if pod.metadata.deletion_timestamp.is_some() {
        return Err(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    if let Some(uid) = binding.metadata.uid.as_ref().filter(|uid| Some(*uid) != pod.metadata.uid.as_ref()) {
        let own = pod.metadata.uid.clone().unwrap_or_default();
        return Err(format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {own}"));
    }
    let spec: &mut PodSpec = pod.spec.get_or_insert_default();
    if let Some(node) = spec.node_name.as_deref().filter(|node| !node.is_empty()) {
        return Err(format!("pod {name} is already assigned to node {node:?}"));
    }
    if spec.scheduling_gates.as_deref().is_some_and(|gates| !gates.is_empty()) {
        return Err(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    spec.node_name.clone_from(&binding.target.name);
    if let Some(annotations) = &binding.metadata.annotations {
        pod.metadata.annotations.get_or_insert_default().extend(annotations.clone());
    }
    let generation = pod.metadata.generation;
    let conditions = pod.status.get_or_insert_default().conditions.get_or_insert_default();
    conditions.retain(|condition| condition.type_ != "PodScheduled");
    conditions.push(PodCondition {
        type_: "PodScheduled".to_owned(),
        status: "True".to_owned(),
        last_transition_time: Some(now.clone()),
        observed_generation: generation,
        ..PodCondition::default()
    });
    Ok(())
}
