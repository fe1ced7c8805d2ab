//! The log reader, against tables and against real files.

use std::io::Cursor;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

use super::copy::copy;
use super::line::Show;
use super::options::{LogOptions, Refusal, Streams};
use super::tail::start_in_blocks;

const LOG: &str = "\
2026-01-02T03:04:05.1Z stdout F one
2026-01-02T03:04:06.22Z stderr F two
2026-01-02T03:04:07.333Z stdout P thr
2026-01-02T03:04:08.4Z stdout F ee
2026-01-02T03:04:09Z stdout F 
";

fn shown(query: &str) -> String {
    let options = LogOptions::from_query(query, "2026-01-02T03:04:09Z".parse().unwrap()).unwrap();
    let mut out = BytesMut::new();
    let mut show = Show::new(&options);
    // In small pieces, so that lines are cut everywhere.
    for piece in LOG.as_bytes().chunks(7) {
        if !show.is_full() {
            show.push(piece, &mut out);
        }
    }
    String::from_utf8(out.to_vec()).unwrap()
}

#[test]
fn lines_are_shown_as_asked() {
    assert_eq!(shown(""), "one\ntwo\nthree\n\n");
    assert_eq!(shown("stream=Stderr"), "two\n");
    assert_eq!(shown("stream=Stdout"), "one\nthree\n\n");
    assert_eq!(shown("limitBytes=6"), "one\ntw");
    assert_eq!(shown("sinceSeconds=2"), "three\n\n");
    assert_eq!(shown("sinceTime=2026-01-02T03:04:09Z"), "\n");
    assert_eq!(
        shown("timestamps=true&sinceTime=2026-01-02T03:04:06Z"),
        "2026-01-02T03:04:06.220000000Z two\n2026-01-02T03:04:07.333000000Z three\n2026-01-02T03:04:09.000000000Z \n"
    );
}

#[test]
fn lines_written_after_the_tail_was_found_are_only_shown_to_who_follows() {
    // The reader begins where the last two lines began when it looked.
    assert_eq!(shown("tailLines=2"), "one\ntwo\n");
    assert_eq!(shown("tailLines=3&limitBytes=9"), "one\ntwo\nt");
    assert_eq!(shown("tailLines=0"), "");
    assert_eq!(shown("tailLines=2&follow=true"), "one\ntwo\nthree\n\n");
}

#[test]
fn queries_are_read_as_upstream_reads_them() {
    let read = |query| LogOptions::from_query(query, "2026-01-02T03:04:09Z".parse().unwrap());
    assert_eq!(read("tail=all&tailLines=3").unwrap().tail_lines, None);
    assert_eq!(read("tailLines=3&follow=true").unwrap().tail_lines, Some(3));
    assert_eq!(read("stream=Stdout").unwrap().streams, Streams::Stdout);
    assert_eq!(read("tailLines=x").unwrap_err(), Refusal::Unreadable);
    for invalid in
        ["tailLines=-1", "limitBytes=0", "sinceSeconds=0", "sinceSeconds=1&sinceTime=2026-01-02T03:04:09Z"]
    {
        assert_eq!(read(invalid).unwrap_err(), Refusal::Invalid, "{invalid}");
    }
}

#[test]
fn the_tail_begins_at_a_line_of_the_containers() {
    let expected = [
        (0, ""),
        (1, "2026-01-02T03:04:09Z"),
        (2, "2026-01-02T03:04:07"),
        (3, "2026-01-02T03:04:06"),
        (9, "2026-01-02T03:04:05"),
    ];
    for (lines, begins) in expected {
        for block in [1, 5, 16, 64, 4096] {
            let start = start_in_blocks(&mut Cursor::new(LOG.as_bytes()), lines, block).unwrap();
            let tail = &LOG[usize::try_from(start).unwrap()..];
            assert!(
                tail.starts_with(begins) && (lines > 0 || tail.is_empty()),
                "{lines} lines, blocks of {block}: {tail}"
            );
        }
    }
}

