//! `pods/resize`: requests and limits of a pod's containers while it runs; all else that is sent is left aside.
//!
//! Follows upstream's `ValidatePodResize`: processors and memory only, nothing said may become unsaid, and the pod keeps
//! its class of service.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use skiff_api::pod::qos;
use skiff_api::quantity::Quantity;
use skiff_api::{ApiError, Errors};

use super::pod_part;
use super::{Of, Sub};
use crate::authz::Authorized;
use crate::kinds::core::pod::resources;
use crate::verbs::Context;
use crate::wire::Response;

pub(super) static SUB: Sub = Sub {
    of: Of::Table("pods"),
    name: "resize",
    verbs: &["get", "patch", "update"],
    kind: None,
    group_version: None,
    handle,
};

const NOT_MUTABLE: &str = "only cpu and memory resources are mutable";
const MIRROR: &str = "kubernetes.io/config.mirror";

fn handle(context: Context, call: Authorized) -> BoxFuture<'static, Result<Response, ApiError>> {
    Box::pin(pod_part::handle(context, call, take))
}

fn take(pod: &mut Pod, wanted: Pod, errors: &mut Errors) {
    if pod.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(MIRROR)) {
        errors.forbidden("", "static pods cannot be resized");
    }
    let spec = pod.spec.get_or_insert_default();
    let before = qos::of(spec);
    let wanted = wanted.spec.unwrap_or_default();
    errors.at("spec", |errors| {
        lists("containers", &mut spec.containers, &wanted.containers, errors);
        let none = Vec::new();
        let (mut own, new) = (spec.init_containers.take(), wanted.init_containers.as_ref().unwrap_or(&none));
        if let Some(own) = &mut own {
            lists("initContainers", own, new, errors);
        } else if !new.is_empty() {
            errors.forbidden("", NOT_MUTABLE);
        }
        spec.init_containers = own;
    });
    let after = qos::of(spec);
    if after != before {
        let why = "Pod QOS Class may not change as a result of resizing";
        errors.at("spec", |errors| errors.invalid("", after.as_str(), why));
    }
}

/// Containers are told by name and may neither come nor go.
fn lists(field: &str, old: &mut [Container], new: &[Container], errors: &mut Errors) {
    let names = |list: &[Container]| list.iter().map(|one| one.name.clone()).collect::<Vec<_>>();
    if names(old) != names(new) {
        errors.forbidden("", NOT_MUTABLE);
        return;
    }
    for (index, (old, new)) in old.iter_mut().zip(new).enumerate() {
        let (had, has) =
            (old.resources.clone().unwrap_or_default(), new.resources.clone().unwrap_or_default());
        if had == has {
            continue;
        }
        errors.item(field, index, |errors| {
            if field == "initContainers" && old.restart_policy.as_deref() != Some("Always") {
                errors.forbidden("resources", "resources for non-sidecar init containers are immutable");
            }
            errors.at("resources", |errors| judge(&had, &has, errors));
        });
        old.resources.clone_from(&new.resources);
    }
}

fn judge(had: &ResourceRequirements, has: &ResourceRequirements, errors: &mut Errors) {
    resources::validate(has, errors);
    let none = BTreeMap::new();
    let fields = [("limits", &had.limits, &has.limits), ("requests", &had.requests, &has.requests)];
    for (field, had, has) in fields {
        let (had, has) = (had.as_ref().unwrap_or(&none), has.as_ref().unwrap_or(&none));
        if had.keys().any(|name| !has.contains_key(name)) {
            errors.forbidden(field, format!("resource {field} cannot be removed"));
        }
        let others = |list: &BTreeMap<String, Text>| {
            let others = list.iter().filter(|(name, _)| !matches!(name.as_str(), "cpu" | "memory"));
            others.map(|(name, amount)| (name.clone(), Quantity::parse(&amount.0).ok())).collect::<Vec<_>>()
        };
        if others(had) != others(has) {
            errors.forbidden(field, NOT_MUTABLE);
        }
    }
    if had.claims != has.claims {
        errors.forbidden("claims", NOT_MUTABLE);
    }
}
