//! Who is at the other end of a client's connection.

use std::net::SocketAddr;

/// A client, as the replica and the log are told of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
}
