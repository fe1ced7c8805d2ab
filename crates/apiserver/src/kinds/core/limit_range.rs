//! LimitRange: what containers, pods and claims of a namespace may ask for, and what they get if they do not ask.
//!
//! The `LimitRanger` admission plugin applies it.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{LimitRange, LimitRangeItem};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use skiff_api::quantity::Quantity;
use skiff_api::{Errors, names};

use crate::kinds::{Column, Kind, Row, amounts, check, row};

/// The row of LimitRange.
pub(crate) const KIND: Row = Row { short: &["limits"], ..row::<LimitRange>() };

const CONTAINER: &str = "Container";
const POD: &str = "Pod";
const CLAIM: &str = "PersistentVolumeClaim";

type List = BTreeMap<String, Text>;

impl Kind for LimitRange {
    fn set_defaults(&mut self) {
        let limits = self.spec.iter_mut().flat_map(|spec| &mut spec.limits);
        for limit in limits.filter(|limit| limit.type_ == CONTAINER) {
            // A limit follows from the maximum, a request from the limit, else from the minimum.
            fill(&mut limit.default, limit.max.as_ref());
            let default = limit.default.clone();
            fill(&mut limit.default_request, default.as_ref());
            fill(&mut limit.default_request, limit.min.as_ref());
        }
    }

    fn validate(&self, errors: &mut Errors) {
        let mut seen = BTreeSet::new();
        let limits = self.spec.iter().flat_map(|spec| &spec.limits);
        errors.at("spec", |errors| {
            for (index, limit) in limits.enumerate() {
                errors.item("limits", index, |errors| {
                    type_name(errors, &limit.type_);
                    if !seen.insert(limit.type_.as_str()) {
                        errors.duplicate("type", &limit.type_);
                    }
                    item(errors, limit);
                });
            }
        });
    }

    fn columns() -> Vec<Column<Self>> {
        vec![Column::<Self>::text("Created At", |range, _| {
            range
                .metadata
                .creation_timestamp
                .as_ref()
                .map_or_else(|| "<unknown>".into(), |time| time.0.to_string().into())
        })]
    }
}

fn fill(slot: &mut Option<List>, from: Option<&List>) {
    for (name, amount) in from.into_iter().flatten() {
        slot.get_or_insert_default().entry(name.clone()).or_insert_with(|| amount.clone());
    }
}

fn type_name(errors: &mut Errors, name: &str) {
    let why = names::qualified_name(name);
    if why.is_empty() && !name.contains('/') && ![POD, CONTAINER, CLAIM].contains(&name) {
        errors.invalid("type", name, "must be a standard limit type or fully qualified");
    }
    check::named(errors, "type", name, why);
}

fn item(errors: &mut Errors, limit: &LimitRangeItem) {
    let lists = [
        ("max", &limit.max),
        ("min", &limit.min),
        ("default", &limit.default),
        ("defaultRequest", &limit.default_request),
        ("maxLimitRequestRatio", &limit.max_limit_request_ratio),
    ];
    let mut keys = BTreeSet::new();
    for (field, list) in lists {
        if field.starts_with("default") && limit.type_ == POD {
            if list.as_ref().is_some_and(|list| !list.is_empty()) {
                errors.forbidden(field, "may not be specified when `type` is 'Pod'");
            }
            continue;
        }
        for (name, amount) in list.iter().flatten() {
            errors.entry(field, name, |errors| {
                match limit.type_.as_str() {
                    POD | CONTAINER => amounts::container_name(errors, name),
                    _ => amounts::name(errors, name),
                }
                if let Err(why) = Quantity::parse(&amount.0) {
                    errors.invalid("", &amount.0, why.to_string());
                }
            });
            keys.insert(name.as_str());
        }
    }
    let storage = |list: &Option<List>| list.as_ref().is_some_and(|list| list.contains_key("storage"));
    if limit.type_ == CLAIM && !storage(&limit.min) && !storage(&limit.max) {
        errors.required(
            "limits",
            "either minimum or maximum storage value is required, but neither was provided",
        );
    }
    for key in keys {
        relations(errors, limit, key);
    }
}

