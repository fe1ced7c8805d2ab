//! `pods/eviction`: a deletion that a disruption budget may refuse.
//!
//! The allowance is spent here, in one conditional write of the budget's status, before the pod is deleted: whoever
//! comes second finds it spent. The controller of budgets gives it back if the pod stays after all.

use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{Eviction, PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Preconditions, Time};
use serde_json::json;
use skiff_api::pod::conditions::{self, DISRUPTION_TARGET, Wanted};
use skiff_api::selector::LabelSelector;
use skiff_api::{ApiError, Object, pod};

use super::{Of, Sub};
use crate::admission::{self, StandIn};
use crate::api::Api;
use crate::authz::Authorized;
use crate::kinds::Draft;
use crate::registry::update::{Part, Proposal, Update, update};
use crate::registry::{self, Scope};
use crate::request::options::WriteOptions;
use crate::user::User;
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

/// Upstream still takes evictions of the old version, which clients from before 1.22 send.
const OLD: &str = "policy/v1beta1";

/// How many pods a budget may have under way at once.
const MOST_DISRUPTED: usize = 2000;

fn handle(context: Context, call: Authorized) -> BoxFuture<'static, Result<Response, ApiError>> {
    Box::pin(async move {
        let options = WriteOptions::parse(&call.info.query, "CreateOptions")?;
        let (parts, body) = call.request.into_parts();
        let mut json = input::json(&parts.headers, body).await?;
        let mut sent: serde_json::Value = serde_json::from_slice(&json).unwrap_or_default();
        if sent["apiVersion"] == OLD {
            sent["apiVersion"] = "policy/v1".into();
            json = sent.to_string().into_bytes().into();
        }
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
        let dry_run = delete.dry_run.as_ref().is_some_and(|list| !list.is_empty());
        let scope = context.scope(&call.user);
        let object = scope.existing().await?;
        let review = StandIn {
            operation: "CREATE",
            kind: ("policy", "v1", "Eviction"),
            object: sent,
            old: serde_json::Value::Null,
            dry_run,
        };
        admission::review(&scope, review).await?;
        if let Some(budget) = budget_of(&context.api, &object)? {
            spend(&context.api, &object, &budget, dry_run).await?;
            // The pod that was judged, not one that has taken its name since.
            let conditions = delete.preconditions.get_or_insert_with(Preconditions::default);
            conditions.uid.get_or_insert_with(|| object.meta().uid.to_string());
        }
        registry::delete::delete_as(&scope, &delete, &mark).await?;
        Ok(success(201, json!({})))
    })
}

/// Says on the pod why it goes: Jobs tell by that what is no failure of their own.
fn mark(draft: &mut dyn Draft, now: Timestamp) {
    if let Some(pod) = draft.as_any_mut().downcast_mut::<Pod>() {
        let (reason, message) = ("EvictionByEvictionAPI", "Eviction API: evicting");
        conditions::set(pod, Wanted { kind: DISRUPTION_TARGET, status: "True", reason, message }, now);
    }
}

/// The budget that has a say about a pod. Pods that do not run need none.
fn budget_of(api: &Api, object: &Object) -> Result<Option<Arc<PodDisruptionBudget>>, ApiError> {
    let held = object.decode::<Pod>().map_err(ApiError::internal)?;
    if matches!(pod::phase(&held), "Succeeded" | "Failed" | "Pending" | "")
        || held.metadata.deletion_timestamp.is_some()
    {
        return Ok(None);
    }
    let Some(entry) = &api.catalog.of::<PodDisruptionBudget>() else { return Ok(None) };
    let namespace = object.meta().namespace.clone();
    let budgets = api.store.snapshot(&entry.table).objects;
    let budgets = budgets.iter().filter(|(_, stored)| stored.object().meta().namespace == namespace);
    let mut covering = budgets.filter_map(|(_, stored)| {
        let budget = stored.object().decode::<PodDisruptionBudget>().ok()?;
        let selector = LabelSelector::of(budget.spec.as_ref()?.selector.as_ref()?).ok()?;
        selector.matches(&object.meta().labels).then_some(budget)
    });
    let Some(budget) = covering.next() else { return Ok(None) };
    if covering.next().is_some() {
        let why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
        return Err(ApiError::new(500, "InternalError", why));
    }
    let status = budget.status.clone().unwrap_or_default();
    if !pod::is_ready(&held) {
        let always = budget.spec.as_ref().and_then(|spec| spec.unhealthy_pod_eviction_policy.as_deref())
            == Some("AlwaysAllow");
        let enough = status.current_healthy >= status.desired_healthy && status.desired_healthy > Some(0);
        if always || enough {
            return Ok(None);
        }
    }
    Ok(Some(budget))
}

