//! Whether a pod may, and would rather, run on a node with these labels.

use k8s_openapi::api::core::v1::{
    NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec, PreferredSchedulingTerm,
};

/// A node as selectors see it: its name and its labels.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// `metadata.name`.
    pub name: &'a str,
    /// The value of a label, if the node has it.
    pub label: &'a dyn Fn(&str) -> Option<&'a str>,
}

/// Whether `nodeSelector` and the required node affinity allow the node.
pub fn allows(spec: &PodSpec, node: Target<'_>) -> bool {
    let selected = |(key, value): (&String, &String)| (node.label)(key) == Some(value.as_str());
    if !spec.node_selector.iter().flatten().all(selected) {
        return false;
    }
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    affinity
        .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref())
        .is_none_or(|required| matches(required, node))
}

/// Whether one of the terms holds. Terms without conditions hold for no node.
pub fn matches(selector: &NodeSelector, node: Target<'_>) -> bool {
    selector.node_selector_terms.iter().any(|term| term_matches(term, node))
}

/// The sum of the weights of the preferred terms that hold.
pub fn preference(terms: &[PreferredSchedulingTerm], node: Target<'_>) -> i64 {
    let holds = |term: &&PreferredSchedulingTerm| term.weight != 0 && term_matches(&term.preference, node);
    terms.iter().filter(holds).map(|term| i64::from(term.weight)).sum()
}

/// The node names to which required affinity by `metadata.name` pins the pod, if it does: then no other node needs a
/// look.
pub fn pinned(spec: &PodSpec) -> Option<Vec<&str>> {
    let affinity = spec.affinity.as_ref()?.node_affinity.as_ref()?;
    let required = affinity.required_during_scheduling_ignored_during_execution.as_ref()?;
    let mut names = Vec::new();
    for term in &required.node_selector_terms {
        let fields = term.match_fields.as_deref().unwrap_or_default();
        let by_name = fields.iter().find(|field| field.key == "metadata.name" && field.operator == "In")?;
        names.extend(by_name.values.iter().flatten().map(String::as_str));
    }
    Some(names)
}

fn term_matches(term: &NodeSelectorTerm, node: Target<'_>) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    let field = |key: &str| (key == "metadata.name").then_some(node.name);
    expressions.iter().all(|condition| holds(condition, (node.label)(&condition.key)))
        && fields.iter().all(|condition| holds(condition, field(&condition.key)))
}

fn holds(condition: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = condition.values.as_deref().unwrap_or_default();
    let among = |value: &str| values.iter().any(|other| other == value);
    let numbers = || {
        let theirs: i64 = value?.parse().ok()?;
        let ours: i64 = values.first()?.parse().ok()?;
        Some((theirs, ours))
    };
    match condition.operator.as_str() {
        "In" => value.is_some_and(among),
        "NotIn" => !value.is_some_and(among),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => numbers().is_some_and(|(theirs, ours)| theirs > ours),
        "Lt" => numbers().is_some_and(|(theirs, ours)| theirs < ours),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn on_node(spec: &PodSpec) -> bool {
        let label = |key: &str| match key {
            "disk" => Some("ssd"),
            "cores" => Some("8"),
            _ => None,
        };
        allows(spec, Target { name: "one", label: &label })
    }

    fn required(terms: Value) -> PodSpec {
        serde_json::from_value(json!({"containers": [], "affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}}))
        .unwrap()
    }

    #[test]
    fn the_node_selector_must_hold_whole() {
        let spec =
            |selector| serde_json::from_value(json!({"containers": [], "nodeSelector": selector})).unwrap();
        assert!(on_node(&spec(json!({"disk": "ssd"}))));
        assert!(!on_node(&spec(json!({"disk": "ssd", "zone": "a"}))));
    }

    #[test]
    fn terms_are_alternatives_and_conditions_are_not() {
        let term = |key, op, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": op, "values": values}]});
        for (terms, expected) in [
            (json!([term("disk", "In", &["hdd", "ssd"])]), true),
            (json!([term("disk", "NotIn", &["ssd"]), term("cores", "Gt", &["4"])]), true),
            (json!([term("cores", "Lt", &["8"])]), false),
            (json!([term("zone", "DoesNotExist", &[])]), true),
            (json!([{}]), false),
            (json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["one"]}]}]), true),
            (
                json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["two"]}]}]),
                false,
            ),
        ] {
            assert_eq!(on_node(&required(terms.clone())), expected, "{terms}");
        }
    }

    #[test]
    fn a_pod_pinned_by_name_names_its_nodes() {
        let by_name = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["one"]}]});
        let by_label = json!({"matchExpressions": [{"key": "disk", "operator": "Exists"}]});
        assert_eq!(pinned(&required(json!([by_name]))), Some(vec!["one"]));
        assert_eq!(pinned(&required(json!([by_name, by_label]))), None);
    }
}
