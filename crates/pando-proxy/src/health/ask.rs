//! One question to an endpoint on a connection of its own: how a probe asks over HTTP.

use std::io;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, USER_AGENT};
use http::{Request, StatusCode, request};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use crate::http2::broken;
use crate::wire::Wire;

/// Bytes of a body that are looked at.
const MOST_BODY: usize = 64 << 10;

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// Its beginning, if it was asked for.
    pub(crate) body: Vec<u8>,
}

/// What is asked: `GET path` of `host`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) path: &'a str,
    pub(crate) host: &'a str,
    /// The connection is.
    pub(crate) secure: bool,
    pub(crate) with_body: bool,
}

/// Asks over a new connection. Whoever calls bounds the time.
///
/// # Errors
/// The connection broke, or the answer isn't HTTP.
pub(crate) async fn over_http1(wire: Wire, question: Question<'_>) -> io::Result<Answer> {
    let request = common(Request::get(question.path))
        .header(HOST, question.host)
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(wire)).await.map_err(reason)?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(reason)?;
        let status = answer.status();
        let body = if question.with_body { read(answer.into_body()).await? } else { Vec::new() };
        Ok(Answer { status, body })
    };
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        biased;
        // Nothing more is asked for; dropping both sides closes the connection.
        answer = &mut answer => return answer,
        // The answer may have come with the end; if none came, waiting for it says why.
        ended = connection => ended.map_err(reason)?,
    }
    answer.await
}

/// As [`over_http1`], of an endpoint that speaks HTTP/2.
///
/// # Errors
/// As there.
pub(crate) async fn over_http2(wire: Wire, question: Question<'_>) -> io::Result<Answer> {
    let scheme = if question.secure { "https" } else { "http" };
    let uri = format!("{scheme}://{}{}", question.host, question.path);
    let request = common(Request::get(uri)).body(()).map_err(io::Error::other)?;
    let (sender, connection) = h2::client::handshake(wire).await.map_err(broken)?;
    let answer = async {
        let mut sender = sender.ready().await.map_err(broken)?;
        let (answer, _) = sender.send_request(request, true).map_err(broken)?;
        let (head, mut body) = answer.await.map_err(broken)?.into_parts();
        let mut bytes = Vec::new();
        while question.with_body
            && let Some(piece) = body.data().await
        {
            let piece = piece.map_err(broken)?;
            // Of what is read on no more than one window can be here.
            let _ = body.flow_control().release_capacity(piece.len());
            bytes.extend_from_slice(&piece);
            if bytes.len() >= MOST_BODY {
                break;
            }
        }
        bytes.truncate(MOST_BODY);
        Ok(Answer { status: head.status, body: bytes })
    };
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => return answer,
        ended = connection => ended.map_err(broken)?,
    }
    answer.await
}

fn common(request: request::Builder) -> request::Builder {
    request.header(USER_AGENT, "pando-proxy (probe)")
}

/// What lies under hyper's own words, if anything does.
fn reason(error: hyper::Error) -> io::Error {
    let why = std::error::Error::source(&error).map(ToString::to_string);
    io::Error::other(why.unwrap_or_else(|| error.to_string()))
}

async fn read(mut body: Incoming) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(reason)?;
        bytes.extend_from_slice(frame.data_ref().map(|data| &data[..]).unwrap_or_default());
        if bytes.len() >= MOST_BODY {
            bytes.truncate(MOST_BODY);
            break;
        }
    }
    Ok(bytes)
}
