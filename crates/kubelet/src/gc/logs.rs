//! Rotating containers' logs: at 10 MiB a log is put aside, and four such parts are kept beside it.
//!
//! Watching each write would cost more than the logs themselves, so sizes are looked at on upstream's timer.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use skiff_base::clock::Clock;

use crate::handle::Handle;
use crate::runtime::ContainerState;

const EVERY: Duration = Duration::from_secs(10);
const LARGEST: u64 = 10 << 20;
const FILES: usize = 5;

/// Rotates logs for ever.
pub(crate) async fn run(handle: Handle, clock: Clock) {
    loop {
        tokio::time::sleep(EVERY).await;
        for pod in handle.pods() {
            for container in pod.containers.iter().filter(|one| one.state == ContainerState::Running) {
                if let Err(error) = rotate(&handle, &container.id, &container.log_path, clock.now()).await {
                    tracing::warn!(container = container.id, %error, "log not rotated");
                }
            }
        }
    }
}

async fn rotate(handle: &Handle, id: &str, log: &Path, now: Timestamp) -> Result<(), String> {
    let size = std::fs::metadata(log).map_or(0, |data| data.len());
    if size < LARGEST {
        return Ok(());
    }
    let aside = aside(log, now);
    std::fs::rename(log, &aside).map_err(|error| error.to_string())?;
    if let Err(error) = handle.runtime().reopen_log(id).await {
        // The runtime still writes to the old file: give it its name back.
        std::fs::rename(&aside, log).map_err(|error| error.to_string())?;
        return Err(error.to_string());
    }
    let log = log.to_owned();
    let tidied = tokio::task::spawn_blocking(move || tidy(&log)).await;
    tidied.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

fn aside(log: &Path, now: Timestamp) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(now.strftime(".%Y%m%d-%H%M%S").to_string());
    PathBuf::from(name)
}

/// Removes the oldest parts, compresses all but the newest.
fn tidy(log: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (log.parent(), log.file_name()) else { return Ok(()) };
    let prefix = format!("{}.", name.to_string_lossy());
    let entries = std::fs::read_dir(parent)?.flatten().map(|entry| entry.path());
    let mut parts: Vec<PathBuf> = entries
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix)))
        .collect();
    parts.sort();
    let surplus = parts.len().saturating_sub(FILES - 1);
    for old in parts.drain(..surplus) {
        std::fs::remove_file(old)?;
    }
    parts.pop();
    for part in parts.iter().filter(|part| part.extension().is_none_or(|extension| extension != "gz")) {
        compress(part)?;
    }
    Ok(())
}

fn compress(part: &Path) -> io::Result<()> {
    let mut name = part.as_os_str().to_owned();
    name.push(".gz");
    let file = std::fs::File::create(PathBuf::from(&name))?;
    let mut packed = flate2::write::GzEncoder::new(file, flate2::Compression::default());
    io::copy(&mut std::fs::File::open(part)?, &mut packed)?;
    packed.finish()?;
    std::fs::remove_file(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_parts_go_and_all_but_the_newest_are_compressed() {
        let place = std::env::temp_dir().join(format!("skiff-kubelet-logs-{}", std::process::id()));
        std::fs::create_dir_all(&place).unwrap();
        for part in ["0.log", "0.log.1", "0.log.2", "0.log.3", "0.log.4", "0.log.5", "1.log.1"] {
            std::fs::write(place.join(part), part).unwrap();
        }
        tidy(&place.join("0.log")).unwrap();
        let mut names: Vec<String> = std::fs::read_dir(&place)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        std::fs::remove_dir_all(&place).unwrap();
        assert_eq!(names, ["0.log", "0.log.2.gz", "0.log.3.gz", "0.log.4.gz", "0.log.5", "1.log.1"]);
    }
}
