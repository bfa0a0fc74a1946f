//! One question to an endpoint on a connection of its own: how a probe asks over HTTP.

use std::io;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// `GET path` with `host` over a new connection; the status of the answer. Whoever calls bounds the time.
///
/// # Errors
/// The connection broke, or the answer isn't HTTP.
pub(crate) async fn ask(tcp: TcpStream, path: &str, host: &str) -> io::Result<StatusCode> {
    let request = Request::get(path)
        .header(HOST, host)
        .header(USER_AGENT, "pando-proxy (probe)")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(tcp)).await.map_err(io::Error::other)?;
    let mut answer = std::pin::pin!(sender.send_request(request));
    tokio::select! {
        biased;
        // The head is all that is asked for; dropping both sides closes the connection.
        answer = &mut answer => return answer.map(|answer| answer.status()).map_err(io::Error::other),
        // The answer may have come with the end; if none came, waiting for it says why.
        _ = connection => {}
    }
    answer.await.map(|answer| answer.status()).map_err(io::Error::other)
}
