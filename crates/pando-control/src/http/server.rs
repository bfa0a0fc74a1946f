//! Accepting connections and serving them, within bounds.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use pando_rt::tasks::Tasks;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::routes::router;
use crate::shared::Shared;

/// What callers may take of the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once. Beyond that, callers wait in the kernel's queue.
    pub connections: usize,
    /// From a connection's start, or the end of an answer, to the next request's whole head.
    pub head_within: Duration,
    /// How long requests under way may take to end when the control plane ends. Long polls answer at once then.
    pub patience: Duration,
}

impl Default for Limits {
    /// 1,024 connections: each agent holds one or two, each watching person one. A head within 30 s. Patience for 5 s.
    fn default() -> Self {
        let (head_within, patience) = (Duration::from_secs(30), Duration::from_secs(5));
        Self { connections: 1024, head_within, patience }
    }
}

/// Where a request came from; `None`: nobody can tell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) Option<SocketAddr>);

/// Serves the API until [`Shared::shutdown`] begins; then ends requests under way and returns.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    serve_within(listener, shared, Limits::default()).await;
}

/// As [`serve`], within other limits.
pub async fn serve_within(listener: TcpListener, shared: Arc<Shared>, limits: Limits) {
    let app = router(&shared);
    let tasks = Tasks::new(&shared.shutdown);
    let places = Arc::new(Semaphore::new(limits.connections));
    loop {
        let accepted = tokio::select! {
            // An accepted connection is never lost: accepting is cancel-safe.
            accepted = accept(&listener, &places) => accepted,
            () = shared.shutdown.wait() => break,
        };
        let Some((stream, place)) = accepted else { break };
        let served = connection(stream, app.clone(), tasks.clone(), limits.head_within);
        tasks.spawn(async move {
            served.await;
            drop(place);
        });
    }
    let (connections, begun) =
        tokio::join!(tasks.finish(limits.patience), shared.tasks.finish(limits.patience));
    if !(connections && begun) {
        tracing::info!(
            "some requests were cut off, since they did not end within {} s",
            limits.patience.as_secs()
        );
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Some((stream, place)),
            Err(error) => {
                // Out of file descriptors, or the peer is gone already: neither is mended by trying at once.
                tracing::warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
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

async fn connection(stream: TcpStream, app: Router, tasks: Tasks, head_within: Duration) {
    let peer: Option<SocketAddr> = stream.peer_addr().ok();
    if let Err(error) = tune(&stream) {
        tracing::debug!("the connection from {peer:?} could not be tuned: {error}");
    }
    let app = TowerToHyperService::new(app);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        app.call(request)
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_within)
        .max_headers(64)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(serving);
    let ended = tokio::select! {
        // The second arm only borrows the connection, which is then served to its end below.
        ended = serving.as_mut() => ended,
        () = tasks.shutdown().wait() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("the connection from {peer:?} ended early: {error}");
    }
}
