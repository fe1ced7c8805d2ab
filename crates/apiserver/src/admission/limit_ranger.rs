//! LimitRanger: containers get their namespace's defaults, and nobody asks for more or less than its limit ranges allow.
//!
//! Follows upstream's `plugin/pkg/admission/limitranger/admission.go`, word for word in what it tells. All ranges of the
//! namespace apply, by name; a range's faults are told together.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    Container, LimitRange, LimitRangeItem, PersistentVolumeClaim, Pod, PodSpec,
};
use skiff_api::ApiError;
use skiff_api::pod::totals::{Side, Totals, of_containers, parsed};
use skiff_api::quantity::Quantity;

use super::{Attempt, Operation, Plugin};
use crate::kinds::Draft;

pub(super) const PLUGIN: Plugin = Plugin { mutate, validate, ..Plugin::named("LimitRanger") };

/// Says in a pod what was set.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

fn ranges(attempt: &Attempt<'_>) -> Vec<Arc<LimitRange>> {
    let snapshot = attempt.scope.api.store.snapshot("limitranges");
    let prefix = format!("{}/", attempt.scope.namespace);
    let decoded = snapshot.beginning(&prefix).filter_map(|(_, stored)| stored.object().decode().ok());
    decoded.collect()
}

fn items(range: &LimitRange) -> impl Iterator<Item = &LimitRangeItem> {
    range.spec.iter().flat_map(|spec| &spec.limits)
}

fn mutate(attempt: &mut Attempt<'_>, draft: &mut dyn Draft) -> Result<(), ApiError> {
    if !attempt.creates() {
        return Ok(());
    }
    let Some(pod) = draft.as_any_mut().downcast_mut::<Pod>() else { return Ok(()) };
    for range in ranges(attempt) {
        let set = fill(pod, &range);
        if !set.is_empty() {
            let told = format!("LimitRanger plugin set: {}", set.join("; "));
            pod.metadata.annotations.get_or_insert_default().insert(ANNOTATION.to_owned(), told);
        }
    }
    Ok(())
}

/// Sets what containers leave out; what was set, for people.
fn fill(pod: &mut Pod, range: &LimitRange) -> Vec<String> {
    let mut set = Vec::new();
    let Some(spec) = &mut pod.spec else { return set };
    let containers = spec.containers.iter_mut().map(|container| ("container", container));
    let init = spec.init_containers.iter_mut().flatten().map(|container| ("init container", container));
    for (word, container) in containers.chain(init) {
        let (mut requests, mut limits) = (Vec::new(), Vec::new());
        for item in items(range).filter(|item| item.type_ == "Container") {
            for (defaults, side, told) in [
                (&item.default, Side::Limits, &mut limits),
                (&item.default_request, Side::Requests, &mut requests),
            ] {
                for (name, amount) in defaults.iter().flatten() {
                    let resources = container.resources.get_or_insert_default();
                    let slot = match side {
                        Side::Limits => resources.limits.get_or_insert_default(),
                        Side::Requests => resources.requests.get_or_insert_default(),
                    };
                    if !slot.contains_key(name) {
                        slot.insert(name.clone(), amount.clone());
                        told.push(name.clone());
                    }
                }
            }
        }
        for (side, mut names) in [("request", requests), ("limit", limits)] {
            if !names.is_empty() {
                names.sort_unstable();
                set.push(format!("{} {side} for {word} {}", names.join(", "), container.name));
            }
        }
    }
    set
}

fn validate(attempt: &mut Attempt<'_>, draft: &dyn Draft) -> Result<(), ApiError> {
    let leaving = attempt.old.is_some_and(|old| old.meta().deletion_timestamp.is_some());
    if leaving || !attempt.scope.subresource.is_empty() {
        return Ok(());
    }
    let name = draft.meta().name.as_deref().unwrap_or_default();
    if let Some(pod) = draft.as_any().downcast_ref::<Pod>() {
        let spec = pod.spec.as_ref().filter(|_| attempt.operation == Operation::Create);
        return spec.map_or(Ok(()), |spec| judge(attempt, name, |range| pod_faults(range, spec)));
    }
    if let Some(claim) = draft.as_any().downcast_ref::<PersistentVolumeClaim>() {
        let old = attempt.old.and_then(|old| old.as_any().downcast_ref());
        return judge(attempt, name, |range| claim_faults(range, claim, old));
    }
    Ok(())
}