#[test]
fn the_log_is_the_one_the_status_points_to() {
    let find = |state: serde_json::Value, last: serde_json::Value, previous: bool| {
        let status = serde_json::json!({ "containerStatuses": [{
            "name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "containerID": "containerd://now", "state": state, "lastState": last,
        }] });
        let pod = serde_json::json!({ "metadata": { "name": "p" }, "spec": { "containers": [] }, "status": status });
        let kept = |id: &str| crate::handle::ContainerView {
            name: "c".to_owned(),
            attempt: 0,
            id: id.to_owned(),
            state: crate::runtime::ContainerState::Exited,
            log_path: "/log".into(),
        };
        let view = crate::handle::PodView {
            pod: std::sync::Arc::new(serde_json::from_value(pod).unwrap()),
            sandbox: None,
            containers: vec![kept("now"), kept("then")],
            mounts: None,
            cleared: false,
        };
        super::find(&view, "c", previous).map(|found| found.id.clone())
    };
    let ended = |id: &str| serde_json::json!({ "terminated": { "exitCode": 1, "containerID": id } });
    let waiting = |reason: &str| serde_json::json!({ "waiting": { "reason": reason } });
    let none = serde_json::json!({});
    let running = serde_json::json!({ "running": {} });
    assert_eq!(find(running.clone(), ended("containerd://then"), false).unwrap(), "now");
    assert_eq!(find(running.clone(), ended("containerd://then"), true).unwrap(), "then");
    assert_eq!(find(ended("containerd://now"), none.clone(), false).unwrap(), "now");
    assert_eq!(find(waiting("CrashLoopBackOff"), ended("containerd://then"), false).unwrap(), "then");
    let said = |reason| find(waiting(reason), none.clone(), false).unwrap_err();
    let begin = "container \"c\" in pod \"p\" is waiting to start: ";
    assert_eq!(said("ContainerCreating"), format!("{begin}ContainerCreating"));
    assert_eq!(said("ErrImagePull"), format!("{begin}image can't be pulled"));
    assert_eq!(said("ImagePullBackOff"), format!("{begin}trying and failing to pull image"));
    let gone = find(running, ended("containerd://removed"), true).unwrap_err();
    assert_eq!(gone, "previous terminated container \"c\" in pod \"p\" not found");
}

async fn text(lines: &mut mpsc::Receiver<std::io::Result<Bytes>>, length: usize) -> String {
    let mut all = Vec::new();
    while all.len() < length {
        match lines.recv().await {
            Some(bytes) => all.extend_from_slice(&bytes.unwrap()),
            None => break,
        }
    }
    String::from_utf8(all).unwrap()
}

#[tokio::test]
async fn following_survives_rotation_and_ends_with_the_container() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("0.log");
    std::fs::write(&path, LOG).unwrap();
    let append = |path: &std::path::Path, text: &str| {
        use std::io::Write;
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    let (out, mut lines) = mpsc::channel(4);
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let options = LogOptions { follow: true, tail_lines: Some(2), ..LogOptions::default() };
    let reader = async {
        let ended = async { ended.await.unwrap_or_default() };
        copy(&path, &options, ended, out).await.unwrap();
    };
    let writer = async {
        assert_eq!(text(&mut lines, 7).await, "three\n\n");
        append(&path, "2026-01-02T03:04:10Z stdout F ");
        append(&path, "four\n");
        assert_eq!(text(&mut lines, 5).await, "four\n");
        std::fs::rename(&path, folder.path().join("0.log.old")).unwrap();
        append(&folder.path().join("0.log.old"), "2026-01-02T03:04:11Z stdout F last\n");
        append(&path, "2026-01-02T03:04:12Z stdout F first\n");
        assert_eq!(text(&mut lines, 11).await, "last\nfirst\n");
        append(&path, "2026-01-02T03:04:13Z stderr F bye\n");
        end.send(()).unwrap();
        assert_eq!(text(&mut lines, 100).await, "bye\n");
    };
    tokio::join!(reader, writer);
}
