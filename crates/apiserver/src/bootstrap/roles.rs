//! The cluster's own roles and bindings: made at the first start, and at every later one given what they lack.
//!
//! As upstream's reconciliation (`pkg/registry/rbac/reconciliation`): rules, subjects and labels are added, never taken
//! away, and an object that says `rbac.authorization.kubernetes.io/autoupdate: "false"` is left alone.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use k8s_openapi::api::rbac::v1::{
    AggregationRule, ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use skiff_api::{ApiError, Object, Readable};

use super::policy::{self, BINDINGS, CONTROLLERS, ROLES, Rule};
use crate::api::Api;
use crate::authz::rules;
use crate::catalog::Entry;
use crate::kinds;
use crate::kinds::rbac::GROUP;
use crate::registry::Scope;
use crate::registry::update::{Part, Proposal, Update, update};
use crate::subresource;
use crate::user::User;
use crate::verbs::input;

/// Says whether an object is kept up to date.
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
/// How many objects are written at once: enough for the store to commit them together.
const AT_ONCE: usize = 64;
/// Where the accounts of components live.
const ACCOUNTS: &str = "kube-system";

/// Makes what is missing and completes what lacks something.
///
/// # Errors
/// If an object is refused, or the store fails.
pub(super) async fn reconcile(api: &Api) -> Result<(), ApiError> {
    // Also those that are not served: a right to nothing harms nobody.
    let known: Vec<Entry> = kinds::ALL.iter().map(|row| Entry::built_in(row)).collect();
    let mut work: Vec<BoxFuture<'_, Result<(), ApiError>>> = Vec::new();
    for row in ROLES {
        work.push(role(api, row));
    }
    for row in BINDINGS {
        work.push(binding(api, row));
    }
    for (name, rows) in CONTROLLERS {
        let rules = rows.iter().map(rule).collect();
        work.extend(component(api, &format!("system:controller:{name}"), name, rules));
    }
    for own in &api.settings.roles {
        let mut rules = Vec::new();
        for (verbs, resources) in &own.rules {
            rules.extend(own_rules(&known, &own.account, verbs, resources)?);
        }
        work.extend(component(api, &format!("skiff:{}", own.account), &own.account, rules));
    }
    stream::iter(work).buffer_unordered(AT_ONCE).try_collect().await
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(|word| if word == "-" { String::new() } else { word.to_owned() }).collect()
}

fn some(text: &str) -> Option<Vec<String>> {
    (!text.is_empty()).then(|| words(text))
}

fn rule(row: &Rule) -> PolicyRule {
    PolicyRule {
        verbs: words(row.verbs),
        api_groups: some(row.groups),
        resources: some(row.resources),
        resource_names: some(row.names),
        non_resource_urls: some(row.urls),
    }
}

/// The rules of a component's row: its resources are named as kubectl names them, without their group where one kind has
/// the name.
///
/// # Errors
/// If there is no such resource: a mistake in the row, which would show only when the right is missing.
fn own_rules(
    known: &[Entry],
    account: &str,
    verbs: &str,
    resources: &str,
) -> Result<Vec<PolicyRule>, ApiError> {
    let rule = |groups: Vec<String>, resource: &str| PolicyRule {
        verbs: words(verbs),
        api_groups: Some(groups),
        resources: Some(vec![resource.to_owned()]),
        ..PolicyRule::default()
    };
    let one = |resource: &str| {
        let (plural, sub) = resource.split_once('/').map_or((resource, ""), |(plural, sub)| (plural, sub));
        let (plural, group) = plural.split_once('.').unwrap_or((plural, ""));
        let whole = if sub.is_empty() { plural.to_owned() } else { format!("{plural}/{sub}") };
        if plural == "*" {
            let group = if group.is_empty() { "*" } else { group };
            return Ok(rule(vec![group.to_owned()], &whole));
        }
        if !group.is_empty() {
            return Ok(rule(vec![group.to_owned()], &whole));
        }
        let has = |entry: &&Entry| {
            // Rights to finalizers are asked about and served nowhere.
            let asked_only = ["", "finalizers"].contains(&sub);
            let sub_is_served = asked_only || subresource::of(entry).any(|own| own.name == sub);
            *entry.resource.plural == *plural && sub_is_served
        };
        let entries = known.iter().filter(has);
        let mut groups: Vec<String> = entries.map(|entry| entry.resource.group.to_string()).collect();
        groups.dedup();
        if groups.is_empty() {
            let why = format!("{account} has rights to {resource:?}, which nobody serves");
            return Err(ApiError::internal(why));
        }
        Ok(rule(groups, &whole))
    };
    resources.split_whitespace().map(one).collect()
}

fn meta(namespace: &str, name: &str) -> ObjectMeta {
    let pair = |key: &str, value: &str| Some(BTreeMap::from([(key.to_owned(), value.to_owned())]));
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
        labels: pair("kubernetes.io/bootstrapping", "rbac-defaults"),
        annotations: pair(AUTOUPDATE, "true"),
        ..ObjectMeta::default()
    }
}

