//! From a connection that was accepted to one that is secure, in bounded time.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::{Accepted, Acceptor};
use rustls::{HandshakeKind, ProtocolVersion};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::StartHandshake;

use super::ahead::Ahead;
use super::{Secured, Session, Tls};

/// What browsers and the like get that speak HTTP here.
const NOT_HERE: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n\
    cache-control: no-store\r\ncontent-length: 63\r\n\r\n400 Bad Request\nThis port speaks HTTPS; ask for `https://...`.\n";

/// Why there is no secure connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("the handshake did not end in time")]
    TooSlow,
    #[error("the client speaks HTTP where TLS is spoken")]
    Http,
    #[error("the client's hello can't be used: {0}")]
    Hello(#[source] rustls::Error),
    #[error("the client's certificate is not good any more: {0}")]
    Client(#[source] rustls::Error),
    #[error("the handshake broke off: {0}")]
    Broken(#[from] io::Error),
}

/// Versions, as metrics call them.
pub(crate) const VERSIONS: [&str; 2] = ["1.2", "1.3"];

impl HandshakeError {
    /// As metrics call them.
    pub(crate) const REASONS: [&str; 5] = ["timeout", "http", "hello", "certificate", "broken"];

    /// Which of them it is.
    pub(crate) fn reason(&self) -> usize {
        match self {
            Self::TooSlow => 0,
            Self::Http => 1,
            Self::Hello(_) => 2,
            _ if self.is_about_certificate() => 3,
            Self::Broken(_) | Self::Client(_) => 4,
        }
    }

    /// Whether the client has shown no certificate, or a bad one, where a good one is asked for.
    fn is_about_certificate(&self) -> bool {
        let error = match self {
            Self::Client(error) => Some(error),
            Self::Broken(error) => error.get_ref().and_then(|inner| inner.downcast_ref()),
            _ => None,
        };
        matches!(error, Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented))
    }
}

/// A connection whose handshake is done.
#[derive(Debug)]
pub(crate) struct Greeted {
    pub(crate) wire: Secured,
    pub(crate) session: Session,
    /// It was agreed that HTTP/2 is spoken.
    pub(crate) http2: bool,
    /// TLS 1.3, else 1.2.
    pub(crate) newest: bool,
    /// The client came back with a ticket.
    pub(crate) resumed: bool,
}

/// # Errors
/// There is no handshake within `patience`; the client was told why, where it could be.
pub(crate) async fn accept(tcp: TcpStream, tls: &Tls, patience: Duration) -> Result<Greeted, HandshakeError> {
    let handshake = tokio::time::timeout(patience, shake_hands(tcp, tls)).await;
    handshake.unwrap_or(Err(HandshakeError::TooSlow))
}

async fn shake_hands(tcp: TcpStream, tls: &Tls) -> Result<Greeted, HandshakeError> {
    let mut ahead = Ahead::new(tcp);
    let accepted = hello(&mut ahead).await?;
    // As the handshake will find it in a moment; a table that comes between changes which, not for whom.
    let name = accepted.client_hello().server_name().map(str::to_owned);
    let mut session = Session::new(name.as_deref(), &tls.certificates.load());
    let asker = tls.askers.load().find(name.as_deref());
    let config = asker.as_ref().map_or(&tls.config, |asker| &asker.config);
    let start = StartHandshake::from_parts(accepted, ahead);
    let stream = match start.into_stream(Arc::clone(config)).into_fallible().await {
        Ok(stream) => stream,
        Err((error, mut ahead)) => {
            // The reason may have been kept back.
            let _ = poll_fn(|cx| ahead.poll_release(cx)).await;
            return Err(error.into());
        }
    };
    let agreed = &stream.get_ref().1;
    let resumed = agreed.handshake_kind() == Some(HandshakeKind::Resumed);
    let http2 = agreed.alpn_protocol() == Some(super::HTTP2);
    let newest = agreed.protocol_version() == Some(ProtocolVersion::TLSv1_3);
    if let Some(asker) = asker {
        let shown = agreed.peer_certificates();
        asker.looks_again(shown).map_err(HandshakeError::Client)?;
        session.was_asked(&asker, shown);
    }
    Ok(Greeted { wire: Secured::with_client(stream), session, http2, newest, resumed })
}

/// What the client would like.
async fn hello(ahead: &mut Ahead) -> Result<Accepted, HandshakeError> {
    let mut acceptor = Acceptor::default();
    let mut first = None;
    loop {
        if ahead.inbox().is_empty() && poll_fn(|cx| ahead.poll_fill(cx)).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let mut unread = ahead.inbox().bytes();
        first = first.or(unread.first().copied());
        let taken = acceptor.read_tls(&mut unread)?;
        ahead.inbox().consume(taken);
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok(accepted),
            Ok(None) => {}
            Err(_) if first.is_some_and(|byte| byte.is_ascii_uppercase()) => {
                ahead.tcp.write_all(NOT_HERE).await?;
                ahead.tcp.shutdown().await?;
                return Err(HandshakeError::Http);
            }
            Err((error, mut alert)) => {
                let mut last_words = Vec::new();
                alert.write_all(&mut last_words)?;
                ahead.tcp.write_all(&last_words).await?;
                return Err(HandshakeError::Hello(error));
            }
        }
    }
}
