//! How much of a device a request takes, where devices have capacity.
//!
//! Follows upstream's `structured/internal/.../consumable_capacity.go` (KEP-5075): what a request asks for is rounded up to
//! what the device gives out, and what it does not mention it gets by default, or whole.

use std::collections::BTreeMap;

use k8s_openapi::api::resource::v1::CapacityRequestPolicy;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use skiff_api::quantity::Quantity;

use super::device::Device;

/// Amounts by the names that the device gives its capacities.
pub(crate) type Amounts = BTreeMap<String, Quantity>;

/// A name with its domain, which is the driver's if it has none.
pub(crate) fn whole_name(driver: &str, name: &str) -> String {
    if name.contains('/') { name.to_owned() } else { format!("{driver}/{name}") }
}

/// What a request for these amounts takes of the device; nothing if the device does not give that, even if it is free.
pub(crate) fn taken(asked: &BTreeMap<String, Text>, device: &Device) -> Option<Amounts> {
    let none = BTreeMap::new();
    let capacity = device.spec.capacity.as_ref().unwrap_or(&none);
    let same = |one: &str, other: &str| whole_name(&device.driver, one) == whole_name(&device.driver, other);
    if !asked.keys().all(|name| capacity.keys().any(|own| same(own, name))) {
        return None;
    }
    let mut amounts = Amounts::new();
    for (name, own) in capacity {
        let total = Quantity::try_from(&own.value).ok()?;
        let asked = asked.iter().find(|(asked, _)| same(asked, name));
        let asked = asked.map(|(_, amount)| Quantity::try_from(amount)).transpose().ok()?;
        let amount = given(asked, total, own.request_policy.as_ref())?;
        if amount > total || amount.is_negative() {
            return None;
        }
        amounts.insert(name.clone(), amount);
    }
    Some(amounts)
}

/// What is given for what is asked; nothing if the policy has no such amount.
fn given(
    asked: Option<Quantity>,
    total: Quantity,
    policy: Option<&CapacityRequestPolicy>,
) -> Option<Quantity> {
    let read = |text: &Text| Quantity::try_from(text).ok();
    let Some(asked) = asked else {
        return policy.and_then(|policy| policy.default.as_ref()).map_or(Some(total), read);
    };
    let Some(policy) = policy else { return Some(asked) };
    if let Some(range) = &policy.valid_range {
        let least = read(&range.min)?;
        let most = range.max.as_ref().map(read);
        let amount = match range.step.as_ref().map(read) {
            _ if asked <= least => least,
            Some(step) => asked.stepped(least, step?),
            None => asked,
        };
        return match most {
            Some(most) => (amount <= most?).then_some(amount),
            None => Some(amount),
        };
    }
    match policy.valid_values.as_deref().unwrap_or_default() {
        [] => Some(asked),
        values => values.iter().filter_map(read).find(|value| asked <= *value),
    }
}
