//! One connection: its handshake, and its requests with what is known of the caller.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::header::CONNECTION;
use http::{HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use pando_model::time::Timestamp;
use pando_rt::clock::Clock;
use pando_rt::tasks::Tasks;
use pando_trust::{PeerIdentity, peer_identity, tls};
use rustix::net::sockopt;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::server::Limits;

/// Where a request came from; `None`: nobody can tell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) Option<SocketAddr>);

/// Who is at the other end of a connection, by certificate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Certified(pub(crate) PeerIdentity);

/// What each connection is served with.
#[derive(Clone)]
pub(super) struct Serving {
    pub(super) app: Router,
    /// `None`: without TLS.
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) clock: Clock,
    pub(super) tasks: Tasks,
    pub(super) limits: Limits,
}

impl Serving {
    /// Serves it to its end.
    pub(super) async fn connection(self, stream: TcpStream) {
        let peer: Option<SocketAddr> = stream.peer_addr().ok();
        if let Err(error) = tune(&stream) {
            tracing::debug!("the connection from {peer:?} could not be tuned: {error}");
        }
        let served = match self.tls.clone() {
            None => self.requests(stream, Peer(peer), None).await,
            Some(config) => self.secured(stream, Peer(peer), &config).await,
        };
        if let Err(error) = served {
            tracing::debug!("the connection from {peer:?} ended early: {error}");
        }
    }

    async fn secured(self, stream: TcpStream, peer: Peer, config: &Arc<ServerConfig>) -> Result<(), Early> {
        let stream = tokio::select! {
            accepted = tls::accept(stream, config, self.limits.head_within) => accepted?,
            // Nothing was asked yet.
            () = self.tasks.shutdown().wait() => return Ok(()),
        };
        let now = Timestamp::from_millis(self.clock.now_millis());
        let shown = peer_identity(stream.get_ref().1.peer_certificates(), now)?;
        self.requests(stream, peer, shown.map(Certified)).await
    }

    async fn requests(
        self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        peer: Peer,
        certified: Option<Certified>,
    ) -> Result<(), Early> {
        let app = TowerToHyperService::new(self.app);
        let last = Instant::now() + self.limits.connection_life;
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            if let Some(certified) = certified {
                request.extensions_mut().insert(certified);
            }
            let answer = app.call(request);
            let clock = self.clock.clone();
            async move {
                let mut answer = answer.await?;
                // One that has expired may have been renewed by this very request: the next connection shows it.
                let now = Timestamp::from_millis(clock.now_millis());
                let expired = certified.is_some_and(|Certified(peer)| peer.at(now).expired);
                // Said in an answer, so that nobody sends into a connection that is being closed.
                // Who is not let in is not kept, either: a server that was removed would be connected for ever.
                let stranger = answer.status() == StatusCode::UNAUTHORIZED;
                let ends = Instant::now() > last || expired || stranger;
                if ends && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(answer)
            }
        });
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head_within)
            .max_headers(64)
            .max_buf_size(64 * 1024)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        tokio::pin!(serving);
        tokio::select! {
            // The second arm only borrows the connection, which is then served to its end.
            ended = serving.as_mut() => Ok(ended?),
            () = self.tasks.shutdown().wait() => {
                serving.as_mut().graceful_shutdown();
                Ok(serving.await?)
            }
        }
    }
}

/// Why a connection ended before its time. Told to whoever looks closely: callers come and go.
#[derive(Debug, thiserror::Error)]
enum Early {
    #[error("its handshake failed: {0}")]
    Handshake(#[from] io::Error),
    #[error(transparent)]
    Certificate(#[from] pando_trust::TrustError),
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

/// Small answers leave at once; a peer that vanished without a word is noticed within a minute, also in a stream that may be silent
/// for hours.
fn tune(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(30))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(10))?;
    sockopt::set_tcp_keepcnt(stream, 3)?;
    Ok(())
}
