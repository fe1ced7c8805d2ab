//! Volumes and where they are mounted.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{
    Container, DownwardAPIVolumeFile, KeyToPath, PodSpec, ProjectedVolumeSource, Volume, VolumeProjection,
};
use skiff_api::quantity::Quantity;
use skiff_api::{Errors, names};

use super::env::{field_ref, resource_ref};
use super::volume_devices;
use crate::kinds::check;
use crate::kinds::core::persistent_volume_claim;

const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";
/// Fields of the pod that a file may show.
const FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// The names of the sources a volume has; there should be one.
pub(super) fn sources(volume: &Volume) -> Vec<&'static str> {
    let all = [
        ("emptyDir", volume.empty_dir.is_some()),
        ("hostPath", volume.host_path.is_some()),
        ("gitRepo", volume.git_repo.is_some()),
        ("gcePersistentDisk", volume.gce_persistent_disk.is_some()),
        ("awsElasticBlockStore", volume.aws_elastic_block_store.is_some()),
        ("secret", volume.secret.is_some()),
        ("nfs", volume.nfs.is_some()),
        ("iscsi", volume.iscsi.is_some()),
        ("glusterfs", volume.glusterfs.is_some()),
        ("flocker", volume.flocker.is_some()),
        ("persistentVolumeClaim", volume.persistent_volume_claim.is_some()),
        ("rbd", volume.rbd.is_some()),
        ("cinder", volume.cinder.is_some()),
        ("cephfs", volume.cephfs.is_some()),
        ("quobyte", volume.quobyte.is_some()),
        ("downwardAPI", volume.downward_api.is_some()),
        ("fc", volume.fc.is_some()),
        ("flexVolume", volume.flex_volume.is_some()),
        ("configMap", volume.config_map.is_some()),
        ("azureFile", volume.azure_file.is_some()),
        ("vsphereVolume", volume.vsphere_volume.is_some()),
        ("photonPersistentDisk", volume.photon_persistent_disk.is_some()),
        ("portworxVolume", volume.portworx_volume.is_some()),
        ("azureDisk", volume.azure_disk.is_some()),
        ("storageos", volume.storageos.is_some()),
        ("scaleIO", volume.scale_io.is_some()),
        ("projected", volume.projected.is_some()),
        ("csi", volume.csi.is_some()),
        ("ephemeral", volume.ephemeral.is_some()),
        ("image", volume.image.is_some()),
    ];
    all.into_iter().filter_map(|(name, there)| there.then_some(name)).collect()
}

/// Checks the volumes of a spec.
pub(super) fn validate(spec: &PodSpec, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        errors.item("volumes", index, |errors| {
            match sources(volume).as_slice() {
                [] => errors.required("", "must specify a volume type"),
                [_] => source(volume, errors),
                [_, rest @ ..] => {
                    for name in rest {
                        errors.forbidden(name, "may not specify more than 1 volume type");
                    }
                    source(volume, errors);
                }
            }
            if volume.name.is_empty() {
                errors.required("name", "");
            } else {
                check::named(errors, "name", &volume.name, names::dns1123_label(&volume.name));
                if !seen.insert(&volume.name) {
                    errors.duplicate("name", &volume.name);
                }
            }
        });
    }
}

fn needed(errors: &mut Errors, field: &str, text: &str) {
    if text.is_empty() {
        errors.required(field, "");
    }
}

fn mode(errors: &mut Errors, field: &str, mode: Option<i32>) {
    if let Some(mode) = mode.filter(|mode| !(0..=0o777).contains(mode)) {
        errors.invalid(field, &mode, MODE);
    }
}

