//! A table from a file that people edit.
//!
//! The file is the only authority, so its version is reported and not judged: who
//! edits by hand forgets to raise it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pando_routing::Table;

use super::Tables;
use crate::error::{ProxyError, Refusal};

/// How often the file is looked at.
const INTERVAL: Duration = Duration::from_millis(250);

/// The most that is read of a file.
const MOST: u64 = 16 << 20;

/// Reads and installs the table for the start.
///
/// # Errors
/// The file cannot be read, or what is wrong with the table.
pub(crate) async fn start(tables: &Tables, path: &Path) -> Result<Vec<u8>, ProxyError> {
    let bytes = read(path).await.map_err(|source| ProxyError::ReadTable { path: path.to_owned(), source })?;
    match install(tables, &bytes).await {
        Ok(()) => Ok(bytes),
        Err(reasons) => Err(ProxyError::BadTable { path: path.to_owned(), reasons }),
    }
}

/// Installs what the file holds whenever it changes from `held`. A file that cannot be used is warned about, once, and the
/// table in use stays. Never ends by itself.
pub(crate) async fn watch(tables: Arc<Tables>, path: PathBuf, mut held: Vec<u8>) {
    let mut unreadable = false;
    loop {
        tokio::time::sleep(INTERVAL).await;
        match read(&path).await {
            Ok(bytes) if bytes == held => unreadable = false,
            Ok(bytes) => {
                unreadable = false;
                held = bytes;
                if let Err(reasons) = install(&tables, &held).await {
                    let why = reasons.join("; ");
                    tracing::warn!(path = %path.display(), why, "the changed table is not valid; the one before stays in use");
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

async fn install(tables: &Tables, bytes: &[u8]) -> Result<(), Vec<String>> {
    let table: Table = serde_json::from_slice(bytes).map_err(|error| vec![error.to_string()])?;
    match tables.install(table).await {
        Ok(_) => Ok(()),
        Err(Refusal::Invalid(reasons)) => Err(reasons),
        Err(other) => Err(vec![other.to_string()]),
    }
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
