//! Volumes that a container gets as devices, beside those that it gets as mounts: a volume is one or the other.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{Container, PodSpec, VolumeMount};
use skiff_api::Errors;

/// Checks which volumes a container gets as devices, and where.
pub(super) fn validate(container: &Container, spec: &PodSpec, errors: &mut Errors) {
    let (mut names, mut paths) = (HashSet::new(), HashSet::new());
    let mounts = container.volume_mounts.as_deref().unwrap_or_default();
    for (index, device) in container.volume_devices.iter().flatten().enumerate() {
        errors.item("volumeDevices", index, |errors| {
            let (name, path) = (device.name.as_str(), device.device_path.as_str());
            let volume = spec.volumes.iter().flatten().find(|volume| volume.name == name);
            if name.is_empty() {
                errors.required("name", "");
            } else if !names.insert(name) {
                errors.invalid("name", name, "must be unique");
            }
            match volume {
                None => errors.not_found("name", name),
                Some(volume)
                    if volume.persistent_volume_claim.is_none() && volume.ephemeral.is_none() =>
                {
                    let why = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                    errors.invalid("name", name, why);
                }
                Some(_) => {}
            }
            if path.is_empty() {
                errors.required("devicePath", "");
            } else if paths.contains(path) {
                errors.invalid("devicePath", path, "must be unique");
            }
            if path.split('/').any(|part| part == "..") {
                errors.invalid("devicePath", path, "can not contain backsteps ('..')");
            } else {
                paths.insert(path);
            }
            if mounts.iter().any(|mount| mount.name == name) {
                errors.invalid("name", name, "must not already exist in volumeMounts");
            }
            if mounts.iter().any(|mount| mount.mount_path == path) {
                errors.invalid("devicePath", path, "must not already exist as a path in volumeMounts");
            }
        });
    }
}

/// Checks that a mount is not of a volume, or at a place, that the container has as a device.
pub(super) fn is_apart(mount: &VolumeMount, container: &Container, errors: &mut Errors) {
    let devices = container.volume_devices.as_deref().unwrap_or_default();
    if devices.iter().any(|device| device.name == mount.name) {
        errors.invalid("name", &mount.name, "must not already exist in volumeDevices");
    }
    if devices.iter().any(|device| device.device_path == mount.mount_path) {
        let why = "must not already exist as a path in volumeDevices";
        errors.invalid("mountPath", &mount.mount_path, why);
    }
}
