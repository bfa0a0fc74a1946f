//! GET on a path answers 200 to 399.

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, USER_AGENT};
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

/// More of a body is not waited for: the status has said it all, and an endless body must not hold a check.
const MAX_BODY: usize = 64 * 1024;

pub(super) async fn check(address: SocketAddr, path: &str) -> Result<(), String> {
    let request = request(address, path)?;
    let stream = super::tcp::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| broken(path))?;
    let exchange = async move {
        let response = sender.send_request(request).await.map_err(|error| in_words(&error, path))?;
        let status = response.status();
        read_some(response.into_body()).await;
        if (200..400).contains(&status.as_u16()) {
            Ok(())
        } else {
            Err(format!("{} from {path}", status.as_u16()))
        }
    };
    // The connection is driven here, beside the exchange, so that nothing outlives the check.
    tokio::pin!(exchange, connection);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        // Over before the answer was read: what has arrived of it is in the exchange.
        _ = &mut connection => exchange.await,
    }
}

fn request(address: SocketAddr, path: &str) -> Result<Request<Empty<Bytes>>, String> {
    Request::builder()
        .method(Method::GET)
        .uri(path)
        .header(HOST, address.to_string())
        .header(USER_AGENT, concat!("pando/", env!("CARGO_PKG_VERSION"), " (health check)"))
        .header(CONNECTION, "close")
        .body(Empty::new())
        .map_err(|error| format!("`{path}` can't be asked for: {error}"))
}

/// Lets the app finish its answer, so that its log does not speak of a client that went away.
async fn read_some(mut body: Incoming) {
    let mut seen = 0;
    while !body.is_end_stream() && seen < MAX_BODY {
        match body.frame().await {
            Some(Ok(frame)) => seen += frame.data_ref().map_or(0, Bytes::len),
            _ => return,
        }
    }
}

fn in_words(error: &hyper::Error, path: &str) -> String {
    if error.is_parse() { format!("no HTTP from {path}") } else { broken(path) }
}

fn broken(path: &str) -> String {
    format!("connection closed without an answer from {path}")
}