fn source(volume: &Volume, errors: &mut Errors) {
    if let Some(limit) = volume.empty_dir.as_ref().and_then(|empty| empty.size_limit.as_ref())
        && Quantity::parse(&limit.0).is_ok_and(Quantity::is_negative)
    {
        errors.forbidden("emptyDir.sizeLimit", "SizeLimit field must be a valid resource quantity");
    }
    if let Some(path) = &volume.host_path {
        check::host_path(errors, path);
    }
    if let Some(secret) = &volume.secret {
        errors.at("secret", |errors| {
            needed(errors, "secretName", secret.secret_name.as_deref().unwrap_or_default());
            mode(errors, "defaultMode", secret.default_mode);
            items(secret.items.as_deref(), errors);
        });
    }
    if let Some(map) = &volume.config_map {
        errors.at("configMap", |errors| {
            needed(errors, "name", &map.name);
            mode(errors, "defaultMode", map.default_mode);
            items(map.items.as_deref(), errors);
        });
    }
    if let Some(downward) = &volume.downward_api {
        errors.at("downwardAPI", |errors| {
            mode(errors, "defaultMode", downward.default_mode);
            downward_files(downward.items.as_deref(), errors);
        });
    }
    if let Some(projected) = &volume.projected {
        errors.at("projected", |errors| self::projected(projected, errors));
    }
    if let Some(claim) = &volume.persistent_volume_claim {
        needed(errors, "persistentVolumeClaim.claimName", &claim.claim_name);
    }
    if let Some(nfs) = &volume.nfs {
        needed(errors, "nfs.server", &nfs.server);
        needed(errors, "nfs.path", &nfs.path);
        if !nfs.path.is_empty() && !nfs.path.starts_with('/') {
            errors.invalid("nfs.path", &nfs.path, "must be an absolute path");
        }
    }
    if let Some(csi) = &volume.csi {
        needed(errors, "csi.driver", &csi.driver);
    }
    if let Some(ephemeral) = &volume.ephemeral {
        match &ephemeral.volume_claim_template {
            None => errors.required("ephemeral.volumeClaimTemplate", ""),
            Some(template) => errors.at("ephemeral.volumeClaimTemplate.spec", |errors| {
                persistent_volume_claim::spec(&template.spec, errors);
            }),
        }
    }
    if let Some(repo) = &volume.git_repo {
        needed(errors, "gitRepo.repository", &repo.repository);
        let directory = repo.directory.as_deref().unwrap_or_default();
        check::local_descending_path(errors, "gitRepo.directory", directory);
    }
    if let Some(image) = &volume.image {
        needed(errors, "image.reference", image.reference.as_deref().unwrap_or_default());
    }
}

fn items(items: Option<&[KeyToPath]>, errors: &mut Errors) {
    for (index, item) in items.unwrap_or_default().iter().enumerate() {
        errors.item("items", index, |errors| {
            needed(errors, "key", &item.key);
            needed(errors, "path", &item.path);
            check::local_file_path(errors, "path", &item.path);
            mode(errors, "mode", item.mode);
        });
    }
}

fn downward_files(files: Option<&[DownwardAPIVolumeFile]>, errors: &mut Errors) {
    for (index, file) in files.unwrap_or_default().iter().enumerate() {
        errors.item("items", index, |errors| {
            needed(errors, "path", &file.path);
            check::local_file_path(errors, "path", &file.path);
            match (&file.field_ref, &file.resource_field_ref) {
                (Some(field), resource) => {
                    errors.at("fieldRef", |errors| field_ref(field, FIELDS, errors));
                    if resource.is_some() {
                        let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
                        errors.invalid("", "resource", why);
                    }
                }
                (None, Some(resource)) => {
                    errors.at("resourceFieldRef", |errors| resource_ref(resource, true, errors));
                }
                (None, None) => errors.required("", "one of fieldRef and resourceFieldRef is required"),
            }
            mode(errors, "mode", file.mode);
        });
    }
}

fn projected(projected: &ProjectedVolumeSource, errors: &mut Errors) {
    mode(errors, "defaultMode", projected.default_mode);
    let mut paths = HashSet::new();
    for (index, source) in projected.sources.iter().flatten().enumerate() {
        errors.item("sources", index, |errors| projection(source, &mut paths, errors));
    }
}

