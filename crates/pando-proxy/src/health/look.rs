//! One look at an endpoint.

use std::net::SocketAddr;
use std::time::Duration;

use pando_routing::{Expect, Probe, ProbeKind};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::ask::Answer;
use super::verdict::Seen;

/// What is seen of the endpoint. A probe without a kind looks whether somebody listens.
pub(super) async fn at(address: SocketAddr, probe: &Probe) -> Seen {
    let deadline = Instant::now() + Duration::from_millis(probe.timeout_millis);
    let tcp = match timeout_at(deadline, TcpStream::connect(address)).await {
        Ok(Ok(tcp)) => tcp,
        Ok(Err(_)) => return Seen::Refusal,
        // Not even its machine said that nobody listens.
        Err(_) => return Seen::Silence,
    };
    let ProbeKind::Http { path, host } = &probe.kind else { return Seen::Pass };
    let host = host.clone().unwrap_or_else(|| address.to_string());
    let expect = probe.expect.as_ref();
    let ask = super::ask::ask(tcp, path, &host, expect.is_some_and(|expect| expect.body.is_some()));
    match timeout_at(deadline, ask).await {
        Ok(Ok(answer)) if is_expected(&answer, expect) => Seen::Pass,
        Ok(_) => Seen::Failure,
        Err(_) => Seen::Hanging,
    }
}

fn is_expected(answer: &Answer, expect: Option<&Expect>) -> bool {
    let any = Expect::default();
    let expect = expect.unwrap_or(&any);
    let has_text = |text: &String| answer.body.windows(text.len().max(1)).any(|part| part == text.as_bytes());
    let has_body = expect.body.as_ref().is_none_or(|text| text.is_empty() || has_text(text));
    expect.has_status(answer.status.as_u16()) && has_body
}
