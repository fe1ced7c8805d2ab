//! The ResourceClaims of a pod, and which of its containers use them.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{Container, PodResourceClaim, PodSpec, PodStatus};
use skiff_api::{Errors, names};

use crate::kinds::check;

/// Finds what is wrong with the claims of a pod and with those that its containers name.
pub(super) fn validate(spec: &PodSpec, errors: &mut Errors) {
    let mut known = HashSet::new();
    for (index, claim) in spec.resource_claims.iter().flatten().enumerate() {
        errors.item("resourceClaims", index, |errors| one(claim, &mut known, errors));
    }
    let lists = [("containers", Some(&spec.containers)), ("initContainers", spec.init_containers.as_ref())];
    for (field, containers) in lists {
        for (index, container) in containers.into_iter().flatten().enumerate() {
            errors.item(field, index, |errors| used(container, &known, errors));
        }
    }
}

fn one<'a>(claim: &'a PodResourceClaim, known: &mut HashSet<&'a str>, errors: &mut Errors) {
    match claim.name.as_str() {
        "" => errors.required("name", ""),
        name if !known.insert(name) => errors.duplicate("name", name),
        name => check::named(errors, "name", name, names::dns1123_label(name)),
    }
    let shown = || skiff_api::decode::tree(claim).unwrap_or_default();
    match (&claim.resource_claim_name, &claim.resource_claim_template_name) {
        (Some(_), Some(_)) => {
            let why = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified";
            errors.invalid("", &shown(), why);
        }
        (None, None) => {
            let why = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`";
            errors.invalid("", &shown(), why);
        }
        _ => {}
    }
    let fields = [
        ("resourceClaimName", &claim.resource_claim_name),
        ("resourceClaimTemplateName", &claim.resource_claim_template_name),
    ];
    for (field, name) in fields {
        if let Some(name) = name {
            check::named(errors, field, name, names::dns1123_subdomain(name));
        }
    }
}

/// The claims that a container uses: the pod's, each once, whole or by its requests.
fn used(container: &Container, known: &HashSet<&str>, errors: &mut Errors) {
    let claims = container.resources.iter().flat_map(|resources| resources.claims.iter().flatten());
    let mut seen = HashSet::new();
    for (index, claim) in claims.enumerate() {
        let field = format!("resources.claims[{index}]");
        let request = check::given(claim.request.as_ref());
        if let Some(request) = request {
            let field = format!("{field}.request");
            check::named(errors, &field, request, names::dns1123_label(request));
        }
        let name = claim.name.as_str();
        if name.is_empty() {
            errors.required(&format!("{field}.name"), "");
            continue;
        }
        let key = request.map_or_else(|| name.to_owned(), |request| format!("{name}/{request}"));
        if !seen.insert(key.clone()) {
            errors.duplicate(&field, &key);
        }
        if !known.contains(name) {
            errors.not_found(&format!("{field}.name"), name);
        }
    }
}

/// Finds what is wrong with what a pod's status says of its claims.
pub(super) fn validate_status(status: &PodStatus, spec: &PodSpec, errors: &mut Errors) {
    let known: HashSet<&str> =
        spec.resource_claims.iter().flatten().map(|claim| claim.name.as_str()).collect();
    let mut seen = HashSet::new();
    for (index, claim) in status.resource_claim_statuses.iter().flatten().enumerate() {
        let field = format!("status.resourceClaimStatuses[{index}]");
        if !known.contains(claim.name.as_str()) {
            let why = "must match the name of an entry in `spec.resourceClaims`";
            errors.invalid(&format!("{field}.name"), &claim.name, why);
        }
        if !seen.insert(&claim.name) {
            errors.duplicate(&format!("{field}.name"), &claim.name);
        }
        if let Some(name) = &claim.resource_claim_name {
            let field = format!("{field}.resourceClaimName");
            check::named(errors, &field, name, names::dns1123_subdomain(name));
        }
    }
}
