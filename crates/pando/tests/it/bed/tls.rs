//! Visitors who come by TLS, and an authority that they trust.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};

/// Everything that a visitor waits for.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A chain and its key, as files would have them.
pub(crate) struct Issued {
    pub(crate) chain: String,
    pub(crate) key: String,
    /// The host's certificate.
    pub(crate) own: Vec<u8>,
}

impl Authority {
    pub(crate) fn make() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Bed CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn issue(&self, names: &[&str]) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(names).unwrap().signed_by(&key, &self.0).unwrap();
        let chain = format!("{}{}", own.pem(), self.0.pem());
        Issued { chain, key: key.serialize_pem(), own: own.der().to_vec() }
    }

    /// A visitor who trusts this authority alone, and keeps the tickets that it gets.
    pub(crate) fn visitor(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        Arc::new(config.unwrap().with_root_certificates(roots).with_no_client_auth())
    }
}

/// One connection with TLS.
pub(crate) struct Https(StreamOwned<ClientConnection, TcpStream>, String);

impl Https {
    /// # Errors
    /// When nobody listens, or who answers is not believed.
    pub(crate) fn connect(config: &Arc<ClientConfig>, host: &str, at: Ipv4Addr) -> Result<Self, String> {
        let stream = TcpStream::connect_timeout(&SocketAddr::from((at, 443)), PATIENCE);
        let stream = stream.map_err(|error| format!("connecting: {error}"))?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).map_err(|error| format!("shaking hands: {error}"))?;
        }
        Ok(Self(stream, host.to_owned()))
    }

    /// Status and body.
    ///
    /// # Errors
    /// When the connection ends, or what comes is no whole answer.
    pub(crate) fn get(&mut self, path: &str) -> Result<(u16, String), String> {
        let failed = |error: std::io::Error| error.to_string();
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", self.1);
        self.0.write_all(request.as_bytes()).map_err(failed)?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).map_err(failed)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).map_err(|error| error.to_string())?.to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.ok_or_else(|| format!("no length in {head}"))?;
        let mut body = vec![0; length.trim().parse().map_err(|_| head.clone())?];
        self.0.read_exact(&mut body).map_err(failed)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.ok_or(head)?, String::from_utf8_lossy(&body).into_owned()))
    }

    /// The certificate that was shown.
    pub(crate) fn shown(&self) -> Vec<u8> {
        self.0.conn.peer_certificates().unwrap()[0].to_vec()
    }

    /// A ticket of an earlier session was enough.
    pub(crate) fn is_resumed(&self) -> bool {
        self.0.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }
}

/// Visitors on connections that they keep, asking without a pause.
pub(crate) struct Kept {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Result<u64, String>>>,
}

impl Kept {
    pub(crate) fn start(config: &Arc<ClientConfig>, host: &str, at: Ipv4Addr, visitors: usize) -> Self {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let threads = (0..visitors).map(|_| {
            let mut connection = Https::connect(config, host, at).unwrap();
            let (stop, count) = (Arc::clone(&stop), Arc::clone(&count));
            std::thread::spawn(move || {
                let mut done = 0;
                while !stop.load(Ordering::Relaxed) {
                    match connection.get("/") {
                        Ok((200, _)) => done += 1,
                        other => return Err(format!("after {done} requests: {other:?}")),
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                }
                Ok(done)
            })
        });
        let kept = Self { threads: threads.collect(), stop, count };
        kept.wait_for_requests(50);
        kept
    }

    pub(crate) fn wait_for_requests(&self, more: u64) {
        let goal = self.count.load(Ordering::Relaxed) + more;
        let until = std::time::Instant::now() + PATIENCE;
        while self.count.load(Ordering::Relaxed) < goal {
            assert!(std::time::Instant::now() < until, "no {more} more requests");
            assert!(!self.threads.iter().any(JoinHandle::is_finished), "a connection ended");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// How many requests there were, on the connections that were made at the start.
    #[track_caller]
    pub(crate) fn stop_flawless(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let counts = self.threads.into_iter().map(|thread| thread.join().unwrap());
        counts.sum::<Result<u64, String>>().unwrap()
    }
}
