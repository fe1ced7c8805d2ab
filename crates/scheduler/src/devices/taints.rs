//! Taints of devices: those that drivers publish, those that rules add, and who tolerates them.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Taint, Toleration};
use k8s_openapi::api::resource::v1::{DeviceTaint, DeviceTaintRuleSpec, DeviceToleration};
use skiff_api::pod::tolerations::{NO_EXECUTE, NO_SCHEDULE, tolerates};

use super::device::Device;

/// The rules that add taints, by name.
#[derive(Debug, Default)]
pub(crate) struct TaintRules(BTreeMap<Arc<str>, DeviceTaintRuleSpec>);

impl TaintRules {
    /// Takes in a rule as it now is, or forgets it.
    pub(crate) fn put(&mut self, name: Arc<str>, rule: Option<DeviceTaintRuleSpec>) {
        match rule {
            Some(rule) => self.0.insert(name, rule),
            None => self.0.remove(&name),
        };
    }

    /// Whether a taint of the device that none of these tolerates keeps it from being allocated.
    pub(crate) fn forbid(&self, device: &Device, tolerations: &[DeviceToleration]) -> bool {
        let own = device.spec.taints.iter().flatten();
        let added = self.0.values().filter(|rule| selects(rule, device)).map(|rule| &rule.taint);
        // Effects that are not known, `None` among them, keep nobody away.
        own.chain(added).filter(|taint| [NO_EXECUTE, NO_SCHEDULE].contains(&taint.effect.as_str())).any(
            |taint| {
                let taint = plain(taint);
                !tolerations.iter().any(|toleration| tolerates(&plainly(toleration), &taint))
            },
        )
    }
}

/// A rule without a selector selects nothing, an empty selector everything.
fn selects(rule: &DeviceTaintRuleSpec, device: &Device) -> bool {
    let Some(selector) = &rule.device_selector else { return false };
    let is = |asked: &Option<String>, own: &str| asked.as_deref().is_none_or(|asked| asked == own);
    is(&selector.driver, &device.driver)
        && is(&selector.pool, &device.pool)
        && is(&selector.device, &device.spec.name)
}

/// Devices are tainted as nodes are.
fn plain(taint: &DeviceTaint) -> Taint {
    Taint {
        key: taint.key.clone(),
        value: taint.value.clone(),
        effect: taint.effect.clone(),
        ..Taint::default()
    }
}

fn plainly(toleration: &DeviceToleration) -> Toleration {
    Toleration {
        key: toleration.key.clone(),
        operator: toleration.operator.clone(),
        value: toleration.value.clone(),
        effect: toleration.effect.clone(),
        toleration_seconds: toleration.toleration_seconds,
    }
}
