//! A table from a file that people edit.
//!
//! The file is the only authority, so its version is reported and not judged: who
//! edits by hand forgets to raise it.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pando_routing::{Fault, Table};

use super::Tables;
use crate::error::{ProxyError, Refusal};

/// How often the file is looked at.
const INTERVAL: Duration = Duration::from_millis(250);

/// Older than any file system's clock ticks.
const SETTLED: Duration = Duration::from_secs(3);

/// The most that is read of a file.
const MOST: u64 = 16 << 20;

/// Reads and installs the table for the start.
///
/// # Errors
/// The file cannot be read, or what is wrong with the table.
pub(crate) async fn start(tables: &Tables, path: &Path) -> Result<Vec<u8>, ProxyError> {
    let bytes = read(path).await.map_err(|source| match source.kind() {
        ErrorKind::NotFound => ProxyError::NoTable { path: path.to_owned() },
        _ => ProxyError::ReadTable { path: path.to_owned(), source },
    })?;
    match install(tables, &bytes).await {
        Ok(()) => Ok(bytes),
        Err(reasons) => Err(ProxyError::BadTable { path: path.to_owned(), reasons }),
    }
}

/// Installs what the file holds whenever it changes from `held`. A file that cannot be used is warned about, once, and the
/// table in use stays. Never ends by itself.
pub(crate) async fn watch(tables: Arc<Tables>, path: PathBuf, mut held: Vec<u8>) {
    let (mut seen, mut unreadable) = (None, false);
    loop {
        tokio::time::sleep(INTERVAL).await;
        match changed(&path, &mut seen).await {
            Ok(None) => unreadable = false,
            Ok(Some(bytes)) => {
                unreadable = false;
                if bytes != held {
                    held = bytes;
                    replace(&tables, &path, &held).await;
                }
            }
            Err(error) if !unreadable => {
                unreadable = true;
                tracing::warn!(path = %path.display(), %error, "cannot read the table; the one before stays in use");
            }
            Err(_) => {}
        }
    }
}

async fn replace(tables: &Tables, path: &Path, bytes: &[u8]) {
    if let Err(reasons) = install(tables, bytes).await {
        let (path, why) = (path.display(), reasons.join("; "));
        tracing::warn!(%path, why, "the changed table is not valid; the one before stays in use");
    }
}

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: Option<SystemTime>,
}

/// The content, unless the file is as it was `seen`. One that was changed just now may be changed again within the same tick of
/// its clock, so it doesn't count as seen yet.
async fn changed(path: &Path, seen: &mut Option<Stamp>) -> std::io::Result<Option<Vec<u8>>> {
    let metadata = tokio::fs::metadata(path).await?;
    let (device, inode, size) = (metadata.dev(), metadata.ino(), metadata.len());
    let modified = metadata.modified().ok();
    let stamp = Stamp { device, inode, size, modified };
    if *seen == Some(stamp) {
        return Ok(None);
    }
    let bytes = read(path).await?;
    let is_settled = modified.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > SETTLED);
    *seen = is_settled.then_some(stamp);
    Ok(Some(bytes))
}

async fn install(tables: &Tables, bytes: &[u8]) -> Result<(), Vec<String>> {
    let table = Table::read(bytes).map_err(|why| vec![why])?;
    match tables.install(table).await {
        Ok(_) => Ok(()),
        Err(Refusal::Invalid(faults)) => Err(faults.iter().map(|fault| found(fault, bytes)).collect()),
        Err(other) => Err(vec![other.to_string()]),
    }
}

/// With line and column.
fn found(fault: &Fault, bytes: &[u8]) -> String {
    let (line, column) = fault.place.in_text(bytes);
    format!("line {line}, column {column}: {fault}")
}

async fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || {
        let size = std::fs::metadata(&path)?.len();
        if size > MOST {
            return Err(std::io::Error::other(format!("{size} bytes are more than the {MOST} allowed")));
        }
        std::fs::read(&path)
    });
    read.await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
}
