//! Accepting connections and serving them, within bounds.

use std::sync::Arc;
use std::time::Duration;

use pando_rt::tasks::Tasks;
use pando_trust::tls::CONNECTION_LIFE;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::Serving;
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
    /// After this, a connection is closed with its next answer.
    pub connection_life: Duration,
}

impl Default for Limits {
    /// 1,024 connections: each agent holds one or two, each watching person one. A head within 30 s. Patience for 5 s.
    /// The life of a connection is [`CONNECTION_LIFE`], so that a renewed certificate is seen in time.
    fn default() -> Self {
        let (head_within, patience) = (Duration::from_secs(30), Duration::from_secs(5));
        Self { connections: 1024, head_within, patience, connection_life: CONNECTION_LIFE }
    }
}

/// Serves the API without TLS, which is for this machine alone, until [`Shared::shutdown`] begins; then ends requests under way
/// and returns.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    serve_within(listener, shared, None, Limits::default()).await;
}

/// As [`serve`], by TLS; `config` is [`crate::trust::Trust::server_config`].
pub async fn serve_tls(listener: TcpListener, shared: Arc<Shared>, config: Arc<ServerConfig>) {
    serve_within(listener, shared, Some(config), Limits::default()).await;
}

/// As [`serve`] or [`serve_tls`], within other limits.
pub async fn serve_within(
    listener: TcpListener,
    shared: Arc<Shared>,
    tls: Option<Arc<ServerConfig>>,
    limits: Limits,
) {
    let tasks = Tasks::new(&shared.shutdown);
    let serving =
        Serving { app: router(&shared), tls, clock: shared.clock.clone(), tasks: tasks.clone(), limits };
    let places = Arc::new(Semaphore::new(limits.connections));
    loop {
        let accepted = tokio::select! {
            // An accepted connection is never lost: accepting is cancel-safe.
            accepted = accept(&listener, &places) => accepted,
            () = shared.shutdown.wait() => break,
        };
        let Some((stream, place)) = accepted else { break };
        let served = serving.clone().connection(stream);
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
