//! TLS towards clients: which certificate answers, how sessions are resumed, and the handshake itself.
//!
//! One configuration serves every connection. What changes with a table (certificates, ticket keys) is looked up when a handshake
//! needs it, so that a new certificate is used by the next handshake and no connection notices. TLS between Pando and
//! Pando is `pando-trust`'s.

mod ahead;
mod certificates;
mod clients;
mod fallback;
mod handshake;
mod session;
mod tickets;
mod wire;

use std::sync::Arc;

use arc_swap::ArcSwap;
use pando_routing::{Table, TableError, TicketKey};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::version::{TLS12, TLS13};

use crate::error::ProxyError;
pub(crate) use ahead::Ahead;
pub(crate) use certificates::Certificates;
use certificates::Resolver;
pub(crate) use clients::{Askers, Mark, is_claim, mark};
pub(crate) use handshake::{HandshakeError, VERSIONS, accept};
pub(crate) use session::Session;
use tickets::Tickets;
pub(crate) use tickets::rotate;
pub(crate) use wire::Secured;

/// What is offered, the first that a client knows too is taken. Some clients of HTTP/1.0 would rather have no connection than
/// a name that isn't theirs.
const PROTOCOLS: [&[u8]; 3] = [HTTP2, b"http/1.1", b"http/1.0"];

/// HTTP/2, as it is offered.
pub(crate) const HTTP2: &[u8] = b"h2";

/// What handshakes are made with.
#[derive(Debug)]
pub(crate) struct Tls {
    config: Arc<ServerConfig>,
    certificates: Arc<ArcSwap<Certificates>>,
    resolver: Arc<Resolver>,
    tickets: Arc<Tickets>,
    /// Of hosts whose clients have to show who they are.
    askers: ArcSwap<Askers>,
}

impl Tls {
    /// Without certificates yet: handshakes get one that we signed ourselves.
    ///
    /// # Errors
    /// No key can be made.
    pub(crate) fn new() -> Result<Self, ProxyError> {
        let certificates = Arc::new(ArcSwap::default());
        let tickets = Arc::new(Tickets::new()?);
        let resolver = Resolver { certificates: Arc::clone(&certificates), fallback: fallback::make()? };
        let resolver = Arc::new(resolver);
        let config = config(None, Arc::clone(&resolver), Arc::clone(&tickets) as _)
            .map_err(|source| ProxyError::Tls { source: source.into() })?;
        let askers = ArcSwap::default();
        Ok(Self { config: Arc::new(config), certificates, resolver, tickets, askers })
    }

    /// Keys for tickets that were made here; none where the table has some.
    pub(crate) fn own_ticket_keys(&self) -> Vec<TicketKey> {
        self.tickets.own()
    }

    /// Goes on with the ticket keys of the proxy before this one.
    pub(crate) fn inherit(&self, ticket_keys: &[TicketKey]) {
        self.tickets.inherit(ticket_keys);
    }

    /// From now on handshakes use these.
    pub(crate) fn renew(&self, certificates: &Arc<Certificates>, ticket_keys: &[TicketKey], askers: Askers) {
        self.askers.store(Arc::new(askers));
        self.certificates.store(Arc::clone(certificates));
        self.tickets.take(ticket_keys);
    }
}

/// For all connections, or for those whose clients `verifier` looks at.
fn config(
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    resolver: Arc<Resolver>,
    tickets: Arc<dyn ProducesTickets>,
) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13, &TLS12])?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(resolver);
    config.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = tickets;
    // Browsers use one; each costs a write's worth of bytes.
    config.send_tls13_tickets = 1;
    Ok(config)
}

impl Tls {
    /// What hosts of `table` ask of their clients, ready for handshakes; see [`Askers::of`].
    ///
    /// # Errors
    /// Each host whose clients can't be asked, and why.
    pub(crate) fn askers(&self, table: &Table) -> Result<Askers, Vec<TableError>> {
        Askers::of(table, self, &self.askers.load())
    }
}
