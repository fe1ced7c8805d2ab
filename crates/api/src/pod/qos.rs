//! A pod's quality of service: who is put to death first when memory runs short.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::requests;

/// The class, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Qos {
    /// Every container has limits of CPU and memory, and asks for no less.
    Guaranteed,
    /// Something is asked for or limited.
    Burstable,
    /// Nothing is.
    BestEffort,
}

impl Qos {
    /// As `status.qosClass` says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

/// The class of a pod: as its status says (it never changes), else as its spec says.
pub fn class(pod: &Pod) -> Qos {
    match pod.status.as_ref().and_then(|status| status.qos_class.as_deref()) {
        Some("Guaranteed") => Qos::Guaranteed,
        Some("Burstable") => Qos::Burstable,
        Some("BestEffort") => Qos::BestEffort,
        _ => pod.spec.as_ref().map_or(Qos::BestEffort, of),
    }
}

/// The class that a spec earns. Only CPU and memory count; requests left out equal the limits.
pub fn of(spec: &PodSpec) -> Qos {
    if let Some(whole) = &spec.resources
        && (!positive(whole.requests.as_ref()).is_empty() || !positive(whole.limits.as_ref()).is_empty())
    {
        return grade([whole].into_iter());
    }
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let empty = ResourceRequirements::default();
    let resources: Vec<&ResourceRequirements> =
        containers.map(|c: &Container| c.resources.as_ref().unwrap_or(&empty)).collect();
    grade(resources.into_iter())
}

fn grade<'a>(all: impl Iterator<Item = &'a ResourceRequirements>) -> Qos {
    let (mut anything, mut guaranteed) = (false, true);
    for resources in all {
        let limits = positive(resources.limits.as_ref());
        let requests = positive(resources.requests.as_ref());
        anything |= !limits.is_empty() || !requests.is_empty();
        guaranteed &=
            limits.len() == 2 && requests.iter().all(|(name, asked)| limits.get(name) == Some(asked));
    }
    match (anything, guaranteed) {
        (false, _) => Qos::BestEffort,
        (true, true) => Qos::Guaranteed,
        (true, false) => Qos::Burstable,
    }
}

/// CPU and memory in thousandths, where more than nothing.
fn positive(list: Option<&BTreeMap<String, Quantity>>) -> BTreeMap<&str, i64> {
    let counts = |name: &str| matches!(name, "cpu" | "memory");
    list.into_iter()
        .flatten()
        .map(|(name, quantity)| (name.as_str(), requests::milli(quantity)))
        .filter(|(name, milli)| counts(name) && *milli > 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn classes_as_upstream_gives_them() {
        let spec = |resources: Value| -> PodSpec {
            serde_json::from_value(json!({"containers": [{"name": "a", "resources": resources}]})).unwrap()
        };
        for (resources, expected) in [
            (json!({}), Qos::BestEffort),
            (json!({"requests": {"cpu": "0"}}), Qos::BestEffort),
            (json!({"requests": {"cpu": "1"}}), Qos::Burstable),
            (json!({"limits": {"cpu": "1", "memory": "1Gi"}}), Qos::Guaranteed),
            (
                json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}}),
                Qos::Guaranteed,
            ),
            (json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}), Qos::Burstable),
            (json!({"limits": {"memory": "1Gi"}}), Qos::Burstable),
            (json!({"limits": {"nvidia.com/gpu": "1"}}), Qos::BestEffort),
        ] {
            assert_eq!(of(&spec(resources.clone())), expected, "{resources}");
        }
    }
}
