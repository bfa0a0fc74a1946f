//! The newest table, on disk.

use std::io;
use std::path::{Path, PathBuf};

use pando_routing::Table;

fn file(directory: &Path) -> PathBuf {
    directory.join("table.json")
}

/// The table in `directory`. One that can't be read counts as none: control sends it again. Blocking.
pub(super) fn load(directory: &Path) -> Option<Table> {
    let path = file(directory);
    let read = pando_rt::fs::read_if_there(&path).and_then(|bytes| match bytes {
        Some(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::from),
        None => Ok(None),
    });
    read.unwrap_or_else(|error| {
        tracing::warn!("can't use the table in `{}`: {error}", path.display());
        None
    })
}

/// Blocking.
pub(super) fn save(directory: &Path, table: &Table) -> io::Result<()> {
    let bytes = serde_json::to_vec(table)?;
    pando_rt::fs::write_atomically(&file(directory), &bytes, 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_table_counts_as_none() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(load(directory.path()), None);
        save(directory.path(), &Table::default()).unwrap();
        assert_eq!(load(directory.path()), Some(Table::default()));
        std::fs::write(file(directory.path()), "{").unwrap();
        assert_eq!(load(directory.path()), None);
    }
}
