//! The key of a certificate for visitors: read, judged, and matched with its certificate.

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::public_key::PublicKey;

use super::MOST_KEY_BYTES;
use super::fault::{Part, ServedFault};

/// Fewer bits of RSA can be factored, or soon will be.
const LEAST_RSA: usize = 2048;
/// More only make handshakes slow.
const MOST_RSA: usize = 8192;

pub(super) fn read(pem: &str) -> Result<PrivateKeyDer<'static>, ServedFault> {
    let size = pem.len();
    if size > MOST_KEY_BYTES {
        return Err(ServedFault::Large { part: Part::Key, size, most: MOST_KEY_BYTES });
    }
    if pem.contains("BEGIN ENCRYPTED PRIVATE KEY") || pem.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(ServedFault::Encrypted);
    }
    // What the parser says may quote what it met.
    PrivateKeyDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| ServedFault::NoKey { is_certificate: pem.contains("BEGIN CERTIFICATE") })
}

/// Why the key can't stand for this certificate, judged as the load balancers will.
pub(super) fn other(key: &PrivateKeyDer<'_>, own: &CertificateDer<'static>) -> Option<ServedFault> {
    let signing = match any_supported_type(key) {
        Ok(signing) => signing,
        Err(_) => return Some(ServedFault::BadKey("it is damaged, or of an unknown kind".to_owned())),
    };
    match CertifiedKey::new(vec![own.clone()], signing).keys_match() {
        Ok(()) => None,
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Some(ServedFault::OtherKey),
        Err(error) => Some(ServedFault::BadKey(error.to_string())),
    }
}

/// What kind of key the certificate is for.
pub(super) fn words(own: &X509Certificate<'_>) -> Result<String, ServedFault> {
    let info = own.public_key();
    match info.parsed() {
        Ok(PublicKey::RSA(key)) => match key.key_size() {
            bits if bits < LEAST_RSA => Err(ServedFault::Weak(format!("RSA with {bits} bits"))),
            bits if bits > MOST_RSA => Err(ServedFault::Kind(format!("RSA with {bits} bits"))),
            bits => Ok(format!("RSA {bits}")),
        },
        Ok(PublicKey::EC(_)) => {
            let curve = info.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
            match curve.map(|curve| curve.to_id_string()).as_deref() {
                Some("1.2.840.10045.3.1.7") => Ok("ECDSA P-256".to_owned()),
                Some("1.3.132.0.34") => Ok("ECDSA P-384".to_owned()),
                Some("1.3.132.0.35") => Ok("ECDSA P-521".to_owned()),
                other => Err(ServedFault::Kind(format!("a curve ({})", other.unwrap_or("unnamed")))),
            }
        }
        _ => match info.algorithm.algorithm.to_id_string().as_str() {
            "1.3.101.112" => Err(ServedFault::Kind("Ed25519".to_owned())),
            other => Err(ServedFault::Kind(other.to_owned())),
        },
    }
}
