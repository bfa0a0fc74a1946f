//! TLS with the endpoints of one pool: made with the table, used by each connection that is opened.
//!
//! What a pool's settings amount to is made once and kept from table to table while they are the same. Sessions are remembered
//! for each endpoint by itself, and no longer than the settings hold: one that was begun under other settings would not have been
//! checked by these.

mod fault;
mod roots;
mod verify;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use pando_routing::{CertificateFault, ClientCertificate, Pool, PoolId, Table, TableError, UpstreamTls};
use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, InconsistentKeys};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::tls::{Ahead, HTTP2, Secured};
pub(crate) use fault::{NoTls, alert_of};

/// Sessions remembered of one endpoint: as many connections as are opened to it at once can be resumed.
const SESSIONS: usize = 16;

/// By pool; those without TLS are not here.
pub(crate) type Outbounds = HashMap<PoolId, Arc<Outbound>>;

/// How connections to the endpoints of one pool are made secure.
#[derive(Debug)]
pub(crate) struct Outbound {
    asked: Asked,
    config: ClientConfig,
    /// `None`: the endpoint's address.
    name: Option<ServerName<'static>>,
}

/// All that the table says of it.
#[derive(Debug, PartialEq)]
struct Asked {
    tls: UpstreamTls,
    http2: bool,
    ca: Option<String>,
    client: Option<ClientCertificate>,
}

/// The same for one endpoint.
#[derive(Debug)]
pub(crate) struct Dial {
    outbound: Arc<Outbound>,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Outbound {
    /// Those of `table`, which was validated. What is as it was among `held` is taken from there.
    ///
    /// # Errors
    /// Each pool whose settings can't be used, and why.
    pub(crate) fn all(table: &Table, held: Option<&Outbounds>) -> Result<Outbounds, Vec<TableError>> {
        let (mut all, mut errors) = (Outbounds::new(), Vec::new());
        for (id, pool) in &table.pools {
            let Some(asked) = Asked::of(table, pool) else { continue };
            let kept = held.and_then(|held| held.get(id)).filter(|kept| kept.asked == asked);
            match kept.map_or_else(|| Self::new(asked).map(Arc::new), |kept| Ok(Arc::clone(kept))) {
                Ok(outbound) => drop(all.insert(id.clone(), outbound)),
                Err(why) => errors.push(TableError::Tls { pool: id.to_string(), why }),
            }
        }
        if errors.is_empty() { Ok(all) } else { Err(errors) }
    }

    fn new(asked: Asked) -> Result<Self, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_protocol_versions(&[&TLS13, &TLS12]).map_err(|error| error.to_string())?;
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier(&asked, provider)?);
        let mut config = match &asked.client {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let unusable = |fault: CertificateFault| format!("the client certificate: {fault}");
                let (chain, key) = (own.chain().map_err(unusable)?, own.key().map_err(unusable)?);
                builder.with_client_auth_cert(chain, key).map_err(|error| unusable(own_fault(&error)))?
            }
        };
        let protocol = if asked.http2 { HTTP2 } else { b"http/1.1" };
        config.alpn_protocols = vec![protocol.to_vec()];
        let name = asked.tls.server_name.as_deref().map(|name| ServerName::try_from(name.to_owned()));
        let name = name.transpose().map_err(|error| error.to_string())?;
        Ok(Self { asked, config, name })
    }
}

fn verifier(
    asked: &Asked,
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    match &asked.ca {
        _ if asked.tls.insecure_skip_verify => Ok(Arc::new(verify::Anybody(provider))),
        Some(pem) => {
            let authorities = pando_routing::upstream::authorities(pem).map_err(|fault| fault.to_string())?;
            verify::by(roots::of(authorities), provider)
        }
        None => verify::by(roots::of_the_system(), provider),
    }
}

fn own_fault(error: &rustls::Error) -> CertificateFault {
    match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => CertificateFault::OtherKey,
        other => CertificateFault::BadKey(other.to_string()),
    }
}

impl Asked {
    fn of(table: &Table, pool: &Pool) -> Option<Self> {
        let tls = pool.tls.clone()?;
        let ca = tls.ca.as_ref().and_then(|name| table.ca_certificates.get(name)).cloned();
        let certificates = &table.secret.client_certificates;
        let client = tls.client_certificate.as_ref().and_then(|name| certificates.get(name)).cloned();
        Some(Self { tls, http2: pool.protocol.is_http2(), ca, client })
    }
}

impl Dial {
    /// To one endpoint.
    pub(crate) fn new(outbound: &Arc<Outbound>, address: SocketAddr) -> Self {
        let mut config = outbound.config.clone();
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        let name = outbound.name.clone().unwrap_or_else(|| ServerName::IpAddress(address.ip().into()));
        Self { outbound: Arc::clone(outbound), config: Arc::new(config), name }
    }

    pub(crate) fn is_by(&self, outbound: &Arc<Outbound>) -> bool {
        Arc::ptr_eq(&self.outbound, outbound)
    }

    /// Makes a connection secure. Whoever calls bounds the time.
    ///
    /// # Errors
    /// [`NoTls`] within.
    pub(crate) async fn secure(&self, tcp: TcpStream) -> std::io::Result<Secured> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let connecting = connector.connect(self.name.clone(), Ahead::new(tcp));
        let stream = connecting.await.map_err(NoTls::of)?;
        if self.outbound.asked.http2 && stream.get_ref().1.alpn_protocol() != Some(HTTP2) {
            return Err(NoTls::no_http2());
        }
        Ok(Secured::with_endpoint(stream))
    }
}
