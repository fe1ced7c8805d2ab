//! What a pod's containers ask for, or may use, all together, as quantities in the style they were written in.
//!
//! `requests` counts in plain numbers for the scheduler's inner loop; quotas and limit ranges show their sums to people,
//! so these keep names and style. Follows upstream's `k8s.io/component-helpers/resource/helpers.go`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use super::is_sidecar;
use crate::quantity::Quantity;

/// Amounts by resource name.
pub type Totals = BTreeMap<String, Quantity>;

/// Which side of a container's resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `resources.requests`.
    Requests,
    /// `resources.limits`.
    Limits,
}

impl Side {
    /// That side of some resources.
    pub fn of(self, resources: Option<&ResourceRequirements>) -> Option<&BTreeMap<String, Text>> {
        resources.and_then(|resources| match self {
            Self::Requests => resources.requests.as_ref(),
            Self::Limits => resources.limits.as_ref(),
        })
    }
}

/// A resource list parsed; what is malformed counts as nothing, since validation refuses it elsewhere.
pub fn parsed(list: Option<&BTreeMap<String, Text>>) -> Totals {
    let parse = |(name, text): (&String, &Text)| Some((name.clone(), Quantity::parse(&text.0).ok()?));
    list.into_iter().flatten().filter_map(parse).collect()
}

/// The greatest sum there is at any moment of the pod's life, without overhead; pod-level resources win.
pub fn of_containers(spec: &PodSpec, side: Side) -> Totals {
    let own = |container: &Container| parsed(side.of(container.resources.as_ref()));
    let mut together = Totals::new();
    for container in &spec.containers {
        add(&mut together, own(container));
    }
    let (mut sidecars, mut peak) = (Totals::new(), Totals::new());
    for container in spec.init_containers.iter().flatten() {
        let mut moment = own(container);
        if is_sidecar(container) {
            add(&mut sidecars, moment);
            moment = sidecars.clone();
        } else {
            add(&mut moment, sidecars.clone());
        }
        raise(&mut peak, moment);
    }
    add(&mut together, sidecars);
    raise(&mut together, peak);
    together.extend(parsed(side.of(spec.resources.as_ref())));
    together
}

/// The same with the overhead of the pod's runtime; it raises only those limits that there are.
pub fn of_pod(spec: &PodSpec, side: Side) -> Totals {
    let mut totals = of_containers(spec, side);
    for (name, more) in parsed(spec.overhead.as_ref()) {
        match (side, totals.get_mut(&name)) {
            (_, Some(amount)) => *amount += more,
            (Side::Requests, None) => {
                totals.insert(name, more);
            }
            (Side::Limits, None) => {}
        }
    }
    totals
}

fn add(to: &mut Totals, more: Totals) {
    for (name, amount) in more {
        *to.entry(name).or_default() += amount;
    }
}

fn raise(to: &mut Totals, other: Totals) {
    for (name, amount) in other {
        let held = to.entry(name).or_insert(amount);
        *held = amount.max(*held);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_greatest_moment_counts_in_the_style_it_was_written() {
        let resources = |cpu: &str, memory: &str| json!({"requests": {"cpu": cpu, "memory": memory}});
        let spec: PodSpec = serde_json::from_value(json!({
            "containers": [{"name": "a", "resources": resources("100m", "1Gi")}],
            "initContainers": [
                {"name": "s", "restartPolicy": "Always", "resources": resources("50m", "1Mi")},
                {"name": "i", "resources": resources("2", "1Mi")},
            ],
            "overhead": {"cpu": "10m"},
        }))
        .unwrap();
        let shown = |totals: Totals| {
            totals.iter().map(|(name, amount)| format!("{name}={amount}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(shown(of_containers(&spec, Side::Requests)), "cpu=2050m memory=1025Mi");
        assert_eq!(shown(of_pod(&spec, Side::Requests)), "cpu=2060m memory=1025Mi");
        assert_eq!(shown(of_pod(&spec, Side::Limits)), "");
    }
}
