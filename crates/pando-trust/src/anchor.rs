//! What a member of the cluster knows of its authority: whom to believe, and no secret.

use pando_model::time::Timestamp;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};

use crate::certificate::{Facts, PeerIdentity, public_key};
use crate::identity::REPORT_DOMAIN;
use crate::signed::VerifyingKey;
use crate::tls::Verifier;
use crate::{Fingerprint, TrustError};

/// The authority's certificate and the key by which it signs what is published. In JSON: the certificate in PEM form, the key in
/// hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Anchor {
    pem: String,
    der: CertificateDer<'static>,
    signing_key: VerifyingKey,
}

impl Anchor {
    /// # Errors
    /// When `pem` holds no certificate.
    pub fn new(pem: &str, signing_key: VerifyingKey) -> Result<Self, TrustError> {
        let der = certificate_of(pem, "the authority's certificate")?;
        public_key(&der)?;
        Ok(Self { pem: pem.to_owned(), der, signing_key })
    }

    /// The authority's certificate.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    #[must_use]
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.der)
    }

    /// Checks what the authority published.
    #[must_use]
    pub fn signing_key(&self) -> &VerifyingKey {
        &self.signing_key
    }

    /// Whose certificate `pem` is, as a handshake would judge it.
    ///
    /// # Errors
    /// When the authority did not issue it, or it is over its grace.
    pub fn verify(&self, pem: &str, now: Timestamp) -> Result<PeerIdentity, TrustError> {
        Ok(self.facts(pem, now)?.peer(now))
    }

    /// Who signed a report (see [`crate::Identity::sign_report`]) that came through other hands.
    ///
    /// # Errors
    /// When the certificate is not to be trusted, or the signature is not of its key.
    pub fn verify_report(
        &self,
        report: &[u8],
        signature: &str,
        certificate_pem: &str,
        now: Timestamp,
    ) -> Result<PeerIdentity, TrustError> {
        let facts = self.facts(certificate_pem, now)?;
        let wrong = || TrustError::Signature("report");
        let signature = hex::decode(signature).map_err(|_| wrong())?;
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &facts.public_key);
        key.verify(&[REPORT_DOMAIN, report].concat(), &signature).map_err(|_| wrong())?;
        Ok(facts.peer(now))
    }

    fn facts(&self, pem: &str, now: Timestamp) -> Result<Facts, TrustError> {
        let der = certificate_of(pem, "a certificate")?;
        let refused = |error: rustls::Error| TrustError::NotCertified { source: error.into() };
        let verifier = Verifier::new(self).map_err(refused)?;
        verifier.verify_member(&der, now).map_err(refused)?;
        Facts::of(&der)
    }
}

/// The first certificate of a PEM text.
pub(crate) fn certificate_of(pem: &str, what: &'static str) -> Result<CertificateDer<'static>, TrustError> {
    CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| TrustError::Unreadable { what, why: error.to_string() })
}

#[derive(Serialize, Deserialize)]
struct Written {
    certificate: String,
    signing_key: VerifyingKey,
}

impl TryFrom<Written> for Anchor {
    type Error = TrustError;

    fn try_from(written: Written) -> Result<Self, TrustError> {
        Self::new(&written.certificate, written.signing_key)
    }
}

impl From<Anchor> for Written {
    fn from(anchor: Anchor) -> Self {
        Self { certificate: anchor.pem, signing_key: anchor.signing_key }
    }
}
