//! What is to be done about a pod's claims, and about a claim: pure.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::resource::v1::{ResourceClaim, ResourceClaimConsumerReference, ResourceClaimTemplate};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::{Map, Value};
use skiff_api::pod::claims::{self, Name};
use skiff_api::pod::node_name;

use crate::shared::pods::manager;

/// A name has 63 characters at most, five of which the server makes, after a dash.
const MAX_BASE: usize = 57;

/// A claim of a pod that is not there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Missing<'a> {
    /// Which of the pod's.
    pub(super) claim: &'a str,
    /// What it is made from.
    pub(super) template: &'a str,
    /// The one that the pod's status names.
    pub(super) named: Option<&'a str>,
}

/// What a pod needs.
#[derive(Debug, Default)]
pub(super) struct PodPlan<'a> {
    pub(super) missing: Vec<Missing<'a>>,
    /// Made and not in the pod's status yet: which of its claims, and the name.
    pub(super) made: Vec<(String, String)>,
    /// Allocated, and used by the pod without being reserved: it was put on its node by somebody else than the scheduler.
    pub(super) reserve: Vec<Arc<ResourceClaim>>,
}

/// What a pod needs. `own` are the claims that it controls.
pub(super) fn of_pod<'a>(
    pod: &'a Pod,
    own: &[Arc<ResourceClaim>],
    find: &dyn Fn(&str) -> Option<Arc<ResourceClaim>>,
) -> PodPlan<'a> {
    let mut plan = PodPlan::default();
    for claim in claims::of(pod) {
        let name = claims::name(pod, claim);
        let held = name.as_ref().ok().and_then(|name| find(name.text()?));
        let usable = |held: &Arc<ResourceClaim>| {
            !matches!(name, Ok(Name::Made(_))) || claims::is_for(held, pod).is_ok()
        };
        if let Some(held) = held.filter(usable) {
            let unreserved = claims::is_allocated(&held) && !claims::is_reserved_for(&held, pod);
            if node_name(pod).is_some() && unreserved && claims::can_be_reserved(&held) {
                plan.reserve.push(held);
            }
            continue;
        }
        let Some(template) = &claim.resource_claim_template_name else { continue };
        if name == Ok(Name::Needless) {
            continue;
        }
        // One may have been made before its name could be written down.
        let made = own.iter().find(|made| note(made) == Some(&claim.name));
        match made.and_then(|made| made.metadata.name.clone()) {
            Some(made) => plan.made.push((claim.name.clone(), made)),
            None => {
                let named = name.ok().and_then(Name::text);
                plan.missing.push(Missing { claim: &claim.name, template, named });
            }
        }
    }
    plan
}

fn note(claim: &ResourceClaim) -> Option<&String> {
    claim.metadata.annotations.as_ref()?.get(claims::POD_CLAIM)
}

/// The claim that a template says, for a pod.
pub(super) fn from_template(pod: &Pod, claim: &str, template: &ResourceClaimTemplate) -> ResourceClaim {
    let spec = template.spec.clone().unwrap_or_default();
    let given = spec.metadata.unwrap_or_default();
    let mut annotations = given.annotations.unwrap_or_default();
    annotations.insert(claims::POD_CLAIM.to_owned(), claim.to_owned());
    ResourceClaim {
        metadata: ObjectMeta {
            generate_name: Some(base(pod.metadata.name.as_deref().unwrap_or_default(), claim)),
            namespace: pod.metadata.namespace.clone(),
            labels: given.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![manager(pod)]),
            ..ObjectMeta::default()
        },
        spec: spec.spec,
        status: None,
    }
}

/// `POD-CLAIM-`; where that is too long, both are shortened in proportion.
fn base(pod: &str, claim: &str) -> String {
    let whole = format!("{pod}-{claim}-");
    if whole.len() <= MAX_BASE {
        return whole;
    }
    let part = |text: &str| {
        let end = text.len() * MAX_BASE / whole.len();
        text.get(..end).unwrap_or(text).to_owned()
    };
    format!("{}-{}", part(pod), part(claim))
}

/// What a claim needs.
#[derive(Debug, Default, PartialEq)]
pub(super) struct ClaimPlan {
    /// What changes in its status, as a merge patch.
    pub(super) status: Option<Value>,
    /// Its finalizer comes off.
    pub(super) unprotect: bool,
    /// It goes, since its pod will not run.
    pub(super) delete: bool,
}

/// The pod that a claim was made for.
pub(super) fn owner(claim: &ResourceClaim) -> Option<&OwnerReference> {
    let mut owners = claim.metadata.owner_references.iter().flatten();
    owners.find(|it| it.controller == Some(true) && it.api_version == "v1" && it.kind == "Pod")
}

