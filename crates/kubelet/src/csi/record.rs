//! What was given to pods, written beside it: by this, volumes are taken back whatever was forgotten since.
//!
//! The file is upstream's `vol_data.json`, with its keys.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::unique;

const FILE: &str = "vol_data.json";
/// Where a pod has volumes that are file systems.
pub(crate) const HOME: &str = "volumes";
/// Where a pod has those that are devices.
pub(crate) const BLOCK_HOME: &str = "volumeDevices";
/// The folder of these volumes in either.
pub(crate) const FOLDER: &str = "kubernetes.io~csi";

/// A volume of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    #[serde(rename = "driverName")]
    pub(crate) driver: String,
    #[serde(rename = "volumeHandle")]
    pub(crate) handle: String,
    #[serde(rename = "specVolID")]
    pub(crate) name: String,
    /// `Persistent` or `Ephemeral`.
    #[serde(rename = "volumeLifecycleMode")]
    pub(crate) lifecycle: String,
    #[serde(rename = "nodeName")]
    pub(crate) node: String,
    /// The name of its attachment, if it was attached.
    #[serde(rename = "attachmentID", default, skip_serializing_if = "String::is_empty")]
    pub(crate) attachment: String,
}

impl Record {
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let text = serde_json::to_vec(self)?;
        skiff_base::fs::write_atomically(&folder.join(FILE), &text, 0o644)
    }

    pub(crate) fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(folder.join(FILE)).ok()?).ok()
    }

    pub(crate) fn remove(folder: &Path) -> io::Result<()> {
        match std::fs::remove_file(folder.join(FILE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// A volume that a pod has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    /// The pod's folder for it.
    pub(crate) folder: PathBuf,
    pub(crate) record: Record,
    /// As a device.
    pub(crate) block: bool,
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path())
}

/// What one pod has.
pub(crate) fn of_pod(pod: &Path) -> Vec<Held> {
    let in_home = |(home, block): (&str, bool)| {
        let held = move |folder: PathBuf| Some(Held { record: Record::read(&folder)?, folder, block });
        entries(&pod.join(home).join(FOLDER)).filter_map(held)
    };
    [(HOME, false), (BLOCK_HOME, true)].into_iter().flat_map(in_home).collect()
}

/// What all pods have.
pub(crate) fn all(data_dir: &Path) -> Vec<Held> {
    entries(&data_dir.join("pods")).flat_map(|pod| of_pod(&pod)).collect()
}

/// The attached ones among them, as attachers call them.
pub(crate) fn attachable(data_dir: &Path) -> Vec<String> {
    let records = all(data_dir).into_iter().map(|held| held.record);
    let attached = records.filter(|record| !record.attachment.is_empty());
    let mut names: Vec<String> = attached.map(|record| unique(&record.driver, &record.handle)).collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_found_by_pod_and_attached_ones_are_in_use_once() {
        let home = tempfile::tempdir().unwrap();
        let record = |handle: &str, attachment: &str| Record {
            driver: "disks.io".to_owned(),
            handle: handle.to_owned(),
            name: "pv".to_owned(),
            lifecycle: "Persistent".to_owned(),
            node: "n".to_owned(),
            attachment: attachment.to_owned(),
        };
        for (pod, part, handle, attachment) in
            [("u1", HOME, "h1", "csi-1"), ("u2", HOME, "h1", "csi-1"), ("u2", BLOCK_HOME, "h2", "")]
        {
            let folder = home.path().join("pods").join(pod).join(part).join(FOLDER).join(handle);
            record(handle, attachment).write(&folder).unwrap();
        }
        let held = of_pod(&home.path().join("pods/u2"));
        let seen: Vec<_> = held.iter().map(|held| (held.record.handle.as_str(), held.block)).collect();
        assert_eq!(seen, [("h1", false), ("h2", true)]);
        assert_eq!(attachable(home.path()), ["kubernetes.io/csi/disks.io^h1"]);
        let folder = home.path().join("pods/u1/volumes").join(FOLDER).join("h1");
        assert_eq!(Record::read(&folder), Some(record("h1", "csi-1")));
        Record::remove(&folder).unwrap();
        Record::remove(&folder).unwrap();
        assert_eq!(Record::read(&folder), None);
    }
}
