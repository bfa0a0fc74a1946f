//! A member's own key with the certificate for it. The key is made where it is used and never leaves.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use pando_model::time::Timestamp;
use pando_rt::fs::{read_if_there, write_atomically};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_ecdsa_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};

use crate::anchor::{Anchor, certificate_of};
use crate::certificate::Facts;
use crate::{Subject, TrustError};

/// Before the bytes of a report that is signed, so that the signature is good for nothing else.
pub(crate) const REPORT_DOMAIN: &[u8] = b"pando report v1\n";

/// A key that has no certificate yet.
pub struct PendingIdentity {
    key: KeyPair,
}

impl fmt::Debug for PendingIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PendingIdentity(hidden)")
    }
}

impl PendingIdentity {
    /// # Errors
    /// When the system has no randomness.
    pub fn make() -> Result<Self, TrustError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256);
        Ok(Self { key: key.map_err(|error| TrustError::make("a key", error))? })
    }

    /// The key in PEM form, for a joining server that must be able to ask again after a crash.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// # Errors
    /// When `pem` holds no key.
    pub fn from_key_pem(pem: &str) -> Result<Self, TrustError> {
        Ok(Self { key: read_key(pem)? })
    }

    /// The request for a certificate (PEM), signed by the key. Whom it is for is said elsewhere, and decided by the authority.
    /// The same key may ask with different bytes: signatures are randomised.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn request(&self) -> Result<String, TrustError> {
        let request = CertificateParams::default().serialize_request(&self.key);
        let pem = request.and_then(|request| request.pem());
        pem.map_err(|error| TrustError::make("a certificate request", error))
    }

    /// The identity, with the certificate that came for the request.
    ///
    /// # Errors
    /// When the certificate is not of the authority, for another key, or over its grace.
    pub fn certified(
        self,
        certificate_pem: &str,
        anchor: Anchor,
        now: Timestamp,
    ) -> Result<Identity, TrustError> {
        anchor.verify(certificate_pem, now)?;
        Identity::assemble(self.key, certificate_pem, anchor)
    }
}

/// Who this process is to the others of the cluster, and whom it believes.
#[derive(Clone)]
pub struct Identity {
    facts: Facts,
    certificate_pem: String,
    key_pem: String,
    anchor: Anchor,
    certified: Arc<CertifiedKey>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("subject", &self.facts.subject)
            .field("validity", &self.facts.validity)
            .finish_non_exhaustive()
    }
}

impl Identity {
    fn assemble(key: KeyPair, certificate_pem: &str, anchor: Anchor) -> Result<Self, TrustError> {
        let der = certificate_of(certificate_pem, "the certificate")?;
        let facts = Facts::of(&der)?;
        if facts.public_key != key.der_bytes() {
            return Err(TrustError::OtherKey);
        }
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signing = any_ecdsa_type(&private)
            .map_err(|error| TrustError::Unreadable { what: "the key", why: error.to_string() })?;
        // With the authority's certificate, so that who knows only its fingerprint can check the chain.
        let chain = vec![der, anchor.der().clone()];
        Ok(Self {
            facts,
            certificate_pem: certificate_pem.to_owned(),
            key_pem: key.serialize_pem(),
            certified: Arc::new(CertifiedKey::new(chain, signing)),
            anchor,
        })
    }

    #[must_use]
    pub fn subject(&self) -> Subject {
        self.facts.subject
    }

    #[must_use]
    pub fn anchor(&self) -> &Anchor {
        &self.anchor
    }

    /// The certificate alone, without the authority's.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.facts.validity.not_after
    }

    /// When it is time for a new certificate: half of this one's life is over. May lie in the past.
    #[must_use]
    pub fn renew_at(&self) -> Timestamp {
        self.facts.validity.half_life()
    }

    /// Signs the bytes of a report that is to travel through other hands; hexadecimal digits. See [`Anchor::verify_report`].
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn sign_report(&self, report: &[u8]) -> Result<String, TrustError> {
        let failed = |error: rustls::Error| TrustError::make("a signature", error);
        let signer = self.certified.key.choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256]);
        let signer = signer
            .ok_or_else(|| failed(rustls::Error::General("the key is not of the curve P-256".to_owned())))?;
        let signature = signer.sign(&[REPORT_DOMAIN, report].concat());
        signature.map(hex::encode).map_err(failed)
    }

    /// What TLS presents.
    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }

    /// Writes key, certificate and anchor as one file that its owner alone can read: after a crash it is the old one or this.
    ///
    /// # Errors
    /// [`TrustError::File`].
    pub fn save(&self, path: &Path) -> Result<(), TrustError> {
        let written = Written {
            key: self.key_pem.clone(),
            certificate: self.certificate_pem.clone(),
            authority: self.anchor.clone(),
        };
        let bytes = serde_json::to_vec_pretty(&written);
        let bytes = bytes.map_err(|error| TrustError::make("the text of an identity", error))?;
        write_atomically(path, &bytes, 0o600).map_err(|source| TrustError::File {
            doing: "write",
            path: path.to_owned(),
            source,
        })
    }

    /// Reads what [`Identity::save`] wrote; `None`: there is no such file. An expired certificate is no error.
    ///
    /// # Errors
    /// [`TrustError::Damaged`], [`TrustError::File`].
    pub fn load(path: &Path) -> Result<Option<Self>, TrustError> {
        let bytes = read_if_there(path).map_err(|source| TrustError::File {
            doing: "read",
            path: path.to_owned(),
            source,
        })?;
        let Some(bytes) = bytes else { return Ok(None) };
        let damaged = |why: String| TrustError::Damaged { path: path.to_owned(), why };
        let written: Written = serde_json::from_slice(&bytes).map_err(|error| {
            // The error's own words may quote the file, and so the key.
            damaged(format!("at line {}, column {}", error.line(), error.column()))
        })?;
        written.read().map(Some).map_err(|error| damaged(error.to_string()))
    }
}

fn read_key(pem: &str) -> Result<KeyPair, TrustError> {
    let unreadable = |why: String| TrustError::Unreadable { what: "the key", why };
    let key = KeyPair::from_pem(pem).map_err(|error| unreadable(error.to_string()))?;
    if key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
        return Err(unreadable("it is not of the curve P-256".to_owned()));
    }
    Ok(key)
}

#[derive(Serialize, Deserialize)]
struct Written {
    key: String,
    certificate: String,
    authority: Anchor,
}

impl Written {
    fn read(self) -> Result<Identity, TrustError> {
        Identity::assemble(read_key(&self.key)?, &self.certificate, self.authority)
    }
}

#[cfg(test)]
mod tests;
