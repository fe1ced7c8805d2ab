//! What claims, their templates and device classes have in common: requests, selectors, configuration.

use std::collections::HashSet;

use k8s_openapi::api::resource::v1::{
    DeviceClaim, DeviceRequest, DeviceSelector, DeviceToleration, OpaqueDeviceConfiguration,
};
use skiff_api::cel::device::Selector;
use skiff_api::{Errors, names};

use crate::kinds::check;

const MAX: usize = 32;
const MAX_ALTERNATIVES: usize = 8;
const MAX_EXPRESSION: usize = 10 * 1024;
const MAX_PARAMETERS: usize = 10 * 1024;

/// A list of at most `max`.
pub(super) fn at_most(errors: &mut Errors, field: &str, count: usize, max: usize) {
    if count > max {
        errors.too_many(field, count, max);
    }
}

/// The name of a driver, as CSI drivers have them.
pub(super) fn driver(errors: &mut Errors, field: &str, name: &str) {
    match name {
        "" => errors.required(field, ""),
        name => {
            if name.len() > 63 {
                errors.too_long(field, 63);
            }
            check::named(errors, field, name, names::dns1123_subdomain(&name.to_lowercase()));
        }
    }
}

/// A name that must be there and be a label.
pub(super) fn label(errors: &mut Errors, field: &str, name: &str) {
    match name {
        "" => errors.required(field, ""),
        name => check::named(errors, field, name, names::dns1123_label(name)),
    }
}

pub(super) fn selectors(errors: &mut Errors, selectors: Option<&Vec<DeviceSelector>>) {
    let selectors = selectors.map(Vec::as_slice).unwrap_or_default();
    at_most(errors, "selectors", selectors.len(), MAX);
    for (index, selector) in selectors.iter().enumerate() {
        errors.item("selectors", index, |errors| {
            let expression = selector.cel.as_ref().map(|cel| cel.expression.as_str());
            match expression {
                None => errors.required("cel", ""),
                Some("") => errors.required("cel.expression", ""),
                Some(long) if long.len() > MAX_EXPRESSION => {
                    errors.too_long("cel.expression", MAX_EXPRESSION);
                }
                Some(expression) => {
                    if let Err(why) = Selector::compile(expression) {
                        errors.invalid("cel.expression", expression, why);
                    }
                }
            }
        });
    }
}

pub(super) fn opaque(errors: &mut Errors, opaque: Option<&OpaqueDeviceConfiguration>) {
    let Some(opaque) = opaque else {
        errors.required("opaque", "");
        return;
    };
    errors.at("opaque", |errors| {
        driver(errors, "driver", &opaque.driver);
        let parameters = opaque.parameters.0.to_string();
        if parameters == "null" {
            errors.required("parameters", "");
        } else if parameters.len() > MAX_PARAMETERS {
            errors.too_long("parameters", MAX_PARAMETERS);
        } else if !opaque.parameters.0.is_object() {
            errors.invalid("parameters", "<value omitted>", "must be a valid JSON object");
        }
    });
}

fn mode(errors: &mut Errors, mode: Option<&String>, count: Option<i64>) {
    let count = count.unwrap_or(0);
    match mode.map(String::as_str).unwrap_or_default() {
        "All" if count != 0 => {
            errors.invalid("count", &count, "must not be specified when allocationMode is 'All'");
        }
        "ExactCount" if count <= 0 => errors.invalid("count", &count, "must be greater than zero"),
        "All" | "ExactCount" => {}
        other => errors.not_supported("allocationMode", other, &["All", "ExactCount"]),
    }
}

fn tolerations(errors: &mut Errors, tolerations: Option<&Vec<DeviceToleration>>) {
    for (index, toleration) in tolerations.into_iter().flatten().enumerate() {
        errors.item("tolerations", index, |errors| {
            let key = check::given(toleration.key.as_ref());
            if let Some(key) = key {
                check::named(errors, "key", key, names::qualified_name(key));
            }
            match toleration.operator.as_deref().unwrap_or_default() {
                "Exists" => {
                    if let Some(value) = check::given(toleration.value.as_ref()) {
                        errors.invalid("value", value, "must be empty for operator `Exists`");
                    }
                }
                "Equal" => {
                    if let Some(value) = &toleration.value {
                        check::named(errors, "value", value, names::label_value(value));
                    }
                }
                "" => errors.required("operator", ""),
                other => errors.not_supported("operator", other, &["Equal", "Exists"]),
            }
            if let Some(effect) = check::given(toleration.effect.as_ref()) {
                check::one_of(errors, "effect", effect, &["NoExecute", "NoSchedule"]);
            }
        });
    }
}

