//! What a container is shown of its pod's volumes.

use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};

use super::{Inner, Mounts, Problem, VolumeError, subpath};
use crate::pod::env::expand;
use crate::runtime::{Device, Mount, MountPropagation};

pub(super) fn of(
    inner: &Inner,
    pod: &Pod,
    container: &Container,
    env: &[(String, String)],
    mounts: &Mounts,
) -> Result<Vec<Mount>, VolumeError> {
    let mut all = Vec::new();
    for (index, wanted) in container.volume_mounts.iter().flatten().enumerate() {
        let made = mounts.made.get(&wanted.name).ok_or_else(|| VolumeError::Unknown {
            volume: wanted.name.clone(),
            container: container.name.clone(),
        })?;
        if made.device {
            let problem = Problem::new("volume has volumeMode Block, but is specified in volumeMounts");
            return Err(VolumeError::SetUp { volume: wanted.name.clone(), problem });
        }
        let failed = |problem: Problem| VolumeError::SubPath {
            volume: wanted.name.clone(),
            container: container.name.clone(),
            problem,
        };
        let host_path = match part(wanted, env).map_err(failed)? {
            None => made.path.clone(),
            Some(part) => {
                let uid = pod
                    .metadata
                    .uid
                    .as_deref()
                    .filter(|uid| super::is_name(uid))
                    .ok_or(VolumeError::NoUid)?;
                let target =
                    inner.subpath_dir(uid).join(&wanted.name).join(&container.name).join(index.to_string());
                subpath::show(&made.path, &part, &target)
                    .map_err(|error| failed(Problem::new(error.to_string())))?;
                target
            }
        };
        all.push(Mount {
            container_path: absolute(&wanted.mount_path),
            host_path,
            readonly: made.read_only || wanted.read_only.unwrap_or(false),
            propagation: match wanted.mount_propagation.as_deref() {
                Some("HostToContainer") => MountPropagation::HostToContainer,
                Some("Bidirectional") => MountPropagation::Bidirectional,
                _ => MountPropagation::Private,
            },
        });
    }
    Ok(all)
}

/// The block volumes that a container gets as devices.
pub(super) fn devices(container: &Container, mounts: &Mounts) -> Result<Vec<Device>, VolumeError> {
    let device = |wanted: &k8s_openapi::api::core::v1::VolumeDevice| {
        let made = mounts.made.get(&wanted.name).ok_or_else(|| VolumeError::Unknown {
            volume: wanted.name.clone(),
            container: container.name.clone(),
        })?;
        if !made.device {
            let problem = Problem::new("volume has volumeMode Filesystem, but is specified in volumeDevices");
            return Err(VolumeError::SetUp { volume: wanted.name.clone(), problem });
        }
        let host_path = made.path.clone();
        let permissions = if made.read_only { "r" } else { "mrw" }.to_owned();
        Ok(Device { container_path: wanted.device_path.clone(), host_path, permissions })
    };
    container.volume_devices.iter().flatten().map(device).collect()
}

/// The part of the volume that is wanted; none for the whole.
fn part(wanted: &VolumeMount, env: &[(String, String)]) -> Result<Option<String>, Problem> {
    if let Some(expression) = wanted.sub_path_expr.as_deref().filter(|text| !text.is_empty()) {
        let missing = std::cell::RefCell::new(None);
        let expanded = expand(expression, |name| {
            let value = env.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
            if value.is_none() {
                missing.borrow_mut().get_or_insert(name.to_owned());
            }
            value
        });
        return match missing.into_inner() {
            Some(name) => Err(Problem::new(format!("missing value for {name:?}"))),
            None => Ok(Some(expanded).filter(|path| !path.is_empty())),
        };
    }
    Ok(wanted.sub_path.clone().filter(|path| !path.is_empty()))
}

/// Relative mount paths are below the container's root.
fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}
