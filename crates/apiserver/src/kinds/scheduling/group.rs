//! What pod groups and the templates they are made from have in common.
//!
//! Follows upstream's `pkg/apis/scheduling/v1beta1/zz_generated.validations.go`.

use k8s_openapi::api::scheduling::v1beta1::{DisruptionMode, PodGroupSchedulingPolicy};
use serde_json::Value;
use skiff_api::{Errors, names};

use crate::kinds::check;

/// The most that a group's priority may be.
const HIGHEST: i32 = 1_000_000_000;

/// A choice of which exactly one must be made.
pub(super) fn one_of_two(errors: &mut Errors, (first, one): (&str, bool), (second, other): (&str, bool)) {
    match (one, other) {
        (false, false) => errors.invalid("", "", format!("must specify one of: `{first}`, `{second}`")),
        (true, true) => {
            let why =
                format!("exactly one of `{first}`, `{second}` is required, but multiple fields are set");
            errors.invalid("", &format!("{{`{first}`, `{second}`}}"), why);
        }
        _ => {}
    }
}

/// A name that must be there and be a DNS label.
pub(super) fn label(errors: &mut Errors, field: &str, name: &str) {
    match name {
        "" => errors.required(field, ""),
        name => check::named(errors, field, name, names::dns1123_label(name)),
    }
}

/// A name that must be there and be a DNS subdomain.
pub(super) fn subdomain(errors: &mut Errors, field: &str, name: &str) {
    match name {
        "" => errors.required(field, ""),
        name => check::named(errors, field, name, names::dns1123_subdomain(name)),
    }
}

/// How a group's pods are scheduled.
pub(super) fn policy(errors: &mut Errors, policy: &PodGroupSchedulingPolicy) {
    errors.at("schedulingPolicy", |errors| {
        one_of_two(errors, ("basic", policy.basic.is_some()), ("gang", policy.gang.is_some()));
        match policy.gang.as_ref().map(|gang| gang.min_count) {
            Some(0) => errors.required("gang.minCount", ""),
            Some(count) if count < 0 => {
                errors.invalid("gang.minCount", &count, "must be greater than or equal to 1");
            }
            _ => {}
        }
    });
}

/// The policy stays the same; how many pods a gang needs may change.
pub(super) fn policy_stays(
    errors: &mut Errors,
    new: &PodGroupSchedulingPolicy,
    old: &PodGroupSchedulingPolicy,
) {
    errors.immutable("schedulingPolicy.basic", &new.basic, &old.basic);
    let why = match (&old.gang, &new.gang) {
        (None, Some(_)) => "field cannot be set once created",
        (Some(_), None) => "field cannot be cleared once set",
        _ => return,
    };
    errors.invalid("schedulingPolicy.gang", &Value::Null, why);
}

/// Whether a group's pods are disrupted one by one or together, and how much they matter.
pub(super) fn standing(
    errors: &mut Errors,
    mode: Option<&DisruptionMode>,
    class: Option<&String>,
    priority: Option<i32>,
) {
    if let Some(mode) = mode {
        errors.at("disruptionMode", |errors| {
            one_of_two(errors, ("single", mode.single.is_some()), ("all", mode.all.is_some()));
        });
    }
    if let Some(class) = check::given(class) {
        check::named(errors, "priorityClassName", class, names::dns1123_subdomain(class));
    }
    if let Some(priority) = priority.filter(|priority| *priority > HIGHEST) {
        errors.invalid("priority", &priority, format!("must be less than or equal to {HIGHEST}"));
    }
}
