//! What a pod asks of its node.
//!
//! Containers run together, init containers one after the other, and init containers that restart (sidecars) beside all
//! that come after them: the pod needs the greatest sum there is at any moment, plus its overhead.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::is_sidecar;

/// What a container that asks for nothing is taken to need when nodes are compared: a tenth of a CPU.
pub const UNASKED_CPU: i64 = 100;
/// And 200 MiB.
pub const UNASKED_MEMORY: i64 = 200 * 1024 * 1024;

/// Amounts of resources: CPU in thousandths, all others in whole units.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Thousandths of a CPU.
    pub cpu: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes of `ephemeral-storage`.
    pub storage: i64,
    /// All others by name: huge pages, devices.
    pub others: BTreeMap<Box<str>, i64>,
}

impl Amounts {
    /// The amounts of a resource list.
    pub fn of(list: &BTreeMap<String, Quantity>) -> Self {
        let mut amounts = Self::default();
        for (name, quantity) in list {
            *amounts.slot(name) = if name == "cpu" { milli(quantity) } else { whole(quantity) };
        }
        amounts
    }

    /// One amount by the resource's name.
    pub fn get(&self, name: &str) -> i64 {
        match name {
            "cpu" => self.cpu,
            "memory" => self.memory,
            "ephemeral-storage" => self.storage,
            other => self.others.get(other).copied().unwrap_or(0),
        }
    }

    /// True if all are zero.
    pub fn is_zero(&self) -> bool {
        self.iter().all(|(_, amount)| amount == 0)
    }

    /// All amounts with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        let named = [("cpu", self.cpu), ("memory", self.memory), ("ephemeral-storage", self.storage)];
        named.into_iter().chain(self.others.iter().map(|(name, amount)| (&**name, *amount)))
    }

    /// Adds `other`.
    pub fn add(&mut self, other: &Self) {
        self.combine(other, i64::saturating_add);
    }

    /// Takes `other` away.
    pub fn subtract(&mut self, other: &Self) {
        self.combine(other, i64::saturating_sub);
        self.others.retain(|_, amount| *amount != 0);
    }

    /// Raises each amount to `other`'s.
    pub fn raise(&mut self, other: &Self) {
        self.combine(other, i64::max);
    }

    fn combine(&mut self, other: &Self, with: fn(i64, i64) -> i64) {
        for (name, amount) in other.iter().filter(|(_, amount)| *amount != 0) {
            let slot = self.slot(name);
            *slot = with(*slot, amount);
        }
    }

    fn slot(&mut self, name: &str) -> &mut i64 {
        match name {
            "cpu" => &mut self.cpu,
            "memory" => &mut self.memory,
            "ephemeral-storage" => &mut self.storage,
            other => self.others.entry(other.into()).or_insert(0),
        }
    }
}

/// What the pod asks for.
pub fn of(spec: &PodSpec) -> Amounts {
    total(spec, |container| {
        let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        requests.map(Amounts::of).unwrap_or_default()
    })
}

/// What the pod is taken to need when nodes are compared: containers that ask for no CPU or memory count a little.
pub fn of_at_least(spec: &PodSpec) -> Amounts {
    total(spec, |container| {
        let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        let mut amounts = requests.map(Amounts::of).unwrap_or_default();
        let asked = |name: &str| requests.is_some_and(|requests| requests.contains_key(name));
        if !asked("cpu") {
            amounts.cpu = UNASKED_CPU;
        }
        if !asked("memory") {
            amounts.memory = UNASKED_MEMORY;
        }
        amounts
    })
}

/// The greatest the pod may use; resources that some container does not limit are left out.
pub fn limits(spec: &PodSpec) -> Amounts {
    let limits_of = |container: &Container| {
        let limits = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
        limits.map(Amounts::of).unwrap_or_default()
    };
    let mut amounts = total(spec, limits_of);
    for (name, slot) in [("cpu", &mut amounts.cpu), ("memory", &mut amounts.memory)] {
        if spec.containers.iter().any(|container| limits_of(container).get(name) == 0) {
            *slot = 0;
        }
    }
    amounts
}

fn total(spec: &PodSpec, of: impl Fn(&Container) -> Amounts) -> Amounts {
    let mut together = Amounts::default();
    for container in &spec.containers {
        together.add(&of(container));
    }
    let (mut sidecars, mut peak) = (Amounts::default(), Amounts::default());
    for container in spec.init_containers.iter().flatten() {
        let mut moment = of(container);
        if is_sidecar(container) {
            sidecars.add(&moment);
            moment = sidecars.clone();
        } else {
            moment.add(&sidecars);
        }
        peak.raise(&moment);
    }
    together.add(&sidecars);
    together.raise(&peak);
    // Requests of the pod as a whole stand above those of its containers.
    let whole = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    for (name, quantity) in whole.into_iter().flatten() {
        *together.slot(name) = if name == "cpu" { milli(quantity) } else { self::whole(quantity) };
    }
    if let Some(overhead) = &spec.overhead {
        together.add(&Amounts::of(overhead));
    }
    together
}

/// A quantity in thousandths, rounded up; zero if it is malformed.
pub fn milli(quantity: &Quantity) -> i64 {
    crate::quantity::Quantity::parse(&quantity.0).map_or(0, |quantity| quantity.milli_value())
}

/// A quantity in whole units, rounded up; zero if it is malformed.
pub fn whole(quantity: &Quantity) -> i64 {
    crate::quantity::Quantity::parse(&quantity.0).map_or(0, |quantity| quantity.value())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn asks(cpu: &str) -> Value {
        json!({"name": "c", "resources": {"requests": {"cpu": cpu}}})
    }

    fn cpu(spec: Value) -> i64 {
        of(&serde_json::from_value(spec).unwrap()).cpu
    }

    #[test]
    fn the_greatest_moment_counts() {
        assert_eq!(cpu(json!({"containers": [asks("1"), asks("500m")]})), 1500);
        assert_eq!(cpu(json!({"containers": [asks("1")], "initContainers": [asks("2"), asks("3")]})), 3000);
        let mut sidecar = asks("1");
        sidecar["restartPolicy"] = json!("Always");
        let init = json!([asks("3"), sidecar, asks("2500m")]);
        assert_eq!(cpu(json!({"containers": [asks("1")], "initContainers": init})), 3500);
        assert_eq!(cpu(json!({"containers": [asks("1")], "overhead": {"cpu": "250m"}})), 1250);
    }

    #[test]
    fn containers_that_ask_for_nothing_count_a_little_in_comparisons() {
        let spec: PodSpec =
            serde_json::from_value(json!({"containers": [{"name": "a"}, asks("1")]})).unwrap();
        let amounts = of_at_least(&spec);
        assert_eq!((amounts.cpu, amounts.memory), (1100, 2 * UNASKED_MEMORY));
        assert!(of(&PodSpec::default()).is_zero());
    }
}
