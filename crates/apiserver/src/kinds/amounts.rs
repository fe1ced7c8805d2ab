//! Names of resources and amounts of them, where limit ranges and quotas list them. Upstream's tables and words
//! (`pkg/apis/core/helper/helpers.go`, `pkg/apis/core/validation/validation.go`).

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use skiff_api::quantity::Quantity;
use skiff_api::{Errors, names};

use super::check;

const COMPUTE: &[&str] = &["cpu", "memory", "ephemeral-storage"];
/// What a quota may limit, besides compute resources.
const QUOTA: &[&str] = &[
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
];
/// What quotas count in whole numbers.
const COUNTS: &[&str] = &[
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-") || name.starts_with("requests.hugepages-")
}

/// True if quotas know the name (or the prefix) as it is.
pub(crate) fn is_standard_for_quota(name: &str) -> bool {
    COMPUTE.contains(&name) || QUOTA.contains(&name) || COUNTS.contains(&name) || is_huge_page(name)
}

/// True for resources of the project itself, which names without a domain are.
pub(crate) fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// True for what a device plugin or somebody else counts on nodes.
pub(crate) fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && names::qualified_name(&format!("requests.{name}")).is_empty()
}

/// Whether more may be allowed than there is: not for huge pages and not for devices.
pub(crate) fn may_overcommit(name: &str) -> bool {
    is_native(name) && !name.starts_with("hugepages-")
}

/// A name of any resource, at the present place.
pub(crate) fn name(errors: &mut Errors, name: &str) {
    let why = names::qualified_name(name);
    let malformed = !why.is_empty();
    check::named(errors, "", name, why);
    let known = is_standard_for_quota(name) || name == "storage";
    if !malformed && !name.contains('/') && !known {
        errors.invalid("", name, "must be a standard resource type or fully qualified");
    }
}

/// A name of something that containers use.
pub(crate) fn container_name(errors: &mut Errors, name: &str) {
    self::name(errors, name);
    if !name.contains('/') {
        if !COMPUTE.contains(&name) && !name.starts_with("hugepages-") {
            errors.invalid("", name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.invalid("", name, "doesn't follow extended resource name standard");
    }
}

/// A name and an amount that a quota may hold.
pub(crate) fn quota(errors: &mut Errors, name: &str, amount: &Text) {
    self::name(errors, name);
    if !name.contains('/') && !is_standard_for_quota(name) {
        errors.invalid("", name, "must be a standard resource for quota");
    }
    match Quantity::parse(&amount.0) {
        Err(why) => errors.invalid("", &amount.0, why.to_string()),
        Ok(amount) => {
            if amount.is_negative() {
                errors.invalid("", &amount.to_string(), check::NOT_NEGATIVE);
            }
            if amount.is_fractional() && (COUNTS.contains(&name) || is_extended(name)) {
                errors.invalid("", &amount.to_string(), "must be an integer");
            }
        }
    }
}
