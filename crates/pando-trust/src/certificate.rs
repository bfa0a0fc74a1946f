//! What a certificate says, read from its bytes. That it says so proves nothing: whoever reads it checks it first.

use pando_model::time::{Millis, Timestamp};
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::validity::Validity;
use crate::{Subject, TrustError};

/// Who is at the other end of a connection, by the certificate that was checked when it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerIdentity {
    pub subject: Subject,
    /// The certificate's validity is over. It was taken in its grace.
    pub expired: bool,
    pub not_after: Timestamp,
}

impl PeerIdentity {
    /// The same, as it looks at another time: of a connection that goes on for long.
    #[must_use]
    pub fn at(self, now: Timestamp) -> Self {
        Self { expired: now > self.not_after, ..self }
    }
}

/// Who the peer of a handshake is, given the certificates that it presented (`peer_certificates()` of the connection).
/// `None`: it presented none.
///
/// # Errors
/// When the certificate has no name of Pando's; a handshake with a configuration of [`crate::tls`] does not let that happen.
pub fn peer_identity(
    chain: Option<&[CertificateDer<'_>]>,
    now: Timestamp,
) -> Result<Option<PeerIdentity>, TrustError> {
    let Some(end_entity) = chain.and_then(<[_]>::first) else { return Ok(None) };
    Ok(Some(Facts::of(end_entity)?.peer(now)))
}

/// The part of a certificate that trust is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) subject: Subject,
    pub(crate) validity: Validity,
    /// The uncompressed point.
    pub(crate) public_key: Vec<u8>,
}

impl Facts {
    pub(crate) fn of(der: &[u8]) -> Result<Self, TrustError> {
        let certificate = parse(der)?;
        let subject = subject(&certificate)
            .ok_or_else(|| unreadable("it does not have one name, of a server or of the control plane"))?;
        let public_key = certificate.public_key().subject_public_key.data.to_vec();
        Ok(Self { subject, validity: validity(&certificate), public_key })
    }

    pub(crate) fn peer(&self, now: Timestamp) -> PeerIdentity {
        PeerIdentity {
            subject: self.subject,
            expired: self.validity.has_expired(now),
            not_after: self.validity.not_after,
        }
    }
}

/// The key of any certificate, the authority's too.
pub(crate) fn public_key(der: &[u8]) -> Result<Vec<u8>, TrustError> {
    Ok(parse(der)?.public_key().subject_public_key.data.to_vec())
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, TrustError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(unreadable("something follows it")),
        Err(error) => Err(unreadable(&error.to_string())),
    }
}

fn unreadable(why: &str) -> TrustError {
    TrustError::Unreadable { what: "a certificate", why: why.to_owned() }
}

/// The one name that the certificate is for.
fn subject(certificate: &X509Certificate<'_>) -> Option<Subject> {
    let names = certificate.subject_alternative_name().ok()??;
    match names.value.general_names.as_slice() {
        [GeneralName::DNSName(name)] => Subject::from_dns_name(name),
        _ => None,
    }
}

fn validity(certificate: &X509Certificate<'_>) -> Validity {
    let moment = |seconds: i64| Timestamp::from_millis(seconds.saturating_mul(1000));
    let validity = certificate.validity();
    // The whole last second belongs to it.
    let not_after = moment(validity.not_after.timestamp()) + Millis(999);
    Validity { not_before: moment(validity.not_before.timestamp()), not_after }
}
