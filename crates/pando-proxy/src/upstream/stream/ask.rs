//! A request's head on its way into a stream.

use bytes::Bytes;
use h2::ext::Protocol;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri};
use pando_http::{Known, Limits, MOST_FIELDS, RequestHead, Span, Trailers, field::tokens};

const KEY: &str = "sec-websocket-key";

/// What we have written is as large as what we took in.
pub(super) fn limits() -> Limits {
    Limits { head_bytes: usize::MAX, target_bytes: usize::MAX, fields: MOST_FIELDS }
}

/// `None`: it says what HTTP/2 can't.
pub(super) fn request(head: &RequestHead, bytes: &[u8]) -> Option<Request<()>> {
    let text = |span: Span| std::str::from_utf8(span.bytes(bytes)).ok();
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(head.method_text.bytes(bytes)).ok()?;
    *request.version_mut() = http::Version::HTTP_2;
    let path = text(head.origin)?;
    *request.uri_mut() =
        Uri::builder().scheme("http").authority(text(head.host)?).path_and_query(path).build().ok()?;
    let headers = request.headers_mut();
    let all = Bytes::copy_from_slice(bytes);
    for field in head.fields.iter().filter(|field| !field.dropped && field.known != Known::Host) {
        let value = all.slice(field.value.start as usize..field.value.end as usize);
        let name = HeaderName::from_bytes(field.name.bytes(bytes)).ok()?;
        headers.append(name, HeaderValue::from_maybe_shared(value).ok()?);
    }
    if head.takes_trailers {
        headers.insert(http::header::TE, HeaderValue::from_static("trailers"));
    }
    Some(request)
}

/// The key of the WebSocket that is asked for, if one is.
pub(super) fn websocket_key<'a>(head: &RequestHead, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let mut protocols = tokens(head.upgrade?.bytes(bytes));
    let is_websocket = protocols.any(|protocol| protocol.eq_ignore_ascii_case(b"websocket"));
    let is_key = |name: &[u8]| name.eq_ignore_ascii_case(KEY.as_bytes());
    let key = head.fields.iter().find(|field| is_key(field.name.bytes(bytes)))?;
    (is_websocket && head.method == pando_http::Method::Get).then(|| key.value.bytes(bytes))
}

/// Makes it ask for a WebSocket (RFC 8441), whose handshake has no key there.
pub(super) fn extend(request: &mut Request<()>) {
    *request.method_mut() = Method::CONNECT;
    request.headers_mut().remove(KEY);
    request.extensions_mut().insert(Protocol::from_static("websocket"));
}

pub(super) fn trailers(trailers: &Trailers) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in trailers.iter() {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            map.append(name, value);
        }
    }
    map
}
