//! The embedded engine: one redb file. All redb calls of Skiff are in here.
//!
//! Layout: one table of rows, keyed by revision. A change appends its row and removes the row it replaces; keys
//! that only grow are what redb writes fastest, and memory has the index by name. The last revision is that of
//! the last row; when the last change was a deletion an empty row, the marker, holds its place until the next
//! commit. So a commit touches one tree, and costs one fdatasync.
//!
//! After a crash redb walks the whole file, unless its last commit was made with quick repair, which costs a
//! lone commit a third of its speed. So only large batches are committed that way, and an empty commit follows
//! when writing pauses ([`Engine::settle`]).
//!
//! The file never shrinks by itself: it is compacted when it is opened and mostly dead. After any error redb must
//! not be used again (redb#1177), and its modes for several processes must not be used at all. A disk that is full
//! leaves the last commit whole, as a crash does; so the file is closed, and opened again once there is room.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use redb::{
    Builder, Database, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageBackend,
    TableDefinition, WriteTransaction, backends::FileBackend,
};
use tracing::info;

use crate::{CommitError, Engine, EngineError, Entry, Key, Loaded, Record};

const ROWS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("rows");
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");

/// The layout above. Another number is another layout, which this code must not touch.
const FORMAT: u64 = 1;

/// redb's page cache. Reads come from memory, so it needs to hold little but the inner pages.
const CACHE: usize = 4 << 20;

/// A batch of this many changes is committed with quick repair: there it costs little.
const QUICK_REPAIR: usize = 16;

/// Files smaller than this are not worth compacting, larger ones when less than a quarter of them lives.
const COMPACT_FROM: u64 = 32 << 20;
const COMPACT_AT: u64 = 4;

/// After a disk was full, it is tried again when this many bytes of it are free: opening has a price.
const ROOM: u64 = 1 << 20;

/// An engine over one file.
#[derive(Debug)]
pub struct Disk {
    /// None after the disk was full.
    db: Option<Database>,
    path: PathBuf,
    /// The last revision committed.
    last: u64,
    /// The empty row that stands for a deletion, if the last change was one.
    marker: Option<u64>,
    /// A crash now would make the next opening walk the whole file.
    unsettled: bool,
}

impl Disk {
    /// Opens the file, or creates it, readable by its owner alone. One process at a time can.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, EngineError> {
        let path = path.as_ref();
        let (db, repaired) = file(path).map_err(|error| failure("open", path, error))?;
        if repaired {
            info!(path = %path.display(), "the store was not closed last time, its file has been checked");
        }
        prepare(&db, path)?;
        Ok(Self { db: Some(db), path: path.to_owned(), last: 0, marker: None, unsettled: false })
    }

    /// The database; opened again if there was no room the last time, and is now.
    fn db(&mut self) -> Result<&mut Database, redb::Error> {
        let db = match self.db.take() {
            Some(db) => db,
            None => self.reopen()?,
        };
        Ok(self.db.insert(db))
    }

    fn reopen(&self) -> Result<Database, redb::Error> {
        let stat = rustix::fs::statvfs(&self.path).map_err(io::Error::from)?;
        if stat.f_bfree * stat.f_frsize < ROOM {
            return Err(io::Error::from(rustix::io::Errno::NOSPC).into());
        }
        let (db, _) = file(&self.path)?;
        let last = db.begin_read()?.open_table(ROWS)?.last()?.map_or(0, |(revision, _)| revision.value());
        if last == self.last {
            return Ok(db);
        }
        let message = format!("its last revision is {last}, but what was committed last was {}", self.last);
        Err(redb::Error::Corrupted(message))
    }

    /// Has something done with the database, and makes of its error what it means.
    fn write<T>(
        &mut self,
        action: &str,
        run: impl FnOnce(&mut Self) -> Result<T, redb::Error>,
    ) -> Result<T, CommitError> {
        run(self).map_err(|error| {
            let full = is_full(&error);
            let failure = failure(action, &self.path, error);
            if !full {
                return CommitError::Failed(failure);
            }
            self.db = None;
            CommitError::Full(failure)
        })
    }

    /// Makes the file small again when most of it is dead.
    fn compact(&mut self, live: u64) -> Result<(), redb::Error> {
        let before = std::fs::metadata(&self.path)?.len();
        if before < COMPACT_FROM || before / COMPACT_AT < live {
            return Ok(());
        }
        self.db()?.compact()?;
        let after = std::fs::metadata(&self.path)?.len();
        info!(path = %self.path.display(), before, after, live, "compacted the store's file");
        Ok(())
    }

    fn read(&mut self) -> Result<(Loaded, u64), redb::Error> {
        let transaction = self.db()?.begin_read()?;
        let rows = transaction.open_table(ROWS)?;
        let mut loaded = Loaded { entries: Vec::with_capacity(rows.len()? as usize), revision: 0 };
        let mut live = 0;
        // Tables are few and every key names one: share the name.
        let mut tables: Vec<Arc<str>> = Vec::new();
        for row in rows.iter()? {
            let (revision, row) = row?;
            loaded.revision = revision.value();
            if row.value().is_empty() {
                self.marker = Some(loaded.revision);
                continue;
            }
            live += row.value().len() as u64;
            let damaged = || redb::Error::Corrupted(format!("row {} is not a row", revision.value()));
            let (table, name, bytes) = decode(row.value()).ok_or_else(damaged)?;
            let known = tables.iter().find(|known| &***known == table).cloned();
            let table = known.unwrap_or_else(|| {
                let table = Arc::<str>::from(table);
                tables.push(table.clone());
                table
            });
            let key = Key { table, name: name.into() };
            loaded.entries.push(Entry {
                key,
                revision: loaded.revision,
                bytes: Bytes::copy_from_slice(bytes),
            });
        }
        Ok((loaded, live))
    }

    fn append(&mut self, batch: &[Record]) -> Result<(), redb::Error> {
        let Some(last) = batch.last() else { return Ok(()) };
        let quick = batch.len() >= QUICK_REPAIR;
        let (old, marker) = (self.marker, last.bytes.is_none().then_some(last.revision));
        let transaction = begin(self.db()?, quick)?;
        {
            let mut rows = transaction.open_table(ROWS)?;
            if let Some(old) = old {
                rows.remove(old)?;
            }
            for record in batch {
                if let Some(dead) = record.replaces {
                    rows.remove(dead)?;
                }
                if let Some(bytes) = &record.bytes {
                    let mut row = rows.insert_reserve(record.revision, encoded_len(&record.key, bytes))?;
                    encode(row.as_mut(), &record.key, bytes);
                }
            }
            if let Some(marker) = marker {
                rows.insert(marker, [].as_slice())?;
            }
        }
        transaction.commit()?;
        (self.last, self.marker, self.unsettled) = (last.revision, marker, !quick);
        Ok(())
    }

    fn settled(&mut self) -> Result<(), redb::Error> {
        if self.unsettled {
            begin(self.db()?, true)?.commit()?;
            self.unsettled = false;
        }
        Ok(())
    }
}