fn projection(source: &VolumeProjection, paths: &mut HashSet<String>, errors: &mut Errors) {
    let mut count = 0;
    let mut one = |errors: &mut Errors, field: &str, walk: &mut dyn FnMut(&mut Errors)| {
        count += 1;
        if count > 1 {
            errors.forbidden(field, "may not specify more than 1 volume type per source");
        } else {
            errors.at(field, walk);
        }
    };
    let mut claim = |errors: &mut Errors, path: &str, from: &str| {
        if !path.is_empty() && !paths.insert(path.to_owned()) {
            errors.invalid("path", from, "conflicting duplicate paths");
        }
    };
    if let Some(secret) = &source.secret {
        one(errors, "secret", &mut |errors| {
            needed(errors, "name", &secret.name);
            items(secret.items.as_deref(), errors);
            secret.items.iter().flatten().for_each(|item| claim(errors, &item.path, &secret.name));
        });
    }
    if let Some(map) = &source.config_map {
        one(errors, "configMap", &mut |errors| {
            needed(errors, "name", &map.name);
            items(map.items.as_deref(), errors);
            map.items.iter().flatten().for_each(|item| claim(errors, &item.path, &map.name));
        });
    }
    if let Some(downward) = &source.downward_api {
        one(errors, "downwardAPI", &mut |errors| {
            downward_files(downward.items.as_deref(), errors);
            downward.items.iter().flatten().for_each(|file| claim(errors, &file.path, "downwardAPI"));
        });
    }
    if let Some(token) = &source.service_account_token {
        one(errors, "serviceAccountToken", &mut |errors| {
            let seconds = token.expiration_seconds.unwrap_or(3600);
            if seconds < 600 {
                let why = "may not specify a duration less than 10 minutes";
                errors.invalid("expirationSeconds", &seconds, why);
            }
            if seconds > 1 << 32 {
                let why = "may not specify a duration larger than 2^32 seconds";
                errors.invalid("expirationSeconds", &seconds, why);
            }
            needed(errors, "path", &token.path);
            check::local_file_path(errors, "path", &token.path);
            claim(errors, &token.path, "serviceAccountToken");
        });
    }
    if let Some(bundle) = &source.cluster_trust_bundle {
        one(errors, "clusterTrustBundle", &mut |errors| {
            needed(errors, "path", &bundle.path);
            check::local_file_path(errors, "path", &bundle.path);
            claim(errors, &bundle.path, "clusterTrustBundle");
        });
    }
    if source.pod_certificate.is_some() {
        one(errors, "podCertificate", &mut |_| {});
    }
    if count == 0 {
        errors.required("", "must specify a volume type");
    }
}

/// A pod without an account has no tokens.
pub(super) fn no_tokens(spec: &PodSpec, errors: &mut Errors) {
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        for (place, source) in sources.enumerate() {
            if source.service_account_token.is_some() {
                let field = format!("volumes[{index}].projected.sources[{place}].serviceAccountToken");
                errors.forbidden(&field, "must not be specified when serviceAccountName is not set");
            }
        }
    }
}

/// Checks where a container mounts the spec's volumes.
pub(super) fn mounts(container: &Container, spec: &PodSpec, errors: &mut Errors) {
    let volumes: HashSet<&str> = spec.volumes.iter().flatten().map(|volume| volume.name.as_str()).collect();
    let privileged = container.security_context.as_ref().and_then(|context| context.privileged) == Some(true);
    let mut seen = HashSet::new();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        errors.item("volumeMounts", index, |errors| {
            needed(errors, "name", &mount.name);
            if !volumes.contains(mount.name.as_str()) {
                errors.not_found("name", &mount.name);
            }
            needed(errors, "mountPath", &mount.mount_path);
            if !mount.mount_path.is_empty() && !seen.insert(&mount.mount_path) {
                errors.invalid("mountPath", &mount.mount_path, "must be unique");
            }
            volume_devices::is_apart(mount, container, errors);
            let sub_path = check::given(mount.sub_path.as_ref());
            if let Some(path) = sub_path {
                check::local_descending_path(errors, "subPath", path);
            }
            if let Some(path) = check::given(mount.sub_path_expr.as_ref()) {
                if sub_path.is_some() {
                    errors.invalid("subPathExpr", path, "subPathExpr and subPath are mutually exclusive");
                }
                check::local_descending_path(errors, "subPathExpr", path);
            }
            if let Some(propagation) = &mount.mount_propagation {
                let supported = ["Bidirectional", "HostToContainer", "None"];
                check::one_of(errors, "mountPropagation", propagation, &supported);
                if propagation == "Bidirectional" && !privileged {
                    let why = "Bidirectional mount propagation is available only to privileged containers";
                    errors.forbidden("mountPropagation", why);
                }
            }
            if let Some(mode) = &mount.recursive_read_only {
                let supported = ["Disabled", "Enabled", "IfPossible"];
                check::one_of(errors, "recursiveReadOnly", mode, &supported);
                if mode != "Disabled" && mount.read_only != Some(true) {
                    errors.forbidden("recursiveReadOnly", "may only be specified when readOnly is true");
                }
            }
        });
    }
    volume_devices::validate(container, spec, errors);
}
