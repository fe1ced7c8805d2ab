//! Volumes on their way back: unpublished from a pod, and unstaged where it was the last one.

use std::io;
use std::path::Path;

use super::PERSISTENT;
use crate::csi::proto::{NodeUnpublishVolume, NodeUnstageVolume};
use crate::csi::record::{self, Record};
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
    for (folder, record) in given {
        take_one_back(inner, &folder, &record).await?;
    }
    Ok(())
}

async fn take_one_back(inner: &Inner, folder: &Path, record: &Record) -> io::Result<()> {
    let drivers = &inner.drivers;
    let _turn = drivers.turn(&unique(&record.driver, &record.handle)).await;
    let driver = drivers.find(&record.driver).ok_or_else(|| {
        let name = &record.driver;
        io::Error::other(format!("driver name {name} not found in the list of registered CSI drivers"))
    })?;
    let target = folder.join("mount");
    let request =
        NodeUnpublishVolume { volume_id: record.handle.clone(), target_path: target.display().to_string() };
    driver.plugin.unpublish(request).await.map_err(io::Error::other)?;
    let others = {
        let (drivers, record, folder) = (drivers.clone(), record.clone(), folder.to_owned());
        blocking(move || Ok(drivers.is_published(&record.driver, &record.handle, &folder))).await?
    };
    if record.lifecycle == PERSISTENT && driver.stages() && !others {
        let staging = drivers.staging(&record.driver, &record.handle);
        let request = NodeUnstageVolume {
            volume_id: record.handle.clone(),
            staging_target_path: staging.display().to_string(),
        };
        driver.plugin.unstage(request).await.map_err(io::Error::other)?;
        blocking(move || {
            empty(&staging)?;
            staging.parent().map_or(Ok(()), empty)
        })
        .await?;
    }
    let (folder, counting) = (folder.to_owned(), drivers.clone());
    blocking(move || {
        empty(&target)?;
        Record::remove(&folder)?;
        counting.count();
        empty(&folder)
    })
    .await
}

/// Removes a folder that the driver left, or has removed itself.
fn empty(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
