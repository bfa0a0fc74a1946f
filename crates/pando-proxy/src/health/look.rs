//! One look at an endpoint.

use std::net::SocketAddr;
use std::time::Duration;

use pando_routing::{Probe, ProbeKind};
use tokio::net::TcpStream;

use crate::engine;

/// Whether the endpoint passes. A probe without a kind looks whether somebody listens.
pub(super) async fn at(address: SocketAddr, probe: &Probe) -> bool {
    let patience = Duration::from_millis(probe.timeout_millis);
    let look = async {
        match &probe.kind {
            ProbeKind::Tcp | ProbeKind::None => TcpStream::connect(address).await.is_ok(),
            ProbeKind::Http { path, host } => {
                let host = host.clone().unwrap_or_else(|| address.to_string());
                let status = engine::ask(address, path, &host).await;
                status.is_ok_and(|status| (200..400).contains(&status.as_u16()))
            }
        }
    };
    tokio::time::timeout(patience, look).await.unwrap_or(false)
}
