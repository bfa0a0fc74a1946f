//! The accepting end's handshake: within a deadline, and with a last word for who is refused.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How long a refused caller may take to hear of it.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Shakes hands within `within`. Who the caller is, says [`crate::peer_identity`] of the stream's `peer_certificates()`.
///
/// # Errors
/// The handshake failed, see [`super::tls_cause`]; or [`io::ErrorKind::TimedOut`].
pub async fn accept(
    stream: TcpStream,
    config: &Arc<ServerConfig>,
    within: Duration,
) -> io::Result<TlsStream<TcpStream>> {
    let handshake = TlsAcceptor::from(Arc::clone(config)).accept(stream).into_fallible();
    match timeout(within, handshake).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err((error, stream))) => {
            // When the caller does not stay to hear, that is its own loss.
            let _ = timeout(LAST_WORD, let_hear(stream)).await;
            Err(error)
        }
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// A connection that is closed while something of the caller's is unread is reset, and what was said last is lost with it. So
/// what the caller still sends is read until it has closed its side.
async fn let_hear(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    let mut ignored = [0; 1024];
    while stream.read(&mut ignored).await? > 0 {}
    Ok(())
}
