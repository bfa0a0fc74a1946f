//! The newest table, on disk.

use std::io;
use std::path::{Path, PathBuf};

use pando_routing::Table;
use pando_trust::{Kind, Signed, SignedBytes, TrustError, VerifyingKey};

use crate::control::published;

fn file(directory: &Path) -> PathBuf {
    directory.join("table.json")
}

/// The table in `directory`. One that can't be read, or that this cluster did not sign, counts as none: control sends it again.
/// Blocking.
pub(super) fn load(directory: &Path, key: Option<&VerifyingKey>) -> Option<Signed<Table>> {
    let path = file(directory);
    let bytes = match pando_rt::fs::read_if_there(&path) {
        Ok(bytes) => bytes?,
        Err(error) => {
            tracing::warn!("can't use the table in `{}`: {error}", path.display());
            return None;
        }
    };
    let unreadable =
        |error: serde_json::Error| TrustError::Unreadable { what: "the file", why: error.to_string() };
    let signed = serde_json::from_slice::<SignedBytes>(&bytes).map_err(unreadable);
    let table = signed.and_then(|signed| published::read(signed, key, Kind::Table));
    table.inspect_err(|error| tracing::warn!("can't use the table in `{}`: {error}", path.display())).ok()
}

/// Blocking.
pub(super) fn save(directory: &Path, table: &SignedBytes) -> io::Result<()> {
    let bytes = serde_json::to_vec(table)?;
    pando_rt::fs::write_atomically(&file(directory), &bytes, 0o600)
}

#[cfg(test)]
mod tests {
    use pando_model::time::Timestamp;
    use pando_trust::Authority;

    use super::*;

    #[test]
    fn a_damaged_or_foreign_table_counts_as_none() {
        let directory = tempfile::tempdir().unwrap();
        let now = Timestamp::from_millis(1_790_000_000_000);
        let [ours, other] = ["ours", "other"].map(|name| Authority::make(name, now).unwrap());
        let key = ours.anchor().signing_key();
        assert_eq!(load(directory.path(), Some(key)), None);
        let signed = ours.sign(Kind::Table, Table::default()).unwrap();
        save(directory.path(), &signed.bytes).unwrap();
        assert_eq!(load(directory.path(), Some(key)), Some(signed.clone()));
        assert_eq!(load(directory.path(), None), Some(signed));
        save(directory.path(), &other.sign(Kind::Table, Table::default()).unwrap().bytes).unwrap();
        assert_eq!(load(directory.path(), Some(key)), None);
        std::fs::write(file(directory.path()), "{").unwrap();
        assert_eq!(load(directory.path(), Some(key)), None);
    }
}
