//! The cluster's certificate authority, and the key that signs what is published.

use std::fmt;
use std::time::Duration;

use pando_model::time::{Millis, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKey, PublicKeyData,
};
use serde::{Deserialize, Serialize};

use crate::anchor::{Anchor, certificate_of};
use crate::certificate::public_key;
use crate::identity::{Identity, PendingIdentity};
use crate::signed::{Kind, Signed, SignedBytes, SigningKey};
use crate::validity::{BACKDATED, LIFETIME};
use crate::{Fingerprint, Subject, TrustError};

/// The authority's own certificate is told apart by its bytes and never by its dates; they are as long as certificates go well.
const AUTHORITY_LIFETIME: Millis = Millis::from_secs(100 * 365 * 24 * 60 * 60);

/// A certificate's year has four digits.
const LAST_MOMENT: Timestamp = Timestamp::from_millis(253_000_000_000_000);

/// Certifies servers and signs what is published. Its serialized form holds its secrets and belongs into the store alone.
#[derive(Deserialize)]
#[serde(try_from = "Written")]
pub struct Authority {
    anchor: Anchor,
    issuer: Issuer<'static, KeyPair>,
    signing: SigningKey,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes one for a new cluster.
    ///
    /// # Errors
    /// When the system has no randomness, or the clock is centuries off.
    pub fn make(cluster: &str, now: Timestamp) -> Result<Self, TrustError> {
        let failed = |error: rcgen::Error| TrustError::make("the cluster's certificate authority", error);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let certificate = authority_params(cluster, now)?.self_signed(&key).map_err(failed)?;
        Self::assemble(&certificate.pem(), key, SigningKey::make()?)
    }

    fn assemble(certificate_pem: &str, key: KeyPair, signing: SigningKey) -> Result<Self, TrustError> {
        let der = certificate_of(certificate_pem, "the authority's certificate")?;
        if public_key(&der)? != key.der_bytes() {
            return Err(TrustError::OtherKey);
        }
        let anchor = Anchor::new(certificate_pem, signing.public())?;
        let issuer = Issuer::from_ca_cert_der(&der, key).map_err(|error| TrustError::Unreadable {
            what: "the authority's certificate",
            why: error.to_string(),
        })?;
        Ok(Self { anchor, issuer, signing })
    }

    /// What members are to know of it.
    #[must_use]
    pub fn anchor(&self) -> &Anchor {
        &self.anchor
    }

    /// What people and joining servers pin.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.anchor.fingerprint()
    }

    /// Certifies the key of a request ([`PendingIdentity::request`], PEM) for `subject`; whatever else the request asks for is
    /// left out. Answers the certificate in PEM form; it lives [`LIFETIME`] from now, and began an hour ago.
    ///
    /// # Errors
    /// [`TrustError::Request`] when the request is none or not signed by its key.
    pub fn issue(&self, request: &str, subject: Subject, now: Timestamp) -> Result<String, TrustError> {
        let key = requested_key(request)?;
        let certificate = member_params(subject, now)?.signed_by(&key, &self.issuer);
        Ok(certificate.map_err(|error| TrustError::make("a certificate", error))?.pem())
    }

    /// A fresh identity of the control plane, which is where the authority is.
    ///
    /// # Errors
    /// When the system has no randomness, or the clock is centuries off.
    pub fn control_identity(&self, now: Timestamp) -> Result<Identity, TrustError> {
        let pending = PendingIdentity::make()?;
        let certificate = self.issue(&pending.request()?, Subject::Control, now)?;
        pending.certified(&certificate, self.anchor.clone(), now)
    }

    /// Signs a value for publication.
    ///
    /// # Errors
    /// When `value` can't be written as JSON.
    pub fn sign<T: Serialize>(&self, kind: Kind, value: T) -> Result<Signed<T>, TrustError> {
        let payload = serde_json::to_string(&value);
        let payload = payload.map_err(|error| TrustError::make("the text of what is published", error))?;
        let bytes: SignedBytes = self.signing.sign(kind, payload);
        Ok(Signed { value, bytes })
    }
}

/// Which key a certificate request is for: two requests are of one asker when this is the same, though their bytes differ.
///
/// # Errors
/// [`TrustError::Request`] when the request is none or not signed by its key.
pub fn request_key(request: &str) -> Result<Fingerprint, TrustError> {
    Ok(Fingerprint::of(requested_key(request)?.der_bytes()))
}

fn requested_key(request: &str) -> Result<PublicKey, TrustError> {
    let refused = |error: rcgen::Error| TrustError::Request(error.to_string());
    let key = CertificateSigningRequestParams::from_pem(request).map_err(refused)?.public_key;
    // An uncompressed point of P-256: what identities have, and what signatures are checked by.
    if key.algorithm() != &PKCS_ECDSA_P256_SHA256 || key.der_bytes().len() != 65 {
        return Err(TrustError::Request("its key is not of the curve P-256".to_owned()));
    }
    Ok(key)
}

fn authority_params(cluster: &str, now: Timestamp) -> Result<CertificateParams, TrustError> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, format!("Pando cluster {cluster}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    set_dates(&mut params, now, AUTHORITY_LIFETIME)?;
    Ok(params)
}

fn member_params(subject: Subject, now: Timestamp) -> Result<CertificateParams, TrustError> {
    let params = CertificateParams::new([subject.to_string()]);
    let mut params = params.map_err(|error| TrustError::make("a certificate", error))?;
    params.distinguished_name.push(DnType::CommonName, subject.to_string());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    set_dates(&mut params, now, LIFETIME)?;
    Ok(params)
}

fn set_dates(params: &mut CertificateParams, now: Timestamp, lifetime: Millis) -> Result<(), TrustError> {
    let moment = |time: Timestamp| {
        let millis = u64::try_from(time.as_millis()).map_err(|_| TrustError::Clock)?;
        let since = Duration::from_secs(millis / 1000);
        if time > LAST_MOMENT {
            return Err(TrustError::Clock);
        }
        Ok(rcgen::date_time_ymd(1970, 1, 1) + since)
    };
    params.not_before = moment(now - BACKDATED)?;
    params.not_after = moment(now + lifetime)?;
    Ok(())
}

/// As the store has it.
#[derive(Serialize, Deserialize)]
struct Written {
    certificate: String,
    /// PKCS #8, PEM.
    key: String,
    /// PKCS #8, hexadecimal.
    signing_key: String,
}

impl Serialize for Authority {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Written::from(self).serialize(serializer)
    }
}

impl From<&Authority> for Written {
    fn from(authority: &Authority) -> Self {
        Self {
            certificate: authority.anchor.pem().to_owned(),
            key: authority.issuer.key().serialize_pem(),
            signing_key: hex::encode(authority.signing.pkcs8()),
        }
    }
}

impl TryFrom<Written> for Authority {
    type Error = TrustError;

    fn try_from(written: Written) -> Result<Self, TrustError> {
        let unreadable = |what, why: String| TrustError::Unreadable { what, why };
        let key = KeyPair::from_pem(&written.key)
            .map_err(|error| unreadable("the authority's key", error.to_string()))?;
        let signing = hex::decode(&written.signing_key)
            .map_err(|error| unreadable("the signing key", error.to_string()))?;
        Self::assemble(&written.certificate, key, SigningKey::read(signing)?)
    }
}

#[cfg(test)]
mod tests;
