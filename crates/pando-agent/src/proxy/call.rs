//! The proxy's control API, over its Unix socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use pando_routing::{ProxyStats, Table};
use serde::Deserialize;
use tokio::net::UnixStream;

use super::view::Pushed;

/// A proxy answers in milliseconds; after this it hangs.
const DEADLINE: Duration = Duration::from_secs(10);

/// A table of a hundred thousand endpoints and its statistics stay below.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("can't reach the proxy at `{}`", path.display())]
    Connect { path: PathBuf, source: std::io::Error },
    #[error("the proxy broke off")]
    Http(#[from] hyper::Error),
    #[error("the proxy did not answer within {0:?}")]
    Late(Duration),
    #[error("the proxy answered {status}: {text}")]
    Status { status: StatusCode, text: String },
    #[error("the proxy answered what is not understood")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What the proxy says when it refuses.
#[derive(Debug, Deserialize)]
struct Problem {
    error: String,
    #[serde(default)]
    reasons: Vec<String>,
}

/// Sends a table; answers when the proxy uses it, or refuses to.
pub(super) async fn push(socket: &Path, table: &Table) -> Pushed {
    let body = match serde_json::to_vec(table) {
        Ok(body) => Bytes::from(body),
        Err(error) => return Pushed::Refused(vec![error.to_string()]),
    };
    match call(socket, Method::PUT, "/v1/table", body, DEADLINE).await {
        Ok((StatusCode::OK, answer)) => match serde_json::from_slice(&answer) {
            Ok(acknowledged) => Pushed::Taken(acknowledged),
            Err(error) => Pushed::NotNow(vec![format!("it answered what is not understood: {error}")]),
        },
        Ok((StatusCode::BAD_REQUEST | StatusCode::CONFLICT | StatusCode::PAYLOAD_TOO_LARGE, answer)) => {
            Pushed::Refused(reasons(&answer))
        }
        Ok((_, answer)) => Pushed::NotNow(reasons(&answer)),
        Err(error) => {
            tracing::debug!("{}", pando_rt::error_chain::error_chain(&error));
            Pushed::Away
        }
    }
}

fn reasons(answer: &[u8]) -> Vec<String> {
    match serde_json::from_slice::<Problem>(answer) {
        Ok(problem) if problem.reasons.is_empty() => vec![problem.error],
        Ok(problem) => problem.reasons,
        Err(_) => vec![String::from_utf8_lossy(answer).trim().to_owned()],
    }
}

/// Waits until the sequence is beyond `after`, at most `wait`.
pub(super) async fn poll(socket: &Path, after: u64, wait: Duration) -> Result<ProxyStats, CallError> {
    let path = format!("/v1/stats?after={after}&wait_millis={}", wait.as_millis());
    match call(socket, Method::GET, &path, Bytes::new(), DEADLINE + wait).await? {
        (StatusCode::OK, answer) => {
            serde_json::from_slice(&answer).map_err(|error| CallError::Answer(error.into()))
        }
        (status, answer) => {
            let text = String::from_utf8_lossy(&answer).trim().to_owned();
            Err(CallError::Status { status, text })
        }
    }
}

/// One request on a connection of its own: over a Unix socket that costs microseconds and needs no care.
async fn call(
    socket: &Path,
    method: Method,
    path: &str,
    body: Bytes,
    deadline: Duration,
) -> Result<(StatusCode, Bytes), CallError> {
    let request = Request::builder().method(method).uri(path).header(HOST, "proxy");
    let request = request.header(CONTENT_TYPE, "application/json").body(Full::new(body));
    let request = request.map_err(|error| CallError::Answer(error.into()))?;
    let exchange = async {
        let failed = |source| CallError::Connect { path: socket.to_owned(), source };
        let stream = UnixStream::connect(socket).await.map_err(failed)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let answer = async move {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            Ok((status, body.map_err(CallError::Answer)?.to_bytes()))
        };
        tokio::pin!(answer, connection);
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            // The proxy closed its end: what has arrived is still read.
            _ = &mut connection => answer.await,
        }
    };
    tokio::time::timeout(deadline, exchange).await.unwrap_or(Err(CallError::Late(deadline)))
}
