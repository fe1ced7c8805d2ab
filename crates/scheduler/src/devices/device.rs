//! One device as the search sees it, and from which nodes it can be used.

use std::sync::Arc;

use k8s_openapi::api::core::v1::NodeSelector;
use k8s_openapi::api::resource::v1::{Device as Spec, DeviceAttribute};
use parking_lot::Mutex;
use skiff_api::cel::device::Device as Seen;
use skiff_api::pod::affinity;

use crate::snapshot::Node;

/// So many verdicts of selectors are remembered for a device.
const REMEMBERED: usize = 64;

/// A device.
#[derive(Debug)]
pub(crate) struct Device {
    /// `driver/pool/name`: neither driver nor name has a slash, so no two devices share one.
    pub(crate) id: Arc<str>,
    pub(crate) driver: Arc<str>,
    /// The name of its pool, which may be that of a pool of another driver.
    pub(crate) pool: Arc<str>,
    pub(crate) reach: Reach,
    pub(crate) spec: Spec,
    /// What selectors, by their number, said of it.
    verdicts: Mutex<Vec<(u64, Result<bool, String>)>>,
}

/// From where a device can be used.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reach {
    Node(Arc<str>),
    All,
    Selected(Arc<NodeSelector>),
    /// Something that a later version of the API knows.
    Unknown,
}

/// The id of a device.
pub(crate) fn id(driver: &str, pool: &str, device: &str) -> Arc<str> {
    format!("{driver}/{pool}/{device}").into()
}

impl Device {
    pub(crate) fn new(driver: &Arc<str>, pool: &Arc<str>, reach: Reach, spec: Spec) -> Self {
        let id = id(driver, pool, &spec.name);
        let (driver, pool) = (Arc::clone(driver), Arc::clone(pool));
        Self { id, driver, pool, reach, spec, verdicts: Mutex::default() }
    }

    /// Whether more than one request may have it at a time, each a part of its capacity.
    pub(crate) fn is_shared(&self) -> bool {
        self.spec.allow_multiple_allocations == Some(true)
    }

    /// Whether somebody must make it ready before a pod that has it is bound.
    pub(crate) fn must_be_made_ready(&self) -> bool {
        self.spec.binding_conditions.as_ref().is_some_and(|conditions| !conditions.is_empty())
    }

    /// What the selector with a number says of it; asked only once.
    pub(crate) fn verdict(
        &self,
        number: u64,
        ask: impl FnOnce(&Seen<'_>) -> Result<bool, String>,
    ) -> Result<bool, String> {
        let mut verdicts = self.verdicts.lock();
        if let Some((_, verdict)) = verdicts.iter().find(|(known, _)| *known == number) {
            return verdict.clone();
        }
        let verdict = ask(&Seen {
            driver: &self.driver,
            attributes: self.spec.attributes.as_ref(),
            capacity: self.spec.capacity.as_ref(),
            allow_multiple_allocations: self.is_shared(),
        });
        if verdicts.len() >= REMEMBERED {
            verdicts.clear();
        }
        verdicts.push((number, verdict.clone()));
        verdict
    }

    /// An attribute by its whole name; the driver may leave its own domain away.
    pub(crate) fn attribute(&self, name: &str) -> Option<&DeviceAttribute> {
        let attributes = self.spec.attributes.as_ref()?;
        attributes.get(name).or_else(|| {
            let (domain, id) = name.split_once('/')?;
            (*domain == *self.driver).then(|| attributes.get(id)).flatten()
        })
    }
}

impl Reach {
    /// What a slice, or a device of it, says.
    pub(crate) fn of(node: Option<&String>, all: Option<bool>, selector: Option<&NodeSelector>) -> Self {
        match (node.filter(|name| !name.is_empty()), all, selector) {
            (Some(name), ..) => Self::Node(name.as_str().into()),
            (None, Some(true), _) => Self::All,
            (None, _, Some(selector)) => Self::Selected(Arc::new(selector.clone())),
            _ => Self::Unknown,
        }
    }

    /// Whether it can be used from the node.
    pub(crate) fn covers(&self, node: &Node) -> bool {
        match self {
            Self::Node(name) => *name == node.name,
            Self::All => true,
            Self::Selected(selector) => node.as_target(|target| affinity::matches(selector, target)),
            Self::Unknown => false,
        }
    }
}