fn role<'a>(api: &'a Api, row: &'static policy::Role) -> BoxFuture<'a, Result<(), ApiError>> {
    let mut metadata = meta(row.namespace, row.name);
    let label = |whole: &str| (format!("rbac.authorization.k8s.io/aggregate-to-{whole}"), "true".to_owned());
    if !row.part_of.is_empty() {
        metadata.labels.get_or_insert_default().extend([label(row.part_of)]);
    }
    let rules = Some(row.rules.iter().map(rule).collect());
    if !row.namespace.is_empty() {
        return ensure(api, Role { metadata, rules }, |held, wanted| {
            add_rules(&mut held.rules, wanted.rules.as_deref())
        });
    }
    let gather = || LabelSelector {
        match_labels: Some(BTreeMap::from([label(row.name)])),
        ..LabelSelector::default()
    };
    let aggregation_rule =
        row.whole.then(|| AggregationRule { cluster_role_selectors: Some(vec![gather()]) });
    ensure(api, ClusterRole { metadata, rules, aggregation_rule }, complete)
}

fn complete(held: &mut ClusterRole, wanted: &ClusterRole) {
    if wanted.aggregation_rule.is_some() {
        held.aggregation_rule.clone_from(&wanted.aggregation_rule);
    } else {
        add_rules(&mut held.rules, wanted.rules.as_deref());
    }
}

/// A component's role and its binding to the component's account.
fn component<'a>(
    api: &'a Api,
    role: &str,
    account: &str,
    rules: Vec<PolicyRule>,
) -> [BoxFuture<'a, Result<(), ApiError>>; 2] {
    let wanted = ClusterRole { metadata: meta("", role), rules: Some(rules), ..ClusterRole::default() };
    let whom = vec![subject(&format!("account:{account}"))];
    [ensure(api, wanted, complete), bind(api, "", role, role, "ClusterRole", whom)]
}

fn subject(word: &str) -> Subject {
    let (kind, name) = word.split_once(':').unwrap_or(("user", word));
    let (kind, group, namespace) = match kind {
        "account" => ("ServiceAccount", None, Some(ACCOUNTS.to_owned())),
        "group" => ("Group", Some(GROUP.to_owned()), None),
        _ => ("User", Some(GROUP.to_owned()), None),
    };
    Subject { kind: kind.to_owned(), api_group: group, name: name.to_owned(), namespace }
}

fn binding<'a>(api: &'a Api, row: &'static policy::Binding) -> BoxFuture<'a, Result<(), ApiError>> {
    let subjects = row.subjects.split_whitespace().map(subject).collect();
    let kind = if row.namespace.is_empty() { "ClusterRole" } else { "Role" };
    bind(api, row.namespace, row.name, row.role, kind, subjects)
}

fn bind<'a>(
    api: &'a Api,
    namespace: &str,
    name: &str,
    role: &str,
    kind: &str,
    subjects: Vec<Subject>,
) -> BoxFuture<'a, Result<(), ApiError>> {
    let metadata = meta(namespace, name);
    let role_ref =
        RoleRef { api_group: Some(GROUP.to_owned()), kind: kind.to_owned(), name: role.to_owned() };
    let subjects = (!subjects.is_empty()).then_some(subjects);
    if namespace.is_empty() {
        ensure(api, ClusterRoleBinding { metadata, role_ref, subjects }, |held, wanted| {
            add_subjects(&mut held.subjects, wanted.subjects.as_deref())
        })
    } else {
        ensure(api, RoleBinding { metadata, role_ref, subjects }, |held, wanted| {
            add_subjects(&mut held.subjects, wanted.subjects.as_deref())
        })
    }
}

fn add_rules(held: &mut Option<Vec<PolicyRule>>, wanted: Option<&[PolicyRule]>) {
    for rule in wanted.unwrap_or_default() {
        let rule = std::slice::from_ref(rule);
        if !rules::missing(held.as_deref().unwrap_or_default(), rule).is_empty() {
            held.get_or_insert_default().extend_from_slice(rule);
        }
    }
}

fn add_subjects(held: &mut Option<Vec<Subject>>, wanted: Option<&[Subject]>) {
    for subject in wanted.unwrap_or_default() {
        if !held.iter().flatten().any(|own| own == subject) {
            held.get_or_insert_default().push(subject.clone());
        }
    }
}

/// Creates `wanted`, or lets `complete` give the one that is there what it lacks.
fn ensure<'a, K: Readable + Clone>(
    api: &'a Api,
    wanted: K,
    complete: fn(&mut K, &K),
) -> BoxFuture<'a, Result<(), ApiError>> {
    async move {
        let Some(entry) = &api.catalog.of::<K>() else { return Ok(()) };
        let user = User::server();
        let meta = wanted.metadata();
        let (namespace, name) =
            (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
        let scope = Scope {
            namespace: &namespace,
            name: &name,
            manager: Some("kube-apiserver"),
            ..Scope::own(api, entry, &user)
        };
        let propose = |current: Option<&Object>| {
            let mut whole = match current {
                Some(current) => K::clone(&*current.decode::<K>().map_err(ApiError::internal)?),
                None => wanted.clone(),
            };
            if !frozen(whole.metadata()) {
                complete(&mut whole, &wanted);
                let labels = wanted.metadata().labels.clone().unwrap_or_default();
                whole.metadata_mut().labels.get_or_insert_default().extend(labels);
            }
            let json = serde_json::to_vec(&whole).map_err(ApiError::internal)?;
            let draft = input::decode(entry, &json, skiff_api::Strictness::Ignore)?.draft;
            Ok(Proposal::quiet(draft))
        };
        let how = Update { part: Part::Whole, dry_run: false, change: &propose, upsert: true };
        update(&scope, &how).await.map(|_| ())
    }
    .boxed()
}

fn frozen(meta: &ObjectMeta) -> bool {
    meta.annotations.as_ref().and_then(|all| all.get(AUTOUPDATE)).is_some_and(|word| word == "false")
}
