//! Who is at the other end of a client's connection.

use std::net::SocketAddr;

/// A client, as the replica and the log are told of it.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    /// Nobody on the way between the client and us can read along: what replicas see as `https`.
    pub(crate) secure: bool,
}
