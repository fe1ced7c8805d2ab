//! Cluster roles that gather the rules of others: `admin`, `edit`, `view`, and those that users make.
//!
//! Follows upstream's `pkg/controller/clusterroleaggregation`: the rules of all roles that the selectors find, by name,
//! each once.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use skiff_api::Object;
use skiff_api::selector::LabelSelector;
use skiff_client::Change;
use skiff_client::cache::Index;
use skiff_client::controller::{Caches, How, Key, Next, Outcome};

use crate::Settings;
use crate::table::{Ctx, Row, on};

pub(crate) const CONTROLLER: Row = Row {
    name: "clusterrole-aggregation-controller",
    component: "clusterrole-aggregation-controller",
    wakes: &[on::<ClusterRole, Gathering>().indexed(&[GATHERERS])],
    may: &[("escalate update", "clusterroles")],
    workers: 1,
    run: |ctx, key| Box::pin(reconcile(ctx, key)),
};

/// Finds the roles that gather others (under one value).
const GATHERERS: Index = Index {
    name: "gatherers",
    values: |object: &Object| {
        let gathers = std::str::from_utf8(object.bytes()).is_ok_and(|text| text.contains("aggregationRule"));
        gathers.then(|| "".into()).into_iter().collect()
    },
};

/// Any role may be a part of any that gathers.
struct Gathering;

impl How<Settings> for Gathering {
    fn keys(_: &Change, caches: &Caches, _: &Settings) -> Vec<Key> {
        let gatherers = caches.of::<ClusterRole>().by(&GATHERERS, "");
        gatherers.iter().map(|object| object.meta().key().into()).collect()
    }
}

async fn reconcile(ctx: Ctx, key: Key) -> Outcome {
    let Some(role) = ctx.get::<ClusterRole>(&key) else { return Ok(Next::Rest) };
    let Some(rules) = gathered(&role, &ctx.cache::<ClusterRole>().list()) else { return Ok(Next::Rest) };
    if role.rules.as_deref().unwrap_or_default() != rules {
        ctx.replace(&ClusterRole { rules: Some(rules), ..(*role).clone() }).await?;
    }
    Ok(Next::Rest)
}

/// The rules that a role shall have; nothing if it gathers none.
fn gathered(role: &ClusterRole, all: &[Arc<Object>]) -> Option<Vec<PolicyRule>> {
    let selectors = role.aggregation_rule.as_ref()?.cluster_role_selectors.as_deref()?;
    let own = role.metadata.name.as_deref().unwrap_or_default();
    let mut rules: Vec<PolicyRule> = Vec::new();
    for selector in selectors {
        let Ok(selector) = LabelSelector::of(selector) else { continue };
        let found = all.iter().filter(|object| {
            let meta = object.meta();
            *meta.name != *own && selector.matches(&meta.labels)
        });
        let by_name: BTreeMap<_, _> = found.map(|object| (Arc::clone(&object.meta().name), object)).collect();
        for part in by_name.values().filter_map(|object| object.decode::<ClusterRole>().ok()) {
            for rule in part.rules.iter().flatten() {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
    }
    Some(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(json: serde_json::Value) -> Arc<Object> {
        Arc::new(Object::parse(json.to_string().into_bytes().into()).unwrap())
    }

    fn part(name: &str, label: &str, verb: &str) -> Arc<Object> {
        object(serde_json::json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": { "name": name, "labels": { "to": label } },
            "rules": [{ "apiGroups": [""], "resources": ["pods"], "verbs": [verb] }],
        }))
    }

    #[test]
    fn rules_are_gathered_by_name_each_once() {
        let whole = object(serde_json::json!({
            "metadata": { "name": "whole", "labels": { "to": "x" } },
            "aggregationRule": { "clusterRoleSelectors": [{ "matchLabels": { "to": "x" } }] },
            "rules": [{ "apiGroups": [""], "resources": ["pods"], "verbs": ["forgotten"] }],
        }));
        let role = whole.decode::<ClusterRole>().unwrap();
        let all = [
            part("b", "x", "list"),
            part("a", "x", "get"),
            part("c", "x", "get"),
            part("d", "y", "watch"),
            whole,
        ];
        let verbs: Vec<String> =
            gathered(&role, &all).unwrap().iter().map(|rule| rule.verbs.join(" ")).collect();
        assert_eq!(verbs, ["get", "list"]);
    }
}
