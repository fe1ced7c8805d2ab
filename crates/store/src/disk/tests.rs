//! What only this engine promises: crashes that take unsynced bytes with them, quick opening, a small file.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
};

use super::*;
use crate::suite::{self, Rig};

struct Directory(tempfile::TempDir);

impl Rig for Directory {
    fn open(&self) -> Box<dyn Engine> {
        Box::new(Disk::open(self.0.path().join("store")).unwrap())
    }
}

fn directory() -> Directory {
    Directory(tempfile::tempdir().unwrap())
}

#[tokio::test]
async fn disk_passes_the_suite() {
    suite::check(directory).await;
}

fn put(revision: u64, name: &str, replaces: Option<u64>, bytes: Vec<u8>) -> Record {
    Record { revision, key: Key::new("things", name), replaces, bytes: Some(bytes.into()) }
}

#[test]
fn a_second_opening_is_refused_while_the_first_lives() {
    let directory = directory();
    let _first = directory.open();
    let error = Disk::open(directory.0.path().join("store")).unwrap_err().to_string();
    assert!(error.starts_with("cannot open the store "), "{error}");
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let directory = directory();
    let path = directory.0.path().join("store");
    std::fs::write(&path, "no database at all").unwrap();
    assert!(Disk::open(&path).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"no database at all");
}

