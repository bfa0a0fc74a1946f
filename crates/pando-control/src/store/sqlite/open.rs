//! Opening the file: its lock, its checks, its schema; and what its errors mean.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::StoreError;

/// `pando` in ASCII, as far as it fits: tells the file from any other SQLite file.
const APPLICATION: i32 = 0x7061_6e64;

/// Of the tables below. A later version migrates upwards when it opens the file.
const SCHEMA: i64 = 1;

const TABLES: &str = "
    CREATE TABLE meta (revision INTEGER NOT NULL);
    INSERT INTO meta VALUES (0);
    CREATE TABLE lease (id INTEGER PRIMARY KEY AUTOINCREMENT, ttl INTEGER NOT NULL);
    CREATE TABLE kv (
        key TEXT PRIMARY KEY NOT NULL,
        value BLOB NOT NULL,
        created INTEGER NOT NULL,
        modified INTEGER NOT NULL,
        lease INTEGER
    );
    CREATE INDEX kv_modified ON kv (modified);
    CREATE INDEX kv_lease ON kv (lease) WHERE lease IS NOT NULL;
";

/// A lock for as long as the file is held; the system releases it when the process ends, however it ends.
pub(super) fn lock(path: &Path) -> Result<File, StoreError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let unopened = |source: std::io::Error| StoreError::Open { path: path.to_owned(), source: source.into() };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(PathBuf::from(beside))
        .map_err(unopened)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(unopened(error)),
    }
}

pub(super) fn writer(path: &Path, max_bytes: u64) -> Result<Connection, StoreError> {
    make_private(path)?;
    let explained = |error| explain(path, "opening", error);
    let connection = Connection::open_with_flags(path, flags()).map_err(explained)?;
    check_whole(path, &connection)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(explained)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(explained)?;
    // The log is cut back to this after a checkpoint; it would keep its largest size otherwise.
    connection.pragma_update(None, "journal_size_limit", 4 * 1024 * 1024).map_err(explained)?;
    connection.pragma_update(None, "cache_size", -2048).map_err(explained)?;
    migrate(path, &connection)?;
    limit_size(path, &connection, max_bytes)?;
    Ok(connection)
}

pub(super) fn reader(path: &Path) -> Result<Connection, StoreError> {
    let explained = |error| explain(path, "opening", error);
    let connection = Connection::open_with_flags(path, flags()).map_err(explained)?;
    connection.pragma_update(None, "query_only", true).map_err(explained)?;
    connection.pragma_update(None, "cache_size", -2048).map_err(explained)?;
    Ok(connection)
}

fn flags() -> OpenFlags {
    // Each connection has one thread; SQLite's own locks would be for nothing.
    OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

/// The store holds hashes of tokens and settings of apps: nobody else reads it. SQLite gives the files beside it the same mode.
fn make_private(path: &Path) -> Result<(), StoreError> {
    let opened = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    opened.map(|_| ()).map_err(|source| StoreError::Open { path: path.to_owned(), source: source.into() })
}

fn check_whole(path: &Path, connection: &Connection) -> Result<(), StoreError> {
    let verdict: String = connection
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(|error| explain(path, "checking", error))?;
    if verdict == "ok" {
        return Ok(());
    }
    Err(StoreError::Damaged { path: path.to_owned(), what: verdict })
}

fn migrate(path: &Path, connection: &Connection) -> Result<(), StoreError> {
    let explained = |error| explain(path, "reading its schema", error);
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (application, schema) =
        (number("application_id").map_err(explained)?, number("user_version").map_err(explained)?);
    match (application, schema) {
        (0, 0) if is_empty(connection).map_err(explained)? => connection
            .execute_batch(&format!(
                "BEGIN IMMEDIATE; {TABLES}
                 PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {SCHEMA}; COMMIT"
            ))
            .map_err(|error| explain(path, "making its tables", error)),
        (found, SCHEMA) if found == i64::from(APPLICATION) => Ok(()),
        (found, later) if found == i64::from(APPLICATION) && later > SCHEMA => {
            Err(StoreError::Later { path: path.to_owned(), found: later, known: SCHEMA })
        }
        _ => Err(StoreError::Damaged {
            path: path.to_owned(),
            what: "it is another program's file".to_owned(),
        }),
    }
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(tables == 0)
}

fn limit_size(path: &Path, connection: &Connection, max_bytes: u64) -> Result<(), StoreError> {
    let explained = |error| explain(path, "limiting its size", error);
    let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0)).map_err(explained)?;
    let pages = i64::try_from(max_bytes).unwrap_or(i64::MAX) / page.max(1);
    connection.pragma_update_and_check(None, "max_page_count", pages.max(1), |_| Ok(())).map_err(explained)
}

/// SQLite's error in the words of this crate.
pub(super) fn explain(path: &Path, doing: &'static str, error: rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full { path },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Damaged { path, what: error.to_string() }
        }
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            StoreError::Open { path, source: error.into() }
        }
        _ => StoreError::Failed { doing, source: error.into() },
    }
}
