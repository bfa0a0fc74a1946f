//! An answer on its way out of a stream, as HTTP/1 has it.

use http::StatusCode;
use http::header::{CONTENT_LENGTH, HeaderMap};
use http::response::Parts;
use pando_http::write;

const ACCEPT: &str = "sec-websocket-accept";

/// 1xx.
pub(super) fn interim(out: &mut Vec<u8>, status: StatusCode, headers: &HeaderMap) {
    start(out, status, headers);
    out.extend_from_slice(b"\r\n");
}

/// `to_head`: nobody asked for a body. Whether the body goes in chunks.
pub(super) fn head(out: &mut Vec<u8>, head: &Parts, has_body: bool, to_head: bool) -> bool {
    start(out, head.status, &head.headers);
    let is_sized = head.headers.contains_key(CONTENT_LENGTH);
    let chunked = !is_sized && has_body;
    if chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    } else if !is_sized && !to_head && !matches!(head.status.as_u16(), 204 | 304) {
        out.extend_from_slice(b"content-length: 0\r\n");
    }
    out.extend_from_slice(b"connection: close\r\n\r\n");
    chunked
}

/// The endpoint has taken a WebSocket: as it would say over HTTP/1.
pub(super) fn switched(out: &mut Vec<u8>, headers: &HeaderMap, acceptance: &str) {
    write::status_line(out, 101, b"Switching Protocols");
    out.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
    write::field(out, ACCEPT.as_bytes(), acceptance.as_bytes());
    for (name, value) in headers.iter().filter(|(name, _)| *name != ACCEPT && *name != CONTENT_LENGTH) {
        write::field(out, name.as_str().as_bytes(), value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

fn start(out: &mut Vec<u8>, status: StatusCode, headers: &HeaderMap) {
    write::status_line(out, status.as_u16(), status.canonical_reason().unwrap_or_default().as_bytes());
    for (name, value) in headers {
        write::field(out, name.as_str().as_bytes(), value.as_bytes());
    }
}

pub(super) fn piece(out: &mut Vec<u8>, data: &[u8], chunked: bool) {
    match chunked {
        _ if data.is_empty() => {}
        true => write::chunk(out, data),
        false => out.extend_from_slice(data),
    }
}

/// The end of a body in chunks.
pub(super) fn end(out: &mut Vec<u8>, trailers: Option<&HeaderMap>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        write::field(out, name.as_str().as_bytes(), value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}
