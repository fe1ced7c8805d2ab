//! What an object counts as; pure. Follows upstream's evaluators (`pkg/quota/v1/evaluator/core`).
//!
//! A quota names resources; each belongs to one table of the store: `requests.cpu` to pods, `services.nodeports` to
//! services, `count/widgets.example.com` to whatever kind that is, be it there or not.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    Container, PersistentVolumeClaim, Pod, PodSpec, ResourceRequirements, Service,
};
use skiff_api::pod::totals::{Side, Totals, of_pod, parsed};
use skiff_api::quantity::Quantity;
use skiff_api::{Object, pod};

use super::scope::Traits;
use crate::kinds::amounts;

const PODS: &str = "pods";
const SERVICES: &str = "services";
const CLAIMS: &str = "persistentvolumeclaims";
/// Kinds with a name of their own in quotas, besides `count/KIND`.
const PLAIN: &[&str] = &["configmaps", "secrets", "replicationcontrollers", "resourcequotas"];
const CLASS: &str = ".storageclass.storage.k8s.io/";
const COMPUTE: &[&str] = &["cpu", "memory", "ephemeral-storage"];

/// What one object adds, and what scopes see of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Counted {
    pub(super) usage: Totals,
    pub(super) traits: Traits,
}

/// Whether a write to this table may change usage.
pub(super) fn is_counted(table: &str, subresource: &str, updates: bool) -> bool {
    match table {
        PODS => subresource == if updates { "resize" } else { "" },
        SERVICES => subresource.is_empty(),
        CLAIMS => matches!(subresource, "" | "status"),
        _ => !updates && subresource.is_empty(),
    }
}

/// The table whose objects a resource of a quota counts.
pub(super) fn table_of(resource: &str) -> Option<Arc<str>> {
    if let Some(counted) = resource.strip_prefix("count/") {
        let table = match counted.split_once('.') {
            Some((plural, group)) => format!("{group}/{plural}"),
            None => counted.to_owned(),
        };
        return Some(table.into());
    }
    let claims = ["persistentvolumeclaims", "requests.storage"];
    let by_class = resource.split_once(CLASS).map_or(resource, |(_, resource)| resource);
    if claims.contains(&by_class) {
        return Some(CLAIMS.into());
    }
    match resource {
        "services" | "services.nodeports" | "services.loadbalancers" => Some(SERVICES.into()),
        plain if PLAIN.contains(&plain) => Some(plain.into()),
        "pods" => Some(PODS.into()),
        other => {
            let compute =
                other.strip_prefix("requests.").or_else(|| other.strip_prefix("limits.")).unwrap_or(other);
            let extended = other.starts_with("requests.") && !amounts::is_native(other);
            let counts = COMPUTE.contains(&compute) || compute.starts_with("hugepages-") || extended;
            counts.then(|| PODS.into())
        }
    }
}

/// What a stored object counts as; nothing if it does not fit its type.
pub(super) fn of_stored(table: &str, object: &Object) -> Option<Counted> {
    match table {
        PODS => object.decode::<Pod>().ok().map(|pod| of_typed(table, &*pod)),
        SERVICES => object.decode::<Service>().ok().map(|service| of_typed(table, &*service)),
        CLAIMS => object.decode::<PersistentVolumeClaim>().ok().map(|claim| of_typed(table, &*claim)),
        _ => Some(of_typed(table, &())),
    }
}

/// What a typed object counts as; of other kinds only that it is there.
pub(super) fn of_typed(table: &str, object: &dyn Any) -> Counted {
    let mut counted = if let Some(pod) = object.downcast_ref::<Pod>() {
        of(pod)
    } else if let Some(service) = object.downcast_ref::<Service>() {
        Counted { usage: of_service(service), traits: Traits::default() }
    } else if let Some(claim) = object.downcast_ref::<PersistentVolumeClaim>() {
        of_claim(claim)
    } else {
        Counted::default()
    };
    let one = Quantity::units(1);
    counted.usage.insert(count_of(table), one);
    if PLAIN.contains(&table) {
        counted.usage.insert(table.to_owned(), one);
    }
    counted
}

