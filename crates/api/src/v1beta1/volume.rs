//! Volumes: a name and a source. v1 has the sources' members beside the name.

use k8s_openapi::api::core::v1;
use serde::{Deserialize, Serialize};

use super::value;

/// One volume of a manifest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Volume {
    /// What mounts call it.
    pub name: String,
    /// Where it comes from; nothing means an empty directory.
    pub source: Option<Source>,
}

/// At most one member is set. The three of profile A are written even when they are not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Source {
    /// A directory of the minion.
    pub host_dir: Option<HostDir>,
    /// A directory that lives as long as the pod.
    pub empty_dir: Option<EmptyDir>,
    /// A disk of Google's.
    pub persistent_disk: Option<PersistentDisk>,
    /// A checkout (B).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git_repo: Option<GitRepo>,
    /// A secret's values as files (L); so are all below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretSource>,
    /// As in v1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nfs: Option<v1::NFSVolumeSource>,
    /// As in v1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iscsi: Option<v1::ISCSIVolumeSource>,
    /// As in v1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub glusterfs: Option<v1::GlusterfsVolumeSource>,
    /// As in v1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rbd: Option<v1::RBDVolumeSource>,
    /// As in v1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aws_elastic_block_store: Option<v1::AWSElasticBlockStoreVolumeSource>,
    /// As in v1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<v1::PersistentVolumeClaimVolumeSource>,
}

/// A directory of the minion.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostDir {
    /// Its path.
    pub path: String,
}

/// A directory that lives as long as the pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EmptyDir {
    /// `Memory`, or nothing (L).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub medium: String,
}

/// A disk of Google's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PersistentDisk {
    /// The disk's name.
    pub pd_name: String,
    /// Its file system.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub fs_type: String,
    /// Its partition.
    #[serde(skip_serializing_if = "value::is_zero")]
    pub partition: i64,
    /// Whether it is only read.
    #[serde(skip_serializing_if = "value::is_false")]
    pub read_only: bool,
}

/// A checkout.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GitRepo {
    /// Where it is cloned from.
    pub repository: String,
    /// What is checked out.
    pub revision: String,
}

/// A secret's values as files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SecretSource {
    /// Which secret.
    pub target: SecretTarget,
}

/// Which secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SecretTarget {
    /// Its name.
    pub name: String,
}

impl Volume {
    /// `None` for a source that 2014 had no word for (configMap, projected, ...): such a volume is not shown.
    pub fn from_v1(volume: &v1::Volume) -> Option<Self> {
        let source = Source {
            host_dir: volume.host_path.as_ref().map(|host| HostDir { path: host.path.clone() }),
            empty_dir: volume
                .empty_dir
                .as_ref()
                .map(|dir| EmptyDir { medium: value::text(dir.medium.as_ref()) }),
            persistent_disk: volume.gce_persistent_disk.as_ref().map(|disk| PersistentDisk {
                pd_name: disk.pd_name.clone(),
                fs_type: value::text(disk.fs_type.as_ref()),
                partition: disk.partition.unwrap_or(0).into(),
                read_only: disk.read_only.unwrap_or(false),
            }),
            git_repo: volume.git_repo.as_ref().map(|git| GitRepo {
                repository: git.repository.clone(),
                revision: value::text(git.revision.as_ref()),
            }),
            secret: volume.secret.as_ref().map(|secret| SecretSource {
                target: SecretTarget { name: value::text(secret.secret_name.as_ref()) },
            }),
            nfs: volume.nfs.clone(),
            iscsi: volume.iscsi.clone(),
            glusterfs: volume.glusterfs.clone(),
            rbd: volume.rbd.clone(),
            aws_elastic_block_store: volume.aws_elastic_block_store.clone(),
            persistent_volume_claim: volume.persistent_volume_claim.clone(),
        };
        (source != Source::default()).then(|| Self { name: volume.name.clone(), source: Some(source) })
    }

    /// As v1 has it.
    pub fn to_v1(&self) -> v1::Volume {
        let nothing = Source::default();
        let source = self.source.as_ref().unwrap_or(&nothing);
        let mut empty_dir = source.empty_dir.as_ref().map(|dir| v1::EmptyDirVolumeSource {
            medium: value::some(&dir.medium),
            ..v1::EmptyDirVolumeSource::default()
        });
        if *source == nothing {
            empty_dir = Some(v1::EmptyDirVolumeSource::default());
        }
        v1::Volume {
            name: self.name.clone(),
            empty_dir,
            host_path: source
                .host_dir
                .as_ref()
                .map(|dir| v1::HostPathVolumeSource { path: dir.path.clone(), type_: None }),
            gce_persistent_disk: source.persistent_disk.as_ref().map(|disk| {
                v1::GCEPersistentDiskVolumeSource {
                    pd_name: disk.pd_name.clone(),
                    fs_type: value::some(&disk.fs_type),
                    partition: (disk.partition != 0).then(|| value::clamp(disk.partition)),
                    read_only: disk.read_only.then_some(true),
                }
            }),
            git_repo: source.git_repo.as_ref().map(|git| v1::GitRepoVolumeSource {
                repository: git.repository.clone(),
                revision: value::some(&git.revision),
                ..v1::GitRepoVolumeSource::default()
            }),
            secret: source.secret.as_ref().map(|secret| v1::SecretVolumeSource {
                secret_name: value::some(&secret.target.name),
                ..v1::SecretVolumeSource::default()
            }),
            nfs: source.nfs.clone(),
            iscsi: source.iscsi.clone(),
            glusterfs: source.glusterfs.clone(),
            rbd: source.rbd.clone(),
            aws_elastic_block_store: source.aws_elastic_block_store.clone(),
            persistent_volume_claim: source.persistent_volume_claim.clone(),
            ..v1::Volume::default()
        }
    }

    /// A client of A sends back a younger source as no source at all: the one it was shown stays.
    pub(super) fn keep(&mut self, shown: &Self) {
        if self.source.as_ref().is_none_or(|source| *source == Source::default()) {
            self.source.clone_from(&shown.source);
        }
    }

    /// How many sources are named; more than one is a fault.
    pub(super) fn sources(&self) -> usize {
        let Some(s) = &self.source else { return 0 };
        [
            s.host_dir.is_some(),
            s.empty_dir.is_some(),
            s.persistent_disk.is_some(),
            s.git_repo.is_some(),
            s.secret.is_some(),
            s.nfs.is_some(),
            s.iscsi.is_some(),
            s.glusterfs.is_some(),
            s.rbd.is_some(),
            s.aws_elastic_block_store.is_some(),
            s.persistent_volume_claim.is_some(),
        ]
        .into_iter()
        .filter(|named| *named)
        .count()
    }
}
