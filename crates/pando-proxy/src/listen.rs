//! Listeners: bound, handed over, made ready.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};

use socket2::SockRef;

use crate::error::ProxyError;
use crate::unsent;

/// Connections that the kernel holds while we are busy; it bounds this by its own `somaxconn`.
const BACKLOG: i32 = 4096;

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

/// Makes a listener one of the runtime's. What is written to its connections is sent at once: small writes are whole messages here,
/// and waiting for more only adds to the latency.
///
/// # Errors
/// When it isn't a socket that can be waited for.
pub(crate) fn into_async(listener: TcpListener) -> io::Result<tokio::net::TcpListener> {
    listener.set_nonblocking(true)?;
    // Bound elsewhere with a short queue, maybe; listening again only changes its length.
    rustix::net::listen(listener.as_fd(), BACKLOG)?;
    // Connections inherit it. A kernel that can't is no reason not to serve.
    let _ = SockRef::from(&listener).set_tcp_nodelay(true);
    let listener = tokio::net::TcpListener::from_std(listener)?;
    unsent::bound_at(&listener);
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_have_the_settings_of_their_listener() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let listener = into_async(listener).unwrap();
        let _client = tokio::net::TcpStream::connect(address).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        assert!(accepted.nodelay().unwrap());
    }
}
