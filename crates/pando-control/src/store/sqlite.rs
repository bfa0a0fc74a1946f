//! The embedded store: one SQLite file in WAL mode.
//!
//! Every commit is on the disk before it is acknowledged (`synchronous=FULL`).
//! One process has the file at a time; a lock beside it sees to that.

mod open;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params};

use super::engine::{Applied, Engine};
use super::served::ServedStore;
use super::{Entry, LeaseId, Op, Outcome, Range, Reading, Revision, StoreError, Txn};

/// The most that the file may grow to by default. A cluster of a hundred apps needs a few megabytes; a store that grows past
/// this has a fault, and should not take the disk with it.
pub const MAX_BYTES: u64 = 1024 * 1024 * 1024;

/// Opens the store in the file `path`, or makes it. Blocks for some milliseconds: longer for a large file, since all of it is
/// checked.
///
/// # Errors
/// When the file is damaged, in use, from a later version, or can't be opened.
pub fn open(path: &Path) -> Result<ServedStore, StoreError> {
    open_with(path, MAX_BYTES)
}

/// As [`open`], with another limit on the file's size.
///
/// # Errors
/// As [`open`].
pub fn open_with(path: &Path, max_bytes: u64) -> Result<ServedStore, StoreError> {
    let lock = open::lock(path)?;
    let writer = Sqlite::new(path, open::writer(path, max_bytes)?, Some(lock));
    let reader = Sqlite::new(path, open::reader(path)?, None);
    ServedStore::start(writer, Some(reader))
}

struct Sqlite {
    path: PathBuf,
    connection: Connection,
    /// Why no more writes are taken.
    broken: Option<String>,
    /// Held as long as the connection lives.
    _lock: Option<std::fs::File>,
}

impl Sqlite {
    fn new(path: &Path, connection: Connection, lock: Option<std::fs::File>) -> Self {
        Self { path: path.to_owned(), connection, broken: None, _lock: lock }
    }

    /// Does `work` in one transaction; an error leaves nothing behind.
    fn write<T>(
        &mut self,
        doing: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, WriteError>,
    ) -> Result<T, StoreError> {
        if let Some(why) = &self.broken {
            return Err(StoreError::Broken { why: why.clone() });
        }
        let done = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(WriteError::Sqlite)
            .and_then(|transaction| {
                let value = work(&transaction)?;
                transaction.commit()?;
                Ok(value)
            });
        match done {
            Ok(value) => Ok(value),
            Err(WriteError::Store(error)) => Err(error),
            Err(WriteError::Sqlite(error)) => Err(self.write_failed(doing, error)),
        }
    }

    /// After a failed sync nobody knows what the disk holds, and syncing again may claim success: take no more writes.
    fn write_failed(&mut self, doing: &'static str, error: rusqlite::Error) -> StoreError {
        if error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure) {
            self.broken = Some(error.to_string());
        }
        open::explain(&self.path, doing, error)
    }
}

