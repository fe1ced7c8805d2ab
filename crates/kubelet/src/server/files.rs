//! `/logs/`: the machine's log folder, read-only. Paths are resolved beneath it by the kernel, so no link leads out.

use std::fmt::Write;
use std::fs::File;
use std::io;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use skiff_base::Tasks;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use super::answer::{self, Body};

/// Answers with a file's content or a folder's entries.
pub(super) async fn serve(root: &Path, segments: &[&str], folder_asked: bool) -> Response<Body> {
    let (root, path) = (root.to_owned(), segments.join("/"));
    let found = tokio::task::spawn_blocking(move || look(&root, &path)).await;
    match found.map_err(io::Error::other).flatten() {
        Ok(Found::Folder(_)) if !folder_asked && segments.is_empty() => {
            let mut moved = answer::empty(StatusCode::MOVED_PERMANENTLY);
            moved.headers_mut().insert(http::header::LOCATION, http::HeaderValue::from_static("/logs/"));
            moved
        }
        Ok(Found::Folder(names)) => {
            let mut page = "<pre>\n".to_owned();
            for name in names {
                let shown = name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
                let link = percent_encoding::utf8_percent_encode(&name, percent_encoding::NON_ALPHANUMERIC);
                // Writing to a string cannot fail.
                let _infallible = writeln!(page, "<a href=\"{link}\">{shown}</a>");
            }
            page.push_str("</pre>\n");
            let mut answer = answer::text(StatusCode::OK, &page);
            let html = http::HeaderValue::from_static("text/html; charset=utf-8");
            answer.headers_mut().insert(http::header::CONTENT_TYPE, html);
            answer
        }
        Ok(Found::File(file)) => stream(tokio::fs::File::from_std(file)),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            answer::text(StatusCode::FORBIDDEN, "403 Forbidden")
        }
        Err(_) => answer::text(StatusCode::NOT_FOUND, "404 page not found"),
    }
}

enum Found {
    File(File),
    Folder(Vec<String>),
}

fn look(root: &Path, path: &str) -> io::Result<Found> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let root = openat(CWD, root, flags | OFlags::DIRECTORY, Mode::empty())?;
    let path = if path.is_empty() { "." } else { path };
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let file = File::from(openat2(&root, path, flags, Mode::empty(), beneath)?);
    let meta = file.metadata()?;
    if meta.is_dir() {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&file)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort();
        return Ok(Found::Folder(names));
    }
    // A pipe would never end, a device is none of the reader's business.
    if meta.is_file() { Ok(Found::File(file)) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

fn stream(mut file: tokio::fs::File) -> Response<Body> {
    let (out, bytes) = mpsc::channel::<io::Result<Bytes>>(4);
    Tasks::new().spawn_until_stop(async move {
        let mut block = BytesMut::new();
        loop {
            block.reserve(64 * 1024);
            match file.read_buf(&mut block).await {
                Ok(0) => return,
                Ok(_) => {
                    if out.send(Ok(block.split().freeze())).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    let _gone = out.send(Err(error)).await;
                    return;
                }
            }
        }
    });
    answer::stream(bytes)
}
