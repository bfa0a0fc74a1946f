//! An answer's head, as HTTP/2 has it.

use bytes::Bytes;
use h2::server::SendResponse;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use pando_http::{Known, Trailers};

use crate::forward::ID_HEADER;
use crate::front::{Answer, AnswerBody};
use crate::time::date;

/// Without the reason, which has no place here. `None`: the status is none that can be sent.
pub(super) fn response(answer: &Answer<'_>, status: u16) -> Option<Response<()>> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).ok()?;
    let headers = response.headers_mut();
    let passed = answer.passed.map_or(0, |passed| passed.head.fields.len());
    headers.reserve(passed + answer.own.len() + 1);
    let mut dated = status < 200;
    if let Some(passed) = &answer.passed {
        // One copy for all values: each is a part of it.
        let bytes = Bytes::copy_from_slice(passed.bytes);
        for field in passed.head.fields.iter().filter(|field| !field.dropped) {
            let value = bytes.slice(field.value.start as usize..field.value.end as usize);
            dated |= field.known == Known::Date;
            append(headers, field.known, field.name.bytes(passed.bytes), value, false);
        }
    }
    for (name, value) in answer.own {
        let known = Known::of(name.as_bytes());
        dated |= known == Known::Date;
        append(headers, known, name.as_bytes(), Bytes::copy_from_slice(value), *name == ID_HEADER);
    }
    if !dated {
        date(|date| append(headers, Known::Date, b"date", Bytes::copy_from_slice(date), false));
    }
    Some(response)
}

/// `unique`: nobody will see that value again, so that nobody should remember it.
fn append(headers: &mut HeaderMap, known: Known, name: &[u8], value: Bytes, unique: bool) {
    if is_of_http1(known) {
        return;
    }
    let (Some(name), Ok(mut value)) = (name_of(known, name), HeaderValue::from_maybe_shared(value)) else {
        return;
    };
    value.set_sensitive(unique);
    headers.append(name, value);
}

/// The commonest without looking for them a second time.
fn name_of(known: Known, name: &[u8]) -> Option<HeaderName> {
    Some(match known {
        Known::ContentEncoding => header::CONTENT_ENCODING,
        Known::ContentLength => header::CONTENT_LENGTH,
        Known::ContentType => header::CONTENT_TYPE,
        Known::Date => header::DATE,
        Known::Server => header::SERVER,
        Known::SetCookie => header::SET_COOKIE,
        Known::Vary => header::VARY,
        _ => HeaderName::from_bytes(name).ok()?,
    })
}

/// Fields that may not stand in a message of HTTP/2 (RFC 9113, 8.2.2), whoever wrote them.
fn is_of_http1(known: Known) -> bool {
    use Known::{Connection, KeepAlive, ProxyConnection, TransferEncoding, Upgrade};
    matches!(known, Connection | KeepAlive | ProxyConnection | TransferEncoding | Upgrade)
}

/// How many bytes of a body the head promises.
pub(super) fn length(response: &Response<()>) -> Option<u64> {
    let length = response.headers().get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

/// Trailers on their way to a client.
pub(super) fn trailers(trailers: &Trailers) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in trailers.iter() {
        append(&mut map, Known::of(name), name, Bytes::copy_from_slice(value), false);
    }
    map
}

/// Answers a request that goes nowhere.
pub(super) fn refuse(mut respond: SendResponse<Bytes>, status: u16, sentence: &'static str) {
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let text = format!("{status} {}\n{sentence}\n", reason.unwrap_or_default());
    let length = text.len().to_string();
    let head = Answer {
        status,
        reason: &[],
        passed: None,
        own: &[
            ("content-type", b"text/plain; charset=utf-8"),
            ("content-length", length.as_bytes()),
            ("cache-control", b"no-store"),
        ],
        body: AnswerBody::Sized,
        close: false,
    };
    let Some(response) = response(&head, status) else { return };
    // A stream that is over needs no answer.
    if let Ok(mut send) = respond.send_response(response, false) {
        let _ = send.send_data(Bytes::from(text), true);
    }
}