/// `count/pods`, `count/jobs.batch`.
fn count_of(table: &str) -> String {
    match table.split_once('/') {
        Some((group, plural)) => format!("count/{plural}.{group}"),
        None => format!("count/{table}"),
    }
}

fn of(pod: &Pod) -> Counted {
    let Some(spec) = &pod.spec else { return Counted::default() };
    // What has ended uses nothing any more; it is still an object.
    let usage = if pod::is_finished(pod) {
        Totals::new()
    } else {
        compute(&of_pod(spec, Side::Requests), &of_pod(spec, Side::Limits))
    };
    Counted { usage, traits: Traits::of_pod(pod, spec) }
}

/// Compute resources under the names that quotas know them by.
fn compute(requests: &Totals, limits: &Totals) -> Totals {
    let mut usage = Totals::from([("pods".to_owned(), Quantity::units(1))]);
    for (name, amount) in requests {
        let plain = COMPUTE.contains(&name.as_str()) || name.starts_with("hugepages-");
        if plain {
            usage.insert(name.clone(), *amount);
        }
        if plain || amounts::is_extended(name) {
            usage.insert(format!("requests.{name}"), *amount);
        }
    }
    for (name, amount) in limits.iter().filter(|(name, _)| COMPUTE.contains(&name.as_str())) {
        usage.insert(format!("limits.{name}"), *amount);
    }
    usage
}

/// What containers must say because a quota counts it: `limits.cpu for: a,b; requests.memory for: a`. Upstream's own
/// regret: only CPU and memory are so.
pub(super) fn unsaid<'a>(object: &dyn Any, restricted: impl Iterator<Item = &'a String>) -> Option<String> {
    let spec: &PodSpec = object.downcast_ref::<Pod>()?.spec.as_ref()?;
    let said = |resources: Option<&ResourceRequirements>| {
        compute(&parsed(Side::Requests.of(resources)), &parsed(Side::Limits.of(resources)))
    };
    let whole = said(spec.resources.as_ref());
    let needed = |name: &&String| {
        let plain = name.strip_prefix("requests.").or_else(|| name.strip_prefix("limits.")).unwrap_or(name);
        matches!(plain, "cpu" | "memory") && !whole.contains_key(*name)
    };
    let needed: BTreeSet<&String> = restricted.filter(needed).collect();
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
        let Container { name, resources, .. } = container;
        let said = said(resources.as_ref());
        for resource in needed.iter().filter(|resource| !said.contains_key(**resource)) {
            missing.entry(resource).or_default().insert(name);
        }
    }
    let told = |(resource, containers): (&&str, &BTreeSet<&str>)| {
        let containers: Vec<&str> = containers.iter().copied().collect();
        format!("{resource} for: {}", containers.join(","))
    };
    (!missing.is_empty()).then(|| missing.iter().map(told).collect::<Vec<_>>().join("; "))
}

fn of_service(service: &Service) -> Totals {
    let spec = service.spec.clone().unwrap_or_default();
    let ports = spec.ports.unwrap_or_default();
    let explicit = || ports.iter().filter(|port| port.node_port.is_some_and(|port| port != 0)).count();
    let (node_ports, balancers) = match spec.type_.as_deref() {
        Some("NodePort") => (ports.len(), 0),
        Some("LoadBalancer") if spec.allocate_load_balancer_node_ports == Some(false) => (explicit(), 1),
        Some("LoadBalancer") => (ports.len(), 1),
        _ => (0, 0),
    };
    let count = |count: usize| Quantity::units(i64::try_from(count).unwrap_or(i64::MAX));
    Totals::from([
        ("services".to_owned(), Quantity::units(1)),
        ("services.nodeports".to_owned(), count(node_ports)),
        ("services.loadbalancers".to_owned(), count(balancers)),
    ])
}

