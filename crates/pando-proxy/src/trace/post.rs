//! Bringing a batch to its receiver: one request of HTTP, whose answer is read to its end.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::otlp;
use super::patience::{Tried, meaning};
use crate::error::ProxyError;
use crate::settings::Otlp;

/// Where traces go below the address of a receiver.
const PATH: &str = "/v1/traces";

/// More of an answer is not read.
const MOST_ANSWER: usize = 64 << 10;

const CONNECT: Duration = Duration::from_secs(5);

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The way to one receiver. Its connection is kept.
#[derive(Debug)]
pub(super) struct Post {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: Uri,
    headers: HeaderMap,
}

impl Post {
    /// # Errors
    /// The address is none of HTTP, or there is nobody to trust for TLS.
    pub(super) fn new(settings: &Otlp) -> Result<Self, ProxyError> {
        let failed = |source: Cause| ProxyError::Otlp { endpoint: settings.endpoint.clone(), source };
        let uri = address(&settings.endpoint).map_err(failed)?;
        let roots =
            if uri.scheme_str() == Some("https") { roots(settings) } else { Ok(RootCertStore::empty()) };
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let config =
            ClientConfig::builder_with_provider(provider.into()).with_safe_default_protocol_versions();
        let config = config.map_err(|error| failed(error.into()))?;
        let config = config.with_root_certificates(roots.map_err(failed)?).with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1).build(connector);
        Ok(Self { client, uri, headers: settings.headers.0.clone() })
    }

    /// Brings one batch. The caller bounds its time.
    pub(super) async fn bring(&self, batch: Bytes) -> Tried {
        match self.ask(batch).await {
            Ok(tried) => tried,
            Err(error) => {
                tracing::debug!(%error, receiver = %self.uri, "spans were not taken");
                Tried::Later(None)
            }
        }
    }

    async fn ask(&self, batch: Bytes) -> Result<Tried, Cause> {
        let mut request =
            Request::builder().method(Method::POST).uri(self.uri.clone()).body(Full::new(batch))?;
        *request.headers_mut() = self.headers.clone();
        let kind = http::HeaderValue::from_static("application/x-protobuf");
        request.headers_mut().insert(CONTENT_TYPE, kind);
        let response = self.client.request(request).await?;
        let status = response.status().as_u16();
        let wait = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let body = Limited::new(response.into_body(), MOST_ANSWER).collect().await?.to_bytes();
        let (refused, message) = if status < 300 { otlp::refused(&body) } else { (0, String::new()) };
        if refused > 0 || !(200..300).contains(&status) {
            tracing::debug!(status, refused, message, receiver = %self.uri, "spans were not all taken");
        }
        Ok(meaning(status, wait.map(Duration::from_secs), refused))
    }
}

/// With the path of traces, unless it is there already.
fn address(endpoint: &str) -> Result<Uri, Cause> {
    let base = endpoint.trim_end_matches('/');
    let whole = if base.ends_with(PATH) { base.to_owned() } else { format!("{base}{PATH}") };
    let uri: Uri = whole.parse()?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(_)) => Ok(uri),
        _ => Err("it must begin with http:// or https://, such as http://localhost:4318".into()),
    }
}

/// Whom to believe: the named authority, else those of the system.
fn roots(settings: &Otlp) -> Result<RootCertStore, Cause> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = &settings.authority {
        for certificate in CertificateDer::pem_file_iter(file)? {
            roots.add(certificate?)?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if roots.is_empty() {
        return Err(
            "there are no certificates of authorities to trust: install ca-certificates, or name a file"
                .into(),
        );
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_traces_is_added_once() {
        for (endpoint, expected) in [
            ("http://localhost:4318", "http://localhost:4318/v1/traces"),
            ("http://localhost:4318/", "http://localhost:4318/v1/traces"),
            ("https://o.example/otlp", "https://o.example/otlp/v1/traces"),
            ("https://o.example/v1/traces", "https://o.example/v1/traces"),
        ] {
            assert_eq!(address(endpoint).unwrap().to_string(), expected);
        }
        for bad in ["localhost:4318", "grpc://localhost:4317", "http://", "", "http://a b"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
