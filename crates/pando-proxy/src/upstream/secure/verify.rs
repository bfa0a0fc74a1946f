//! Who an endpoint must prove to be.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// One whose certificate comes from these.
///
/// # Errors
/// Why nobody could ever be verified by them.
pub(super) fn by(
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    if roots.is_empty() {
        // Not the table's fault: the system may have none.
        return Ok(Arc::new(Nobody(provider)));
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider);
    Ok(verifier.build().map_err(|error| error.to_string())?)
}

/// Whoever has the key of whatever certificate is shown.
#[derive(Debug)]
pub(super) struct Anybody(pub(super) Arc<CryptoProvider>);

/// No authority is believed.
#[derive(Debug)]
struct Nobody(Arc<CryptoProvider>);

/// Signatures are checked in any case: without, not even the connection's own end would be known.
macro_rules! verified {
    ($who:ty, $answer:expr) => {
        impl ServerCertVerifier for $who {
            fn verify_server_cert(
                &self,
                _: &CertificateDer<'_>,
                _: &[CertificateDer<'_>],
                _: &ServerName<'_>,
                _: &[u8],
                _: UnixTime,
            ) -> Result<ServerCertVerified, Error> {
                $answer
            }

            fn verify_tls12_signature(
                &self,
                message: &[u8],
                certificate: &CertificateDer<'_>,
                signed: &DigitallySignedStruct,
            ) -> Result<HandshakeSignatureValid, Error> {
                verify_tls12_signature(
                    message,
                    certificate,
                    signed,
                    &self.0.signature_verification_algorithms,
                )
            }

            fn verify_tls13_signature(
                &self,
                message: &[u8],
                certificate: &CertificateDer<'_>,
                signed: &DigitallySignedStruct,
            ) -> Result<HandshakeSignatureValid, Error> {
                verify_tls13_signature(
                    message,
                    certificate,
                    signed,
                    &self.0.signature_verification_algorithms,
                )
            }

            fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
                self.0.signature_verification_algorithms.supported_schemes()
            }
        }
    };
}

verified!(Anybody, Ok(ServerCertVerified::assertion()));
verified!(Nobody, Err(CertificateError::UnknownIssuer.into()));
