//! What was given to pods, written beside it: by this, volumes are taken back whatever was forgotten since.
//!
//! The file is upstream's `vol_data.json`, with its keys.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::unique;

const FILE: &str = "vol_data.json";
/// The folder of these volumes in a pod's.
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

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path())
}

/// What one pod has, with the folders.
pub(crate) fn of_pod(pod: &Path) -> Vec<(PathBuf, Record)> {
    let folders = entries(&pod.join("volumes").join(FOLDER));
    folders.filter_map(|folder| Record::read(&folder).map(|record| (folder, record))).collect()
}

/// What all pods have.
pub(crate) fn all(data_dir: &Path) -> Vec<(PathBuf, Record)> {
    entries(&data_dir.join("pods")).flat_map(|pod| of_pod(&pod)).collect()
}

/// The attached ones among them, as attachers call them.
pub(crate) fn attachable(data_dir: &Path) -> Vec<String> {
    let attached = all(data_dir).into_iter().filter(|(_, record)| !record.attachment.is_empty());
    let mut names: Vec<String> = attached.map(|(_, record)| unique(&record.driver, &record.handle)).collect();
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
        for (pod, handle, attachment) in [("u1", "h1", "csi-1"), ("u2", "h1", "csi-1"), ("u2", "h2", "")] {
            let folder = home.path().join("pods").join(pod).join("volumes").join(FOLDER).join(handle);
            record(handle, attachment).write(&folder).unwrap();
        }
        assert_eq!(of_pod(&home.path().join("pods/u2")).len(), 2);
        assert_eq!(attachable(home.path()), ["kubernetes.io/csi/disks.io^h1"]);
        let folder = home.path().join("pods/u1/volumes").join(FOLDER).join("h1");
        assert_eq!(Record::read(&folder), Some(record("h1", "csi-1")));
        Record::remove(&folder).unwrap();
        Record::remove(&folder).unwrap();
        assert_eq!(Record::read(&folder), None);
    }
}
