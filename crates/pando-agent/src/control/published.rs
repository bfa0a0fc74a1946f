//! What the control plane publishes: believed by its signature, taken when it is newer.
//!
//! A table may come from anybody. Its secret part, certificates and keys, comes from the control plane alone, and only to a server
//! that takes requests from outside; it is never handed on.

use std::sync::Arc;

use pando_model::id::Version;
use pando_routing::{SecretMark, Secrets, Table};
use pando_trust::{Kind, Signed, SignedBytes, TrustError, VerifyingKey};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

/// The newest table, in the form in which it may be handed on.
pub(crate) type HeldTable = Option<Arc<Signed<Table>>>;

/// The newest of everything for the proxy. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    pub(crate) table: HeldTable,
    /// Of that table, or of one before: a server that is cut off hears of tables alone.
    pub(crate) secrets: Option<Arc<Signed<Secrets>>>,
}

impl Held {
    pub(crate) fn version(&self) -> Version {
        let version = self.table.as_ref().map(|held| held.value.version).unwrap_or_default();
        Version::new(version.epoch, version.revision)
    }

    /// Of the secret part; empty without one.
    pub(crate) fn mark(&self) -> SecretMark {
        self.secrets.as_ref().map(|held| held.value.mark.clone()).unwrap_or_default()
    }

    fn take_table(&mut self, table: Signed<Table>) -> bool {
        let newer = self.table.as_ref().is_none_or(|held| held.value.version < table.value.version);
        if newer {
            self.table = Some(Arc::new(table));
        }
        newer
    }

    /// Only what goes with the table: whoever has a newer one is told by it that these are outdated.
    fn take_secrets(&mut self, secrets: Signed<Secrets>) -> bool {
        let mark = &secrets.value.mark;
        let goes_with = self.table.as_ref().is_some_and(|table| table.value.secret.mark == *mark);
        let taken = goes_with && self.mark() != *mark;
        if taken {
            self.secrets = Some(Arc::new(secrets));
        }
        taken
    }
}

/// Clones share what is held.
#[derive(Clone)]
pub(crate) struct Published {
    /// `None`: the control plane is on this machine, and what it says is not signed by anybody in particular.
    pub(crate) key: Option<VerifyingKey>,
    pub(crate) held: watch::Sender<Held>,
}

impl Published {
    /// # Errors
    /// When the authority did not sign it, or it can't be understood.
    pub(crate) fn read<T: DeserializeOwned>(
        &self,
        bytes: SignedBytes,
        kind: Kind,
    ) -> Result<Signed<T>, TrustError> {
        read(bytes, self.key.as_ref(), kind)
    }

    /// Takes a table when it is newer than what is held, and a secret part when it goes with the table that is held then: whoever
    /// looks sees both or neither. Whether anything was taken.
    pub(crate) fn offer(&self, table: Option<Signed<Table>>, secrets: Option<Signed<Secrets>>) -> bool {
        self.held.send_if_modified(|held| {
            let newer = table.is_some_and(|table| held.take_table(table));
            secrets.is_some_and(|secrets| held.take_secrets(secrets)) || newer
        })
    }

    /// This server takes no requests from outside: it has no use for keys any more.
    pub(crate) fn forget_secrets(&self) {
        self.held.send_if_modified(|held| held.secrets.take().is_some());
    }

    /// Of the table that is held.
    pub(crate) fn version(&self) -> Version {
        self.held.borrow().version()
    }
}

/// Without a key whoever brought it is believed.
pub(crate) fn read<T: DeserializeOwned>(
    bytes: SignedBytes,
    key: Option<&VerifyingKey>,
    kind: Kind,
) -> Result<Signed<T>, TrustError> {
    match key {
        Some(key) => Signed::open(bytes, key, kind),
        None => Ok(Signed { value: bytes.read_unverified()?, bytes }),
    }
}

#[cfg(test)]
mod tests {
    use pando_routing::TableVersion;

    use super::*;

    fn signed<T>(value: T) -> Signed<T> {
        Signed { value, bytes: SignedBytes { payload: String::new(), signature: String::new() } }
    }

    fn table(revision: u64, mark: &str) -> Signed<Table> {
        let version = TableVersion { epoch: 1, revision };
        signed(Table { schema: 1, version, ..Table::default() }.marked(SecretMark(mark.to_owned())))
    }

    fn secrets(mark: &str) -> Signed<Secrets> {
        signed(Secrets { mark: SecretMark(mark.to_owned()), ..Secrets::default() })
    }

    fn held(published: &Published) -> (u64, String) {
        (published.version().revision, published.held.borrow().mark().0)
    }

    #[test]
    fn a_secret_part_is_taken_with_its_table_and_a_table_without() {
        let published = Published { key: None, held: watch::Sender::default() };
        assert!(!published.offer(None, Some(secrets("a"))), "nobody can tell what it is for");
        assert!(published.offer(Some(table(1, "a")), Some(secrets("a"))));
        assert_eq!(held(&published), (1, "a".to_owned()));
        // A neighbour has newer tables, which go with newer secrets.
        assert!(published.offer(Some(table(3, "c")), None));
        assert_eq!(held(&published), (3, "a".to_owned()));
        assert!(!published.offer(Some(table(2, "b")), Some(secrets("b"))), "it was on its way");
        assert!(published.offer(Some(table(3, "c")), Some(secrets("c"))), "of the same table");
        assert!(!published.offer(None, Some(secrets("c"))));
        assert_eq!(held(&published), (3, "c".to_owned()));
        published.forget_secrets();
        assert_eq!(held(&published), (3, String::new()));
        assert!(published.offer(None, Some(secrets("c"))));
    }

    #[test]
    fn who_looks_sees_a_table_and_its_secret_part_at_once() {
        let published = Published { key: None, held: watch::Sender::default() };
        let mut seen = published.held.subscribe();
        published.offer(Some(table(1, "a")), Some(secrets("a")));
        let held = seen.borrow_and_update();
        assert_eq!((held.version().revision, held.mark().0.as_str()), (1, "a"));
    }
}
