//! What claims ask for, made ready for the search: classes looked up, selectors compiled.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::resource::v1::{
    CapacityRequirements, DeviceClass, DeviceRequest, DeviceSelector, DeviceToleration, ExactDeviceRequest,
    ResourceClaim,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::constraint::Constraint;
use super::device::Device;
use super::rules::{Rule, Rules};

/// So many devices fit into a claim's status (upstream's `AllocationResultsMaxSize`).
pub(crate) const MOST: usize = 32;

/// A claim that needs devices.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) object: Arc<ResourceClaim>,
    /// Requests in order, each with its alternatives, the most wanted first.
    pub(crate) requests: Vec<Vec<Ask>>,
    pub(crate) constraints: Vec<Constraint>,
}

/// A request, or one alternative of it.
#[derive(Debug)]
pub(crate) struct Ask {
    /// Its name, `request/alternative` for an alternative.
    pub(crate) name: String,
    /// The request's name.
    pub(crate) parent: String,
    pub(crate) class: Arc<DeviceClass>,
    pub(crate) mode: Mode,
    /// Whether it only looks after devices that others may have.
    pub(crate) admin: bool,
    pub(crate) tolerations: Vec<DeviceToleration>,
    pub(crate) capacity: BTreeMap<String, Quantity>,
    /// Selectors of class and request, with who says so.
    selectors: Vec<(String, Arc<Rule>)>,
}

/// How many devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Count(usize),
    All,
}

/// Makes claims ready for the search.
///
/// # Errors
/// Why no node can give them devices.
pub(crate) fn prepare(
    claims: &[Arc<ResourceClaim>],
    class: &dyn Fn(&str) -> Option<Arc<DeviceClass>>,
    rules: &Rules,
) -> Result<Vec<Claim>, String> {
    claims.iter().map(|claim| Claim::of(claim, class, rules)).collect()
}

/// A claim's key, for messages.
pub(crate) fn key(claim: &ResourceClaim) -> Arc<str> {
    let meta = &claim.metadata;
    skiff_api::meta::key(meta.namespace.as_deref(), meta.name.as_deref().unwrap_or_default())
}

impl Claim {
    fn of(
        object: &Arc<ResourceClaim>,
        class: &dyn Fn(&str) -> Option<Arc<DeviceClass>>,
        rules: &Rules,
    ) -> Result<Self, String> {
        let key = key(object);
        let devices = object.spec.as_ref().and_then(|spec| spec.devices.as_ref());
        let requests = devices.and_then(|devices| devices.requests.as_deref()).unwrap_or_default();
        let constraints = devices.and_then(|devices| devices.constraints.as_deref()).unwrap_or_default();
        let requests = requests.iter().map(|request| asks(request, &key, class, rules));
        let requests: Vec<Vec<Ask>> = requests.collect::<Result<_, String>>()?;
        let constraint = |(n, given)| {
            let why =
                || format!("claim {key}, constraint #{n}: empty constraint (unsupported constraint type?)");
            Constraint::of(given).ok_or_else(why)
        };
        let constraints = constraints.iter().enumerate().map(constraint).collect::<Result<_, String>>()?;
        let fewest = |alternatives: &Vec<Ask>| alternatives.iter().map(Ask::fewest).min().unwrap_or(0);
        let least: usize = requests.iter().map(fewest).fold(0, usize::saturating_add);
        if least > MOST {
            return Err(format!(
                "claim {key}: number of requested devices {least} exceeds the claim limit of {MOST}"
            ));
        }
        Ok(Self { object: Arc::clone(object), requests, constraints })
    }

    pub(crate) fn key(&self) -> Arc<str> {
        key(&self.object)
    }
}

fn asks(
    request: &DeviceRequest,
    claim: &str,
    class: &dyn Fn(&str) -> Option<Arc<DeviceClass>>,
    rules: &Rules,
) -> Result<Vec<Ask>, String> {
    if let Some(exactly) = &request.exactly {
        return Ok(vec![Ask::of(&request.name, &request.name, exactly, claim, class, rules)?]);
    }
    let alternatives = request.first_available.as_deref().unwrap_or_default();
    if alternatives.is_empty() {
        return Err(format!("resource claim {claim}, request {}: unknown request type", request.name));
    }
    let alternatives = alternatives.iter().map(|one| {
        let exactly = ExactDeviceRequest {
            admin_access: None,
            allocation_mode: one.allocation_mode.clone(),
            capacity: one.capacity.clone(),
            count: one.count,
            device_class_name: one.device_class_name.clone(),
            selectors: one.selectors.clone(),
            tolerations: one.tolerations.clone(),
            ..ExactDeviceRequest::default()
        };
        Ask::of(&request.name, &format!("{}/{}", request.name, one.name), &exactly, claim, class, rules)
    });
    alternatives.collect()
}

impl Ask {
    fn of(
        parent: &str,
        name: &str,
        request: &ExactDeviceRequest,
        claim: &str,
        class: &dyn Fn(&str) -> Option<Arc<DeviceClass>>,
        rules: &Rules,
    ) -> Result<Self, String> {
        let wanted = &request.device_class_name;
        let Some(class) = class(wanted) else {
            return Err(format!("request {name}: device class {wanted} does not exist"));
        };
        let mode = match (request.allocation_mode.as_deref(), request.count) {
            (Some("All"), _) => Mode::All,
            (None | Some("" | "ExactCount"), count) => {
                Mode::Count(usize::try_from(count.unwrap_or(1)).unwrap_or(0))
            }
            (Some(other), _) => {
                return Err(format!("claim {claim}, request {name}: unsupported count mode {other}"));
            }
        };
        let mut selectors = Vec::new();
        let mut add = |who: &str, given: Option<&Vec<DeviceSelector>>| {
            for (n, selector) in given.into_iter().flatten().enumerate() {
                let who = format!("{who}: selector #{n}");
                let Some(cel) = &selector.cel else {
                    return Err(format!("{who}: CEL expression empty (unsupported selector type?)"));
                };
                selectors.push((who, rules.compiled(&cel.expression)));
            }
            Ok(())
        };
        add(&format!("class {wanted}"), class.spec.as_ref().and_then(|spec| spec.selectors.as_ref()))?;
        add(&format!("claim {claim}"), request.selectors.as_ref())?;
        let capacity =
            request.capacity.as_ref().and_then(|CapacityRequirements { requests }| requests.clone());
        Ok(Self {
            name: name.to_owned(),
            parent: parent.to_owned(),
            class,
            mode,
            admin: request.admin_access == Some(true),
            tolerations: request.tolerations.clone().unwrap_or_default(),
            capacity: capacity.unwrap_or_default(),
            selectors,
        })
    }

    /// The fewest devices that it is content with, as far as that is known without a node.
    fn fewest(&self) -> usize {
        match self.mode {
            Mode::Count(count) => count,
            Mode::All => 1,
        }
    }

    /// Whether the device is one of those that it means.
    ///
    /// # Errors
    /// Why that cannot be told.
    pub(crate) fn means(&self, device: &Device) -> Result<bool, String> {
        for (who, rule) in &self.selectors {
            if !rule.means(device).map_err(|why| format!("{who}: {why}"))? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
