//! Collecting what nobody needs any more: images when the disk fills, logs that grow, dead pods' leftovers.

pub(crate) mod images;
pub(crate) mod logs;

use std::path::Path;

/// Removes a container's log with its rotated parts.
pub(crate) fn remove_log(log: &Path) {
    let (Some(parent), Some(name)) = (log.parent(), log.file_name()) else { return };
    let name = name.to_string_lossy();
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(&*name)) {
        if let Err(error) = std::fs::remove_file(entry.path()) {
            tracing::debug!(path = %entry.path().display(), %error, "log stays");
        }
    }
}
