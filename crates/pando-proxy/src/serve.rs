//! A client's connection from accept to close: whatever stands before HTTP, then HTTP in the version that the client speaks.

use std::net::SocketAddr;
use std::sync::Arc;

use pando_rt::shutdown::Shutdown;
use tokio::net::TcpStream;

use crate::client::Client;
use crate::http1;
use crate::plane::Plane;
use crate::wire::Wire;

/// What is true of every connection of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Entrance {
    /// Connections begin with a TLS handshake.
    pub(crate) tls: bool,
}

/// Serves a connection that was just accepted until it ends. When `stop` begins it ends gracefully.
pub(crate) async fn serve(
    tcp: TcpStream,
    address: SocketAddr,
    entrance: Entrance,
    plane: Arc<Plane>,
    stop: Shutdown,
) {
    let client = Client::new(address, entrance.tls);
    http1::serve(Wire::accepted(tcp), client, plane, stop).await;
}
