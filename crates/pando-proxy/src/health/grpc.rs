//! How an endpoint is by its own word, in the gRPC health checking protocol (`grpc.health.v1`).
//!
//! <https://github.com/grpc/grpc/blob/master/doc/health-checking.md>

use std::io;

use bytes::{BufMut, Bytes};
use http::header::{CONTENT_TYPE, TE, USER_AGENT};
use http::{HeaderMap, Request, StatusCode};
use prost::Message;

use crate::http2::broken;
use crate::wire::Wire;

/// `Health.Check`.
const METHOD: &str = "/grpc.health.v1.Health/Check";

/// A message follows a byte that says whether it is compressed, and four for its length.
const PREFIX: usize = 5;

/// Bytes of an answer that are looked at: it has two.
const MOST: usize = 4 << 10;

#[derive(Clone, PartialEq, Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, Message)]
struct HealthCheckResponse {
    #[prost(enumeration = "ServingStatus", tag = "1")]
    status: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
enum ServingStatus {
    Unknown = 0,
    Serving = 1,
    NotServing = 2,
    ServiceUnknown = 3,
}

/// Asks over a new connection how `service` is; the empty one stands for the whole server. What is wrong, if anything is. Whoever
/// calls bounds the time.
///
/// # Errors
/// The connection broke, or HTTP/2 is not what the endpoint speaks.
pub(crate) async fn ask(wire: Wire, host: &str, secure: bool, service: &str) -> io::Result<Option<String>> {
    let scheme = if secure { "https" } else { "http" };
    let request = Request::post(format!("{scheme}://{host}{METHOD}"))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header(USER_AGENT, "pando-proxy (probe)")
        .body(())
        .map_err(io::Error::other)?;
    let (sender, connection) = h2::client::handshake(wire).await.map_err(broken)?;
    let answer = async {
        let mut sender = sender.ready().await.map_err(broken)?;
        let (answer, mut send) = sender.send_request(request, false).map_err(broken)?;
        send.send_data(framed(service), true).map_err(broken)?;
        let (head, mut body) = answer.await.map_err(broken)?.into_parts();
        let mut bytes = Vec::new();
        while let Some(piece) = body.data().await {
            let piece = piece.map_err(broken)?;
            // Of what is read on no more than one window can be here.
            let _ = body.flow_control().release_capacity(piece.len());
            bytes.extend_from_slice(&piece[..piece.len().min(MOST.saturating_sub(bytes.len()))]);
        }
        // An answer without a message says how it went in its head.
        let trailers = body.trailers().await.map_err(broken)?.unwrap_or(head.headers);
        Ok(wrong(head.status, &trailers, &bytes))
    };
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => return answer,
        ended = connection => ended.map_err(broken)?,
    }
    answer.await
}

fn framed(service: &str) -> Bytes {
    let message = HealthCheckRequest { service: service.to_owned() }.encode_to_vec();
    let mut framed = Vec::with_capacity(PREFIX + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or_default());
    framed.extend_from_slice(&message);
    framed.into()
}

/// What an answer says against the endpoint.
fn wrong(status: StatusCode, trailers: &HeaderMap, body: &[u8]) -> Option<String> {
    if status != StatusCode::OK {
        return Some(format!("its answer has the status {}", status.as_u16()));
    }
    match trailers.get("grpc-status").map(http::HeaderValue::as_bytes) {
        Some(b"0") => {}
        Some(b"5") => return Some("it knows no service of that name (gRPC status 5)".to_owned()),
        Some(b"12") => return Some("it has no health service (gRPC status 12)".to_owned()),
        Some(other) => return Some(format!("its answer has the gRPC status {}", other.escape_ascii())),
        None => return Some("its answer has no gRPC status".to_owned()),
    }
    let message = body.get(PREFIX..).and_then(|message| HealthCheckResponse::decode(message).ok());
    match message.map(|message| ServingStatus::try_from(message.status)) {
        Some(Ok(ServingStatus::Serving)) => None,
        Some(Ok(ServingStatus::NotServing)) => {
            Some("it says that it does not serve (NOT_SERVING)".to_owned())
        }
        Some(Ok(ServingStatus::ServiceUnknown)) => {
            Some("it knows no service of that name (SERVICE_UNKNOWN)".to_owned())
        }
        Some(Ok(ServingStatus::Unknown) | Err(_)) => Some("it does not know how it is (UNKNOWN)".to_owned()),
        None => Some("its answer is no health check's".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: &str, body: &[u8]) -> Option<String> {
        let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), status.parse().unwrap())]);
        wrong(StatusCode::OK, &trailers, body)
    }

    #[test]
    fn messages_are_what_the_protocol_has() {
        assert_eq!(&framed("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&framed("hits")[..], b"\0\0\0\0\x06\x0a\x04hits");
        assert_eq!(said("0", b"\0\0\0\0\x02\x08\x01"), None);
    }

    #[test]
    fn whatever_is_not_serving_is_said() {
        for (status, body, expected) in [
            ("0", &b"\0\0\0\0\x02\x08\x02"[..], "NOT_SERVING"),
            ("0", b"\0\0\0\0\x02\x08\x03", "SERVICE_UNKNOWN"),
            // A field that has its default is left out.
            ("0", b"\0\0\0\0\0", "UNKNOWN"),
            ("0", b"\0\0\0\0\x02\x08\x09", "UNKNOWN"),
            ("0", b"", "no health check"),
            ("0", b"\0\0\0\0\x02\xff\xff", "no health check"),
            ("5", b"", "no service of that name"),
            ("12", b"", "no health service"),
            ("14\n".trim(), b"", "gRPC status 14"),
        ] {
            let why = said(status, body).unwrap();
            assert!(why.contains(expected), "{why}");
        }
        assert!(wrong(StatusCode::NOT_FOUND, &HeaderMap::new(), b"").unwrap().contains("404"));
        assert!(wrong(StatusCode::OK, &HeaderMap::new(), b"").unwrap().contains("no gRPC status"));
    }
}
