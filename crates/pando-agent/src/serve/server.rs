//! Accepting connections and serving them, within bounds.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use pando_model::time::Timestamp;
use pando_rt::error_chain::error_chain;
use pando_rt::shutdown::Shutdown;
use pando_rt::slots::Slots;
use pando_rt::tasks::Tasks;
use pando_trust::{TrustError, peer_identity, tls};
use rustix::net::sockopt;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ServeState;
use super::door::Caller;
use super::gate::router;
use crate::session::Sessions;

/// Connections at once: one for each person who watches logs. Beyond that, callers wait in the kernel's queue.
const CONNECTIONS: usize = 256;

/// Commands at once, over all apps. Each may hold two pipes, a megabyte of buffers and whatever it runs.
pub(super) const COMMANDS: usize = 32;

/// Packed releases that are sent at once: this server has replicas to serve with the same line.
const HANDOUTS: usize = 4;

/// A server that takes nothing for so long holds up no other.
const HANDOUT_STALE: Duration = Duration::from_secs(5);

/// From a connection's start to the end of its handshake.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// From a connection's start, or the end of an answer, to the next request's whole head.
const HEAD_WITHIN: Duration = Duration::from_secs(30);

/// How long streams and commands may take to end when the agent ends.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the handlers share.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) state: Arc<ServeState>,
    pub(super) sessions: Sessions,
    pub(super) commands: Arc<Semaphore>,
    /// Packed releases on their way to other servers.
    pub(super) handouts: Arc<Slots<()>>,
    /// Ends with the API; commands are tasks of it.
    pub(super) tasks: Tasks,
}

pub(super) async fn serve(
    listener: TcpListener,
    state: Arc<ServeState>,
    shutdown: Shutdown,
) -> Result<(), TrustError> {
    let tls = state.admission.tls()?;
    let tasks = Tasks::new(&shutdown);
    let sessions = Sessions { leader: state.leader.clone(), default_env: state.default_env.clone() };
    let commands = Arc::new(Semaphore::new(COMMANDS));
    let handouts = Slots::new(HANDOUTS, HANDOUT_STALE);
    let app = router(&Arc::new(Served { state, sessions, commands, handouts, tasks: tasks.clone() }));
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            // An accepted connection is never lost: accepting is cancel-safe.
            accepted = accept(&listener, &places) => accepted,
            () = shutdown.wait() => break,
        };
        let Some((stream, place)) = accepted else { break };
        let served = connection(stream, tls.clone(), app.clone(), tasks.clone());
        tasks.spawn(async move {
            served.await;
            drop(place);
        });
    }
    if !tasks.finish(PATIENCE).await {
        tracing::info!("some requests were cut off, since they did not end within {} s", PATIENCE.as_secs());
    }
    Ok(())
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

async fn connection(stream: TcpStream, tls: Option<Arc<ServerConfig>>, app: Router, tasks: Tasks) {
    let address: Option<SocketAddr> = stream.peer_addr().ok();
    if let Err(error) = prepare(&stream) {
        tracing::debug!("the connection from {address:?} could not be set up: {error}");
    }
    let ended = match tls {
        None => exchange(stream, app, &tasks).await.map_err(|error| error.to_string()),
        Some(config) => certified(stream, &config, app, &tasks).await,
    };
    if let Err(error) = ended {
        tracing::debug!("the connection from {address:?} ended early: {error}");
    }
}

/// Shakes hands first; each request then knows whose it is. The end waits for no handshake.
async fn certified(
    stream: TcpStream,
    config: &Arc<ServerConfig>,
    app: Router,
    tasks: &Tasks,
) -> Result<(), String> {
    let shaken = tokio::select! {
        // Either way the connection is dropped when it isn't used.
        shaken = tls::accept(stream, config, HANDSHAKE_WITHIN) => shaken,
        () = tasks.shutdown().wait() => return Ok(()),
    };
    let stream = shaken.map_err(|error| error_chain(&error))?;
    // Only whether it has expired depends on the time, and that doesn't matter here.
    let chain = stream.get_ref().1.peer_certificates();
    let peer = peer_identity(chain, Timestamp::from_millis(0)).map_err(|error| error_chain(&error))?;
    let caller = peer.map_or(Caller::Unknown, Caller::of);
    exchange(stream, app.layer(Extension(caller)), tasks).await.map_err(|error| error.to_string())
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    app: Router,
    tasks: &Tasks,
) -> hyper::Result<()> {
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_headers(64)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app))
        .with_upgrades();
    tokio::pin!(serving);
    tokio::select! {
        // The second arm only borrows the connection, which is then served to its end below.
        ended = serving.as_mut() => ended,
        () = tasks.shutdown().wait() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    }
}

/// A caller that vanished without a word is noticed within half a minute, however quiet the stream: a command must not
/// outlive it by hours.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(15))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(5))?;
    Ok(sockopt::set_tcp_keepcnt(stream, 3)?)
}
