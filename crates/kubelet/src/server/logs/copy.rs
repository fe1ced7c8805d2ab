//! Copies a log to whoever asked, to its end or for as long as the container writes.
//!
//! The watch is set up before the first read, so nothing written in between is missed. Only signals wake the copier: inotify and
//! the end of the container. The one timer is a deadline after that end, since the runtime's log writer may finish a
//! moment after the process.

use std::ffi::OsStr;
use std::future::Future;
use std::io::{self, SeekFrom};
use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::mpsc;

use super::line::Show;
use super::options::LogOptions;
use super::tail::start_of_last;
use crate::watch::FolderWatch;

const BLOCK: usize = 64 * 1024;
/// How long the runtime's log writer may lag behind the end of the process.
const AFTERMATH: Duration = Duration::from_millis(200);

/// Sends the log at `path` to `out`. `ended` resolves when the container no longer runs; it is asked only when following.
pub(crate) async fn copy(
    path: &Path,
    options: &LogOptions,
    ended: impl Future<Output = ()>,
    out: mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default();
    let mut watch = if options.follow { Some(FolderWatch::new(folder)?) } else { None };
    let mut file = open(path, options.tail_lines).await?;
    let mut show = Show::new(options);
    let mut ended = std::pin::pin!(ended);
    let mut over = false;
    loop {
        if !drain(&mut file, &mut show, &out).await? {
            return Ok(());
        }
        let Some(watch) = &mut watch else { return Ok(()) };
        let change = tokio::select! {
            () = out.closed() => return Ok(()),
            () = &mut ended, if !over => { over = true; continue; }
            change = watch.changes() => Some(change?),
            () = tokio::time::sleep(AFTERMATH), if over => None,
        };
        let Some(changes) = change else { return Ok(()) };
        let ours = |change: &crate::watch::Change| {
            change.replaced && change.name.as_deref().is_none_or(|changed: &OsStr| changed == name)
        };
        if changes.iter().any(ours) {
            // The old file first, to its end; the new one may come with a later change.
            if !drain(&mut file, &mut show, &out).await? {
                return Ok(());
            }
            match open(path, None).await {
                Ok(new) if !same(&file, &new).await? => {
                    file = new;
                    show.new_file();
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
}

async fn open(path: &Path, tail: Option<u64>) -> io::Result<File> {
    let mut file = File::open(path).await?;
    if let Some(lines) = tail {
        let mut plain = file.into_std().await;
        let found = tokio::task::spawn_blocking(move || {
            let start = start_of_last(&mut plain, lines)?;
            Ok::<_, io::Error>((plain, start))
        });
        let (plain, start) = found.await.map_err(io::Error::other)??;
        file = File::from_std(plain);
        file.seek(SeekFrom::Start(start)).await?;
    }
    Ok(file)
}

async fn same(one: &File, other: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let (one, other) = (one.metadata().await?, other.metadata().await?);
    Ok(one.ino() == other.ino() && one.dev() == other.dev())
}

/// Copies what there is; false if the reader has enough or is gone.
async fn drain(file: &mut File, show: &mut Show, out: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<bool> {
    let mut block = BytesMut::with_capacity(BLOCK);
    loop {
        block.clear();
        block.reserve(BLOCK);
        if file.read_buf(&mut block).await? == 0 {
            return Ok(true);
        }
        let mut shown = BytesMut::with_capacity(block.len());
        show.push(&block, &mut shown);
        if !shown.is_empty() && out.send(Ok(shown.freeze())).await.is_err() {
            return Ok(false);
        }
        if show.is_full() {
            return Ok(false);
        }
    }
}
