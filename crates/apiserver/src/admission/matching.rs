//! Whether a webhook or policy is about a call: rules, selectors, conditions. Compiled once a configuration.
//!
//! Follows upstream's `plugin/webhook/predicates` and `plugin/webhook/matchconditions`.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::admissionregistration::v1::{MatchCondition, MatchResources, RuleWithOperations};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as Selector;
use serde_json::Value;
use skiff_api::cel::Program;
use skiff_api::{ApiError, LabelSelector, Resource};
use skiff_store::Key;

use super::attributes::Attributes;
use super::evaluation::Evaluation;
use crate::catalog::Entry;
use crate::kinds::admissionregistration::expressions::Names;
use crate::kinds::admissionregistration::rules::plain;

/// A rule and the names it is limited to; no names mean all.
struct Rule {
    rule: RuleWithOperations,
    names: Vec<String>,
}

/// Whether a call is meant, and in which version of its kind.
pub(super) enum Meant {
    No,
    AsAsked,
    As(Arc<Entry>),
}

/// Rules and selectors.
pub(super) struct Matcher {
    rules: Vec<Rule>,
    excluded: Vec<Rule>,
    namespaces: LabelSelector,
    objects: LabelSelector,
    /// Whether no rules mean everything: so for bindings.
    open: bool,
    /// Whether rules also mean other versions of what they name (`matchPolicy: Equivalent`).
    equivalent: bool,
}

impl Matcher {
    /// Of a webhook.
    pub(super) fn of_hook(
        rules: Option<&[RuleWithOperations]>,
        namespaces: Option<&Selector>,
        objects: Option<&Selector>,
        policy: Option<&str>,
    ) -> Self {
        let rules = rules.unwrap_or_default().iter();
        Self {
            rules: rules.map(|rule| Rule { rule: rule.clone(), names: Vec::new() }).collect(),
            excluded: Vec::new(),
            namespaces: selector(namespaces),
            objects: selector(objects),
            open: false,
            equivalent: policy != Some("Exact"),
        }
    }

    /// Of a policy, or (`open`) of a binding.
    pub(super) fn of_resources(resources: Option<&MatchResources>, open: bool) -> Self {
        let empty = MatchResources::default();
        let resources = resources.unwrap_or(&empty);
        let rules = |list: &Option<Vec<_>>| {
            let named =
                |rule| Rule { rule: plain(rule), names: rule.resource_names.clone().unwrap_or_default() };
            list.iter().flatten().map(named).collect::<Vec<_>>()
        };
        Self {
            rules: rules(&resources.resource_rules),
            excluded: rules(&resources.exclude_resource_rules),
            namespaces: selector(resources.namespace_selector.as_ref()),
            objects: selector(resources.object_selector.as_ref()),
            open,
            equivalent: resources.match_policy.as_deref() != Some("Exact"),
        }
    }

    /// Whether the call is meant.
    ///
    /// # Errors
    /// 404 if the namespace is not there.
    pub(super) fn meant(&self, call: &Attributes<'_>) -> Result<Meant, ApiError> {
        if !matches!(self.named(&self.excluded, call), Meant::No) {
            return Ok(Meant::No);
        }
        let meant = match self.named(&self.rules, call) {
            Meant::No if self.open && self.rules.is_empty() => Meant::AsAsked,
            meant => meant,
        };
        if matches!(meant, Meant::No) || !self.selects(call)? {
            return Ok(Meant::No);
        }
        Ok(meant)
    }

    /// What rules say, earlier ones first, and first of all about what was asked for.
    fn named(&self, rules: &[Rule], call: &Attributes<'_>) -> Meant {
        if rules.iter().any(|rule| rule.matches(call, &call.resource)) {
            return Meant::AsAsked;
        }
        if !self.equivalent || rules.is_empty() {
            return Meant::No;
        }
        let version = |rule: &Rule| call.kin().iter().find(|other| rule.matches(call, &other.resource));
        rules.iter().find_map(version).map_or(Meant::No, |other| Meant::As(Arc::clone(other)))
    }

    fn selects(&self, call: &Attributes<'_>) -> Result<bool, ApiError> {
        if !self.objects.is_everything() {
            let selected = |object: &Value| {
                object.get("metadata").is_some_and(|_| self.objects.matches(&labels(object)))
            };
            if !selected(&call.object) && !selected(&call.old) {
                return Ok(false);
            }
        }
        self.in_namespace(call)
    }

    fn in_namespace(&self, call: &Attributes<'_>) -> Result<bool, ApiError> {
        if self.namespaces.is_everything() {
            return Ok(true);
        }
        if call.is_namespace() && call.subresource.is_empty() {
            let own = if call.object.is_null() { &call.old } else { &call.object };
            return Ok(self.namespaces.matches(&labels(own)));
        }
        if call.namespace.is_empty() {
            return Ok(true);
        }
        let stored =
            call.api.store.get(&Key::new("namespaces", call.namespace.as_str())).ok_or_else(|| {
                let resource = skiff_api::Resource::of::<k8s_openapi::api::core::v1::Namespace>();
                ApiError::not_found(&resource, &call.namespace)
            })?;
        Ok(self.namespaces.matches(&stored.object().meta().labels))
    }
}

impl Rule {
    fn matches(&self, call: &Attributes<'_>, asked: &Resource) -> bool {
        let has = |list: &Option<Vec<String>>, value: &str| {
            list.iter().flatten().any(|item| item == "*" || item == value)
        };
        let rule = &self.rule;
        let scope = match rule.scope.as_deref() {
            Some("Namespaced") => call.namespaced(),
            Some("Cluster") => !call.namespaced(),
            _ => true,
        };
        let resource = rule.resources.iter().flatten().any(|text| {
            let (resource, sub) = text.split_once('/').unwrap_or((text, ""));
            (resource == "*" || resource == &*asked.plural) && (sub == "*" || sub == call.subresource)
        });
        scope
            && resource
            && has(&rule.operations, call.operation)
            && has(&rule.api_groups, &asked.group)
            && has(&rule.api_versions, &asked.version)
            && (self.names.is_empty() || self.names.contains(&call.name))
    }
}

/// Validated when it was stored; nothing of it is left out but what upstream would not have stored either.
fn selector(selector: Option<&Selector>) -> LabelSelector {
    selector.and_then(|selector| LabelSelector::of(selector).ok()).unwrap_or_default()
}

fn labels(object: &Value) -> BTreeMap<String, String> {
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
    let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    labels.into_iter().flatten().filter_map(text).collect()
}

/// Conditions, all of which must hold.
pub(super) struct Conditions(Vec<(String, Result<Program, String>)>);

impl Conditions {
    /// Compiles them.
    pub(super) fn new(conditions: Option<&[MatchCondition]>, names: &Names) -> Self {
        let compiled = conditions.unwrap_or_default().iter().map(|condition| {
            let source = condition.expression.trim();
            (source.to_owned(), names.compile(source))
        });
        Self(compiled.collect())
    }

    /// True if there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if all hold. One that does not hold outweighs those that fail.
    ///
    /// # Errors
    /// What failed, in upstream's words.
    pub(super) fn hold(&self, evaluation: &mut Evaluation) -> Result<bool, String> {
        let mut faults = Vec::new();
        for (source, program) in &self.0 {
            match evaluation.holds(source, program) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(why) => faults.push(why),
            }
        }
        match faults.as_slice() {
            [] => Ok(true),
            [one] => Err(one.clone()),
            several => Err(format!("[{}]", several.join(", "))),
        }
    }
}