/// Refuses what a range finds fault with.
fn judge(
    attempt: &Attempt<'_>,
    name: &str,
    faults: impl Fn(&LimitRange) -> Vec<String>,
) -> Result<(), ApiError> {
    for range in ranges(attempt) {
        let mut faults = faults(&range);
        faults.dedup();
        match faults.as_slice() {
            [] => {}
            [one] => return Err(attempt.forbidden(name, one)),
            many => return Err(attempt.forbidden(name, format!("[{}]", many.join(", ")))),
        }
    }
    Ok(())
}

fn pod_faults(range: &LimitRange, spec: &PodSpec) -> Vec<String> {
    let mut faults = Vec::new();
    for item in items(range) {
        match item.type_.as_str() {
            "Container" => {
                for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
                    let of = |side: Side| own(container, side);
                    bounds(item, &of(Side::Requests), &of(Side::Limits), &mut faults);
                }
            }
            "Pod" => {
                let of = |side| of_containers(spec, side);
                bounds(item, &of(Side::Requests), &of(Side::Limits), &mut faults);
            }
            _ => {}
        }
    }
    faults
}

fn own(container: &Container, side: Side) -> Totals {
    parsed(side.of(container.resources.as_ref()))
}

/// Whether requests and limits keep within an item's bounds.
fn bounds(item: &LimitRangeItem, requests: &Totals, limits: &Totals, faults: &mut Vec<String>) {
    let what = &item.type_;
    for (name, least) in parsed(item.min.as_ref()) {
        let head = format!("minimum {name} usage per {what} is {least}");
        match (requests.get(&name), limits.get(&name)) {
            (None, _) => faults.push(format!("{head}.  No request is specified")),
            (Some(request), _) if *request < least => {
                faults.push(format!("{head}, but request is {request}"))
            }
            (_, Some(limit)) if *limit < least => faults.push(format!("{head}, but limit is {limit}")),
            _ => {}
        }
    }
    for (name, most) in parsed(item.max.as_ref()) {
        let head = format!("maximum {name} usage per {what} is {most}");
        match (requests.get(&name), limits.get(&name)) {
            (_, None) => faults.push(format!("{head}.  No limit is specified")),
            (_, Some(limit)) if *limit > most => faults.push(format!("{head}, but limit is {limit}")),
            (Some(request), _) if *request > most => faults.push(format!("{head}, but request is {request}")),
            _ => {}
        }
    }
    for (name, ratio) in parsed(item.max_limit_request_ratio.as_ref()) {
        let head = format!("{name} max limit to request ratio per {what} is {ratio}");
        let more_than_none = |list: &Totals| list.get(&name).copied().filter(|amount| !amount.is_zero());
        match (more_than_none(requests), more_than_none(limits)) {
            (None, _) => faults.push(format!("{head}, but no request is specified or request is 0")),
            (_, None) => faults.push(format!("{head}, but no limit is specified or limit is 0")),
            (Some(request), Some(limit)) => {
                let found = limit.as_float() / request.as_float();
                if found > ratio.as_float() {
                    faults.push(format!("{head}, but provided ratio is {found:.6}"));
                }
            }
        }
    }
}

