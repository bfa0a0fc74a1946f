//! The newest table and its secret part, on disk: each a file of its own, since the second is there on entry points alone.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pando_routing::{Secrets, Table};
use pando_trust::{Kind, Signed, SignedBytes, TrustError, VerifyingKey};
use serde::de::DeserializeOwned;

use crate::control::published::{self, Held};

fn table_file(directory: &Path) -> PathBuf {
    directory.join("table.json")
}

fn secrets_file(directory: &Path) -> PathBuf {
    directory.join("secrets.json")
}

/// What `directory` has. What can't be read, or this cluster did not sign, counts as none: control sends it again. A secret part
/// of that kind is removed, and so is a table that has keys in it. Blocking.
pub(super) fn load(directory: &Path, key: Option<&VerifyingKey>) -> Held {
    let table: Option<Signed<Table>> = read(&table_file(directory), key, Kind::Table);
    // Tables used to have their keys in them.
    let whole = table.as_ref().is_some_and(|table| table.value.secret.has_keys());
    if whole {
        remove(&table_file(directory));
    }
    let secrets: Option<Signed<Secrets>> = read(&secrets_file(directory), key, Kind::Secrets);
    if secrets.is_none() {
        remove(&secrets_file(directory));
    }
    Held { table: table.filter(|_| !whole).map(Arc::new), secrets: secrets.map(Arc::new) }
}

fn read<T: DeserializeOwned>(path: &Path, key: Option<&VerifyingKey>, kind: Kind) -> Option<Signed<T>> {
    let bytes = match pando_rt::fs::read_if_there(path) {
        Ok(bytes) => bytes?,
        Err(error) => {
            tracing::warn!("can't use `{}`: {error}", path.display());
            return None;
        }
    };
    // Errors of the parser may quote what they met, which may be a key.
    let unreadable = |error: serde_json::Error| TrustError::Unreadable {
        what: "the file",
        why: pando_routing::certificate::explain(&error),
    };
    let signed = serde_json::from_slice::<SignedBytes>(&bytes).map_err(unreadable);
    let read = signed.and_then(|signed| published::read(signed, key, kind));
    read.inspect_err(|error| tracing::warn!("can't use `{}`: {error}", path.display())).ok()
}

/// Makes what is on disk the same as `held`, of which `before` is there already. The secret part comes first: with an older table
/// it does no harm. Blocking.
pub(super) fn save(directory: &Path, held: &Held, before: &Held) {
    if !is_same(held.secrets.as_ref(), before.secrets.as_ref()) {
        match &held.secrets {
            Some(secrets) => write(&secrets_file(directory), &secrets.bytes),
            None => remove(&secrets_file(directory)),
        }
    }
    if let Some(table) = &held.table
        && !is_same(held.table.as_ref(), before.table.as_ref())
    {
        write(&table_file(directory), &table.bytes);
    }
}

fn is_same<T>(one: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// Without it a server still works that can ask the control plane.
fn write(path: &Path, signed: &SignedBytes) {
    let bytes = serde_json::to_vec(signed).map_err(io::Error::from);
    if let Err(error) = bytes.and_then(|bytes| pando_rt::fs::write_atomically(path, &bytes, 0o600)) {
        tracing::warn!("can't keep `{}`: {error}", path.display());
    }
}

fn remove(path: &Path) {
    if let Err(error) = pando_rt::fs::remove(path) {
        tracing::warn!("can't remove `{}`, in which there may be keys: {error}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use pando_model::time::Timestamp;
    use pando_routing::{SecretMark, TicketKey};
    use pando_trust::Authority;

    use super::*;

    fn authority(name: &str) -> Authority {
        Authority::make(name, Timestamp::from_millis(1_790_000_000_000)).unwrap()
    }

    fn secrets() -> Secrets {
        let mark = SecretMark("m".to_owned());
        Secrets { mark, ticket_keys: vec![TicketKey([7; 32])], ..Secrets::default() }
    }

    fn held(authority: &Authority) -> Held {
        let table = Table { schema: 1, ..Table::default() }.marked(secrets().mark);
        Held {
            table: Some(Arc::new(authority.sign(Kind::Table, table).unwrap())),
            secrets: Some(Arc::new(authority.sign(Kind::Secrets, secrets()).unwrap())),
        }
    }

    fn found(directory: &Path, key: Option<&VerifyingKey>) -> (bool, bool) {
        let held = load(directory, key);
        (held.table.is_some(), held.secrets.is_some())
    }

    #[test]
    fn what_is_damaged_or_foreign_counts_as_none() {
        let directory = tempfile::tempdir().unwrap();
        let (ours, other) = (authority("ours"), authority("other"));
        let (path, key) = (directory.path(), Some(ours.anchor().signing_key()));
        assert_eq!(found(path, key), (false, false));
        let kept = held(&ours);
        save(path, &kept, &Held::default());
        let read = load(path, key);
        assert_eq!((read.table, read.secrets), (kept.table.clone(), kept.secrets.clone()));
        assert_eq!(found(path, None), (true, true));
        save(path, &held(&other), &Held::default());
        assert_eq!(found(path, key), (false, false));
        for file in [table_file(path), secrets_file(path)] {
            std::fs::write(file, "{").unwrap();
        }
        assert_eq!(found(path, key), (false, false));
        assert!(!secrets_file(path).exists(), "there may be keys in it");
    }

    #[test]
    fn a_secret_part_is_a_file_of_its_own_that_goes_with_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let kept = held(&authority("ours"));
        save(path, &kept, &Held::default());
        let digits = "07".repeat(32);
        assert!(!std::fs::read_to_string(table_file(path)).unwrap().contains(&digits));
        assert!(std::fs::read_to_string(secrets_file(path)).unwrap().contains(&digits));
        let mode = std::fs::metadata(secrets_file(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let without = Held { secrets: None, ..kept.clone() };
        save(path, &without, &kept);
        assert!(!secrets_file(path).exists() && table_file(path).exists());
        save(path, &kept, &kept);
        assert!(!secrets_file(path).exists(), "what is there already is not written");
    }

    #[test]
    fn a_table_with_keys_in_it_as_it_used_to_be_is_asked_for_anew() {
        let directory = tempfile::tempdir().unwrap();
        let ours = authority("ours");
        let secret = Secrets { mark: SecretMark::default(), ..secrets() };
        let whole = ours.sign(Kind::Table, Table { schema: 1, secret, ..Table::default() }).unwrap();
        write(&table_file(directory.path()), &whole.bytes);
        assert_eq!(found(directory.path(), Some(ours.anchor().signing_key())), (false, false));
        assert!(!table_file(directory.path()).exists());
    }
}
