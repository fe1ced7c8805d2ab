//! What a pod and its containers may use: requests and limits turned into the kernel's numbers.

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use skiff_api::pod::qos::{Qos, class};
pub(crate) use skiff_api::pod::requests::milli;

use crate::runtime::Resources;

const PERIOD: i64 = 100_000;
const LEAST_QUOTA: i64 = 1000;
const LEAST_SHARES: i64 = 2;
const MOST_SHARES: i64 = 262_144;

fn get<'a>(container: &'a Container, limits: bool, name: &str) -> Option<&'a Quantity> {
    let ResourceRequirements { limits: most, requests: least, .. } = container.resources.as_ref()?;
    let list = if limits { most } else { least };
    list.as_ref()?.get(name)
}

/// A container's request in thousandths; a limit without a request is one.
pub(crate) fn request(container: &Container, name: &str) -> i64 {
    get(container, false, name).or_else(|| get(container, true, name)).map_or(0, milli)
}

/// A container's limit in thousandths.
pub(crate) fn limit(container: &Container, name: &str) -> Option<i64> {
    get(container, true, name).map(milli).filter(|limit| *limit > 0)
}

/// CPU time in the kernel's relative weight.
pub(crate) fn shares(milli_cpu: i64) -> i64 {
    if milli_cpu == 0 { LEAST_SHARES } else { (milli_cpu * 1024 / 1000).clamp(LEAST_SHARES, MOST_SHARES) }
}

/// CPU time in microseconds per period.
pub(crate) fn quota(milli_cpu: i64) -> i64 {
    (milli_cpu * PERIOD / 1000).max(LEAST_QUOTA)
}

/// The larger of two, where nothing said is no limit.
pub(crate) fn larger(one: &Resources, other: &Resources) -> Resources {
    let limit = |a: i64, b: i64| if a == 0 || b == 0 { 0 } else { a.max(b) };
    let cpu_quota = limit(one.cpu_quota, other.cpu_quota);
    Resources {
        cpu_shares: one.cpu_shares.max(other.cpu_shares),
        cpu_period: if cpu_quota == 0 { 0 } else { PERIOD },
        cpu_quota,
        memory_limit: limit(one.memory_limit, other.memory_limit),
        oom_score_adj: 0,
    }
}

/// One container's share of the machine. `memory` is the machine's, in bytes.
pub(crate) fn of_container(pod: &Pod, container: &Container, memory: u64) -> Resources {
    let cpu_limit = limit(container, "cpu");
    Resources {
        cpu_shares: shares(request(container, "cpu")),
        cpu_period: if cpu_limit.is_some() { PERIOD } else { 0 },
        cpu_quota: cpu_limit.map_or(0, quota),
        memory_limit: limit(container, "memory").map_or(0, |milli| milli / 1000),
        oom_score_adj: oom_score_adj(pod, container, memory),
    }
}

/// Who dies first when memory is short: as upstream, best-effort first, those within their request last.
fn oom_score_adj(pod: &Pod, container: &Container, memory: u64) -> i64 {
    let priority = pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0);
    if priority >= 2_000_000_000 {
        return -997;
    }
    match class(pod) {
        Qos::Guaranteed => -997,
        Qos::BestEffort => 1000,
        Qos::Burstable => {
            let memory = i64::try_from(memory).unwrap_or(i64::MAX).max(1);
            let request = request(container, "memory") / 1000;
            (1000 - request.saturating_mul(1000) / memory).clamp(3, 999)
        }
    }
}

/// What the whole pod may use; a limit holds only if every container has one.
pub(crate) fn of_pod(pod: &Pod) -> Resources {
    let Some(spec) = &pod.spec else { return Resources::default() };
    let mut all = Resources::default();
    let cpu: i64 = spec.containers.iter().map(|container| request(container, "cpu")).sum();
    all.cpu_shares = shares(cpu);
    let sum = |name: &str| -> Option<i64> { spec.containers.iter().map(|one| limit(one, name)).sum() };
    // An init container may ask for more than all main ones together.
    let peak = |name: &str, mains: i64| -> Option<i64> {
        let mut init = spec.init_containers.iter().flatten().map(|one| limit(one, name));
        init.try_fold(mains, |most, one| Some(most.max(one?)))
    };
    if let Some(cpu) = sum("cpu").and_then(|mains| peak("cpu", mains)) {
        all.cpu_period = PERIOD;
        all.cpu_quota = quota(cpu);
    }
    if let Some(memory) = sum("memory").and_then(|mains| peak("memory", mains)) {
        all.memory_limit = memory / 1000;
    }
    all
}
