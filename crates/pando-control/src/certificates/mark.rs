//! Which secrets a table went out with, without telling them.

use pando_model::desired::SecretMark;
use sha2::{Digest as _, Sha256};

use super::Certificates;
use super::keys::StoredKeys;

/// Another for every other set of certificates, of hosts that they are used for, and of keys. It is made of sealed texts, each of
/// which is sealed with a nonce of its own: the same secret brought again is another.
#[must_use]
pub fn mark(certificates: &Certificates, keys: Option<&StoredKeys>) -> SecretMark {
    if certificates.is_empty() && keys.is_none() {
        return SecretMark::default();
    }
    let mut hash = Sha256::new();
    let mut take = |text: &str| {
        hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(text.as_bytes());
    };
    for (name, certificate) in certificates {
        take(&name.to_string());
        take(&format!("{:?}", certificate.hosts));
        take(certificate.secret.text());
    }
    keys.iter().for_each(|keys| take(keys.secret.text()));
    SecretMark(hex::encode(&hash.finalize()[..16]))
}
