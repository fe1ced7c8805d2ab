//! Where a driver's volume is on the node. As upstream lays it out, since drivers are given only these folders of the machine.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::hex;
use super::record::{BLOCK_HOME, FOLDER, HOME};

/// Where drivers are given room besides in pods.
const PLUGINS: &str = "plugins/kubernetes.io/csi";

/// Where one volume is, for one pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Paths {
    /// The pod's record of it.
    pub(crate) folder: PathBuf,
    /// Where the driver brings it for the pod.
    pub(crate) target: PathBuf,
    /// Where the driver brings it for the node.
    pub(crate) staging: PathBuf,
}

impl Paths {
    /// Of the volume that a pod knows by this name on its disk; as a device or as a file system.
    pub(crate) fn new(data_dir: &Path, uid: &str, name: &str, of: (&str, &str), block: bool) -> Self {
        let (driver, handle) = of;
        let pod = data_dir.join("pods").join(uid);
        if block {
            let devices = data_dir.join(PLUGINS).join("volumeDevices");
            return Self {
                folder: pod.join(BLOCK_HOME).join(FOLDER).join(name),
                target: devices.join("publish").join(name).join(uid),
                staging: devices.join("staging").join(name),
            };
        }
        let folder = pod.join(HOME).join(FOLDER).join(name);
        let digest = hex(&Sha256::digest(handle));
        Self {
            target: folder.join("mount"),
            folder,
            staging: data_dir.join(PLUGINS).join(driver).join(digest).join("globalmount"),
        }
    }

    /// Removes what the driver left of the pod's place. Waits for the disk.
    pub(crate) fn clear_target(&self, block: bool) -> io::Result<()> {
        if !block {
            return empty(&self.target);
        }
        absent(std::fs::remove_file(&self.target))?;
        // Other pods may have theirs beside it.
        let _in_use = self.target.parent().map(std::fs::remove_dir);
        Ok(())
    }

    /// Removes what the driver left of the node's place. Waits for the disk.
    pub(crate) fn clear_staging(&self, block: bool) -> io::Result<()> {
        empty(&self.staging)?;
        // A file system's has a folder of its own around it.
        if block { Ok(()) } else { self.staging.parent().map_or(Ok(()), empty) }
    }
}

/// Removes a folder that the driver left, or has removed itself.
pub(crate) fn empty(folder: &Path) -> io::Result<()> {
    absent(std::fs::remove_dir(folder))
}

fn absent(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether a path is, or leads to, a block device. Waits for the disk.
pub(crate) fn is_block_device(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.file_type().is_block_device())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_are_in_their_pods_and_devices_beside_one_another() {
        let paths = |block| Paths::new(Path::new("/d"), "u1", "pv", ("disks.io", "h"), block);
        let mount = paths(false);
        assert_eq!(mount.target, Path::new("/d/pods/u1/volumes/kubernetes.io~csi/pv/mount"));
        assert!(mount.staging.starts_with("/d/plugins/kubernetes.io/csi/disks.io"));
        assert!(mount.staging.ends_with("globalmount"));
        let device = paths(true);
        assert_eq!(device.folder, Path::new("/d/pods/u1/volumeDevices/kubernetes.io~csi/pv"));
        assert_eq!(device.target, Path::new("/d/plugins/kubernetes.io/csi/volumeDevices/publish/pv/u1"));
        assert_eq!(device.staging, Path::new("/d/plugins/kubernetes.io/csi/volumeDevices/staging/pv"));
    }

    #[test]
    fn what_a_driver_left_goes_and_what_it_took_away_itself_is_no_fault() {
        let home = tempfile::tempdir().unwrap();
        for block in [false, true] {
            let paths = Paths::new(home.path(), "u1", "pv", ("disks.io", "h"), block);
            for made in [true, false] {
                if made {
                    std::fs::create_dir_all(&paths.staging).unwrap();
                    std::fs::create_dir_all(paths.target.parent().unwrap()).unwrap();
                    match block {
                        true => std::fs::write(&paths.target, "").unwrap(),
                        false => std::fs::create_dir(&paths.target).unwrap(),
                    }
                }
                paths.clear_target(block).unwrap();
                paths.clear_staging(block).unwrap();
                assert!(!paths.target.exists() && !paths.staging.exists());
            }
        }
    }
}