/// How the amounts of one resource must stand to each other.
fn relations(errors: &mut Errors, limit: &LimitRangeItem, key: &str) {
    let of = |list: &Option<List>| list.as_ref()?.get(key).and_then(|text| Quantity::parse(&text.0).ok());
    let (min, max, ratio) = (of(&limit.min), of(&limit.max), of(&limit.max_limit_request_ratio));
    let is_pod = limit.type_ == POD;
    let default = of(&limit.default).filter(|_| !is_pod);
    let request = of(&limit.default_request).filter(|_| !is_pod);
    let mut ordered = |field: &str,
                       shown: Option<Quantity>,
                       low: (&str, Option<Quantity>),
                       high: (&str, Option<Quantity>)| {
        if let (Some(shown), Some(lower), Some(higher)) = (shown, low.1, high.1)
            && lower > higher
        {
            let why = format!("{} value {lower} is greater than {} value {higher}", low.0, high.0);
            errors.entry(field, key, |errors| errors.invalid("", &shown.to_string(), why));
        }
    };
    ordered("min", min, ("min", min), ("max", max));
    ordered("defaultRequest", request, ("min", min), ("default request", request));
    ordered("defaultRequest", request, ("default request", request), ("max", max));
    ordered("defaultRequest", request, ("default request", request), ("default limit", default));
    ordered("default", min, ("min", min), ("default", default));
    ordered("default", max, ("default", default), ("max", max));
    if let Some(ratio) = ratio {
        errors.entry("maxLimitRequestRatio", key, |errors| {
            if ratio < Quantity::units(1) {
                errors.invalid("", &ratio.to_string(), format!("ratio {ratio} is less than 1"));
            }
            if let (Some(min), Some(max)) = (min, max) {
                let greatest = max.as_float() / min.as_float();
                if ratio.as_float() > greatest {
                    let why = format!("ratio {ratio} is greater than max/min = {greatest:.6}");
                    errors.invalid("", &ratio.to_string(), why);
                }
            }
        });
    }
    if let (Some(default), Some(request)) = (default, request)
        && default != request
        && !amounts::may_overcommit(key)
    {
        let why = format!("default value {default} must equal to defaultRequest value {request} in {key}");
        errors.entry("defaultRequest", key, |errors| errors.invalid("", &request.to_string(), why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{created, faults};

    fn range(limit: &str) -> String {
        format!("{{metadata: {{name: a}}, spec: {{limits: [{limit}]}}}}")
    }

    #[test]
    fn containers_get_limits_from_the_maximum_and_requests_from_limits() {
        let range: LimitRange =
            created(&range("{type: Container, max: {cpu: '2'}, min: {cpu: 1, memory: 1Mi}}"));
        let limit = &range.spec.unwrap().limits[0];
        assert_eq!(limit.default.as_ref().unwrap()["cpu"].0, "2");
        assert_eq!(limit.default_request.as_ref().unwrap()["cpu"].0, "2");
        assert_eq!(limit.default_request.as_ref().unwrap()["memory"].0, "1Mi");
    }

    #[test]
    fn amounts_must_stand_in_order() {
        for (limit, expected) in [
            (
                "{type: Container, max: {cpu: '1'}, min: {cpu: '2'}, default: {cpu: '2'}, defaultRequest: {cpu: '2'}}",
                "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1",
            ),
            (
                "{type: Container, default: {cpu: 100m}, defaultRequest: {cpu: 200m}}",
                "spec.limits[0].defaultRequest[cpu]: Invalid value: \"200m\": default request value 200m is greater than default limit value 100m",
            ),
            (
                "{type: Pod, max: {cpu: '4'}, min: {cpu: '2'}, maxLimitRequestRatio: {cpu: '3'}}",
                "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"3\": ratio 3 is greater than max/min = 2.000000",
            ),
            (
                "{type: Pod, default: {cpu: '4'}}",
                "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
            ),
            (
                "{type: PersistentVolumeClaim, max: {cpu: '1'}}",
                "spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was provided",
            ),
            (
                "{type: Thing}",
                "spec.limits[0].type: Invalid value: \"Thing\": must be a standard limit type or fully qualified",
            ),
            (
                "{type: Container, max: {pods: 1}}",
                "spec.limits[0].max[pods]: Invalid value: \"pods\": must be a standard resource for containers",
            ),
        ] {
            assert_eq!(faults::<LimitRange>(&range(limit))[0], expected);
        }
    }
}
