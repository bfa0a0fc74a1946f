//! How the connections to one endpoint begin: in the clear or by TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::net::TcpStream;

use super::secure::{Dial, Outbound};
use crate::wire::Wire;

/// Of one endpoint, as its pool has it.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    /// Tells one from every other; 0: nothing is asked for.
    pub(crate) serial: u64,
    pub(crate) http2: bool,
    pub(crate) tls: Option<Dial>,
}

/// What a pool asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) http2: bool,
    pub(crate) outbound: Option<&'a Arc<Outbound>>,
}

impl Reach {
    /// For an endpoint there.
    pub(crate) fn new(wanted: Wanted<'_>, address: SocketAddr) -> Self {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let Wanted { http2, outbound } = wanted;
        let is_plain = outbound.is_none();
        Self {
            serial: if is_plain { 0 } else { SERIAL.fetch_add(1, Relaxed) },
            http2,
            tls: outbound.map(|outbound| Dial::new(outbound, address)),
        }
    }

    /// Whether it is what is wanted.
    pub(crate) fn fits(&self, wanted: Wanted<'_>) -> bool {
        let same = match (&self.tls, wanted.outbound) {
            (Some(dial), Some(outbound)) => dial.is_by(outbound),
            (None, None) => true,
            _ => false,
        };
        same && self.http2 == wanted.http2
    }

    /// Opens a connection. Whoever calls bounds the time.
    ///
    /// # Errors
    /// Whatever connecting answers, or why there is no TLS (see [`NoTls`](super::NoTls)).
    pub(crate) async fn open(&self, address: SocketAddr) -> io::Result<Wire> {
        self.begin(TcpStream::connect(address).await?).await
    }

    /// Makes of a connection what the endpoint expects. Whoever calls bounds the time.
    ///
    /// # Errors
    /// Why there is no TLS.
    pub(crate) async fn begin(&self, tcp: TcpStream) -> io::Result<Wire> {
        let Some(dial) = &self.tls else { return Ok(Wire::opened(tcp)) };
        crate::wire::tune(&tcp);
        Ok(Wire::secured(dial.secure(tcp).await?))
    }
}
