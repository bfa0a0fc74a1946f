//! Certificates for visitors, as the store keeps them.
//!
//! What may be known of one lies there in plain words; its chain and key are sealed,
//! and are opened to go out to entry points beside a table, nowhere else. A host
//! is served by one certificate at most: who brings another takes the host over.

pub mod expiry;
mod import;
pub mod keys;
mod mark;
mod secrets;

use std::collections::BTreeMap;

use pando_api::v1::certificates::CertificateSource;
use pando_model::time::Timestamp;
use pando_routing::{Host, SecretText};
use pando_trust::{Sealed, Vault, VaultError};
use serde::{Deserialize, Serialize};

pub use import::{Bare, Imported, New, NotImported, check, hosts_of, import, left_bare};
pub use mark::mark;
pub use secrets::open;

use crate::store::Key;

/// The value of `/v1/certificates/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredCertificate {
    pub source: CertificateSource,
    /// What it is used for.
    pub hosts: Vec<Host>,
    /// What it could be used for.
    pub names: Vec<String>,
    pub issuer: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    /// What kind it is, such as `ECDSA P-256`.
    pub key: String,
    pub fingerprint: String,
    pub added_at: Timestamp,
    pub added_by: String,
    /// Of how many days that were left the event log has told last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warned: Option<u32>,
    /// A [`Secret`].
    pub secret: Sealed,
}

/// By the first of their hosts, which is their name.
pub type Certificates = BTreeMap<Host, StoredCertificate>;

/// What is sealed of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    pub chain_pem: String,
    pub key_pem: SecretText,
}

impl StoredCertificate {
    /// Chain and key of the certificate of that name.
    ///
    /// # Errors
    /// When the vault's key did not seal it, or it is damaged.
    pub fn open(&self, name: &Host, vault: &Vault) -> Result<Secret, VaultError> {
        vault.open_sealed(&place(name), &self.secret)
    }
}

/// Where a certificate's secret belongs.
fn place(name: &Host) -> String {
    Key::Certificate(name.clone()).to_string()
}

/// Whether one of the certificates is used for all of `host`.
#[must_use]
pub fn is_covered(certificates: &Certificates, host: &Host) -> bool {
    // A load balancer serves what is asked for by name; `*` could be anything.
    *host == Host::Any || serving(certificates, host).is_some()
}

/// The certificate that a host is answered with, as load balancers choose it.
#[must_use]
pub fn serving<'a>(certificates: &'a Certificates, host: &Host) -> Option<(&'a Host, &'a StoredCertificate)> {
    let for_it = |matches: fn(&Host, &Host) -> bool| {
        certificates.iter().find(|(_, one)| one.hosts.iter().any(|own| matches(own, host)))
    };
    for_it(|own, host| own == host).or_else(|| for_it(Host::covers))
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
