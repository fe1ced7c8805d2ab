//! A disk without room: writes are refused, nothing is lost, and all is well once there is room. Mounts a small file
//! system, and so needs to be root.

use std::path::PathBuf;

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use skiff_store::{Disk, Expect};

use crate::given::{Notes, delete, key, open, put, set, word};

/// A disk of eight megabytes, gone with the test.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        mount("tmpfs", directory.path(), "tmpfs", MountFlags::empty(), Some(c"size=8m")).unwrap();
        Self(directory)
    }

    fn store(&self) -> Notes {
        open(Disk::open(self.0.path().join("store")).unwrap())
    }

    fn filler(&self) -> PathBuf {
        self.0.path().join("filler")
    }

    /// Takes what room is left.
    fn fill(&self) {
        let room = rustix::fs::statvfs(self.0.path()).unwrap();
        std::fs::write(self.filler(), vec![1; usize::try_from(room.f_bfree * room.f_frsize).unwrap()])
            .unwrap();
    }

    fn empty(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(self.0.path(), UnmountFlags::DETACH).unwrap();
    }
}

/// More than the file can hold without growing.
fn large() -> Bytes {
    Bytes::from(vec![b'x'; 3 << 20])
}

#[tokio::test]
async fn a_full_disk_refuses_writes_until_there_is_room() {
    let disk = SmallDisk::new();
    let store = disk.store();
    set(&store, "a", "1").await;
    let mut watch = store.watch("notes", store.revision()).unwrap();
    disk.fill();
    for _ in 0..3 {
        let refused = word(&store.write(put(key("b"), Expect::Absent, large())).await);
        assert!(refused.starts_with("full: cannot write to the store "), "{refused}");
        // Not even opening the file again is tried meanwhile.
        assert!(word(&store.write(put(key("a"), Expect::Any, "2")).await).starts_with("full: "));
    }
    assert_eq!((store.revision(), store.get(&key("a")).unwrap().text()), (2, "1"), "reads go on");
    assert!(store.get(&key("b")).is_none());

    disk.empty();
    assert_eq!(word(&store.write(put(key("a"), Expect::Revision(2), "2")).await), "2 at 3");
    set(&store, "b", "1").await;
    assert_eq!(
        watch.next().now_or_never().unwrap().unwrap().unwrap().revision,
        3,
        "what was refused is not told"
    );
    store.close().await.unwrap();
    let store = disk.store();
    assert_eq!((store.revision(), store.get(&key("a")).unwrap().text()), (4, "2"));
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_deletion_before_the_disk_was_full_stays_done() {
    let disk = SmallDisk::new();
    let store = disk.store();
    set(&store, "a", "1").await;
    assert_eq!(word(&store.write(delete(key("a"), Expect::Present)).await), "1 at 3");
    disk.fill();
    assert!(word(&store.write(put(key("a"), Expect::Absent, large())).await).starts_with("full: "));
    disk.empty();
    assert_eq!(word(&store.write(put(key("b"), Expect::Absent, "1")).await), "1 at 4");
    store.close().await.unwrap();
    let store = disk.store();
    assert_eq!((store.revision(), store.snapshot("notes").objects.len()), (4, 1));
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_store_that_ends_while_its_disk_is_full_is_found_again() {
    let disk = SmallDisk::new();
    let store = disk.store();
    set(&store, "a", "1").await;
    disk.fill();
    assert!(word(&store.write(put(key("b"), Expect::Absent, large())).await).starts_with("full: "));
    store.close().await.unwrap();
    let store = disk.store();
    assert_eq!(store.get(&key("a")).unwrap().text(), "1", "it opens, though nothing can be written");
    disk.empty();
    set(&store, "b", "1").await;
    store.close().await.unwrap();
}