/// Takes one disruption from the budget.
async fn spend(api: &Api, pod: &Object, budget: &PodDisruptionBudget, dry_run: bool) -> Result<(), ApiError> {
    let Some(entry) = &api.catalog.of::<PodDisruptionBudget>() else { return Ok(()) };
    let user = User::server();
    let name = budget.metadata.name.clone().unwrap_or_default();
    let namespace = budget.metadata.namespace.clone().unwrap_or_default();
    let scope =
        Scope { namespace: &namespace, name: &name, subresource: "status", ..Scope::own(api, entry, &user) };
    let now = Time(api.clock.now_seconds());
    let change = |current: Option<&Object>| {
        let current = current.ok_or_else(ApiError::no_such_path)?;
        let held = current.decode::<PodDisruptionBudget>().map_err(ApiError::internal)?;
        let mut draft = entry.ops.thaw(current).map_err(ApiError::internal)?;
        let spent = spent(&held, &pod.meta().name, &now)?;
        if let Some(budget) = draft.as_any_mut().downcast_mut::<PodDisruptionBudget>() {
            budget.status = Some(spent);
        }
        Ok(Proposal::quiet(draft))
    };
    let how = Update { part: Part::Status, dry_run, change: &change, upsert: false };
    update(&scope, &how).await.map(|_| ())
}

/// The status with one disruption less.
fn spent(budget: &PodDisruptionBudget, pod: &str, now: &Time) -> Result<PodDisruptionBudgetStatus, ApiError> {
    let name = budget.metadata.name.as_deref().unwrap_or_default();
    let mut status = budget.status.clone().unwrap_or_default();
    let refused = |message: &str, cause: String| {
        ApiError::new(429, "TooManyRequests", message).cause("DisruptionBudget", cause, "")
    };
    if status.observed_generation.unwrap_or(0) < budget.metadata.generation.unwrap_or(0) {
        let cause = format!("The disruption budget {name} is still being processed by the server.");
        let message = "Cannot evict pod as it would violate the pod's disruption budget.";
        return Err(refused(message, cause).retry_after(10));
    }
    let allowed = status.disruptions_allowed.unwrap_or(0);
    let disrupted = status.disrupted_pods.get_or_insert_default();
    if disrupted.len() > MOST_DISRUPTED {
        return Err(ApiError::new(
            403,
            "Forbidden",
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        ));
    }
    if allowed <= 0 {
        let cause = format!(
            "The disruption budget {name} needs {} healthy pods and has {} currently",
            status.desired_healthy.unwrap_or(0),
            status.current_healthy.unwrap_or(0)
        );
        return Err(refused("Cannot evict pod as it would violate the pod's disruption budget.", cause));
    }
    disrupted.insert(pod.to_owned(), now.clone());
    status.disruptions_allowed = Some(allowed - 1);
    Ok(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_is_spent_once_and_then_the_words_are_upstreams() {
        let now = Time("2026-11-22T10:00:00Z".parse().unwrap());
        let mut budget: PodDisruptionBudget = serde_json::from_value(json!({"metadata": {"name": "b", "generation": 1},
            "status": {"observedGeneration": 1, "disruptionsAllowed": 1, "desiredHealthy": 2, "currentHealthy": 3}}))
        .unwrap();
        let status = spent(&budget, "a", &now).unwrap();
        assert_eq!(status.disruptions_allowed, Some(0));
        assert!(status.disrupted_pods.as_ref().unwrap().contains_key("a"));
        budget.status = Some(status);
        let refused = spent(&budget, "b", &now).unwrap_err();
        assert_eq!((refused.code(), refused.reason()), (429, "TooManyRequests"));
        let shown = serde_json::to_string(&refused.status).unwrap();
        assert!(
            shown.contains("The disruption budget b needs 2 healthy pods and has 3 currently"),
            "{shown}"
        );
        budget.metadata.generation = Some(2);
        assert_eq!(
            spent(&budget, "b", &now).unwrap_err().status.details.unwrap().retry_after_seconds,
            Some(10)
        );
    }
}