#[test]
fn the_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = directory();
    drop(directory.open());
    let mode = std::fs::metadata(directory.0.path().join("store")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// The file as a process that dies now would leave it, opened.
fn crashed(directory: &Directory) -> bool {
    let copy = directory.0.path().join("copy");
    std::fs::copy(directory.0.path().join("store"), &copy).unwrap();
    database(FileBackend::new(create(&copy).unwrap()).unwrap()).unwrap().1
}

#[test]
fn after_settling_a_crash_needs_no_walk_through_the_file() {
    let directory = directory();
    let mut disk = Disk::open(directory.0.path().join("store")).unwrap();
    disk.load().unwrap();
    disk.commit(&[put(2, "a", None, vec![1])]).unwrap();
    assert!(crashed(&directory), "a lone commit leaves the walk to the next opening");
    disk.settle().unwrap();
    assert!(!crashed(&directory));
    disk.commit(&[put(3, "a", Some(2), vec![2])]).unwrap();
    assert!(crashed(&directory));
    let large: Vec<_> = (4..24).map(|revision| put(revision, &revision.to_string(), None, vec![0])).collect();
    disk.commit(&large).unwrap();
    assert!(!crashed(&directory), "a large batch settles itself");
}

#[test]
fn a_file_mostly_dead_is_compacted_when_opened() {
    let directory = directory();
    let path = directory.0.path().join("store");
    let mut disk = Disk::open(&path).unwrap();
    disk.load().unwrap();
    let name = |n: u64| format!("n{n}");
    let fill: Vec<_> = (0..20).map(|n| put(2 + n, &name(n), None, vec![9; 2 << 20])).collect();
    disk.commit(&fill).unwrap();
    let shrink: Vec<_> = (0..20).map(|n| put(22 + n, &name(n), Some(2 + n), vec![1; 10])).collect();
    disk.commit(&shrink).unwrap();
    let before = std::fs::metadata(&path).unwrap().len();
    assert!(before > COMPACT_FROM, "{before}");
    drop(disk);
    let mut disk = Disk::open(&path).unwrap();
    assert_eq!(disk.load().unwrap().entries.len(), 20);
    let after = std::fs::metadata(&path).unwrap().len();
    assert!(after < before / 4, "{before} to {after}");
    disk.commit(&[put(42, "more", None, vec![1])]).unwrap();
}

#[test]
fn a_damaged_row_is_an_error_and_not_a_value() {
    assert!(decode(&[]).is_none());
    assert!(decode(&[1, 0, 0, 0, 0, 0, 0, 0]).is_none(), "shorter than it says");
    assert!(decode(&[1, 0, 0, 0, 0, 0, 0, 0, 0xff]).is_none(), "a name that is no text");
}

/// A disk whose power can be cut: writes since the last sync survive one by one, by a throw of dice.
#[derive(Clone, Debug, Default)]
struct Power(Arc<Mutex<Sectors>>);

#[derive(Debug, Default)]
struct Sectors {
    synced: Vec<u8>,
    now: Vec<u8>,
    /// Writes and changes of length not yet synced, in order.
    pending: Vec<(u64, Option<Vec<u8>>)>,
}

fn apply(image: &mut Vec<u8>, (offset, data): &(u64, Option<Vec<u8>>)) {
    let offset = *offset as usize;
    match data {
        Some(data) => {
            if image.len() < offset + data.len() {
                image.resize(offset + data.len(), 0);
            }
            image[offset..offset + data.len()].copy_from_slice(data);
        }
        None => image.resize(offset, 0),
    }
}

impl StorageBackend for Power {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = offset as usize;
        out.copy_from_slice(&self.0.lock().unwrap().now[offset..offset + out.len()]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut sectors = self.0.lock().unwrap();
        sectors.pending.push((len, None));
        sectors.now.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut sectors = self.0.lock().unwrap();
        let Sectors { synced, pending, .. } = &mut *sectors;
        pending.drain(..).for_each(|change| apply(synced, &change));
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut sectors = self.0.lock().unwrap();
        let change = (offset, Some(data.to_vec()));
        apply(&mut sectors.now, &change);
        sectors.pending.push(change);
        Ok(())
    }
}

impl Power {
    /// What is on the platter after a power cut now. Lengths survive (the file system's journal sees to them),
    /// writes to one page at a time or not.
    fn cut(&self, dice: &mut impl FnMut() -> u64) -> Self {
        let sectors = self.0.lock().unwrap();
        let mut image = sectors.synced.clone();
        for (offset, data) in &sectors.pending {
            match data {
                None => apply(&mut image, &(*offset, None)),
                Some(data) => {
                    for (n, page) in data.chunks(4096).enumerate() {
                        if dice().is_multiple_of(2) {
                            apply(&mut image, &(offset + n as u64 * 4096, Some(page.to_vec())));
                        }
                    }
                }
            }
        }
        Self(Arc::new(Mutex::new(Sectors { now: image.clone(), synced: image, pending: Vec::new() })))
    }

    fn disk(&self) -> Disk {
        let (db, _) = database(self.clone()).unwrap();
        let path = PathBuf::from("power");
        prepare(&db, &path).unwrap();
        Disk { db: Some(db), path, last: 0, marker: None, unsettled: false }
    }
}

#[test]
fn a_power_cut_takes_no_committed_batch_and_leaves_no_half() {
    let mut seed = 0x5eed_u64;
    let mut dice = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 33
    };
    let mut power = Power::default();
    let mut live: BTreeMap<String, (u64, u8)> = BTreeMap::new();
    let mut revision = 1;
    for _ in 0..40 {
        let mut disk = power.disk();
        let loaded = disk.read().unwrap().0;
        assert_eq!(loaded.revision.max(1), revision);
        let found = loaded.entries.into_iter().map(|entry| {
            assert!(entry.bytes.iter().all(|byte| *byte == entry.bytes[0]));
            (entry.key.name.to_string(), (entry.revision, entry.bytes[0]))
        });
        assert_eq!(found.collect::<BTreeMap<_, _>>(), live);
        for _ in 0..dice() % 8 {
            let mut batch = Vec::new();
            for _ in 0..1 + dice() % 24 {
                revision += 1;
                let (name, fill) = (format!("k{}", dice() % 30), dice() as u8);
                let replaces = live.get(&name).map(|old| old.0);
                if replaces.is_some() && dice().is_multiple_of(3) {
                    live.remove(&name);
                    batch.push(Record { revision, key: Key::new("things", name), replaces, bytes: None });
                } else {
                    live.insert(name.clone(), (revision, fill));
                    batch.push(put(revision, &name, replaces, vec![fill; 1 + (dice() % 9000) as usize]));
                }
            }
            disk.commit(&batch).unwrap();
        }
        let cut = power.cut(&mut dice);
        drop(disk);
        power = cut;
    }
}
