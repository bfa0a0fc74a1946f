//! One question to an endpoint on a connection of its own: how a probe asks over HTTP.

use std::io;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Bytes of a body that are looked at.
const MOST_BODY: usize = 64 << 10;

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// Its beginning, if it was asked for.
    pub(crate) body: Vec<u8>,
}

/// `GET path` with `host` over a new connection; the answer, `with_body` or without. Whoever calls bounds the time.
///
/// # Errors
/// The connection broke, or the answer isn't HTTP.
pub(crate) async fn ask(tcp: TcpStream, path: &str, host: &str, with_body: bool) -> io::Result<Answer> {
    let request = Request::get(path)
        .header(HOST, host)
        .header(USER_AGENT, "pando-proxy (probe)")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(tcp)).await.map_err(io::Error::other)?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(io::Error::other)?;
        let status = answer.status();
        let body = if with_body { read(answer.into_body()).await? } else { Vec::new() };
        Ok(Answer { status, body })
    };
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        biased;
        // Nothing more is asked for; dropping both sides closes the connection.
        answer = &mut answer => return answer,
        // The answer may have come with the end; if none came, waiting for it says why.
        _ = connection => {}
    }
    answer.await
}

async fn read(mut body: Incoming) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(io::Error::other)?;
        bytes.extend_from_slice(frame.data_ref().map(|data| &data[..]).unwrap_or_default());
        if bytes.len() >= MOST_BODY {
            bytes.truncate(MOST_BODY);
            break;
        }
    }
    Ok(bytes)
}
