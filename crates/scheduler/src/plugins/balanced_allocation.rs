//! Nodes on which resources (CPU and memory, unless the profile says otherwise) would be used up alike suit better.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use skiff_api::Errors;

use crate::config;
use crate::plugin::{BEST, Judge, Plugin, Share};
use crate::pod::{Pending, PodInfo};
use crate::snapshot::{Node, Snapshot};

pub(crate) struct BalancedAllocation(Arc<Vec<Box<str>>>);

#[derive(Default, Deserialize)]
#[serde(default)]
struct Args {
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    name: Box<str>,
    weight: Option<i64>,
}

struct Balance<'a> {
    pod: &'a PodInfo,
    resources: Arc<Vec<Box<str>>>,
}

impl Default for BalancedAllocation {
    fn default() -> Self {
        Self(Arc::new(vec!["cpu".into(), "memory".into()]))
    }
}

/// The plugin as a profile wants it.
pub(crate) fn configured(args: &Value, errors: &mut Errors) -> Arc<dyn Plugin> {
    let args: Args = config::args(args, errors);
    let mut names: Vec<Box<str>> = Vec::new();
    for (index, resource) in args.resources.into_iter().enumerate() {
        errors.item("resources", index, |errors| {
            if names.contains(&resource.name) {
                errors.duplicate("name", &*resource.name);
            }
            if resource.weight.is_some_and(|weight| weight != 1) {
                errors.invalid("weight", &resource.weight, "must be 1");
            }
        });
        names.push(resource.name);
    }
    Arc::new(if names.is_empty() {
        BalancedAllocation::default()
    } else {
        BalancedAllocation(Arc::new(names))
    })
}

impl Plugin for BalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }

    /// A pod that asks for nothing changes no balance.
    fn begin<'a>(&self, pod: &'a Pending, _: &'a Snapshot) -> Option<Box<dyn Judge + 'a>> {
        if self.0.iter().all(|name| pod.info.requests.get(name) == 0) {
            return None;
        }
        Some(Box::new(Balance { pod: &pod.info, resources: Arc::clone(&self.0) }))
    }
}

impl Judge for Balance<'_> {
    fn share(&self, mut key: &mut dyn Hasher) -> Share {
        for (name, amount) in self.pod.requests.iter() {
            (name, amount).hash(&mut key);
        }
        Share::Everything
    }

    fn prepare(&mut self, _: &[&Node]) -> bool {
        true
    }

    /// How much better the balance is with the pod than without, on the upper half of the scale: nodes that are well
    /// balanced as they are do not draw pods that would spoil it.
    fn score(&self, node: &Node) -> i64 {
        let with = self.balance(node, |name| node.requested.get(name) + self.pod.requests.get(name));
        let without = self.balance(node, |name| node.requested.get(name));
        BEST / 2 + (BEST / 2 + with - without) / 2
    }
}

impl Balance<'_> {
    /// How equal the used shares of the resources are.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "shares between 0 and 1"
    )]
    fn balance(&self, node: &Node, used: impl Fn(&str) -> i64) -> i64 {
        let share = |name: &str| {
            let whole = node.allocatable.get(name);
            (whole > 0).then(|| (used(name) as f64 / whole as f64).min(1.0))
        };
        let shares = || self.resources.iter().filter_map(|name| share(name));
        let count = shares().count();
        let deviation = if count == 2 {
            // Half the distance of the two: the same as below, but exact.
            let (low, high) = shares().fold((1.0_f64, 0.0_f64), |(low, high), s| (low.min(s), high.max(s)));
            (high - low) / 2.0
        } else if count > 2 {
            let mean = shares().sum::<f64>() / count as f64;
            (shares().map(|share| (share - mean).powi(2)).sum::<f64>() / count as f64).sqrt()
        } else {
            0.0
        };
        ((1.0 - deviation) * BEST as f64) as i64
    }
}
