//! Why a pod fits nowhere, in upstream's words: how many nodes for each reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::plugin::Refusal;
use crate::snapshot::Node;

/// The verdict on a pod that no node can hold.
#[derive(Debug, Default)]
pub(crate) struct Unfit {
    nodes: usize,
    reasons: BTreeMap<String, usize>,
    preemption: BTreeMap<&'static str, usize>,
    never_preempts: bool,
    /// Who refused: events that do not help these do not help the pod.
    pub(crate) plugins: BTreeSet<&'static str>,
}

impl Unfit {
    pub(crate) fn new(nodes: usize, never_preempts: bool) -> Self {
        Self { nodes, never_preempts, ..Self::default() }
    }

    /// A node was refused; `priority` is the pod's.
    pub(crate) fn count(&mut self, plugin: &'static str, refusal: Refusal, node: &Node, priority: i32) {
        for reason in refusal.reasons {
            *self.reasons.entry(reason).or_default() += 1;
        }
        let lesser = || node.pods.values().any(|pod| pod.priority < priority);
        let preemption = match (refusal.resolvable, refusal.resolvable && lesser()) {
            (false, _) => "Preemption is not helpful for scheduling",
            (true, false) => "No preemption victims found for incoming pod",
            // Said plainly, since upstream would end those pods.
            (true, true) => "Pods of lower priority are not preempted by this scheduler",
        };
        *self.preemption.entry(preemption).or_default() += 1;
        self.plugins.insert(plugin);
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = self.nodes;
        if nodes == 0 {
            return write!(f, "no nodes available to schedule pods");
        }
        write!(f, "0/{nodes} nodes are available: {}.", listed(self.reasons.iter()))?;
        if self.never_preempts {
            return write!(f, " preemption: not eligible due to preemptionPolicy=Never.");
        }
        write!(f, " preemption: 0/{nodes} nodes are available: {}.", listed(self.preemption.iter()))
    }
}

/// `2 one reason, 3 another`, sorted as text.
fn listed<'a, T: fmt::Display + 'a>(counts: impl Iterator<Item = (T, &'a usize)>) -> String {
    let mut all: Vec<String> = counts.map(|(reason, count)| format!("{count} {reason}")).collect();
    all.sort();
    all.join(", ")
}
