//! Containers get their devices, and what comes with them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod};

use super::proto::{Allocated, ContainerPreference, ForContainers, Ids, Preference};
use super::table::{Choice, Given, asked, in_order};
use super::{AT_HAND, DevicePlugins, Endpoint};
use crate::plugins::client::Answer;
use crate::plugins::proto::Empty;
use crate::pod::uid;
use crate::runtime::{ContainerConfig, Device, Mount};

/// Upstream waits for ever; others wait for their turn meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);
/// As upstream's `KubeletPreStartContainerRPCTimeoutInSecs`.
const BEGIN: Duration = Duration::from_secs(30);

impl DevicePlugins {
    /// Gives all containers of a pod their devices, those that have them already excepted.
    ///
    /// # Errors
    /// In upstream's words, if there are not enough of them or a plugin does not give them.
    pub(crate) async fn allocate(&self, pod: &Pod) -> Result<(), String> {
        let wanted: Vec<_> =
            in_order(pod).map(|(container, passes)| (container, passes, asked(container))).collect();
        if wanted.iter().all(|(_, _, asked)| asked.is_empty()) {
            return Ok(());
        }
        let _turn = self.inner.turn.lock().await;
        let mut left: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut changed = false;
        for (container, passes, asked) in wanted {
            for (resource, needed) in asked {
                let left = left.entry(resource.clone()).or_default();
                changed |= self.give(uid(pod), &container.name, (&resource, needed), left).await?;
                let state = self.state();
                let given = state.table.given(uid(pod), &container.name).and_then(|of| of.get(&resource));
                for id in given.iter().flat_map(|given| &given.devices) {
                    if passes {
                        left.insert(id.clone());
                    } else {
                        left.remove(id);
                    }
                }
            }
        }
        if changed { self.write().await } else { Ok(()) }
    }

    /// Gives one container devices of one resource; false if it has them, or a plugin does not count them.
    async fn give(
        &self,
        pod: &str,
        container: &str,
        (resource, needed): (&str, usize),
        left: &BTreeSet<String>,
    ) -> Result<bool, String> {
        let (choice, endpoint) = {
            let state = self.state();
            if !state.table.knows(resource) {
                return Ok(false);
            }
            let choice = state.table.choose(pod, container, (resource, needed), left)?;
            let Some(choice) = choice else { return Ok(false) };
            let endpoint = state.endpoints.get(resource).cloned();
            (choice, endpoint.ok_or_else(|| format!("unknown Device Plugin {resource}"))?)
        };
        let preferred = preferred(&endpoint, &choice).await?;
        let devices = choice.take(&preferred);
        let request = ForContainers { containers: vec![Ids { ids: devices.iter().cloned().collect() }] };
        let path = "/v1beta1.DevicePlugin/Allocate";
        let told: Allocated = endpoint.plugin.call(path, request, PATIENCE).await?;
        let told = told.containers.into_iter().next();
        let told = told.ok_or_else(|| "no containers return in allocation response".to_owned())?;
        self.state().table.give(pod, container, resource, Given::new(devices, told));
        Ok(true)
    }

    /// Takes back what a pod was given.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub(crate) async fn release(&self, pod: &str) -> Result<(), String> {
        let _turn = self.inner.turn.lock().await;
        let had = self.state().table.release(pod);
        if had { self.write().await } else { Ok(()) }
    }

    /// Tells plugins that want to know it that a container begins, and gives it what comes with its devices; the names
    /// of those that specifications describe.
    ///
    /// # Errors
    /// When a plugin says no.
    pub(crate) async fn begin_container(
        &self,
        pod: &Pod,
        container: &Container,
        config: &mut ContainerConfig,
    ) -> Result<Vec<String>, String> {
        let given: Vec<(Given, Option<Endpoint>)> = {
            let state = self.state();
            let of = state.table.given(uid(pod), &container.name).into_iter().flatten();
            of.map(|(resource, given)| (given.clone(), state.endpoints.get(resource).cloned())).collect()
        };
        let mut described = Vec::new();
        for (given, endpoint) in given {
            if let Some(endpoint) =
                endpoint.filter(|endpoint| endpoint.alive && endpoint.options.pre_start_required)
            {
                let request = Ids { ids: given.devices.iter().cloned().collect() };
                let path = "/v1beta1.DevicePlugin/PreStartContainer";
                let told: Answer<Empty> = endpoint.plugin.call(path, request, BEGIN).await;
                told.map_err(|error| {
                    format!("device plugin PreStartContainer rpc failed with err: {error}")
                })?;
            }
            apply(&given, config);
            described.extend(given.cdi);
        }
        Ok(described)
    }
}

/// Which devices a plugin would give, where it can be asked and there is a choice.
async fn preferred(endpoint: &Endpoint, choice: &Choice) -> Result<BTreeSet<String>, String> {
    let more = choice.needed.saturating_sub(choice.left.len());
    if !endpoint.options.get_preferred_allocation_available || more == 0 || choice.free.len() <= more {
        return Ok(BTreeSet::new());
    }
    let question = ContainerPreference {
        available: choice.free.union(&choice.left).cloned().collect(),
        must_include: choice.left.iter().cloned().collect(),
        size: i32::try_from(choice.needed).unwrap_or(i32::MAX),
    };
    let request = Preference { containers: vec![question] };
    let path = "/v1beta1.DevicePlugin/GetPreferredAllocation";
    let told: Answer<ForContainers> = endpoint.plugin.call(path, request, AT_HAND).await;
    let told =
        told.map_err(|error| format!("device plugin GetPreferredAllocation rpc failed with err: {error}"))?;
    Ok(told.containers.into_iter().flat_map(|it| it.ids).collect())
}

/// What the pod itself says of a name or a path counts more.
fn apply(given: &Given, config: &mut ContainerConfig) {
    for (name, value) in &given.envs {
        if config.env.iter().all(|(known, _)| known != name) {
            config.env.push((name.clone(), value.clone()));
        }
    }
    for (container_path, host_path, readonly) in given.mounts.iter().cloned() {
        if config.mounts.iter().all(|known| known.container_path != container_path) {
            let host_path = host_path.into();
            config.mounts.push(Mount { container_path, host_path, readonly, ..Mount::default() });
        }
    }
    for (container_path, host_path, permissions) in given.nodes.iter().cloned() {
        if config.devices.iter().all(|known| known.container_path != container_path) {
            config.devices.push(Device { container_path, host_path: host_path.into(), permissions });
        }
    }
    for (name, value) in &given.annotations {
        config.annotations.entry(name.clone()).or_insert_with(|| value.clone());
    }
}