/// What a claim needs that is used by `kept` and nobody else; `ownerless`: the pod it was made for will not run.
///
/// Its devices are given back when the last of its users has ended, and not before it has had one: who allocated it may
/// be about to reserve it.
///
/// # Errors
/// When the users cannot be put into words.
pub(super) fn of_claim(
    claim: &ResourceClaim,
    kept: Vec<ResourceClaimConsumerReference>,
    ownerless: bool,
) -> serde_json::Result<ClaimPlan> {
    let leaving = claim.metadata.deletion_timestamp.is_some();
    let protected = claim.metadata.finalizers.iter().flatten().any(|it| it == claims::PROTECTION);
    let ended = kept.len() < claims::consumers(claim).len();
    let free = kept.is_empty();
    let release = free && protected && (ended || leaving);
    let mut status = Map::new();
    if ended {
        let left = if free { Value::Null } else { skiff_api::decode::tree(&kept)? };
        status.insert("reservedFor".to_owned(), left);
    }
    if release && claims::is_allocated(claim) {
        status.insert("allocation".to_owned(), Value::Null);
    }
    Ok(ClaimPlan {
        status: (!status.is_empty()).then_some(Value::Object(status)),
        unprotect: release,
        delete: free && ownerless && !leaving,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(more: &str) -> Pod {
        serde_saphyr::from_str(&format!(
            "{{metadata: {{name: p, namespace: n, uid: u}}, spec: {{containers: [], resourceClaims: [{{name: given, \
             resourceClaimName: shared}}, {{name: own, resourceClaimTemplateName: t}}]}}, {more}}}"
        ))
        .unwrap()
    }

    fn claim(name: &str, meta: &str, status: &str) -> Arc<ResourceClaim> {
        let text =
            format!("{{metadata: {{name: {name}, namespace: n{meta}}}, spec: {{}}, status: {{{status}}}}}");
        Arc::new(serde_saphyr::from_str(&text).unwrap())
    }

    fn owned(name: &str, of: &str, status: &str) -> Arc<ResourceClaim> {
        let meta = format!(
            ", annotations: {{resource.kubernetes.io/pod-claim-name: {of}}}, \
             ownerReferences: [{{apiVersion: v1, kind: Pod, name: p, uid: u, controller: true}}]"
        );
        claim(name, &meta, status)
    }

    /// What is missing (with what the status names), what is to be noted, what is to be reserved.
    fn told(pod: &Pod, all: &[Arc<ResourceClaim>]) -> (String, String, String) {
        let own: Vec<_> =
            all.iter().filter(|it| owner(it).is_some_and(|it| it.uid == "u")).cloned().collect();
        let find = |name: &str| all.iter().find(|it| it.metadata.name.as_deref() == Some(name)).cloned();
        let plan = of_pod(pod, &own, &find);
        let missing: Vec<String> = plan
            .missing
            .iter()
            .map(|it| format!("{} of {}{}", it.claim, it.template, it.named.unwrap_or_default()))
            .collect();
        let made: Vec<String> = plan.made.iter().map(|(claim, name)| format!("{claim}={name}")).collect();
        let reserve: Vec<_> = plan.reserve.iter().map(|it| it.metadata.name.clone().unwrap()).collect();
        (missing.join(" "), made.join(" "), reserve.join(" "))
    }

    #[test]
    fn a_claim_is_made_once_for_each_template_and_its_name_noted() {
        let say = |status: &str| format!("status: {{resourceClaimStatuses: [{{name: own{status}}}]}}");
        let expect = |missing: &str, made: &str| (missing.to_owned(), made.to_owned(), String::new());
        for (what, status, all, expected) in [
            ("nothing is there", String::new(), vec![], expect("own of t", "")),
            (
                "made, and not noted",
                String::new(),
                vec![owned("p-own-1", "own", "")],
                expect("", "own=p-own-1"),
            ),
            (
                "of another of its claims",
                String::new(),
                vec![owned("x", "other", "")],
                expect("own of t", ""),
            ),
            (
                "noted and there",
                say(", resourceClaimName: p-own-1"),
                vec![owned("p-own-1", "own", "")],
                expect("", ""),
            ),
            ("noted and gone", say(", resourceClaimName: c"), vec![], expect("own of tc", "")),
            (
                "noted and another's",
                say(", resourceClaimName: c"),
                vec![claim("c", "", "")],
                expect("own of tc", ""),
            ),
            ("not needed", say(""), vec![], expect("", "")),
        ] {
            assert_eq!(told(&pod(&status), &all), expected, "{what}");
        }
    }

    #[test]
    fn what_a_pod_on_a_node_uses_is_reserved_for_it() {
        let mut pod = pod("status: {resourceClaimStatuses: [{name: own, resourceClaimName: p-own-1}]}");
        let given = "allocation: {}";
        let all = [claim("shared", "", given), owned("p-own-1", "own", given)];
        assert_eq!(told(&pod, &all).2, "");
        pod.spec.as_mut().unwrap().node_name = Some("one".to_owned());
        assert_eq!(told(&pod, &all).2, "shared p-own-1");
        let reserved = "allocation: {}, reservedFor: [{resource: pods, name: p, uid: u}]";
        let all = [claim("shared", "", ""), owned("p-own-1", "own", reserved)];
        assert_eq!(told(&pod, &all).2, "");
    }

    #[test]
    fn a_claim_is_as_its_template_says_and_is_called_after_pod_and_claim() {
        let template: ResourceClaimTemplate = serde_saphyr::from_str(
            "{metadata: {name: t}, spec: {metadata: {labels: {a: b}, annotations: {c: d}}, spec: {devices: {requests: [{name: r}]}}}}",
        )
        .unwrap();
        let made = from_template(&pod("status: {}"), "own", &template);
        assert_eq!(made.metadata.generate_name.as_deref(), Some("p-own-"));
        assert_eq!(made.metadata.labels.as_ref().unwrap()["a"], "b");
        let notes = made.metadata.annotations.as_ref().unwrap();
        assert_eq!((notes["c"].as_str(), notes[claims::POD_CLAIM].as_str()), ("d", "own"));
        let owner = owner(&made).unwrap();
        assert_eq!((owner.uid.as_str(), owner.block_owner_deletion), ("u", Some(true)));
        assert_eq!(made.spec, template.spec.unwrap().spec);
        let long = base(&"p".repeat(100), &"c".repeat(50));
        assert_eq!(long, format!("{}-{}", "p".repeat(37), "c".repeat(18)));
    }

    #[test]
    fn devices_are_given_back_when_the_last_user_has_ended_and_only_then() {
        let kept = "finalizers: [resource.kubernetes.io/delete-protection]";
        let going = "deletionTimestamp: '2026-11-27T03:00:00Z'";
        let users = "reservedFor: [{resource: pods, name: p, uid: u}, {resource: pods, name: q, uid: v}]";
        let given = "allocation: {}";
        let q = json!([{ "resource": "pods", "name": "q", "uid": "v" }]);
        let nobody = || Some(json!({ "reservedFor": null, "allocation": null }));
        for (what, meta, status, left, expected) in [
            ("all go on", kept, format!("{given}, {users}"), 2, (None, false)),
            (
                "one has ended",
                kept,
                format!("{given}, {users}"),
                1,
                (Some(json!({ "reservedFor": q })), false),
            ),
            ("all have ended", kept, format!("{given}, {users}"), 0, (nobody(), true)),
            (
                "somebody else's allocation",
                "labels: {}",
                format!("{given}, {users}"),
                0,
                (Some(json!({ "reservedFor": null })), false),
            ),
            ("not used yet", kept, given.to_owned(), 0, (None, false)),
            (
                "not used and leaving",
                &format!("{kept}, {going}"),
                given.to_owned(),
                0,
                (Some(json!({ "allocation": null })), true),
            ),
            ("never allocated and leaving", &format!("{kept}, {going}"), String::new(), 0, (None, true)),
            ("used and leaving", &format!("{kept}, {going}"), format!("{given}, {users}"), 2, (None, false)),
        ] {
            let claim = claim("c", &format!(", {meta}"), &status);
            let users = claims::consumers(&claim).to_vec();
            let left = users[users.len() - left..].to_vec();
            let plan = of_claim(&claim, left, false).unwrap();
            assert_eq!((plan.status, plan.unprotect, plan.delete), (expected.0, expected.1, false), "{what}");
        }
    }

    #[test]
    fn a_claim_goes_when_its_pod_will_not_run_and_nobody_else_uses_it() {
        let users = "reservedFor: [{resource: pods, name: q, uid: v}]";
        let used = owned("c", "own", users);
        assert!(!of_claim(&used, claims::consumers(&used).to_vec(), true).unwrap().delete);
        assert!(of_claim(&used, Vec::new(), true).unwrap().delete);
        assert!(!of_claim(&used, Vec::new(), false).unwrap().delete);
    }
}
