//! Judging certificates: webpki's judgement, at the moment of a certificate's validity that is nearest to now.

use std::sync::Arc;

use pando_model::time::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{Callers, provider};
use crate::certificate::Facts;
use crate::validity::{GRACE, from_unix, to_unix};
use crate::{Anchor, Fingerprint, Subject};

/// Why the other end's certificate was refused, where webpki has no words for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mistrust {
    #[error("the certificate is not pando's: {0}")]
    Unreadable(String),
    #[error("the certificate's validity ({not_before} to {not_after}) is over {} days away from now ({now})", GRACE.0 / 86_400_000)]
    OutOfTime { not_before: Timestamp, not_after: Timestamp, now: Timestamp },
    #[error("`{expected}` was expected, and `{found}` answered")]
    OtherName { expected: Subject, found: Subject },
    #[error("no certificate of the authority with the fingerprint {expected} was shown")]
    OtherCluster { expected: Fingerprint },
}

impl Mistrust {
    /// Finds it among the causes of a failed connection.
    #[must_use]
    pub fn cause_of<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        match tls_cause(error)? {
            Error::InvalidCertificate(CertificateError::Other(OtherError(other))) => other.downcast_ref(),
            _ => None,
        }
    }

    fn error(self) -> Error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(self))))
    }
}

/// What TLS said, somewhere among the causes of a failed connection.
#[must_use]
pub fn tls_cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // An error of input and output hides what it was made of, and tells of that one's causes instead.
        let hidden = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = hidden.map(|hidden| hidden as &(dyn std::error::Error + 'static)).or_else(|| error.source());
    }
    None
}

/// Knows one authority.
#[derive(Debug)]
pub(crate) struct Verifier {
    clients: Arc<dyn ClientCertVerifier>,
    servers: Arc<WebPkiServerVerifier>,
}

impl Verifier {
    pub(crate) fn new(anchor: &Anchor) -> Result<Self, Error> {
        Self::trusting(anchor.der())
    }

    fn trusting(authority: &CertificateDer<'_>) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let roots = Arc::new(roots);
        let unusable = |error: rustls::client::VerifierBuilderError| Error::General(error.to_string());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider());
        let servers = WebPkiServerVerifier::builder_with_provider(roots, provider());
        Ok(Self { clients: clients.build().map_err(unusable)?, servers: servers.build().map_err(unusable)? })
    }

    /// That it is a certificate of the authority, for a client.
    pub(crate) fn verify_member(
        &self,
        end_entity: &CertificateDer<'_>,
        now: Timestamp,
    ) -> Result<Facts, Error> {
        let (facts, moment) = read(end_entity, now)?;
        self.clients.verify_client_cert(end_entity, &[], moment)?;
        Ok(facts)
    }

    fn verify_server(
        &self,
        end_entity: &CertificateDer<'_>,
        expected: Subject,
        now: Timestamp,
    ) -> Result<(), Error> {
        let (facts, moment) = read(end_entity, now)?;
        // Who is not of this cluster at all is told so first, whatever name it has.
        let name = facts.subject.server_name();
        self.servers.verify_server_cert(end_entity, &[], &name, &[], moment)?;
        if facts.subject != expected {
            return Err(Mistrust::OtherName { expected, found: facts.subject }.error());
        }
        Ok(())
    }
}

/// What the certificate says, and the moment to judge it at.
fn read(end_entity: &CertificateDer<'_>, now: Timestamp) -> Result<(Facts, UnixTime), Error> {
    let facts = Facts::of(end_entity).map_err(|error| Mistrust::Unreadable(error.to_string()).error())?;
    let validity = facts.validity;
    let moment = validity.nearest_to(now).ok_or_else(|| {
        let (not_before, not_after) = (validity.not_before, validity.not_after);
        Mistrust::OutOfTime { not_before, not_after, now }.error()
    })?;
    Ok((facts, to_unix(moment)))
}

/// Everything about signatures of handshakes, which is as webpki has it.
macro_rules! signatures_as_usual {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(message, cert, dss, &provider().signature_verification_algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ECDSA_NISTP256_SHA256]
        }
    };
}

/// Of those who connect.
#[derive(Debug)]
pub(super) struct OfCallers {
    pub(super) verifier: Verifier,
    pub(super) callers: Callers,
}

impl ClientCertVerifier for OfCallers {
    fn client_auth_mandatory(&self) -> bool {
        matches!(self.callers, Callers::Known(_))
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Names of authorities would tell strangers about the cluster, and no caller has a choice of certificates.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let now = from_unix(now);
        let facts = self.verifier.verify_member(end_entity, now)?;
        match &self.callers {
            Callers::Known(known) if !known(&facts.peer(now)) => {
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
            _ => Ok(ClientCertVerified::assertion()),
        }
    }

    signatures_as_usual!();
}

/// Of the server that is called by a member.
#[derive(Debug)]
pub(super) struct OfServer {
    pub(super) verifier: Verifier,
    pub(super) expected: Subject,
}

impl ServerCertVerifier for OfServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verifier.verify_server(end_entity, self.expected, from_unix(now))?;
        Ok(ServerCertVerified::assertion())
    }

    signatures_as_usual!();
}

/// Of the control plane, by somebody who knows the authority's fingerprint.
#[derive(Debug)]
pub(super) struct OfPinned {
    pub(super) authority: Fingerprint,
}

impl ServerCertVerifier for OfPinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let authority = intermediates.iter().find(|shown| Fingerprint::of(shown) == self.authority);
        let authority =
            authority.ok_or_else(|| Mistrust::OtherCluster { expected: self.authority }.error())?;
        Verifier::trusting(authority)?.verify_server(end_entity, Subject::Control, from_unix(now))?;
        Ok(ServerCertVerified::assertion())
    }

    signatures_as_usual!();
}
