//! Questions and answers as `k8s.io/kube-scheduler/extender/v1` has them.
//!
//! Its fields have the names of Go's own, and are read whatever their case, as Go does: extenders are written in many
//! languages.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use skiff_api::Object;

use super::{Candidate, Filtered};
use crate::preemption::Plan;

/// An object as it stands.
pub(super) fn raw(object: &Object) -> Result<&RawValue, String> {
    serde_json::from_slice(object.bytes()).map_err(|error| error.to_string())
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Ask<'a> {
    pod: &'a RawValue,
    nodes: Option<NodeList<'a>>,
    node_names: Option<Vec<&'a str>>,
}

#[derive(Serialize)]
struct NodeList<'a> {
    metadata: Map<String, Value>,
    items: Vec<&'a RawValue>,
}

/// The nodes, or their names for an extender that knows them.
pub(super) enum Candidates<'a> {
    Nodes(Vec<&'a RawValue>),
    Names(Vec<&'a str>),
}

impl<'a> Candidates<'a> {
    pub(super) fn new(candidates: &'a [Candidate], by_name: bool) -> Result<Self, String> {
        if by_name {
            return Ok(Self::Names(candidates.iter().map(|it| &*it.name).collect()));
        }
        let nodes = candidates.iter().filter_map(|it| it.object.as_deref()).map(raw);
        Ok(Self::Nodes(nodes.collect::<Result<_, _>>()?))
    }
}

/// `ExtenderArgs`.
pub(super) fn ask(pod: &RawValue, candidates: &Candidates<'_>) -> Result<Vec<u8>, String> {
    let ask = match candidates {
        Candidates::Nodes(nodes) => {
            let list = NodeList { metadata: Map::new(), items: nodes.clone() };
            Ask { pod, nodes: Some(list), node_names: None }
        }
        Candidates::Names(names) => Ask { pod, nodes: None, node_names: Some(names.clone()) },
    };
    serde_json::to_vec(&ask).map_err(|error| error.to_string())
}

/// A field of an answer, whatever its case.
fn field<'a>(answer: &'a Value, name: &str) -> Option<&'a Value> {
    let fields = answer.as_object()?;
    let exact = fields.get(name);
    let like = || fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    exact.or_else(like).filter(|value| !value.is_null())
}

/// What the answer says went wrong, if it does.
pub(super) fn fault(answer: &Value) -> Result<(), String> {
    match field(answer, "Error").and_then(Value::as_str).unwrap_or_default() {
        "" => Ok(()),
        why => Err(why.to_owned()),
    }
}

/// `ExtenderFilterResult`.
pub(super) fn filtered(answer: &Value, by_name: bool) -> Result<Filtered, String> {
    fault(answer)?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned();
    let names = list(field(answer, "NodeNames")).filter(|_| by_name);
    let left: BTreeSet<String> = match names {
        Some(names) => names.iter().filter_map(text).collect(),
        None => {
            let items =
                list(field(answer, "Nodes").and_then(|nodes| field(nodes, "items"))).unwrap_or_default();
            let name =
                |node: &Value| field(node, "metadata").and_then(|meta| field(meta, "name")).and_then(text);
            items.iter().filter_map(name).collect()
        }
    };
    let reasons = |name: &str| -> BTreeMap<String, String> {
        let reasons = field(answer, name).and_then(Value::as_object).into_iter().flatten();
        reasons.map(|(node, why)| (node.clone(), text(why).unwrap_or_default())).collect()
    };
    Ok(Filtered { left, failed: reasons("FailedNodes"), unresolvable: reasons("FailedAndUnresolvableNodes") })
}

/// `HostPriorityList`.
pub(super) fn scores(answer: &Value) -> Result<Vec<(String, i64)>, String> {
    let none = || "a list of scores was expected".to_owned();
    let list = if answer.is_null() { return Ok(Vec::new()) } else { answer.as_array().ok_or_else(none)? };
    let score = |each: &Value| {
        let host = field(each, "Host").and_then(Value::as_str)?.to_owned();
        Some((host, field(each, "Score").and_then(Value::as_i64).unwrap_or(0)))
    };
    Ok(list.iter().filter_map(score).collect())
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PreemptAsk<'a> {
    pod: &'a RawValue,
    node_name_to_victims: Option<BTreeMap<&'a str, Victims<'a>>>,
    node_name_to_meta_victims: Option<BTreeMap<&'a str, MetaVictims<'a>>>,
}

#[derive(Serialize)]
struct Victims<'a> {
    #[serde(rename = "Pods")]
    pods: Vec<&'a RawValue>,
    #[serde(rename = "NumPDBViolations")]
    violations: usize,
}

#[derive(Serialize)]
struct MetaVictims<'a> {
    #[serde(rename = "Pods")]
    pods: Vec<MetaPod<'a>>,
    #[serde(rename = "NumPDBViolations")]
    violations: usize,
}

#[derive(Serialize)]
struct MetaPod<'a> {
    #[serde(rename = "UID")]
    uid: &'a str,
}

/// `ExtenderPreemptionArgs`.
pub(super) fn victims(pod: &RawValue, plans: &[Plan], by_name: bool) -> Result<Vec<u8>, String> {
    let mut ask = PreemptAsk { pod, node_name_to_victims: None, node_name_to_meta_victims: None };
    if by_name {
        let each = plans.iter().map(|plan| {
            let pods = plan.victims.iter().map(|pod| MetaPod { uid: pod.uid() }).collect();
            (&*plan.node, MetaVictims { pods, violations: plan.violations })
        });
        ask.node_name_to_meta_victims = Some(each.collect());
        return serde_json::to_vec(&ask).map_err(|error| error.to_string());
    }
    let mut all = BTreeMap::new();
    for plan in plans {
        let pods = plan.victims.iter().map(|pod| raw(&pod.object)).collect::<Result<_, _>>()?;
        all.insert(&*plan.node, Victims { pods, violations: plan.violations });
    }
    ask.node_name_to_victims = Some(all);
    serde_json::to_vec(&ask).map_err(|error| error.to_string())
}

/// Who is to go from a node.
pub(super) struct Chosen {
    pub(super) uids: Vec<String>,
    pub(super) violations: usize,
}

/// `ExtenderPreemptionResult`.
pub(super) fn chosen(answer: &Value) -> Result<Vec<(String, Chosen)>, String> {
    let Some(nodes) = field(answer, "NodeNameToMetaVictims") else { return Ok(Vec::new()) };
    let nodes = nodes.as_object().ok_or_else(|| "victims by node were expected".to_owned())?;
    let chosen = |(node, victims): (&String, &Value)| {
        let pods = field(victims, "Pods").and_then(Value::as_array).cloned().unwrap_or_default();
        let uid = |pod: &Value| field(pod, "UID").and_then(Value::as_str).map(str::to_owned);
        let violations = field(victims, "NumPDBViolations").and_then(Value::as_u64).unwrap_or(0);
        let violations = usize::try_from(violations).unwrap_or(usize::MAX);
        (node.clone(), Chosen { uids: pods.iter().filter_map(uid).collect(), violations })
    };
    Ok(nodes.iter().map(chosen).collect())
}
