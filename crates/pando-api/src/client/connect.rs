//! Connections, plain or by TLS, and their reuse.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Builder, Client, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use pando_trust::Subject;
use rustls::ClientConfig;

use super::transport::Body;

/// Cheap to clone; clones share connections.
#[derive(Clone)]
pub(crate) enum Http {
    Plain(Client<HttpConnector, Body>),
    Tls(Client<HttpsConnector<HttpConnector>, Body>),
}

impl Http {
    pub(crate) fn plain() -> Self {
        Self::Plain(pool().build(connector()))
    }

    pub(crate) fn with_tls(config: Arc<ClientConfig>, subject: Subject) -> Self {
        let mut config = Arc::unwrap_or_clone(config);
        // The connector says itself what it speaks.
        config.alpn_protocols.clear();
        let mut tcp = connector();
        tcp.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_only()
            .with_server_name_resolver(FixedServerNameResolver::new(subject.server_name()))
            .enable_http1()
            .wrap_connector(tcp);
        Self::Tls(pool().build(connector))
    }

    pub(crate) fn request(&self, request: Request<Body>) -> ResponseFuture {
        match self {
            Self::Plain(client) => client.request(request),
            Self::Tls(client) => client.request(request),
        }
    }
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(Duration::from_secs(5)));
    connector.set_nodelay(true);
    // A peer that vanished without a word is noticed by this alone in a stream that may be quiet for hours.
    connector.set_keepalive(Some(Duration::from_secs(15)));
    connector.set_keepalive_interval(Some(Duration::from_secs(5)));
    connector.set_keepalive_retries(Some(3));
    connector
}

fn pool() -> Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .pool_timer(TokioTimer::new())
        // Below the time after which the control plane closes a quiet connection.
        .pool_idle_timeout(Duration::from_secs(20))
        .pool_max_idle_per_host(4);
    builder
}