/// Whether a claim's request keeps within bounds; one that an update leaves as it was is not judged again.
fn claim_faults(
    range: &LimitRange,
    claim: &PersistentVolumeClaim,
    old: Option<&PersistentVolumeClaim>,
) -> Vec<String> {
    let requests = |claim: &PersistentVolumeClaim| -> Totals {
        let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
        parsed(resources.and_then(|resources| resources.requests.as_ref()))
    };
    let (new, old) = (requests(claim), old.map(requests).unwrap_or_default());
    let mut faults = Vec::new();
    for item in items(range).filter(|item| item.type_ == "PersistentVolumeClaim") {
        let what = &item.type_;
        let mut bound =
            |head: &str, name: &str, bound: Quantity, breaks: fn(&Quantity, &Quantity) -> bool| {
                let head = format!("{head} {name} usage per {what} is {bound}");
                match (new.get(name), old.get(name)) {
                    (None, _) => faults.push(format!("{head}.  No request is specified")),
                    (Some(request), before) if before != Some(request) && breaks(request, &bound) => {
                        faults.push(format!("{head}, but request is {request}"));
                    }
                    _ => {}
                }
            };
        for (name, least) in parsed(item.min.as_ref()) {
            bound("minimum", &name, least, |request, least| request < least);
        }
        for (name, most) in parsed(item.max.as_ref()) {
            bound("maximum", &name, most, |request, most| request > most);
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{created, given};

    fn range(limit: &str) -> LimitRange {
        created(&format!("{{metadata: {{name: a}}, spec: {{limits: [{limit}]}}}}"))
    }

    #[test]
    fn defaults_are_set_and_told() {
        let range = range("{type: Container, default: {cpu: '1', memory: 1Gi}, defaultRequest: {cpu: 500m}}");
        let mut pod: Pod = given(
            "{metadata: {name: a}, spec: {containers: [{name: c, resources: {limits: {memory: 2Gi}}}], initContainers: [{name: i}]}}",
        );
        assert_eq!(
            fill(&mut pod, &range),
            [
                "cpu, memory request for container c",
                "cpu limit for container c",
                "cpu, memory request for init container i",
                "cpu, memory limit for init container i"
            ]
        );
        let resources = pod.spec.unwrap().containers[0].resources.clone().unwrap();
        assert_eq!(resources.limits.unwrap()["memory"].0, "2Gi");
        assert_eq!(resources.requests.unwrap()["cpu"].0, "500m");
    }

    #[test]
    fn bounds_are_told_in_upstreams_words() {
        for (limit, resources, expected) in [
            (
                "{type: Container, max: {memory: 1Gi}}",
                "{limits: {memory: 1536Mi}, requests: {memory: 1Gi}}",
                "maximum memory usage per Container is 1Gi, but limit is 1536Mi",
            ),
            ("{type: Pod, max: {cpu: '1'}}", "{}", "maximum cpu usage per Pod is 1.  No limit is specified"),
            (
                "{type: Container, min: {cpu: 100m}}",
                "{requests: {cpu: 50m}}",
                "minimum cpu usage per Container is 100m, but request is 50m",
            ),
            (
                "{type: Container, maxLimitRequestRatio: {cpu: '2'}}",
                "{requests: {cpu: 1}, limits: {cpu: 5}}",
                "cpu max limit to request ratio per Container is 2, but provided ratio is 5.000000",
            ),
            ("{type: Pod, min: {cpu: '1'}, max: {cpu: '2'}}", "{requests: {cpu: 2}, limits: {cpu: 2}}", ""),
        ] {
            let spec = format!("{{containers: [{{name: c, resources: {resources}}}]}}");
            let pod: Pod = given(&format!("{{metadata: {{name: a}}, spec: {spec}}}"));
            assert_eq!(pod_faults(&range(limit), &pod.spec.unwrap()).join(", "), expected);
        }
    }

    #[test]
    fn a_claim_is_judged_by_what_it_asks_anew() {
        let range = range("{type: PersistentVolumeClaim, min: {storage: 1Gi}, max: {storage: 2Gi}}");
        let claim = |size: &str| -> PersistentVolumeClaim {
            given(&format!(
                "{{metadata: {{name: a}}, spec: {{resources: {{requests: {{storage: {size}}}}}}}}}"
            ))
        };
        assert_eq!(
            claim_faults(&range, &claim("3Gi"), None),
            ["maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi"]
        );
        assert!(claim_faults(&range, &claim("3Gi"), Some(&claim("3Gi"))).is_empty());
    }
}
