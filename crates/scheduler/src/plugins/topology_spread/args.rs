//! What a profile says about spreading: constraints for pods that bring none.

use k8s_openapi::api::core::v1::TopologySpreadConstraint;
use serde::Deserialize;
use serde_json::Value;
use skiff_api::{Errors, names};

use super::{HARD, SOFT};
use crate::config;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Args {
    default_constraints: Vec<TopologySpreadConstraint>,
    defaulting_type: Option<String>,
}

/// The profile's constraints; absent: the system's.
pub(super) fn defaults(given: &Value, errors: &mut Errors) -> Option<Vec<TopologySpreadConstraint>> {
    let args: Args = config::args(given, errors);
    let list = args.default_constraints;
    match args.defaulting_type.as_deref().unwrap_or("System") {
        "System" => {
            if !list.is_empty() {
                errors.invalid("defaultingType", "System", "when .defaultConstraints are not empty");
            }
            return None;
        }
        "List" => {}
        other => errors.not_supported("defaultingType", other, &["System", "List"]),
    }
    for (index, given) in list.iter().enumerate() {
        errors.item("defaultConstraints", index, |errors| check(given, errors));
        let same = |other: &&TopologySpreadConstraint| {
            other.topology_key == given.topology_key && other.when_unsatisfiable == given.when_unsatisfiable
        };
        if list[..index].iter().any(|other| same(&other)) {
            let value = format!("{{{}, {}}}", given.topology_key, given.when_unsatisfiable);
            errors.duplicate(&format!("defaultConstraints[{index}]"), &value);
        }
    }
    Some(list)
}

fn check(given: &TopologySpreadConstraint, errors: &mut Errors) {
    if given.max_skew <= 0 {
        errors.invalid("maxSkew", &given.max_skew, "not in valid range (0, inf)");
    }
    if given.topology_key.is_empty() {
        errors.required("topologyKey", "can not be empty");
    } else if let Some(why) = names::qualified_name(&given.topology_key).into_iter().next() {
        errors.invalid("topologyKey", &given.topology_key, why);
    }
    match given.when_unsatisfiable.as_str() {
        "" => errors.required("whenUnsatisfiable", "can not be empty"),
        HARD | SOFT => {}
        other => errors.not_supported("whenUnsatisfiable", other, &[HARD, SOFT]),
    }
    if given.label_selector.is_some() {
        errors.forbidden(
            "labelSelector",
            "constraint must not define a selector, as they deduced for each pod",
        );
    }
}