fn class(errors: &mut Errors, name: &str) {
    match name {
        "" => errors.required("deviceClassName", ""),
        name => check::named(errors, "deviceClassName", name, names::dns1123_subdomain(name)),
    }
}

fn request(request: &DeviceRequest, errors: &mut Errors) {
    label(errors, "name", &request.name);
    let alternatives = request.first_available.as_deref().unwrap_or_default();
    match (&request.exactly, alternatives.is_empty()) {
        (None, true) => errors.required("", "exactly one of `exactly` or `firstAvailable` is required"),
        (Some(_), false) => errors.invalid(
            "",
            &serde_json::Value::Null,
            "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set",
        ),
        (Some(exactly), true) => errors.at("exactly", |errors| {
            class(errors, &exactly.device_class_name);
            selectors(errors, exactly.selectors.as_ref());
            mode(errors, exactly.allocation_mode.as_ref(), exactly.count);
            tolerations(errors, exactly.tolerations.as_ref());
        }),
        (None, false) => {
            at_most(errors, "firstAvailable", alternatives.len(), MAX_ALTERNATIVES);
            let mut seen = HashSet::new();
            for (index, one) in alternatives.iter().enumerate() {
                errors.item("firstAvailable", index, |errors| {
                    label(errors, "name", &one.name);
                    if !seen.insert(&one.name) {
                        errors.duplicate("", &one.name);
                    }
                    class(errors, &one.device_class_name);
                    selectors(errors, one.selectors.as_ref());
                    mode(errors, one.allocation_mode.as_ref(), one.count);
                    tolerations(errors, one.tolerations.as_ref());
                });
            }
        }
    }
}

/// Fills in how many devices each request is for.
pub(super) fn set_defaults(claim: &mut DeviceClaim) {
    fn complete(mode: &mut Option<String>, count: &mut Option<i64>) {
        check::default_text(mode, "ExactCount");
        if mode.as_deref() == Some("ExactCount") {
            *count = count.filter(|count| *count != 0).or(Some(1));
        }
    }
    for request in claim.requests.iter_mut().flatten() {
        let mut tolerations = Vec::new();
        if let Some(exactly) = &mut request.exactly {
            complete(&mut exactly.allocation_mode, &mut exactly.count);
            tolerations.extend(exactly.tolerations.iter_mut().flatten());
        }
        for one in request.first_available.iter_mut().flatten() {
            complete(&mut one.allocation_mode, &mut one.count);
            tolerations.extend(one.tolerations.iter_mut().flatten());
        }
        tolerations.into_iter().for_each(|it| check::default_text(&mut it.operator, "Equal"));
    }
}

/// Checks the claim at the present place.
pub(super) fn validate(claim: &DeviceClaim, errors: &mut Errors) {
    let requests = claim.requests.as_deref().unwrap_or_default();
    let constraints = claim.constraints.as_deref().unwrap_or_default();
    let config = claim.config.as_deref().unwrap_or_default();
    at_most(errors, "requests", requests.len(), MAX);
    at_most(errors, "constraints", constraints.len(), MAX);
    at_most(errors, "config", config.len(), MAX);
    let mut known = HashSet::new();
    for (index, one) in requests.iter().enumerate() {
        errors.item("requests", index, |errors| {
            request(one, errors);
            if !known.insert(one.name.clone()) {
                errors.duplicate("", &one.name);
            }
        });
    }
    for one in requests {
        let alternatives = one.first_available.iter().flatten();
        known.extend(alternatives.map(|alternative| format!("{}/{}", one.name, alternative.name)));
    }
    let named = |errors: &mut Errors, names: Option<&Vec<String>>| {
        for (index, name) in
            names.into_iter().flatten().enumerate().filter(|(_, name)| !known.contains(*name))
        {
            let why = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
            errors.invalid(&format!("requests[{index}]"), name, why);
        }
    };
    for (index, constraint) in constraints.iter().enumerate() {
        errors.item("constraints", index, |errors| {
            named(errors, constraint.requests.as_ref());
            match (&constraint.match_attribute, &constraint.distinct_attribute) {
                (None, None) => {
                    errors.required("", "one of `matchAttribute` or `distinctAttribute` is required")
                }
                (Some(name), None) if !name.contains('/') => {
                    errors.invalid("matchAttribute", name, "must include a domain");
                }
                _ => {}
            }
        });
    }
    for (index, one) in config.iter().enumerate() {
        errors.item("config", index, |errors| {
            named(errors, one.requests.as_ref());
            opaque(errors, one.opaque.as_ref());
        });
    }
}
