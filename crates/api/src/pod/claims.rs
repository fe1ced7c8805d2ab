//! The ResourceClaims of a pod: what they are called, and whether one is for it. Controllers, scheduler and kubelet ask.
//!
//! Follows upstream's `dynamic-resource-allocation/resourceclaim`, its words included.

use k8s_openapi::api::core::v1::{Pod, PodResourceClaim};
use k8s_openapi::api::resource::v1::{ResourceClaim, ResourceClaimConsumerReference};

/// On a claim that was made for a pod: which of the pod's claims it is.
pub const POD_CLAIM: &str = "resource.kubernetes.io/pod-claim-name";
/// Keeps a claim while devices are allocated for it.
pub const PROTECTION: &str = "resource.kubernetes.io/delete-protection";
/// A claim cannot be used by more.
pub const MAX_CONSUMERS: usize = 256;

/// How the claim behind a pod's claim is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'a> {
    /// As the pod says; anybody may have made it.
    Given(&'a str),
    /// As its status says; it must have been made for the pod.
    Made(&'a str),
    /// Nobody made one, since none is needed.
    Needless,
}

impl<'a> Name<'a> {
    /// The name, unless none is needed.
    pub fn text(self) -> Option<&'a str> {
        match self {
            Self::Given(name) | Self::Made(name) => Some(name),
            Self::Needless => None,
        }
    }
}

/// Why a claim has no name, or is another's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is to be made from a template and has not been yet.
    #[error("pod \"{pod}\": ResourceClaim not created yet")]
    Unmade {
        /// Whose, as `namespace/name`.
        pod: String,
    },
    /// The pod says neither a claim nor a template.
    #[error("pod \"{pod}\", spec.resourceClaim {claim:?}: none of the supported fields are set")]
    Unsaid {
        /// Whose, as `namespace/name`.
        pod: String,
        /// Which of its claims.
        claim: String,
    },
    /// It was not made for the pod.
    #[error("ResourceClaim {claim} was not created for Pod {pod} (Pod is not owner)")]
    Foreign {
        /// The claim, as `namespace/name`.
        claim: String,
        /// The pod, as `namespace/name`.
        pod: String,
    },
}

fn shown(namespace: Option<&String>, name: Option<&String>) -> String {
    let text = |text: Option<&String>| text.map(String::as_str).unwrap_or_default().to_owned();
    format!("{}/{}", text(namespace), text(name))
}

fn key(pod: &Pod) -> String {
    shown(pod.metadata.namespace.as_ref(), pod.metadata.name.as_ref())
}

/// What a pod asks for: its claims.
pub fn of(pod: &Pod) -> &[PodResourceClaim] {
    pod.spec.as_ref().and_then(|spec| spec.resource_claims.as_deref()).unwrap_or_default()
}

/// How the claim behind `claim` of the pod is called.
///
/// # Errors
/// When it has not been made, or the pod does not say which.
pub fn name<'a>(pod: &'a Pod, claim: &'a PodResourceClaim) -> Result<Name<'a>, Unusable> {
    if let Some(name) = &claim.resource_claim_name {
        return Ok(Name::Given(name));
    }
    if claim.resource_claim_template_name.is_none() {
        return Err(Unusable::Unsaid { pod: key(pod), claim: claim.name.clone() });
    }
    let statuses = pod.status.iter().flat_map(|status| status.resource_claim_statuses.iter().flatten());
    match statuses.into_iter().find(|status| status.name == claim.name) {
        None => Err(Unusable::Unmade { pod: key(pod) }),
        Some(status) => Ok(status.resource_claim_name.as_deref().map_or(Name::Needless, Name::Made)),
    }
}

/// The claim that the scheduler made for extended resources of the pod, if it did.
pub fn extended(pod: &Pod) -> Option<&str> {
    let status = pod.status.as_ref()?.extended_resource_claim_status.as_ref()?;
    Some(&status.resource_claim_name)
}

/// Whether the claim was made for the pod.
///
/// # Errors
/// In words, if it was not.
pub fn is_for(claim: &ResourceClaim, pod: &Pod) -> Result<(), Unusable> {
    let owned = claim.metadata.owner_references.iter().flatten().any(|owner| {
        owner.controller == Some(true) && Some(owner.uid.as_str()) == pod.metadata.uid.as_deref()
    });
    if owned && claim.metadata.namespace == pod.metadata.namespace {
        return Ok(());
    }
    let claim = shown(claim.metadata.namespace.as_ref(), claim.metadata.name.as_ref());
    Err(Unusable::Foreign { claim, pod: key(pod) })
}

