//! A client's connection from accept to close: whatever stands before HTTP, then HTTP in the version that the client speaks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use pando_rt::error_chain::error_chain;
use pando_rt::shutdown::Shutdown;
use tokio::net::TcpStream;

use crate::client::Client;
use crate::inbox::Inbox;
use crate::plane::Plane;
use crate::proxy_protocol;
use crate::time::ticks;
use crate::tls::{self, Tls};
use crate::wire::Wire;
use crate::worker::Presence;
use crate::{http1, http2};

/// What is true of every connection of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Entrance {
    /// Connections begin with a TLS handshake.
    pub(crate) tls: bool,
}

/// Serves a connection that was just accepted until it ends. When `stop` begins it ends gracefully.
pub(crate) async fn serve(
    mut tcp: TcpStream,
    mut address: SocketAddr,
    entrance: Entrance,
    plane: Arc<Plane>,
    presence: Presence,
    stop: Shutdown,
) {
    presence.has_begun(ticks());
    if plane.is_proxied(address.ip()) {
        match Box::pin(announce(&mut tcp, address, &plane)).await {
            Some(source) => address = source,
            None => return,
        }
    }
    let here = plane.announces.load(Relaxed).then(|| tcp.local_addr().ok()).flatten();
    let (wire, mut client, http2) = match &plane.tls {
        // Boxed, for what a handshake needs is much, and not needed any more after it.
        Some(tls) if entrance.tls => match Box::pin(greet(tcp, address, tls, &plane)).await {
            Some(greeted) => greeted,
            None => return,
        },
        // Who knows that HTTP/2 is spoken here begins with its preface, which the reader of HTTP/1 meets.
        _ => (Wire::accepted(tcp), Client::new(address, false), false),
    };
    client.here = here;
    if http2 {
        // Boxed, so that connections of HTTP/1 have no room for it.
        Box::pin(http2::serve(wire, Inbox::default(), client, plane, presence, stop)).await;
    } else {
        http1::serve(wire, client, plane, presence, stop).await;
    }
}

/// On whose behalf a proxy in front of us connects; itself, if it does not say. `None`: there is no connection.
async fn announce(tcp: &mut TcpStream, address: SocketAddr, plane: &Plane) -> Option<SocketAddr> {
    let reading = tokio::time::timeout(plane.limits.handshake_time, proxy_protocol::read(tcp));
    let error = match reading.await {
        Ok(Ok(source)) => return Some(source.unwrap_or(address)),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it did not come in time".to_owned(),
    };
    plane.gauges.refused_proxies.fetch_add(1, Relaxed);
    tracing::debug!(proxy = %address, error, "no PROXY header");
    None
}

/// The TLS handshake. `None`: there is no connection.
async fn greet(
    tcp: TcpStream,
    address: SocketAddr,
    tls: &Tls,
    plane: &Plane,
) -> Option<(Wire, Client, bool)> {
    match tls::accept(tcp, tls, plane.limits.handshake_time).await {
        Ok(greeted) => {
            plane.gauges.handshakes[usize::from(greeted.newest)].fetch_add(1, Relaxed);
            plane.gauges.resumed_handshakes.fetch_add(u64::from(greeted.resumed), Relaxed);
            let session = Some(Arc::new(greeted.session));
            let client = Client { session, ..Client::new(address, true) };
            Some((Wire::secured(greeted.wire), client, greeted.http2))
        }
        Err(error) => {
            plane.gauges.failed_handshakes[error.reason()].fetch_add(1, Relaxed);
            let error = error_chain(&error);
            tracing::debug!(client = %address, error, "no TLS handshake");
            None
        }
    }
}
