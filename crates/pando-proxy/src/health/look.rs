//! One look at an endpoint.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use pando_routing::{Expect, Probe, ProbeKind};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::ask::{self, Answer};
use super::grpc;
use super::verdict::Seen;
use crate::files;
use crate::upstream::Reach;

/// What was seen, and why that is bad, if it is.
#[derive(Debug)]
pub(super) struct Sight {
    pub(super) seen: Seen,
    pub(super) why: Option<String>,
}

impl Sight {
    fn bad(seen: Seen, why: impl Into<String>) -> Self {
        Self { seen, why: Some(why.into()) }
    }

    pub(super) fn good(seen: Seen) -> Self {
        Self { seen, why: None }
    }
}

/// What is seen of the endpoint; `None`: this machine could not look. A probe without a kind looks whether somebody listens.
pub(super) async fn at(address: SocketAddr, reach: &Reach, probe: &Probe) -> Option<Sight> {
    let deadline = Instant::now() + Duration::from_millis(probe.timeout_millis);
    let tcp = match timeout_at(deadline, TcpStream::connect(address)).await {
        Ok(Ok(tcp)) => tcp,
        // It says nothing of the endpoint.
        Ok(Err(error)) if files::is_own_lack(&error) => {
            tracing::debug!(%address, %error, "no probe could be made");
            return None;
        }
        Ok(Err(error)) => return Some(Sight::bad(Seen::Refusal, format!("cannot connect: {error}"))),
        // Not even its machine said that nobody listens.
        Err(_) => {
            let why = format!("no connection within {} ms", probe.timeout_millis);
            return Some(Sight::bad(Seen::Silence, why));
        }
    };
    if matches!(probe.kind, ProbeKind::Tcp | ProbeKind::None) {
        return Some(Sight::good(Seen::Pass));
    }
    Some(match timeout_at(deadline, ask_over(tcp, address, reach, probe)).await {
        Ok(Ok(None)) => Sight::good(Seen::Pass),
        Ok(Ok(Some(why))) => Sight::bad(Seen::Failure, why),
        Ok(Err(error)) => Sight::bad(Seen::Failure, error.to_string()),
        Err(_) => Sight::bad(Seen::Hanging, format!("no answer within {} ms", probe.timeout_millis)),
    })
}

/// What is wrong with the answer, if anything is.
async fn ask_over(
    tcp: TcpStream,
    address: SocketAddr,
    reach: &Reach,
    probe: &Probe,
) -> io::Result<Option<String>> {
    let wire = reach.begin(tcp, None).await?;
    let (address, secure) = (address.to_string(), reach.tls.is_some());
    let expect = probe.expect.as_ref();
    let (path, host) = match &probe.kind {
        ProbeKind::Http { path, host } => (path, host.as_deref().unwrap_or(&address)),
        ProbeKind::Grpc { service } => return grpc::ask(wire, &address, secure, service).await,
        ProbeKind::Tcp | ProbeKind::None => return Ok(None),
    };
    let with_body = expect.is_some_and(|expect| expect.body.is_some());
    let question = ask::Question { path, host, secure, with_body };
    let answer = match reach.http2 {
        false => ask::over_http1(wire, question).await?,
        true => ask::over_http2(wire, question).await?,
    };
    Ok(wrong(&answer, expect))
}

fn wrong(answer: &Answer, expect: Option<&Expect>) -> Option<String> {
    let any = Expect::default();
    let expect = expect.unwrap_or(&any);
    let status = answer.status.as_u16();
    if !expect.has_status(status) {
        return Some(format!("its answer has the status {status}"));
    }
    let text = expect.body.as_ref().filter(|text| !text.is_empty())?;
    let found = answer.body.windows(text.len()).any(|part| part == text.as_bytes());
    (!found).then(|| "its answer lacks the text that is expected".to_owned())
}
