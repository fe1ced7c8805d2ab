//! What a volume is made of: exactly one of many sources, each with a few fields that it needs.

use k8s_openapi::api::core::v1::{PersistentVolumeSpec, SecretReference};
use skiff_api::{Errors, names};

use crate::kinds::check;

/// A spec's source without all else that the spec says: upstream's type `PersistentVolumeSource`.
pub(super) fn alone(spec: &PersistentVolumeSpec) -> PersistentVolumeSpec {
    PersistentVolumeSpec {
        access_modes: None,
        capacity: None,
        claim_ref: None,
        mount_options: None,
        node_affinity: None,
        persistent_volume_reclaim_policy: None,
        storage_class_name: None,
        volume_attributes_class_name: None,
        volume_mode: None,
        ..spec.clone()
    }
}

/// The names of the sources a volume has; there should be one.
fn sources(spec: &PersistentVolumeSpec) -> Vec<&'static str> {
    let all = [
        ("hostPath", spec.host_path.is_some()),
        ("gcePersistentDisk", spec.gce_persistent_disk.is_some()),
        ("awsElasticBlockStore", spec.aws_elastic_block_store.is_some()),
        ("glusterfs", spec.glusterfs.is_some()),
        ("flocker", spec.flocker.is_some()),
        ("nfs", spec.nfs.is_some()),
        ("rbd", spec.rbd.is_some()),
        ("quobyte", spec.quobyte.is_some()),
        ("cephFS", spec.cephfs.is_some()),
        ("iscsi", spec.iscsi.is_some()),
        ("cinder", spec.cinder.is_some()),
        ("fc", spec.fc.is_some()),
        ("flexVolume", spec.flex_volume.is_some()),
        ("azureFile", spec.azure_file.is_some()),
        ("vsphereVolume", spec.vsphere_volume.is_some()),
        ("photonPersistentDisk", spec.photon_persistent_disk.is_some()),
        ("portworxVolume", spec.portworx_volume.is_some()),
        ("azureDisk", spec.azure_disk.is_some()),
        ("scaleIO", spec.scale_io.is_some()),
        ("local", spec.local.is_some()),
        ("storageos", spec.storageos.is_some()),
        ("csi", spec.csi.is_some()),
    ];
    all.into_iter().filter_map(|(name, there)| there.then_some(name)).collect()
}

/// What upstream fills in, source by source.
pub(super) fn defaults(spec: &mut PersistentVolumeSpec) {
    let text = |slot: &mut Option<String>, value: &str| check::default_text(slot, value);
    if let Some(path) = &mut spec.host_path {
        path.type_.get_or_insert_default();
    }
    if let Some(disk) = &mut spec.iscsi {
        text(&mut disk.iscsi_interface, "default");
    }
    if let Some(disk) = &mut spec.rbd {
        text(&mut disk.pool, "rbd");
        text(&mut disk.user, "admin");
        text(&mut disk.keyring, "/etc/ceph/keyring");
    }
    if let Some(disk) = &mut spec.azure_disk {
        text(&mut disk.caching_mode, "ReadWrite");
        text(&mut disk.kind, "Shared");
        text(&mut disk.fs_type, "ext4");
        disk.read_only.get_or_insert(false);
    }
    if let Some(disk) = &mut spec.scale_io {
        text(&mut disk.storage_mode, "ThinProvisioned");
        text(&mut disk.fs_type, "xfs");
    }
}

fn secret(errors: &mut Errors, field: &str, secret: Option<&SecretReference>) {
    let Some(secret) = secret else { return };
    errors.at(field, |errors| {
        for (field, text) in [("name", &secret.name), ("namespace", &secret.namespace)] {
            match check::given(text.as_ref()) {
                None => errors.required(field, ""),
                Some(name) => check::named(errors, field, name, names::dns1123_label(name)),
            }
        }
    });
}

/// Checks that there is one source and that it says what it must.
pub(super) fn validate(spec: &PersistentVolumeSpec, errors: &mut Errors) {
    match sources(spec).as_slice() {
        [] => errors.required("", "must specify a volume type"),
        [_, rest @ ..] => {
            for name in rest {
                errors.forbidden(name, "may not specify more than 1 volume type");
            }
        }
    }
    let needed = |errors: &mut Errors, field: &str, text: &str| {
        if text.is_empty() {
            errors.required(field, "");
        }
    };
    if let Some(path) = &spec.host_path {
        check::host_path(errors, path);
    }
    if let Some(local) = &spec.local {
        needed(errors, "local.path", &local.path);
        check::no_backsteps(errors, "local.path", &local.path);
    }
    if let Some(nfs) = &spec.nfs {
        needed(errors, "nfs.server", &nfs.server);
        needed(errors, "nfs.path", &nfs.path);
        if !nfs.path.is_empty() && !nfs.path.starts_with('/') {
            errors.invalid("nfs.path", &nfs.path, "must be an absolute path");
        }
    }
    if let Some(csi) = &spec.csi {
        errors.at("csi", |errors| {
            needed(errors, "driver", &csi.driver);
            if !csi.driver.is_empty() {
                let why = names::dns1123_subdomain(&csi.driver.to_lowercase());
                check::named(errors, "driver", &csi.driver, why);
            }
            needed(errors, "volumeHandle", &csi.volume_handle);
            secret(errors, "controllerPublishSecretRef", csi.controller_publish_secret_ref.as_ref());
            secret(errors, "controllerExpandSecretRef", csi.controller_expand_secret_ref.as_ref());
            secret(errors, "nodePublishSecretRef", csi.node_publish_secret_ref.as_ref());
            secret(errors, "nodeExpandSecretRef", csi.node_expand_secret_ref.as_ref());
            secret(errors, "nodeStageSecretRef", csi.node_stage_secret_ref.as_ref());
        });
    }
    if let Some(disk) = &spec.gce_persistent_disk {
        needed(errors, "persistentDisk.pdName", &disk.pd_name);
    }
    if let Some(disk) = &spec.aws_elastic_block_store {
        needed(errors, "awsElasticBlockStore.volumeID", &disk.volume_id);
    }
    if let Some(disk) = &spec.cinder {
        needed(errors, "cinder.volumeID", &disk.volume_id);
    }
    if let Some(disk) = &spec.rbd {
        if disk.monitors.is_empty() {
            errors.required("rbd.monitors", "");
        }
        needed(errors, "rbd.image", &disk.image);
    }
    if let Some(disk) = &spec.iscsi {
        needed(errors, "iscsi.targetPortal", &disk.target_portal);
        needed(errors, "iscsi.iqn", &disk.iqn);
        if !(0..=255).contains(&disk.lun) {
            errors.invalid("iscsi.lun", &disk.lun, "must be between 0 and 255, inclusive");
        }
    }
    if let Some(share) = &spec.cephfs
        && share.monitors.is_empty()
    {
        errors.required("cephfs.monitors", "");
    }
    if let Some(flex) = &spec.flex_volume {
        needed(errors, "flexVolume.driver", &flex.driver);
    }
    if let Some(share) = &spec.azure_file {
        needed(errors, "azureFile.secretName", &share.secret_name);
        needed(errors, "azureFile.shareName", &share.share_name);
    }
    if let Some(disk) = &spec.vsphere_volume {
        needed(errors, "vsphereVolume.volumePath", &disk.volume_path);
    }
}
