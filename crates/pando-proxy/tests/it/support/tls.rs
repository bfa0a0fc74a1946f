//! Certificates made for a test, a proxy that listens for TLS, and a client that says how its handshake went.

use std::net::SocketAddr;
use std::sync::Arc;

use pando_proxy::{Listeners, Settings};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Client, Proxy, within};

/// A certificate that vouches for itself.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    pub(crate) chain_pem: String,
    pub(crate) key_pem: String,
    pub(crate) der: CertificateDer<'static>,
}

impl Issued {
    pub(crate) fn for_hosts(hosts: &[&str]) -> Self {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(hosts).unwrap();
        let key_pem = made.signing_key.serialize_pem();
        Self { chain_pem: made.cert.pem(), key_pem, der: made.cert.der().clone() }
    }
}

/// A proxy that listens for both.
#[derive(Debug)]
pub(crate) struct TlsProxy {
    pub(crate) proxy: Proxy,
    /// Where it listens for TLS.
    pub(crate) secure: SocketAddr,
}

impl TlsProxy {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_, _| {}).await
    }

    pub(crate) async fn start_with(adjust: impl FnOnce(&mut Settings, &std::path::Path)) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), adjust).await
    }

    pub(crate) async fn start_in(
        directory: impl Into<std::sync::Arc<tempfile::TempDir>>,
        adjust: impl FnOnce(&mut Settings, &std::path::Path),
    ) -> Self {
        let listeners = Listeners::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        let secure = listeners[0].local_addr().unwrap();
        let proxy = Proxy::start_in(directory, |settings, directory| {
            settings.tls_listeners = listeners;
            adjust(settings, directory);
        })
        .await;
        Self { proxy, secure }
    }
}

/// A connection after its handshake.
pub(crate) type Secure = Client<TlsStream<TcpStream>>;

impl Secure {
    /// The certificate that the other side has shown.
    pub(crate) fn shown(&self) -> CertificateDer<'static> {
        self.session().peer_certificates().unwrap()[0].clone().into_owned()
    }

    pub(crate) fn resumed(&self) -> bool {
        self.session().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    pub(crate) fn session(&self) -> &rustls::ClientConnection {
        self.stream.get_ref().get_ref().1
    }
}

/// Who makes handshakes, and keeps the tickets that it gets.
#[derive(Debug, Clone)]
pub(crate) struct Caller(ClientConfig);

impl Caller {
    /// Trusts these alone.
    pub(crate) fn trusting(issued: &[&Issued]) -> Self {
        Self::with(issued, aws_lc_rs::default_provider(), &[&TLS13, &TLS12])
    }

    /// Knows one version of TLS.
    pub(crate) fn speaking(issued: &[&Issued], version: &'static SupportedProtocolVersion) -> Self {
        Self::with(issued, aws_lc_rs::default_provider(), &[version])
    }

    pub(crate) fn with(
        issued: &[&Issued],
        provider: CryptoProvider,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let mut roots = RootCertStore::empty();
        for issued in issued {
            roots.add(issued.der.clone()).unwrap();
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(provider));
        let builder = builder.with_protocol_versions(versions).unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(64);
        Self(config)
    }

    /// Takes whatever certificate is shown.
    pub(crate) fn careless() -> Self {
        let mut caller = Self::trusting(&[]);
        let verifier = anybody::Anybody(aws_lc_rs::default_provider());
        caller.0.dangerous().set_certificate_verifier(Arc::new(verifier));
        caller
    }

    pub(crate) fn offering(mut self, protocols: &[&str]) -> Self {
        self.0.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// Shows this to who asks.
    pub(crate) fn showing(mut self, own: &Issued) -> Self {
        let key = PrivateKeyDer::from_pem_slice(own.key_pem.as_bytes()).unwrap();
        let key = aws_lc_rs::sign::any_supported_type(&key).unwrap();
        let certified = rustls::sign::CertifiedKey::new(vec![own.der.clone()], key);
        self.0.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(certified));
        self
    }

    pub(crate) fn naming_nobody(mut self) -> Self {
        self.0.enable_sni = false;
        self
    }

    pub(crate) async fn call(&self, address: SocketAddr, host: &str) -> Secure {
        self.try_call(address, host).await.unwrap()
    }

    pub(crate) async fn try_call(&self, address: SocketAddr, host: &str) -> std::io::Result<Secure> {
        self.call_over(TcpStream::connect(address).await?, host).await
    }

    pub(crate) async fn call_over(&self, tcp: TcpStream, host: &str) -> std::io::Result<Secure> {
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let connecting = TlsConnector::from(Arc::new(self.0.clone())).connect(name, tcp);
        let stream = within("a handshake", connecting).await?;
        Ok(Client { stream: tokio::io::BufReader::new(stream) })
    }
}

mod anybody {
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
    use rustls::{DigitallySignedStruct, Error, SignatureScheme};
    use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

    /// Only wants the key to be the certificate's.
    #[derive(Debug)]
    pub(super) struct Anybody(pub(super) CryptoProvider);

    impl ServerCertVerifier for Anybody {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
}