fn of_claim(claim: &PersistentVolumeClaim) -> Counted {
    let spec = claim.spec.clone().unwrap_or_default();
    let mut usage = Totals::from([("persistentvolumeclaims".to_owned(), Quantity::units(1))]);
    let requests = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    if let Some(asked) = parsed(requests).remove("storage") {
        let status = claim.status.as_ref();
        let given = parsed(status.and_then(|status| status.allocated_resources.as_ref())).remove("storage");
        let most = given.map_or(asked, |given| given.max(asked));
        // Whole bytes, since that is what quotas hold.
        let most = if most.is_fractional() { Quantity::units(most.value()) } else { most };
        usage.insert("requests.storage".to_owned(), most);
    }
    let annotated = claim.metadata.annotations.as_ref();
    let annotated = annotated.and_then(|all| all.get("volume.beta.kubernetes.io/storage-class"));
    if let Some(class) = annotated.or(spec.storage_class_name.as_ref()).filter(|class| !class.is_empty()) {
        let by_class: Vec<(String, Quantity)> =
            usage.iter().map(|(name, amount)| (format!("{class}{CLASS}{name}"), *amount)).collect();
        usage.extend(by_class);
    }
    Counted { usage, traits: Traits::of_claim(claim) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::given;

    fn shown(counted: &Counted) -> String {
        let shown = counted.usage.iter().filter(|(_, amount)| !amount.is_zero());
        shown.map(|(name, amount)| format!("{name}={amount}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_kind_counts_as_upstream_has_it() {
        let pod: Pod = given(
            "{spec: {containers: [{name: a, resources: {requests: {cpu: 100m, x.io/gpu: 1, hugepages-2Mi: 4Mi}, limits: {memory: 1Gi}}}]}}",
        );
        assert_eq!(
            shown(&of_typed("pods", &pod)),
            "count/pods=1 cpu=100m hugepages-2Mi=4Mi limits.memory=1Gi pods=1 requests.cpu=100m requests.hugepages-2Mi=4Mi requests.x.io/gpu=1"
        );
        let done: Pod = given("{spec: {containers: [{name: a}]}, status: {phase: Succeeded}}");
        assert_eq!(shown(&of_typed("pods", &done)), "count/pods=1");
        let service: Service = given("{spec: {type: LoadBalancer, ports: [{port: 80}, {port: 81}]}}");
        assert_eq!(
            shown(&of_typed("services", &service)),
            "count/services=1 services=1 services.loadbalancers=1 services.nodeports=2"
        );
        let claim: PersistentVolumeClaim =
            given("{spec: {storageClassName: gold, resources: {requests: {storage: 1Gi}}}}");
        assert_eq!(
            shown(&of_typed("persistentvolumeclaims", &claim)),
            "count/persistentvolumeclaims=1 gold.storageclass.storage.k8s.io/persistentvolumeclaims=1 \
             gold.storageclass.storage.k8s.io/requests.storage=1Gi persistentvolumeclaims=1 requests.storage=1Gi"
        );
        assert_eq!(shown(&of_typed("secrets", &())), "count/secrets=1 secrets=1");
        assert_eq!(shown(&of_typed("example.com/widgets", &())), "count/widgets.example.com=1");
    }

    #[test]
    fn every_resource_belongs_to_a_table() {
        for (resource, table) in [
            ("pods", Some("pods")),
            ("limits.memory", Some("pods")),
            ("requests.nvidia.com/gpu", Some("pods")),
            ("requests.storage", Some("persistentvolumeclaims")),
            ("gold.storageclass.storage.k8s.io/requests.storage", Some("persistentvolumeclaims")),
            ("count/jobs.batch", Some("batch/jobs")),
            ("count/pods", Some("pods")),
            ("configmaps", Some("configmaps")),
            ("example.com/thing", None),
        ] {
            assert_eq!(table_of(resource).as_deref(), table, "{resource}");
        }
    }

    #[test]
    fn containers_must_say_what_quotas_count() {
        let pod: Pod = given("{spec: {containers: [{name: b}, {name: a, resources: {limits: {cpu: 1}}}]}}");
        let restricted = ["limits.cpu".to_owned(), "memory".to_owned(), "pods".to_owned()];
        assert_eq!(unsaid(&pod, restricted.iter()).unwrap(), "limits.cpu for: b; memory for: a,b");
    }
}
