//! One look at an endpoint.

use std::net::SocketAddr;
use std::time::Duration;

use pando_routing::{Probe, ProbeKind};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::verdict::Seen;

/// What is seen of the endpoint. A probe without a kind looks whether somebody listens.
pub(super) async fn at(address: SocketAddr, probe: &Probe) -> Seen {
    let deadline = Instant::now() + Duration::from_millis(probe.timeout_millis);
    let tcp = match timeout_at(deadline, TcpStream::connect(address)).await {
        Ok(Ok(tcp)) => tcp,
        Ok(Err(_)) => return Seen::Failure,
        // Not even its machine said that nobody listens.
        Err(_) => return Seen::Silence,
    };
    let ProbeKind::Http { path, host } = &probe.kind else { return Seen::Pass };
    let host = host.clone().unwrap_or_else(|| address.to_string());
    match timeout_at(deadline, super::ask::ask(tcp, path, &host)).await {
        Ok(Ok(status)) if (200..400).contains(&status.as_u16()) => Seen::Pass,
        _ => Seen::Failure,
    }
}
