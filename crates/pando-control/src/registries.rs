//! Who the cluster is to registries of images, as the store keeps it.
//!
//! Host and user lie there in plain words; a password is sealed, and is opened for the
//! agent that is to pull from that registry, nowhere else.

use pando_api::v1::registries::RegistryInfo;
use pando_model::assignment::Assignment;
use pando_model::registry::RegistryHost;
use pando_model::time::Timestamp;
use pando_routing::SecretText;
use pando_trust::{Sealed, Vault, VaultError};
use serde::{Deserialize, Serialize};

use crate::store::value::decode;
use crate::store::{Entry, Key, Range, Revision, Store, StoreError, keys};

/// The value of `/v1/registries/HOST`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRegistry {
    pub username: String,
    pub added_at: Timestamp,
    pub added_by: String,
    /// A [`SecretText`].
    secret: Sealed,
}

impl StoredRegistry {
    /// # Errors
    /// When the system has no randomness.
    pub fn seal(
        host: &RegistryHost,
        username: String,
        password: &SecretText,
        added: (Timestamp, String),
        vault: &Vault,
    ) -> Result<Self, VaultError> {
        let (added_at, added_by) = added;
        Ok(Self { username, added_at, added_by, secret: vault.seal(&place(host), password)? })
    }

    /// The password.
    ///
    /// # Errors
    /// When the vault's key did not seal it, or it is damaged.
    pub fn open(&self, host: &RegistryHost, vault: &Vault) -> Result<SecretText, VaultError> {
        vault.open_sealed(&place(host), &self.secret)
    }

    /// All but the password.
    #[must_use]
    pub fn info(self, host: RegistryHost) -> RegistryInfo {
        let Self { username, added_at, added_by, secret: _ } = self;
        RegistryInfo { host, username, added_at, added_by }
    }
}

/// Where a registry's password belongs.
fn place(host: &RegistryHost) -> String {
    Key::Registry(host.clone()).to_string()
}

/// Every registry, by host.
///
/// # Errors
/// When the store fails, or holds what can't be read.
pub async fn list(store: &dyn Store) -> Result<Vec<RegistryInfo>, StoreError> {
    let (_, entries) = store.list(Range::prefix(keys::REGISTRIES)).await?;
    let host = |entry: &Entry| match entry.key.parse() {
        Ok(Key::Registry(host)) => Some(host),
        _ => None,
    };
    let read = entries.iter().filter_map(|entry| Some((host(entry)?, entry)));
    read.map(|(host, entry)| Ok(decode::<StoredRegistry>(entry)?.info(host))).collect()
}

/// What is kept of a registry, with the revision that put it.
///
/// # Errors
/// When the store fails, or holds what can't be read.
pub async fn stored(
    store: &dyn Store,
    host: &RegistryHost,
) -> Result<Option<(Revision, StoredRegistry)>, StoreError> {
    let entry = store.get(&Key::Registry(host.clone())).await?;
    entry.map(|entry| Ok((entry.modified, decode(&entry)?))).transpose()
}

/// Whether a server that is assigned this has an image to pull from there.
#[must_use]
pub fn pulls_from(assignment: &Assignment, host: &RegistryHost) -> bool {
    let pulled = assignment.releases.iter().filter(|release| release.artifact.is_none());
    let mut images = pulled.filter_map(|release| release.image.as_ref());
    images.any(|image| RegistryHost::of_image(&image.reference) == *host)
}
