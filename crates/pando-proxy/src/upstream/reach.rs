//! How the connections to one endpoint begin: on whose behalf, and in the clear or by TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use pando_routing::ProxyProtocol;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use super::announce::{Ends, header};
use super::secure::{Dial, Outbound};
use crate::files;
use crate::wire::Wire;

/// Of one endpoint, as its pool has it.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    /// Tells one from every other; 0: nothing is asked for.
    pub(crate) serial: u64,
    pub(crate) http2: bool,
    pub(crate) tls: Option<Dial>,
    proxy_protocol: Option<ProxyProtocol>,
}

/// What a pool asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) http2: bool,
    pub(crate) outbound: Option<&'a Arc<Outbound>>,
    pub(crate) proxy_protocol: Option<ProxyProtocol>,
}

impl Reach {
    /// For an endpoint there.
    pub(crate) fn new(wanted: Wanted<'_>, address: SocketAddr) -> Self {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let Wanted { http2, outbound, proxy_protocol } = wanted;
        let is_plain = outbound.is_none() && proxy_protocol.is_none();
        Self {
            serial: if is_plain { 0 } else { SERIAL.fetch_add(1, Relaxed) },
            http2,
            tls: outbound.map(|outbound| Dial::new(outbound, address)),
            proxy_protocol,
        }
    }

    /// Whether it is what is wanted.
    pub(crate) fn fits(&self, wanted: Wanted<'_>) -> bool {
        let same = match (&self.tls, wanted.outbound) {
            (Some(dial), Some(outbound)) => dial.is_by(outbound),
            (None, None) => true,
            _ => false,
        };
        same && self.http2 == wanted.http2 && self.proxy_protocol == wanted.proxy_protocol
    }

    /// Opens a connection, on behalf of a client's or for ourselves. Whoever calls bounds the time.
    ///
    /// # Errors
    /// Whatever connecting answers, or why there is no TLS (see [`NoTls`](super::NoTls)).
    pub(crate) async fn open(&self, address: SocketAddr, behalf: Option<Ends>) -> io::Result<Wire> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // Before it waits for an answer that may never come.
        files::lend(&socket)?;
        self.begin(socket.connect(address).await?, behalf).await
    }

    /// Makes of a connection what the endpoint expects. Whoever calls bounds the time.
    ///
    /// # Errors
    /// Why there is no TLS, or the connection broke.
    pub(crate) async fn begin(&self, mut tcp: TcpStream, behalf: Option<Ends>) -> io::Result<Wire> {
        if let Some(version) = self.proxy_protocol {
            tcp.write_all(&header(version, behalf)).await?;
        }
        let Some(dial) = &self.tls else { return Ok(Wire::opened(tcp)) };
        crate::wire::tune(&tcp);
        Ok(Wire::secured(dial.secure(tcp).await?))
    }
}