enum WriteError {
    Store(StoreError),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for WriteError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Engine for Sqlite {
    fn read(&mut self, ranges: &[Range]) -> Result<Reading, StoreError> {
        let path = self.path.clone();
        let failed = |error| open::explain(&path, "reading", error);
        let transaction = self.connection.transaction().map_err(failed)?;
        let revision = revision(&transaction).map_err(failed)?;
        let read = ranges.iter().map(|range| read_range(&transaction, range));
        let ranges = read.collect::<Result<_, _>>().map_err(failed)?;
        transaction.commit().map_err(failed)?;
        Ok(Reading { revision, ranges })
    }

    fn txn(&mut self, txn: Txn) -> Result<Applied, StoreError> {
        self.write("committing a transaction", |transaction| {
            for guard in &txn.guards {
                if !guard.expect.holds(modified(transaction, &guard.key)?) {
                    return Ok(Applied { outcome: Outcome::Conflict, keys: Vec::new() });
                }
            }
            let current = revision(transaction)?;
            let mut keys = Vec::new();
            for op in txn.ops {
                let key = op.key().to_owned();
                if apply(transaction, current + 1, op)? {
                    keys.push(key);
                }
            }
            let reached = if keys.is_empty() { current } else { advance(transaction)? };
            Ok(Applied { outcome: Outcome::Committed(reached), keys })
        })
    }

    fn grant(&mut self, ttl: Duration) -> Result<LeaseId, StoreError> {
        let millis = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        self.write("granting a lease", |transaction| {
            transaction.execute("INSERT INTO lease (ttl) VALUES (?1)", [millis])?;
            Ok(LeaseId(unsigned(transaction.last_insert_rowid())))
        })
    }

    fn revoke(&mut self, lease: LeaseId) -> Result<(Revision, Vec<String>), StoreError> {
        self.write("ending a lease", |transaction| {
            let id = signed(lease.0);
            transaction.execute("DELETE FROM lease WHERE id = ?1", [id])?;
            let mut held = transaction.prepare_cached("DELETE FROM kv WHERE lease = ?1 RETURNING key")?;
            let mut keys = held.query_map([id], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
            keys.sort();
            let reached = if keys.is_empty() { revision(transaction)? } else { advance(transaction)? };
            Ok((reached, keys))
        })
    }

    fn leases(&mut self) -> Result<Vec<(LeaseId, Duration)>, StoreError> {
        let failed = |error| open::explain(&self.path, "reading leases", error);
        let mut all = self.connection.prepare("SELECT id, ttl FROM lease ORDER BY id").map_err(failed)?;
        let lease = |row: &rusqlite::Row<'_>| {
            Ok((LeaseId(unsigned(row.get(0)?)), Duration::from_millis(unsigned(row.get(1)?))))
        };
        all.query_map([], lease).and_then(Iterator::collect).map_err(failed)
    }
}

fn revision(connection: &Connection) -> rusqlite::Result<Revision> {
    let mut select = connection.prepare_cached("SELECT revision FROM meta")?;
    select.query_row([], |row| row.get(0)).map(unsigned)
}

fn advance(transaction: &Transaction<'_>) -> rusqlite::Result<Revision> {
    let mut update =
        transaction.prepare_cached("UPDATE meta SET revision = revision + 1 RETURNING revision")?;
    update.query_row([], |row| row.get(0)).map(unsigned)
}

fn modified(transaction: &Transaction<'_>, key: &str) -> rusqlite::Result<Option<Revision>> {
    let mut select = transaction.prepare_cached("SELECT modified FROM kv WHERE key = ?1")?;
    Ok(select.query_row([key], |row| row.get(0)).optional()?.map(unsigned))
}

/// Whether it changed anything.
fn apply(transaction: &Transaction<'_>, revision: Revision, op: Op) -> Result<bool, WriteError> {
    match op {
        Op::Delete { key } => {
            let mut delete = transaction.prepare_cached("DELETE FROM kv WHERE key = ?1")?;
            Ok(delete.execute([key])? > 0)
        }
        Op::Put { key, value, lease } => {
            if let Some(lease) = lease {
                check_lease(transaction, lease)?;
            }
            let mut put = transaction.prepare_cached(
                "INSERT INTO kv (key, value, created, modified, lease) VALUES (?1, ?2, ?3, ?3, ?4)
                 ON CONFLICT (key) DO UPDATE
                 SET value = excluded.value, modified = excluded.modified, lease = excluded.lease",
            )?;
            let lease = lease.map(|lease| signed(lease.0));
            put.execute(params![key, value.as_ref(), signed(revision), lease])?;
            Ok(true)
        }
    }
}

fn check_lease(transaction: &Transaction<'_>, lease: LeaseId) -> Result<(), WriteError> {
    let mut select = transaction.prepare_cached("SELECT 1 FROM lease WHERE id = ?1")?;
    if select.exists([signed(lease.0)])? {
        Ok(())
    } else {
        Err(WriteError::Store(StoreError::NoLease(lease)))
    }
}

fn read_range(transaction: &Transaction<'_>, range: &Range) -> rusqlite::Result<Vec<Entry>> {
    let order = if range.descending { "DESC" } else { "ASC" };
    // What changed lately is found by the index on revisions; everything else by key.
    let index = if range.after > 0 { "INDEXED BY kv_modified" } else { "" };
    let mut select = transaction.prepare_cached(&format!(
        "SELECT key, value, created, modified, lease FROM kv {index}
         WHERE key >= ?1 AND key < ?2 AND modified > ?3 ORDER BY key {order} LIMIT ?4"
    ))?;
    let limit = range.limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
    let found = select.query_map(params![range.start, range.end, signed(range.after), limit], entry)?;
    found.collect()
}

fn entry(row: &rusqlite::Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        key: row.get(0)?,
        value: Bytes::from(row.get::<_, Vec<u8>>(1)?),
        created: unsigned(row.get(2)?),
        modified: unsigned(row.get(3)?),
        lease: row.get::<_, Option<i64>>(4)?.map(|id| LeaseId(unsigned(id))),
    })
}

/// SQLite's integers are signed; the store's counters never come near the difference.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
