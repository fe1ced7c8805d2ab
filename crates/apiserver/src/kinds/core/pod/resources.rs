//! Requests and limits.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use skiff_api::quantity::Quantity;
use skiff_api::{Errors, names};

use crate::kinds::amounts::may_overcommit;
use crate::kinds::check;

type Amounts = BTreeMap<String, Text>;

fn is_standard(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-")
}

/// Checks limits, requests, and the one against the other.
pub(crate) fn validate(resources: &ResourceRequirements, errors: &mut Errors) {
    let empty = Amounts::new();
    let limits = resources.limits.as_ref().unwrap_or(&empty);
    let requests = resources.requests.as_ref().unwrap_or(&empty);
    amounts("limits", limits, errors);
    amounts("requests", requests, errors);
    for (name, request) in requests {
        let Ok(amount) = Quantity::parse(&request.0) else { continue };
        match limits.get(name).map(|limit| Quantity::parse(&limit.0)) {
            Some(Ok(limit)) if amount != limit && !may_overcommit(name) => {
                let why = format!("must be equal to {name} limit of {limit}");
                errors.invalid("requests", &amount.to_string(), why);
            }
            Some(Ok(limit)) if amount > limit => {
                let why = format!("must be less than or equal to {name} limit of {limit}");
                errors.invalid("requests", &amount.to_string(), why);
            }
            None if !may_overcommit(name) => {
                errors.required("limits", "Limit must be set for non overcommitable resources");
            }
            _ => {}
        }
    }
}

/// Checks the amounts of the map `field`: names, form, sign.
pub(super) fn amounts(field: &str, amounts: &Amounts, errors: &mut Errors) {
    for (name, amount) in amounts {
        errors.entry(field, name, |errors| {
            check::named(errors, "", name, names::qualified_name(name));
            if !name.contains('/') && !is_standard(name) {
                errors.invalid("", name, "must be a standard resource type or fully qualified");
                errors.invalid("", name, "must be a standard resource for containers");
            }
            match Quantity::parse(&amount.0) {
                Err(why) => errors.invalid("", &amount.0, why.to_string()),
                Ok(quantity) if quantity.is_negative() => {
                    errors.invalid("", &quantity.to_string(), check::NOT_NEGATIVE);
                }
                Ok(quantity) if quantity.is_fractional() && !may_overcommit(name) => {
                    errors.invalid("", &quantity.to_string(), "must be an integer");
                }
                Ok(_) => {}
            }
        });
    }
}
