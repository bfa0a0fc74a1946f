//! TLS as members of a cluster speak it: version 1.3, HTTP/1.1 within, the cluster's authority alone.
//!
//! Nothing is resumed from an earlier connection: each handshake judges the
//! certificates anew, so that a renewed one is used and a refused one stays so.

mod accept;
mod verify;

use std::sync::Arc;
use std::time::Duration;

use pando_model::time::Timestamp;
use pando_rt::clock::Clock;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::UnixTime;

use crate::validity::to_unix;
use crate::{Fingerprint, LiveIdentity, PeerIdentity, Subject, TrustError};

pub use accept::accept;
pub(crate) use verify::Verifier;
pub use verify::{Mistrust, tls_cause};

/// How long one connection is used before it is closed and made anew: far less than the three and a half days between a
/// certificate's renewal and its end, so that nobody is taken for expired who has a new certificate.
pub const CONNECTION_LIFE: Duration = Duration::from_secs(12 * 60 * 60);

/// Who may connect.
#[derive(Clone)]
pub enum Callers {
    /// Anyone; who presents a certificate must have it from the authority. Who may do what is decided later, by token or
    /// certificate.
    Anyone,
    /// Whoever has a certificate of the authority, and is known besides. Called in each handshake; must not block. A connection
    /// goes on when its caller stops being known: look again before each request.
    Known(Arc<dyn Fn(&PeerIdentity) -> bool + Send + Sync>),
}

impl std::fmt::Debug for Callers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Anyone => "Anyone",
            Self::Known(_) => "Known",
        })
    }
}

/// For accepting connections as `identity`.
///
/// # Errors
/// When the authority's certificate is unusable.
pub fn server_config(
    identity: &Arc<LiveIdentity>,
    callers: Callers,
    clock: &Clock,
) -> Result<Arc<ServerConfig>, TrustError> {
    let verifier = Verifier::new(identity.current().anchor()).map_err(unusable)?;
    let mut config = ServerConfig::builder_with_details(provider(), time(clock))
        .with_protocol_versions(&[&TLS13])
        .map_err(unusable)?
        .with_client_cert_verifier(Arc::new(verify::OfCallers { verifier, callers }))
        .with_cert_resolver(Arc::clone(identity) as Arc<_>);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = http1();
    Ok(Arc::new(config))
}

/// For connecting as `identity` to whoever is `expected`; whatever name or address the connection is made with, only the
/// expected subject is believed.
///
/// # Errors
/// When the authority's certificate is unusable.
pub fn client_config(
    identity: &Arc<LiveIdentity>,
    expected: Subject,
    clock: &Clock,
) -> Result<Arc<ClientConfig>, TrustError> {
    let verifier = Verifier::new(identity.current().anchor()).map_err(unusable)?;
    let config = ClientConfig::builder_with_details(provider(), time(clock))
        .with_protocol_versions(&[&TLS13])
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verify::OfServer { verifier, expected }))
        .with_client_cert_resolver(Arc::clone(identity) as Arc<_>);
    Ok(finished(config))
}

/// For connecting without a certificate of one's own to the control plane of the cluster whose authority has this fingerprint.
///
/// # Errors
/// When TLS can't be set up; never, with what is built in.
pub fn pinned_config(authority: Fingerprint, clock: &Clock) -> Result<Arc<ClientConfig>, TrustError> {
    let config = ClientConfig::builder_with_details(provider(), time(clock))
        .with_protocol_versions(&[&TLS13])
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verify::OfPinned { authority }))
        .with_no_client_auth();
    Ok(finished(config))
}

fn finished(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.resumption = Resumption::disabled();
    config.alpn_protocols = http1();
    Arc::new(config)
}

fn http1() -> Vec<Vec<u8>> {
    vec![b"http/1.1".to_vec()]
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn unusable(error: rustls::Error) -> TrustError {
    TrustError::make("a configuration for TLS", error)
}

fn time(clock: &Clock) -> Arc<dyn TimeProvider> {
    Arc::new(Moments(clock.clone()))
}

/// The clock, as TLS asks for it.
#[derive(Debug)]
struct Moments(Clock);

impl TimeProvider for Moments {
    fn current_time(&self) -> Option<UnixTime> {
        Some(to_unix(Timestamp::from_millis(self.0.now_millis())))
    }
}
