//! The proxy's control side: tables in, statistics out.
//!
//! Over a Unix socket, since whoever may write a table decides where all traffic
//! goes. Metrics may be served over TCP too; nothing else may.

mod api;
mod socket;
mod takeover;

use std::convert::Infallible;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use pando_rt::shutdown::Shutdown;
use pando_rt::tasks::Tasks;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;

use crate::handover::{Giver, Successor};
use crate::plane::Plane;
use crate::tables::Tables;
pub(crate) use socket::{ControlSocket, Unplaced};

/// Connections at a time, on each of the two.
const CONNECTIONS: usize = 64;

/// For a request's head, and for the next request.
const HEAD_TIME: Duration = Duration::from_secs(30);

/// What the control side answers from.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) plane: Arc<Plane>,
    pub(crate) tables: Arc<Tables>,
    /// Set if tables come from a file.
    pub(crate) table_file: Option<PathBuf>,
    pub(crate) giver: Arc<Giver>,
    pub(crate) successor: Option<Successor>,
    /// A line to a successor belongs here.
    pub(crate) tasks: Tasks,
}

/// What may be asked over a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    Metrics,
    Everything,
    /// By the user that this proxy runs as, or root: private keys too.
    Owner,
}

/// Serves the control socket until `leaving` begins.
pub(crate) async fn serve_socket(
    listener: tokio::net::UnixListener,
    control: Arc<Control>,
    leaving: Shutdown,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(seat) = Arc::clone(&room).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = leaving.wait() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let scope = takeover::scope_of(&stream);
                let serving = serve(stream, Arc::clone(&control), scope);
                control.tasks.spawn_until_shutdown(async move {
                    serving.await;
                    drop(seat);
                });
            }
            Err(error) => pause(&error).await,
        }
    }
}

/// Serves `GET /metrics` over TCP until `leaving` begins.
pub(crate) async fn serve_metrics(
    listener: tokio::net::TcpListener,
    control: Arc<Control>,
    leaving: Shutdown,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(seat) = Arc::clone(&room).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = leaving.wait() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let serving = serve(stream, Arc::clone(&control), Scope::Metrics);
                control.tasks.spawn_until_shutdown(async move {
                    serving.await;
                    drop(seat);
                });
            }
            Err(error) => pause(&error).await,
        }
    }
}

async fn pause(error: &std::io::Error) {
    tracing::warn!(%error, "the control side cannot accept a connection for now");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    control: Arc<Control>,
    scope: Scope,
) {
    let service = service_fn(|request| {
        let control = Arc::clone(&control);
        async move { Ok::<_, Infallible>(api::answer(request, &control, scope).await.map(Full::new)) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(64 << 10);
    // A caller that breaks off harms nobody but itself.
    let _ = builder.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}

/// Binds the socket for the settings.
///
/// # Errors
/// The path can't be used.
pub(crate) fn bind(path: PathBuf) -> std::io::Result<(Unplaced, UnixListener)> {
    ControlSocket::bind(path)
}
