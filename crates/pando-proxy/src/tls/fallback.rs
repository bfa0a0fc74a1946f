//! What answers for hosts without a certificate: one that nobody vouches for, so that a connection is encrypted at least and
//! the client can see what is missing.

use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::PrivateKeyDer;

use crate::error::ProxyError;

/// What clients show of it.
const NAME: &str = "no certificate for this host yet";

/// Another one at each start.
pub(super) fn make() -> Result<Arc<CertifiedKey>, ProxyError> {
    let failed = |source: rcgen::Error| ProxyError::Tls { source: source.into() };
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, NAME);
    let certificate = params.self_signed(&key).map_err(failed)?;
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let key = any_ecdsa_type(&key).map_err(|source| ProxyError::Tls { source: source.into() })?;
    Ok(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key)))
}
