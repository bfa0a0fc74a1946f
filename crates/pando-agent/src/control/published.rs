//! What the control plane publishes, from whoever brings it: believed by its signature, taken when it is newer.

use std::sync::Arc;

use pando_model::id::Version;
use pando_routing::Table;
use pando_trust::{Kind, Signed, SignedBytes, TrustError, VerifyingKey};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

/// The newest table, in the form in which it may be handed on.
pub(crate) type HeldTable = Option<Arc<Signed<Table>>>;

/// Clones share the table.
#[derive(Clone)]
pub(crate) struct Published {
    /// `None`: the control plane is on this machine, and what it says is not signed by anybody in particular.
    pub(crate) key: Option<VerifyingKey>,
    pub(crate) tables: watch::Sender<HeldTable>,
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

    /// Takes a table when it is newer than what is held. Whether it was.
    pub(crate) fn offer(&self, table: Signed<Table>) -> bool {
        self.tables.send_if_modified(|held| {
            let newer = held.as_ref().is_none_or(|held| held.value.version < table.value.version);
            if newer {
                *held = Some(Arc::new(table));
            }
            newer
        })
    }

    /// Of the table that is held.
    pub(crate) fn version(&self) -> Version {
        let held = self.tables.borrow();
        let version = held.as_ref().map(|held| held.value.version).unwrap_or_default();
        Version::new(version.epoch, version.revision)
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
