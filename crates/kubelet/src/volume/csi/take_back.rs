//! Volumes on their way back: unpublished from a pod, and unstaged where it was the last one.

use std::io;
use std::path::Path;

use super::PERSISTENT;
use crate::csi::paths::empty;
use crate::csi::proto::{NodeUnpublishVolume, NodeUnstageVolume};
use crate::csi::record::{self, Held, Record};
use crate::csi::unique;
use crate::volume::{Inner, blocking, remove};

/// Takes all such volumes back from a pod, and from the node where no other pod has them.
pub(in crate::volume) async fn take_back(inner: &Inner, pod: &Path) -> io::Result<()> {
    let dir = pod.to_owned();
    let given = blocking(move || {
        let given = record::of_pod(&dir);
        if !given.is_empty() {
            // Parts of them first, or they stay in use.
            remove::unmount_below(&dir.join("volume-subpaths"))?;
        }
        Ok(given)
    })
    .await?;
    let uid = pod.file_name().unwrap_or_default().to_string_lossy();
    for held in given {
        take_one_back(inner, &uid, held).await?;
    }
    Ok(())
}

async fn take_one_back(inner: &Inner, uid: &str, held: Held) -> io::Result<()> {
    let Held { folder, record, block } = held;
    let drivers = &inner.drivers;
    let volume = unique(&record.driver, &record.handle);
    let _turn = drivers.turn(&volume).await;
    let driver = drivers.find(&record.driver).ok_or_else(|| {
        let name = &record.driver;
        io::Error::other(format!("driver name {name} not found in the list of registered CSI drivers"))
    })?;
    let paths = drivers.paths(uid, &record.name, (&record.driver, &record.handle), block);
    let request = NodeUnpublishVolume {
        volume_id: record.handle.clone(),
        target_path: paths.target.display().to_string(),
    };
    driver.plugin.unpublish(request).await.map_err(io::Error::other)?;
    let others = {
        let (drivers, record, folder) = (drivers.clone(), record.clone(), folder.clone());
        blocking(move || Ok(drivers.is_published(&record.driver, &record.handle, &folder))).await?
    };
    if record.lifecycle == PERSISTENT && driver.stages() && !others {
        let request = NodeUnstageVolume {
            volume_id: record.handle.clone(),
            staging_target_path: paths.staging.display().to_string(),
        };
        driver.plugin.unstage(request).await.map_err(io::Error::other)?;
        let paths = paths.clone();
        blocking(move || paths.clear_staging(block)).await?;
    }
    if !others {
        drivers.left(&volume);
    }
    let counting = drivers.clone();
    blocking(move || {
        paths.clear_target(block)?;
        Record::remove(&folder)?;
        counting.count();
        empty(&folder)
    })
    .await
}