/// Who uses the claim.
pub fn consumers(claim: &ResourceClaim) -> &[ResourceClaimConsumerReference] {
    claim.status.as_ref().and_then(|status| status.reserved_for.as_deref()).unwrap_or_default()
}

/// Whether devices are allocated for the claim.
pub fn is_allocated(claim: &ResourceClaim) -> bool {
    claim.status.as_ref().is_some_and(|status| status.allocation.is_some())
}

/// Whether the pod is among those that use the claim.
pub fn is_reserved_for(claim: &ResourceClaim, pod: &Pod) -> bool {
    consumers(claim).iter().any(|consumer| Some(consumer.uid.as_str()) == pod.metadata.uid.as_deref())
}

/// Whether one more can use the claim.
pub fn can_be_reserved(claim: &ResourceClaim) -> bool {
    consumers(claim).len() < MAX_CONSUMERS
}

/// The pod as one that uses a claim.
pub fn consumer(pod: &Pod) -> ResourceClaimConsumerReference {
    ResourceClaimConsumerReference {
        api_group: None,
        resource: "pods".to_owned(),
        name: pod.metadata.name.clone().unwrap_or_default(),
        uid: pod.metadata.uid.clone().unwrap_or_default(),
    }
}

/// `request/subrequest` and `request`: the request.
pub fn base_request(request: &str) -> &str {
    request.split_once('/').map_or(request, |(base, _)| base)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(more: &str) -> Pod {
        serde_saphyr::from_str(&format!(
            "{{metadata: {{name: p, namespace: n, uid: u}}, spec: {{containers: [], resourceClaims: [{{name: a, \
             resourceClaimName: given}}, {{name: b, resourceClaimTemplateName: t}}, {{name: c}}]}}{more}}}"
        ))
        .unwrap()
    }

    #[test]
    fn a_claim_is_called_as_the_pod_says_or_as_its_status_says_when_it_was_made() {
        let called = |more: &str| {
            let pod = pod(more);
            let name = |claim| name(&pod, claim).map(|name| name.text().map(str::to_owned));
            of(&pod).iter().map(name).map(|it| it.map_err(|error| error.to_string())).collect::<Vec<_>>()
        };
        let unmade = "pod \"n/p\": ResourceClaim not created yet".to_owned();
        let unsaid = "pod \"n/p\", spec.resourceClaim \"c\": none of the supported fields are set".to_owned();
        assert_eq!(called(""), [Ok(Some("given".to_owned())), Err(unmade), Err(unsaid)]);
        let made = ", status: {resourceClaimStatuses: [{name: b, resourceClaimName: p-b-x}]}";
        assert_eq!(called(made)[1], Ok(Some("p-b-x".to_owned())));
        assert_eq!(called(", status: {resourceClaimStatuses: [{name: b}]}")[1], Ok(None));
    }

    #[test]
    fn a_claim_is_for_the_pod_that_controls_it_and_reserved_for_those_it_lists() {
        let claim: ResourceClaim = serde_saphyr::from_str(
            "{metadata: {name: c, namespace: n, ownerReferences: [{apiVersion: v1, kind: Pod, name: p, uid: u, controller: true}]}, \
             status: {reservedFor: [{resource: pods, name: p, uid: u}]}}",
        )
        .unwrap();
        let mut pod = pod("");
        assert_eq!(is_for(&claim, &pod), Ok(()));
        assert_eq!(consumers(&claim), [consumer(&pod)]);
        assert!(is_reserved_for(&claim, &pod) && can_be_reserved(&claim) && !is_allocated(&claim));
        pod.metadata.uid = Some("other".to_owned());
        let why = "ResourceClaim n/c was not created for Pod n/p (Pod is not owner)";
        assert_eq!(is_for(&claim, &pod).unwrap_err().to_string(), why);
        assert!(!is_reserved_for(&claim, &pod));
        assert_eq!([base_request("a/b"), base_request("a")], ["a", "a"]);
    }
}
