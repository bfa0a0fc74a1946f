//! Servers that speak TLS, and authorities that vouch for them.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use pando_routing::Endpoint;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, RootCertStore, ServerConfig};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{Issued, Origin};

/// Vouches for others.
pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { pem: certificate.pem(), issuer: Issuer::new(params, key) }
    }

    /// A certificate for these names or addresses, good for either side.
    pub(crate) fn issue(&self, names: &[&str]) -> Issued {
        self.issue_with(names, |_| {})
    }

    pub(crate) fn issue_with(&self, names: &[&str], adjust: impl FnOnce(&mut CertificateParams)) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        adjust(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let der = certificate.der().clone();
        Issued { chain_pem: certificate.pem(), key_pem: key.serialize_pem(), der }
    }
}

/// What a server saw of its clients.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) handshakes: AtomicUsize,
    pub(crate) resumed: AtomicUsize,
    pub(crate) requests: AtomicUsize,
    /// The name that the last one asked for.
    pub(crate) name: Mutex<Option<String>>,
    pub(crate) protocol: Mutex<Option<Vec<u8>>>,
    /// Whether the last one has shown a certificate.
    pub(crate) shown: Mutex<bool>,
    /// The last line of the PROXY protocol.
    pub(crate) announced: Mutex<String>,
}

impl Seen {
    fn note(&self, stream: &TlsStream<TcpStream>) {
        let session = stream.get_ref().1;
        self.handshakes.fetch_add(1, SeqCst);
        if session.handshake_kind() == Some(HandshakeKind::Resumed) {
            self.resumed.fetch_add(1, SeqCst);
        }
        *self.name.lock().unwrap() = session.server_name().map(str::to_owned);
        *self.protocol.lock().unwrap() = session.alpn_protocol().map(<[u8]>::to_vec);
        *self.shown.lock().unwrap() = session.peer_certificates().is_some();
    }

    pub(crate) fn handshakes(&self) -> usize {
        self.handshakes.load(SeqCst)
    }

    pub(crate) fn resumed(&self) -> usize {
        self.resumed.load(SeqCst)
    }
}

/// How a server is set up.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) issued: Issued,
    /// Clients must have a certificate from there.
    pub(crate) clients: Option<String>,
    pub(crate) only_tls12: bool,
    pub(crate) alpn: Vec<&'static str>,
    /// Each answer breaks off without a goodbye.
    pub(crate) cut: bool,
    /// Connections begin with a line of the PROXY protocol.
    pub(crate) announced: bool,
}

impl Setup {
    pub(crate) fn new(issued: Issued) -> Self {
        Self {
            issued,
            clients: None,
            only_tls12: false,
            alpn: vec!["http/1.1"],
            cut: false,
            announced: false,
        }
    }

    fn config(&self) -> ServerConfig {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let versions: &[_] = if self.only_tls12 { &[&TLS12] } else { &[&TLS13, &TLS12] };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_protocol_versions(versions).unwrap();
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                roots.add(rustls_pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let key = PrivateKeyDer::from_pem_slice(self.issued.key_pem.as_bytes()).unwrap();
        let mut config = builder.with_single_cert(vec![self.issued.der.clone()], key).unwrap();
        config.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

/// A server that speaks TLS, and HTTP/1.1 or HTTP/2 within, as was agreed on. Answers with its name.
pub(crate) struct SecureApp {
    endpoint: Endpoint,
    _origin: Origin,
    pub(crate) seen: Arc<Seen>,
}

impl SecureApp {
    pub(crate) async fn start(name: &'static str, setup: Setup) -> Self {
        let (acceptor, seen) = (TlsAcceptor::from(Arc::new(setup.config())), Arc::new(Seen::default()));
        let (memory, cut, announced) = (Arc::clone(&seen), setup.cut, setup.announced);
        let origin = Origin::start(move |mut tcp, _| {
            let (acceptor, seen) = (acceptor.clone(), Arc::clone(&memory));
            async move {
                tcp.set_nodelay(true).unwrap();
                let mut line = Vec::new();
                while announced && !line.ends_with(b"\r\n") {
                    let Ok(byte) = tcp.read_u8().await else { return };
                    line.push(byte);
                }
                *seen.announced.lock().unwrap() = String::from_utf8(line).unwrap();
                // Clients that break off are the tests' business.
                let Ok(stream) = acceptor.accept(tcp).await else { return };
                seen.note(&stream);
                let protocol = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
                match protocol.as_deref() {
                    _ if cut => cut_off(stream).await,
                    Some(b"h2") => speak_http2(stream, name, &seen).await,
                    _ => speak_http1(stream, name, &seen).await,
                }
            }
        })
        .await;
        Self { endpoint: origin.endpoint(), _origin: origin, seen }
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }
}

async fn speak_http1(stream: TlsStream<TcpStream>, name: &'static str, seen: &Seen) {
    let service = service_fn(|_| {
        seen.requests.fetch_add(1, SeqCst);
        async move { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(name)))) }
    });
    let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let _ = serving.await;
}

async fn speak_http2(stream: TlsStream<TcpStream>, name: &'static str, seen: &Seen) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        seen.requests.fetch_add(1, SeqCst);
        let mut send = respond.send_response(Response::new(()), false).unwrap();
        send.send_data(Bytes::from(name), true).unwrap();
    }
}

/// Half an answer whose end is the connection's, which then breaks without a goodbye.
async fn cut_off(mut stream: TlsStream<TcpStream>) {
    let mut byte = [0; 1024];
    let _ = stream.read(&mut byte).await;
    stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhalf").await.unwrap();
    stream.flush().await.unwrap();
    let (mut tcp, _) = stream.into_inner();
    tcp.shutdown().await.unwrap();
}
