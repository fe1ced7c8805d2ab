//! Nodes with taints that the pod does not tolerate are out; those it would rather avoid score less.

use std::hash::{Hash, Hasher};

use k8s_openapi::api::core::v1::Toleration;
use skiff_api::pod::tolerations::{NO_EXECUTE, NO_SCHEDULE, PREFER_NO_SCHEDULE, tolerates, untolerated};

use crate::event::Hope;
use crate::plugin::{Judge, Plugin, Refusal, Share, scale_reversed};
use crate::pod::Pending;
use crate::snapshot::{Node, Snapshot};

pub(crate) struct TaintToleration;

struct Tolerant<'a> {
    tolerations: &'a [Toleration],
    /// Whether there are nodes that ask to stay away.
    compares: bool,
}

impl Plugin for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn begin<'a>(&self, pod: &'a Pending, cluster: &'a Snapshot) -> Option<Box<dyn Judge + 'a>> {
        let tolerations = pod.spec().tolerations.as_deref().unwrap_or_default();
        Some(Box::new(Tolerant { tolerations, compares: cluster.avoided() > 0 }))
    }

    fn hope(&self, pod: &Pending, _: &Snapshot) -> Hope {
        let tolerations = pod.spec().tolerations.clone().unwrap_or_default();
        Hope::new(move |event| {
            event.makes_right(|node| {
                untolerated(&node.taints, &tolerations, &[NO_SCHEDULE, NO_EXECUTE]).is_none()
            })
        })
    }
}

impl Judge for Tolerant<'_> {
    fn share(&self, mut key: &mut dyn Hasher) -> Share {
        self.compares.hash(&mut key);
        for Toleration { key: name, operator, value, effect, toleration_seconds: _ } in self.tolerations {
            (name, operator, value, effect).hash(&mut key);
        }
        if self.compares { Share::Refusals } else { Share::Everything }
    }

    fn filter(&self, node: &Node) -> Result<(), Refusal> {
        match untolerated(&node.taints, self.tolerations, &[NO_SCHEDULE, NO_EXECUTE]) {
            None => Ok(()),
            Some(_) => Err(Refusal::unsuitable("node(s) had untolerated taint(s)")),
        }
    }

    fn prepare(&mut self, feasible: &[&Node]) -> bool {
        self.compares
            && feasible.iter().any(|node| node.taints.iter().any(|taint| taint.effect == PREFER_NO_SCHEDULE))
    }

    fn score(&self, node: &Node) -> i64 {
        let avoided = node.taints.iter().filter(|taint| taint.effect == PREFER_NO_SCHEDULE);
        let avoided =
            avoided.filter(|taint| !self.tolerations.iter().any(|toleration| tolerates(toleration, taint)));
        i64::try_from(avoided.count()).unwrap_or(i64::MAX)
    }

    fn normalise(&self, _: &[&Node], scores: &mut [i64]) {
        scale_reversed(scores);
    }
}