impl Engine for Disk {
    fn load(&mut self) -> Result<Loaded, EngineError> {
        let (loaded, live) = self.read().map_err(|error| failure("read", &self.path, error))?;
        self.last = loaded.revision;
        self.compact(live).map_err(|error| failure("compact", &self.path, error))?;
        Ok(loaded)
    }

    fn commit(&mut self, batch: &[Record]) -> Result<(), CommitError> {
        self.write("write to", |disk| disk.append(batch))
    }

    fn settle(&mut self) -> Result<(), CommitError> {
        self.write("settle", Self::settled)
    }
}

/// Whether there was no room for it, or more than somebody may have.
fn is_full(error: &redb::Error) -> bool {
    let redb::Error::Io(error) = error else { return false };
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn failure(action: &str, path: &Path, error: redb::Error) -> EngineError {
    EngineError::new(format!("{action} the store {}", path.display()), error)
}

/// The file; a new one is made known to its directory durably, or a power cut could take it away whole.
fn create(path: &Path) -> io::Result<File> {
    let known = path.exists();
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    if !known {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(file)
}

/// The database of a path, and whether it had to be checked page by page first.
fn file(path: &Path) -> Result<(Database, bool), redb::Error> {
    database(FileBackend::new(create(path)?)?)
}

/// The database in there, and whether it had to be checked page by page first.
fn database(backend: impl StorageBackend) -> Result<(Database, bool), redb::Error> {
    let repaired = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = repaired.clone();
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE);
    builder.set_repair_callback(move |_| seen.store(true, std::sync::atomic::Ordering::Relaxed));
    let db = builder.create_with_backend(backend)?;
    Ok((db, repaired.load(std::sync::atomic::Ordering::Relaxed)))
}

/// Makes sure the layout is ours; writes it down in a new file.
fn prepare(db: &Database, path: &Path) -> Result<(), EngineError> {
    let format = format(db).map_err(|error| failure("open", path, error))?;
    if format == FORMAT {
        return Ok(());
    }
    let found = format!("its layout is number {format}, this program knows {FORMAT}");
    Err(EngineError::new(format!("open the store {}", path.display()), found))
}

fn format(db: &Database) -> Result<u64, redb::Error> {
    let read = db.begin_read()?;
    match read.open_table(ABOUT) {
        Ok(about) => return Ok(about.get("format")?.map_or(0, |format| format.value())),
        Err(redb::TableError::TableDoesNotExist(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let transaction = begin(db, true)?;
    transaction.open_table(ROWS)?;
    transaction.open_table(ABOUT)?.insert("format", FORMAT)?;
    transaction.commit()?;
    Ok(FORMAT)
}

fn begin(db: &Database, quick_repair: bool) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = db.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.set_quick_repair(quick_repair);
    Ok(transaction)
}

// A row: the lengths of table and name, four bytes each, then table, name and value. Never empty.

fn encoded_len(key: &Key, bytes: &Bytes) -> usize {
    8 + key.table.len() + key.name.len() + bytes.len()
}

fn encode(mut row: &mut [u8], key: &Key, bytes: &Bytes) {
    let mut put = |part: &[u8]| {
        let (head, tail) = std::mem::take(&mut row).split_at_mut(part.len());
        head.copy_from_slice(part);
        row = tail;
    };
    put(&(key.table.len() as u32).to_le_bytes());
    put(&(key.name.len() as u32).to_le_bytes());
    put(key.table.as_bytes());
    put(key.name.as_bytes());
    put(bytes);
}

fn decode(row: &[u8]) -> Option<(&str, &str, &[u8])> {
    let (table, rest) = row.split_first_chunk::<4>()?;
    let (name, rest) = rest.split_first_chunk::<4>()?;
    let (table, rest) = rest.split_at_checked(u32::from_le_bytes(*table) as usize)?;
    let (name, bytes) = rest.split_at_checked(u32::from_le_bytes(*name) as usize)?;
    Some((std::str::from_utf8(table).ok()?, std::str::from_utf8(name).ok()?, bytes))
}

#[cfg(test)]
mod tests;
