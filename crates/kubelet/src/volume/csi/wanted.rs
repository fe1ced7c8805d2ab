//! What is to be had of a driver: a volume as a pod wants it, whether the pod itself says so or its claim's volume.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{
    CSIPersistentVolumeSource, CSIVolumeSource, PersistentVolume, SecretReference,
};
use sha2::{Digest, Sha256};

use crate::csi::{Driver, Drivers, Paths, hex, unique};
use crate::volume::kind::Job;

/// A volume as a pod is to have it.
pub(super) struct Wanted {
    pub(super) driver: String,
    pub(super) handle: String,
    /// Its name on the disk: the persistent volume's, or the pod's own for it.
    pub(super) name: String,
    pub(super) ephemeral: bool,
    /// As a device, not as a file system.
    pub(super) block: bool,
    pub(super) read_only: bool,
    pub(super) fs_type: String,
    pub(super) mount_flags: Vec<String>,
    pub(super) mode: Mode,
    pub(super) context: HashMap<String, String>,
    pub(super) stage_secret: Option<(String, String)>,
    pub(super) publish_secret: Option<(String, String)>,
    pub(super) expand_secret: Option<(String, String)>,
}

/// Who may use a volume.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    OneNode,
    OnePod,
    ManyReaders,
    Many,
}

impl Mode {
    pub(super) fn of(modes: &[String]) -> Self {
        match modes.first().map(String::as_str) {
            Some("ReadOnlyMany") => Self::ManyReaders,
            Some("ReadWriteMany") => Self::Many,
            Some("ReadWriteOncePod") => Self::OnePod,
            _ => Self::OneNode,
        }
    }

    /// The interface's number for it.
    pub(super) fn number(self, driver: &Driver) -> i32 {
        match (self, driver.counts_writers()) {
            (Self::OneNode | Self::OnePod, false) => 1,
            (Self::ManyReaders, _) => 3,
            (Self::Many, _) => 5,
            (Self::OnePod, true) => 6,
            (Self::OneNode, true) => 7,
        }
    }
}

impl Wanted {
    /// As attachers, and turns, call the volume.
    pub(super) fn unique(&self) -> String {
        unique(&self.driver, &self.handle)
    }

    /// Whether the driver brings it to the node before it brings it to pods.
    pub(super) fn is_staged(&self, driver: &Driver) -> bool {
        !self.ephemeral && driver.stages()
    }

    /// Where it is on the node, if it is brought there; as requests say it.
    pub(super) fn staging(&self, driver: &Driver, paths: &Paths) -> String {
        if self.is_staged(driver) { paths.staging.display().to_string() } else { String::new() }
    }

    /// Where the driver brings it for this pod.
    pub(super) fn paths(&self, drivers: &Drivers, uid: &str) -> Paths {
        drivers.paths(uid, &self.name, (&self.driver, &self.handle), self.block)
    }

    /// Of a pod's own volume.
    pub(super) fn inline(job: &Job<'_>, source: CSIVolumeSource) -> Self {
        let uid = job.pod.metadata.uid.as_deref().unwrap_or_default();
        let name = job.volume.name.clone();
        let secret = source.node_publish_secret_ref.map(|secret| (job.namespace().to_owned(), secret.name));
        Self {
            handle: format!("csi-{}", hex(&Sha256::digest(format!("{uid}{name}")))),
            name,
            driver: source.driver,
            ephemeral: true,
            block: false,
            read_only: source.read_only.unwrap_or(false),
            fs_type: source.fs_type.unwrap_or_default(),
            mount_flags: Vec::new(),
            mode: Mode::OneNode,
            context: source.volume_attributes.into_iter().flatten().collect(),
            stage_secret: None,
            publish_secret: secret,
            expand_secret: None,
        }
    }

    /// Of the volume behind a claim.
    pub(super) fn persistent(
        volume: &PersistentVolume,
        source: &CSIPersistentVolumeSource,
        read_only: bool,
    ) -> Self {
        let spec = volume.spec.clone().unwrap_or_default();
        let secret = |reference: &Option<SecretReference>| {
            let reference = reference.as_ref()?;
            Some((reference.namespace.clone()?, reference.name.clone()?))
        };
        Self {
            driver: source.driver.clone(),
            handle: source.volume_handle.clone(),
            name: volume.metadata.name.clone().unwrap_or_default(),
            ephemeral: false,
            block: spec.volume_mode.as_deref() == Some("Block"),
            read_only: read_only || source.read_only.unwrap_or(false),
            fs_type: source.fs_type.clone().unwrap_or_default(),
            mount_flags: spec.mount_options.unwrap_or_default(),
            mode: Mode::of(spec.access_modes.as_deref().unwrap_or_default()),
            context: source.volume_attributes.clone().into_iter().flatten().collect(),
            stage_secret: secret(&source.node_stage_secret_ref),
            publish_secret: secret(&source.node_publish_secret_ref),
            expand_secret: secret(&source.node_expand_secret_ref),
        }
    }
}
