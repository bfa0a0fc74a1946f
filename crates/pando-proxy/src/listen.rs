//! Listeners: bound, handed over, accepted from.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use pando_rt::tasks::Tasks;
use tokio::sync::Semaphore;

use crate::engine::{Client, serve};
use crate::error::ProxyError;
use crate::plane::Plane;

/// Connections that the kernel holds while we are busy; it bounds this by its own `somaxconn`.
const BACKLOG: i32 = 4096;

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

    /// Takes over the listening TCP socket that is this process's standard input.
    ///
    /// # Errors
    /// When it isn't one.
    pub fn from_stdin() -> Result<TcpListener, ProxyError> {
        let stdin = std::io::stdin().as_fd().try_clone_to_owned();
        stdin.and_then(adopt).map_err(|source| ProxyError::Listener { source })
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, ProxyError> {
    let listener = TcpListener::bind(address).and_then(|listener| {
        // Bound with the standard library's short queue; listening again makes it longer.
        rustix::net::listen(listener.as_fd(), BACKLOG)?;
        Ok(listener)
    });
    listener.map_err(|source| ProxyError::Bind { address: address.to_string(), source })
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
    tokio::net::TcpListener::from_std(listener)
}

/// Accepts until the tasks' shutdown begins, then lets go of the listener: its queue stays for whoever else holds it.
pub(crate) async fn accept(
    listener: tokio::net::TcpListener,
    plane: Arc<Plane>,
    tasks: Tasks,
    room: Arc<Semaphore>,
    cut: pando_rt::shutdown::Shutdown,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = tasks.shutdown().wait() => return,
            accepted = next(&listener, &room) => accepted,
        };
        let Some((tcp, address, seat)) = accepted else { continue };
        plane.gauges.accepted_connections.fetch_add(1, Relaxed);
        let (plane, stop, cut) = (Arc::clone(&plane), tasks.shutdown().child(), cut.child());
        tasks.spawn(async move {
            plane.gauges.open_connections.fetch_add(1, Relaxed);
            tokio::select! {
                () = serve(tcp, Client { address }, Arc::clone(&plane), stop) => {}
                // Dropping the connection closes it, and gives up what is under way.
                () = cut.wait() => {}
            }
            plane.gauges.open_connections.fetch_sub(1, Relaxed);
            drop(seat);
        });
    }
}

type Accepted = (tokio::net::TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

/// The next connection, once there is room for it. Cancel-safe: a connection that was accepted is returned at once.
async fn next(listener: &tokio::net::TcpListener, room: &Arc<Semaphore>) -> Option<Accepted> {
    let seat = Arc::clone(room).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((tcp, address)) => Some((tcp, address, seat)),
        Err(error) => {
            let of_one = matches!(
                error.kind(),
                io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::Interrupted
            );
            if !of_one {
                tracing::warn!(%error, "cannot accept connections for now");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            None
        }
    }
}
