//! A request's head on its way into a stream.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri};
use pando_http::{Known, Limits, MOST_FIELDS, RequestHead, Span, Trailers};

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

pub(super) fn trailers(trailers: &Trailers) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in trailers.iter() {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            map.append(name, value);
        }
    }
    map
}
