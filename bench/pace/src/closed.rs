//! As many requests over TLS as possible: one thread, many connections, each with the next request as soon as it has an answer.
//!
//! The load shares its core with the origin, so it is to cost little; OpenSSL's clients take twice as long for a handshake as what is
//! measured. Certificates are not verified: nothing is learned from that here.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConnection, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};

use crate::response::Response;

/// An answer that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(10);
const ROOM: usize = 16 << 10;

/// What is to be asked, over how many connections and for how long.
pub(crate) struct Closed {
    pub(crate) request: Arc<[u8]>,
    pub(crate) to: SocketAddr,
    pub(crate) connections: usize,
    pub(crate) duration: Duration,
    /// A connection, and so a handshake, for each request.
    pub(crate) afresh: bool,
}

impl Closed {
    /// One line: counts.
    pub(crate) fn run(&self) -> io::Result<String> {
        let config = config()?;
        let mut poll = Poll::new()?;
        let mut events = Events::with_capacity(self.connections);
        let (mut answered, mut failed) = (0u64, 0u64);
        let mut clients = Vec::new();
        for token in 0..self.connections {
            clients.push(Client::start(self, &config, &poll, Token(token))?);
        }
        let end = Instant::now() + self.duration;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            poll.poll(&mut events, Some(left.min(TIMEOUT)))?;
            if events.is_empty() && left > TIMEOUT {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "nothing came for ten seconds"));
            }
            for event in &events {
                let Some(client) = clients.get_mut(event.token().0) else { continue };
                match client.go(self) {
                    Ok(count) => answered += count,
                    Err(_) => failed += 1,
                }
                if client.is_over {
                    *client = Client::start(self, &config, &poll, event.token())?;
                }
            }
        }
        Ok(format!("answered {answered} failed {failed}"))
    }
}

/// One key exchange and one cipher, so that all proxies do the same work; a full handshake each time.
fn config() -> io::Result<Arc<ClientConfig>> {
    let provider = CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).map_err(io::Error::other)?;
    let verifier = Arc::new(Anybody);
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// A connection with one request under way.
struct Client {
    tcp: TcpStream,
    tls: ClientConnection,
    response: Response,
    is_over: bool,
}

impl Client {
    fn start(closed: &Closed, config: &Arc<ClientConfig>, poll: &Poll, token: Token) -> io::Result<Self> {
        let mut tcp = TcpStream::connect(closed.to)?;
        tcp.set_nodelay(true)?;
        poll.registry().register(&mut tcp, token, Interest::READABLE | Interest::WRITABLE)?;
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let mut tls = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        // Sent as soon as the handshake allows.
        tls.writer().write_all(&closed.request)?;
        Ok(Self { tcp, tls, response: Response::default(), is_over: false })
    }

    /// Does what can be done, and tells how many answers came. After an error, and after the one answer of a connection, it is over.
    fn go(&mut self, closed: &Closed) -> io::Result<u64> {
        let went = self.exchange(closed);
        self.is_over |= went.is_err();
        went
    }

    fn exchange(&mut self, closed: &Closed) -> io::Result<u64> {
        let mut answered = 0;
        self.write()?;
        loop {
            let count = match self.tls.read_tls(&mut self.tcp) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if is_not_yet(&error) => break,
                Err(error) => return Err(error),
            };
            self.tls.process_new_packets().map_err(io::Error::other)?;
            answered += self.take(closed)?;
            self.write()?;
            // There was room for more: the rest is not here yet.
            if self.is_over || count < 4096 {
                break;
            }
        }
        Ok(answered)
    }

    fn write(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.tcp) {
                Ok(_) => {}
                Err(error) if is_not_yet(&error) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes what was decrypted; after a whole answer asks again, or is over.
    fn take(&mut self, closed: &Closed) -> io::Result<u64> {
        let mut room = [0; ROOM];
        let mut answered = 0;
        loop {
            match self.tls.reader().read(&mut room) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.response.take(&room[..count])?,
                Err(error) if is_not_yet(&error) => return Ok(answered),
                Err(error) => return Err(error),
            }
            if self.response.is_whole() {
                answered += 1;
                self.response = Response::default();
                if closed.afresh {
                    self.is_over = true;
                    self.tls.send_close_notify();
                    return Ok(answered);
                }
                self.tls.writer().write_all(&closed.request)?;
            }
        }
    }
}

/// Not connected yet counts as well.
fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected)
}

/// Takes whoever answers.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
