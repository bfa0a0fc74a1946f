//! A stream's head, read by the rules for HTTP/1.
//!
//! The head is written down as HTTP/1 has it and read by `pando-http`, so that one policy judges both protocols. What a
//! translation could lose is checked before: see [`Fault`].

use http::header::{COOKIE, HOST};
use http::{HeaderMap, HeaderName, Method, request::Parts};
use pando_http::{Framing, Limits as HeadLimits, Refusal, Version, write};

use super::extended::Key;
use crate::asked::Asked;
use crate::inbox::Inbox;
use crate::settings::Limits;

/// A request that was translated.
#[derive(Debug)]
pub(super) struct Translated {
    pub(super) asked: Asked,
    /// The client wants a WebSocket (RFC 8441).
    pub(super) key: Option<Key>,
}

/// Why a stream is not answered by anybody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A stream error of type `PROTOCOL_ERROR` (RFC 9113, 8.1.1).
    Malformed,
    /// 414, 431 or 501.
    Refused(u16, &'static str),
}

/// `ended`: nothing follows the head.
///
/// # Errors
/// See [`Fault`].
pub(super) fn translate(parts: &Parts, ended: bool, limits: &Limits) -> Result<Translated, Fault> {
    let protocol = parts.extensions.get::<h2::ext::Protocol>();
    if protocol.is_some_and(|protocol| protocol.as_str() != "websocket") {
        return Err(Fault::Refused(501, "The only protocol understood here in a CONNECT is `websocket`."));
    }
    let key = protocol.map(|_| Key::new());
    let authority = authority(parts)?;
    let target = target(parts, authority, key.is_some())?;
    check_values(&parts.headers)?;
    let method = if key.is_some() { "GET" } else { parts.method.as_str() };
    let mut asked = Asked::blank();
    let paper = &mut *asked;
    paper.bytes = Inbox::written(|out| {
        for part in [method, " ", target, " HTTP/1.1\r\nhost: ", authority, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        write_fields(out, &parts.headers);
        match &key {
            Some(key) => key.write(out),
            None if !ended && !parts.headers.contains_key(http::header::CONTENT_LENGTH) => {
                out.extend_from_slice(b"transfer-encoding: chunked\r\n");
            }
            None => {}
        }
        out.extend_from_slice(b"\r\n");
    });
    let head_limits = HeadLimits {
        head_bytes: limits.head_bytes,
        target_bytes: limits.target_bytes,
        fields: limits.head_fields,
    };
    paper.head.read(paper.bytes.bytes(), &head_limits).map_err(fault)?;
    if ended && paper.head.framing != Framing::Empty {
        return Err(Fault::Malformed);
    }
    paper.head.version = Version::Http2;
    Ok(Translated { asked, key })
}

fn fault(refusal: Refusal) -> Fault {
    match refusal {
        Refusal::LongTarget => Fault::Refused(414, "The request target is too long."),
        Refusal::LargeHead => Fault::Refused(431, "The request's headers are too large."),
        Refusal::ManyFields => Fault::Refused(431, "The request has too many headers."),
        _ => Fault::Malformed,
    }
}

/// Whom the request is for: said once, or twice alike (RFC 9113, 8.3.1).
fn authority(parts: &Parts) -> Result<&str, Fault> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (None, _) => None,
        (Some(host), None) => Some(host.to_str().map_err(|_| Fault::Malformed)?),
        (Some(_), Some(_)) => return Err(Fault::Malformed),
    };
    match (parts.uri.authority().map(http::uri::Authority::as_str), host) {
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => Err(Fault::Malformed),
        (Some(authority), _) => Ok(authority),
        // A tunnel's destination is its authority.
        (None, Some(host)) if parts.method != Method::CONNECT => Ok(host),
        (None, _) => Err(Fault::Malformed),
    }
}

fn target<'a>(parts: &'a Parts, authority: &'a str, extended: bool) -> Result<&'a str, Fault> {
    if let Some(scheme) = parts.uri.scheme_str()
        && !matches!(scheme, "http" | "https")
    {
        return Err(Fault::Malformed);
    }
    if parts.method == Method::CONNECT && !extended {
        return Ok(authority);
    }
    let path = parts.uri.path_and_query().ok_or(Fault::Malformed)?.as_str();
    match path {
        "*" if parts.method == Method::OPTIONS => Ok(path),
        // Anything else could be read as another form of target.
        _ if path.starts_with('/') => Ok(path),
        _ => Err(Fault::Malformed),
    }
}

/// White space around a value is part of it here and vanishes in HTTP/1 (RFC 9113, 8.2.1). What would end a line can't come
/// out of the `h2` crate, nor can connection-specific fields, a `TE` other than `trailers`, or upper case.
fn check_values(headers: &HeaderMap) -> Result<(), Fault> {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let is_bare = |value: &[u8]| !is_space(value.first()) && !is_space(value.last());
    if headers.values().all(|value| is_bare(value.as_bytes())) { Ok(()) } else { Err(Fault::Malformed) }
}

/// All but the host, which is written already; cookies, which may come in crumbs, in one line (RFC 9113, 8.2.3).
fn write_fields(out: &mut Vec<u8>, headers: &HeaderMap) {
    let is_ours = |name: &HeaderName| *name == HOST || *name == COOKIE || *name == "sec-websocket-key";
    for (name, value) in headers.iter().filter(|(name, _)| !is_ours(name)) {
        write::field(out, name.as_str().as_bytes(), value.as_bytes());
    }
    let mut before: &[u8] = b"cookie: ";
    for crumb in headers.get_all(COOKIE) {
        out.extend_from_slice(before);
        out.extend_from_slice(crumb.as_bytes());
        before = b"; ";
    }
    if before == b"; " {
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests;
