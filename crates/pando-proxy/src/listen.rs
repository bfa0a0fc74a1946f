//! Listeners: bound, handed over, accepted from.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use pando_rt::tasks::Tasks;
use tokio::sync::Semaphore;

use crate::engine::{Client, serve};
use crate::error::ProxyError;
use crate::plane::Plane;

/// Connections that the kernel holds while we are busy; it bounds this by its own `somaxconn`.
const BACKLOG: i32 = 4096;

/// How often it is said that connections cannot be accepted.
const WARN_AGAIN: Duration = Duration::from_secs(10);

/// Files for the control side, probes and logs.
const SPARE_FILES: usize = 128;

/// After an accept that failed for want of something (files, memory).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Makes listeners for [`crate::Settings`].
#[derive(Debug)]
pub struct Listeners;

impl Listeners {
    /// Binds and listens on every address. Port 0 takes any that is free.
    ///
    /// # Errors
    /// The first address that can't be had.
    pub fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, ProxyError> {
        addresses.iter().map(|address| bind(*address)).collect()
    }

    /// Takes over sockets that listen already, such as those that another process passed on.
    ///
    /// # Errors
    /// The first that isn't a listening TCP socket.
    pub fn from_fds(fds: Vec<OwnedFd>) -> Result<Vec<TcpListener>, ProxyError> {
        fds.into_iter().map(|fd| adopt(fd).map_err(|source| ProxyError::Listener { source })).collect()
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, ProxyError> {
    TcpListener::bind(address).map_err(|source| ProxyError::Bind { address: address.to_string(), source })
}

fn adopt(fd: OwnedFd) -> io::Result<TcpListener> {
    if !rustix::net::sockopt::socket_acceptconn(fd.as_fd())? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the socket doesn't listen"));
    }
    let listener = TcpListener::from(fd);
    listener.local_addr()?;
    Ok(listener)
}

/// Makes a listener one of the runtime's.
///
/// # Errors
/// When it isn't a socket that can be waited for.
pub(crate) fn into_async(listener: TcpListener) -> io::Result<tokio::net::TcpListener> {
    listener.set_nonblocking(true)?;
    // Bound elsewhere with a short queue, maybe; listening again only changes its length.
    rustix::net::listen(listener.as_fd(), BACKLOG)?;
    tokio::net::TcpListener::from_std(listener)
}

/// How many client connections there may be: `wanted`, or what the system's limit on open files allows. The limit is raised as
/// far as it can be; a connection may need two files, one for each side, and the rest of the program needs some too.
pub(crate) fn room(wanted: usize) -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    if setrlimit(Resource::Nofile, raised).is_ok() {
        limit = raised;
    }
    let files = limit.current.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
    let room = (files.saturating_sub(SPARE_FILES) / 2).max(1);
    if room < wanted {
        tracing::warn!(
            files,
            connections = room,
            "the limit on open files allows fewer connections than wanted"
        );
    }
    room.min(wanted)
}

/// Accepts until the tasks' shutdown begins, then lets go of the listener: its queue stays for whoever else holds it.
pub(crate) async fn accept(
    listener: tokio::net::TcpListener,
    plane: Arc<Plane>,
    tasks: Tasks,
    room: Arc<Semaphore>,
    cut: pando_rt::shutdown::Shutdown,
) {
    let mut warned: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            biased;
            () = tasks.shutdown().wait() => return,
            accepted = next(&listener, &room) => accepted,
        };
        match accepted {
            Ok((tcp, address, seat)) => {
                let client = Client { address };
                let serving =
                    connection(tcp, client, Arc::clone(&plane), tasks.shutdown().child(), cut.child());
                tasks.spawn(async move {
                    serving.await;
                    drop(seat);
                });
            }
            Err(error) if is_of_one(&error) => {}
            Err(error) => {
                if warned.is_none_or(|at| at.elapsed() > WARN_AGAIN) {
                    warned = Some(Instant::now());
                    tracing::warn!(%error, "cannot accept connections for now");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

type Accepted = (tokio::net::TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

/// The next connection, once there is room for it. Cancel-safe: a connection that was accepted is returned at once.
async fn next(listener: &tokio::net::TcpListener, room: &Arc<Semaphore>) -> io::Result<Accepted> {
    let seat = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    let (tcp, address) = listener.accept().await?;
    Ok((tcp, address, seat))
}

/// Whether only the connection that was to be accepted is lost.
fn is_of_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

async fn connection(
    tcp: tokio::net::TcpStream,
    client: Client,
    plane: Arc<Plane>,
    stop: pando_rt::shutdown::Shutdown,
    cut: pando_rt::shutdown::Shutdown,
) {
    plane.gauges.accepted_connections.fetch_add(1, Relaxed);
    plane.gauges.open_connections.fetch_add(1, Relaxed);
    tokio::select! {
        () = serve(tcp, client, Arc::clone(&plane), stop) => {}
        // Dropping the connection closes it, and gives up what is under way.
        () = cut.wait() => {}
    }
    plane.gauges.open_connections.fetch_sub(1, Relaxed);
}
