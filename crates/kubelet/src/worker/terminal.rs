//! A container's last words: the file it was given for them, or the end of its log.

use std::path::{Path, PathBuf};

use crate::pod::config::{CONTAINER_LABEL, MESSAGE_POLICY, Places, UID_LABEL};
use crate::runtime::{ContainerState, ContainerStatus};
use crate::server::logs::plain;

/// Upstream's limits: 4096 bytes of a message, 2048 bytes or 80 lines of a log.
const MESSAGE_LIMIT: usize = 4096;
const LOG_LIMIT: u64 = 2048;
const LOG_LINES: usize = 80;

/// Puts an ended container's last words into its status.
pub(super) async fn read_message(status: &mut ContainerStatus, places: &Places) {
    if status.state != ContainerState::Exited {
        return;
    }
    let (Some(uid), Some(name)) = (status.labels.get(UID_LABEL), status.labels.get(CONTAINER_LABEL)) else {
        return;
    };
    let file = places.message(uid, name, status.attempt);
    let failed = status.exit_code != 0;
    let may_use_log =
        failed && status.annotations.get(MESSAGE_POLICY).is_some_and(|one| one == "FallbackToLogsOnError");
    let log = may_use_log.then(|| status.log_path.clone());
    let words = tokio::task::spawn_blocking(move || last_words(&file, log)).await.unwrap_or_default();
    if !words.is_empty() {
        status.message = words;
    }
}

fn last_words(file: &Path, log: Option<PathBuf>) -> String {
    let written = std::fs::read(file).unwrap_or_default();
    if !written.is_empty() {
        return String::from_utf8_lossy(&written[..written.len().min(MESSAGE_LIMIT)]).into_owned();
    }
    log.map(|log| tail(&log)).unwrap_or_default()
}

/// The end of a log in CRI's format, without times and streams.
fn tail(log: &Path) -> String {
    use std::io::{Read, Seek, SeekFrom};
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(log)?;
        let length = file.metadata()?.len();
        // The lines are longer in the file than what is left of them.
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_LIMIT * 4)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    // A last line without an end is told without one.
    let said = plain(&bytes, LOG_LINES);
    let said = String::from_utf8_lossy(&said);
    let limit = usize::try_from(LOG_LIMIT).unwrap_or(usize::MAX);
    let mut start = said.len().saturating_sub(limit);
    while !said.is_char_boundary(start) {
        start += 1;
    }
    said[start..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_s_end_is_told_as_the_container_wrote_it() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("0.log");
        let told = |content: &str| {
            std::fs::write(&log, content).unwrap();
            last_words(&folder.path().join("none"), Some(log.clone()))
        };
        assert_eq!(told("2026-11-26T14:33:24.243911648Z stdout P DONE\n"), "DONE");
        assert_eq!(
            told(
                "2026-11-26T14:33:24.243911648Z stdout F one\n2026-11-26T14:33:24.243911649Z stderr F two\n"
            ),
            "one\ntwo\n"
        );
    }
}
