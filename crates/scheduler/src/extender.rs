//! Programs beside the scheduler that have a say: which nodes can hold a pod, which suit it, who makes room, who binds it.
//!
//! Follows upstream's `pkg/scheduler/extender.go`. An extender is asked over HTTP, so a pod in which one is interested takes its
//! turn in steps (`run/extended.rs`); for all other pods there are none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod};
use serde_json::Value;
use skiff_api::Object;

use crate::pod::PodInfo;
use crate::preemption::Plan;

mod client;
mod wire;

pub(crate) use client::Client;
use wire::{Candidates, raw};

/// How upstream calls all of them together where a plugin's name is asked for.
pub(crate) const NAME: &str = "Extender";
/// An extender's scores reach up to ten, a plugin's up to a hundred.
const SCALE: i64 = 10;

/// One program, and what it is asked.
pub(crate) struct Extender {
    pub(crate) client: Client,
    pub(crate) filter: Option<String>,
    pub(crate) prioritize: Option<String>,
    pub(crate) preempt: Option<String>,
    pub(crate) bind: Option<String>,
    pub(crate) weight: i64,
    /// Whether it knows nodes and pods by itself, so that names are enough.
    pub(crate) knows_nodes: bool,
    /// The resources that it looks after; if there are none, it is interested in all pods.
    pub(crate) managed: BTreeSet<String>,
    /// Whether pods are scheduled without it when it cannot answer.
    pub(crate) ignorable: bool,
}

/// A node that may hold the pod.
#[derive(Clone)]
pub(crate) struct Candidate {
    pub(crate) name: Arc<str>,
    pub(crate) object: Option<Arc<Object>>,
}

/// What an extender says of the candidates.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Filtered {
    /// Those that are left.
    pub(crate) left: BTreeSet<String>,
    /// Why the others are not, where fewer pods may help.
    pub(crate) failed: BTreeMap<String, String>,
    /// And where they do not.
    pub(crate) unresolvable: BTreeMap<String, String>,
}

impl Extender {
    /// Whether it is asked before a pod has its node.
    pub(crate) fn has_a_say(&self) -> bool {
        self.filter.is_some() || self.prioritize.is_some() || self.preempt.is_some()
    }

    /// Whether the pod asks for something that the extender looks after.
    pub(crate) fn is_interested(&self, pod: &Pod) -> bool {
        if self.managed.is_empty() {
            return true;
        }
        let Some(spec) = &pod.spec else { return false };
        let asks = |container: &Container| {
            let Some(resources) = &container.resources else { return false };
            let names = resources.requests.iter().chain(&resources.limits).flat_map(BTreeMap::keys);
            names.into_iter().any(|name| self.managed.contains(name))
        };
        spec.containers.iter().chain(spec.init_containers.iter().flatten()).any(asks)
    }

    /// Which of the candidates can hold the pod.
    ///
    /// # Errors
    /// Why it does not say.
    pub(crate) async fn filter(&self, pod: &Object, candidates: &[Candidate]) -> Result<Filtered, String> {
        let Some(verb) = &self.filter else {
            let left = candidates.iter().map(|it| it.name.to_string()).collect();
            return Ok(Filtered { left, ..Filtered::default() });
        };
        let body = wire::ask(raw(pod)?, &Candidates::new(candidates, self.knows_nodes)?)?;
        let answer = self.client.post(verb, body).await?;
        let mut filtered = wire::filtered(&answer, self.knows_nodes)?;
        let known = |name: &String| candidates.iter().any(|it| *it.name == **name);
        if let Some(name) = filtered.left.iter().find(|name| !known(name)) {
            let url = self.client.url();
            return Err(format!(
                "extender {url:?} claims a filtered node {name:?} which is not found in the input node list"
            ));
        }
        let named: Vec<String> = filtered.unresolvable.keys().cloned().collect();
        named.iter().for_each(|name| drop(filtered.failed.remove(name)));
        Ok(filtered)
    }

    /// How well the candidates suit, as far as it says.
    ///
    /// # Errors
    /// Why it does not say.
    pub(crate) async fn prioritize(
        &self,
        pod: &Object,
        candidates: &[Candidate],
    ) -> Result<BTreeMap<String, i64>, String> {
        let Some(verb) = &self.prioritize else { return Ok(BTreeMap::new()) };
        let body = wire::ask(raw(pod)?, &Candidates::new(candidates, self.knows_nodes)?)?;
        let scores = wire::scores(&self.client.post(verb, body).await?)?;
        let weigh = |score: i64| score.saturating_mul(self.weight).saturating_mul(SCALE);
        Ok(scores.into_iter().map(|(node, score)| (node, weigh(score))).collect())
    }

    /// Which of the plans would help, and with which victims; `on` finds a pod of a node by its uid.
    ///
    /// # Errors
    /// Why it does not say, or what is wrong with what it says.
    pub(crate) async fn preempt(
        &self,
        pod: &Object,
        plans: Vec<Plan>,
        on: impl Fn(&str, &str) -> Option<Arc<PodInfo>>,
    ) -> Result<Vec<Plan>, String> {
        let Some(verb) = &self.preempt else { return Ok(plans) };
        let body = wire::victims(raw(pod)?, &plans, self.knows_nodes)?;
        let answer = self.client.post(verb, body).await?;
        let mut chosen = Vec::new();
        for (node, victims) in wire::chosen(&answer)? {
            if victims.uids.is_empty() {
                if self.ignorable {
                    continue;
                }
                return Err(format!("expected at least one victim pod on node {node:?}"));
            }
            let Some(plan) = plans.iter().find(|plan| *plan.node == *node) else {
                return Err(format!("nodeinfo not found for node name {node:?}"));
            };
            let mut pods = Vec::new();
            for uid in &victims.uids {
                let Some(pod) = on(&node, uid) else {
                    let url = self.client.url();
                    return Err(format!(
                        "extender: {url} claims to preempt pod (UID: {uid}) on node: {node}, but the pod is not found on that node"
                    ));
                };
                pods.push(pod);
            }
            let node = Arc::clone(&plan.node);
            chosen.push(Plan { node, victims: pods, violations: victims.violations });
        }
        Ok(chosen)
    }

    /// Has the extender bind the pod; nothing if that is not for it.
    ///
    /// # Errors
    /// What it says, or why it does not.
    pub(crate) async fn bind(&self, pod: &Pod, node: &str) -> Option<Result<(), String>> {
        let verb = self.bind.as_ref()?;
        let meta = &pod.metadata;
        let body = serde_json::json!({
            "PodName": meta.name, "PodNamespace": meta.namespace, "PodUID": meta.uid, "Node": node,
        });
        let answer = self.client.post(verb, body.to_string().into_bytes()).await;
        Some(answer.and_then(|answer: Value| wire::fault(&answer)))
    }
}

#[cfg(test)]
mod tests;
