//! A client's request as an endpoint gets it: which fields pass, which end here, which are ours.
//!
//! A public entry point believes nothing that a client says about where it comes from: what tells the replica about the
//! client is replaced, not added to.

use std::net::SocketAddr;
use std::sync::Arc;

use pando_http::{Field, Framing, Known, RequestHead, field::tokens, write};
use pando_routing::balance::sticky::cookie;

use crate::asked::{Cookies, Paper};
use crate::client::Client;
use crate::forward::{ID_HEADER, Id};
use crate::rules::Change;
use crate::tls::is_claim as is_claim_of_certificate;

/// What a client wants its connection to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UpgradeAsked {
    pub(crate) is_websocket: bool,
}

impl UpgradeAsked {
    /// What may be passed on of the wish.
    pub(crate) fn of(paper: &Paper) -> Option<Self> {
        let protocols = paper.head.upgrade?.bytes(paper.bytes.bytes());
        let is_websocket = tokens(protocols).any(|protocol| protocol.eq_ignore_ascii_case(b"websocket"));
        Some(Self { is_websocket })
    }
}

/// Marks what ends here. Once for each request.
pub(crate) fn drop_claims(paper: &mut Paper) {
    let bytes = paper.bytes.bytes();
    let bodiless = paper.head.framing == Framing::Empty;
    paper.head.fields.drop_if(|field| match field.known {
        Known::Expect => bodiless,
        Known::Other => is_disguised(field, bytes),
        known => is_claim(known),
    });
}

/// Claims about the client that replicas tend to believe. `Proxy` would become the environment variable HTTP_PROXY in a CGI
/// program.
fn is_claim(known: Known) -> bool {
    known.is_about_client() || matches!(known, Known::Proxy | Known::XRequestId)
}

/// With `_` for `-` a claim is another field here and the same one to a CGI or WSGI program, whose variables have no `-`.
fn is_disguised(field: &Field, bytes: &[u8]) -> bool {
    let name = field.name.bytes(bytes);
    if !name.contains(&b'_') {
        return false;
    }
    let plain: Vec<u8> = name.iter().map(|byte| if *byte == b'_' { b'-' } else { *byte }).collect();
    is_claim(Known::of(&plain))
}

/// What replicas are told of a client's certificate is what `shown` says, and nothing of what the client says itself.
pub(crate) fn tell_shown(paper: &mut Paper, shown: Option<Arc<[u8]>>) {
    let bytes = paper.bytes.bytes();
    paper
        .head
        .fields
        .drop_if(|field| field.known == Known::Other && is_claim_of_certificate(field.name.bytes(bytes)));
    paper.shown = shown;
}

/// Takes the proxy's own cookie of that name off what goes up: it tells replicas nothing, and is nobody else's business.
pub(crate) fn hide_cookie(paper: &mut Paper, name: &Arc<str>) {
    let Paper { head, bytes, cookies, .. } = paper;
    let bytes = bytes.bytes();
    cookies.values.clear();
    head.fields.drop_if(|field| {
        let own = field.known == Known::Cookie
            && !field.dropped
            && cookie::values(field.value.bytes(bytes), name.as_bytes()).next().is_some();
        if own {
            cookies.values.push(field.value);
        }
        own
    });
    cookies.own = (!cookies.values.is_empty()).then(|| Arc::clone(name));
}

/// What is left of them.
fn other_cookies(out: &mut Vec<u8>, cookies: &Cookies, bytes: &[u8]) {
    let Some(own) = &cookies.own else { return };
    for value in &cookies.values {
        let value = value.bytes(bytes);
        let mut rest = cookie::without(value, own.as_bytes()).peekable();
        if rest.peek().is_some() {
            out.extend_from_slice(b"cookie: ");
            rest.for_each(|part| out.extend_from_slice(&value[part]));
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Writes the request's head into `paper.upstream`. `strip` bytes of the path stay behind; `fallback` is named as the host where
/// the client named none.
pub(crate) fn write_head(paper: &mut Paper, strip: usize, fallback: SocketAddr, client: &Client, id: &Id) {
    let (head, bytes) = (&paper.head, paper.bytes.bytes());
    let out = &mut paper.upstream;
    out.clear();
    out.extend_from_slice(head.method_text.bytes(bytes));
    out.push(b' ');
    write_target(out, head, bytes, &paper.normal_path, strip);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let host = head.host.bytes(bytes);
    if head.fields.first(Known::Host).is_none_or(|field| field.value.is_empty()) {
        match host {
            b"" => write::field(out, b"host", fallback.to_string().as_bytes()),
            host => write::field(out, b"host", host),
        }
    }
    write::fields(out, bytes, &head.fields, true);
    other_cookies(out, &paper.cookies, bytes);
    if head.framing == Framing::Chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    forwarded(out, host, client);
    out.extend_from_slice(paper.trace.all());
    if let Some(lines) = &paper.shown {
        out.extend_from_slice(lines);
    }
    write::field(out, ID_HEADER.as_bytes(), id.text(bytes));
    connection(out, paper.head.upgrade.map(|upgrade| upgrade.bytes(bytes)), head.takes_trailers);
    out.extend_from_slice(b"\r\n");
}

/// As [`write_head`], but as a rule would have it.
pub(crate) fn write_changed_head(
    paper: &mut Paper,
    (strip, change): (usize, &Change),
    fallback: SocketAddr,
    client: &Client,
    id: &Id,
) {
    let (head, bytes) = (&paper.head, paper.bytes.bytes());
    let out = &mut paper.upstream;
    out.clear();
    out.extend_from_slice(head.method_text.bytes(bytes));
    out.push(b' ');
    match &change.target {
        Some(target) => out.extend_from_slice(target),
        None => write_target(out, head, bytes, &paper.normal_path, strip),
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let asked = head.host.bytes(bytes);
    let named = head.fields.first(Known::Host).is_some_and(|field| !field.dropped && !field.value.is_empty());
    match &change.host {
        Some(host) => write::field(out, b"host", host),
        None if named => {}
        None if asked.is_empty() => write::field(out, b"host", fallback.to_string().as_bytes()),
        None => write::field(out, b"host", asked),
    }
    write::fields(out, bytes, &head.fields, true);
    other_cookies(out, &paper.cookies, bytes);
    if head.framing == Framing::Chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    out.extend_from_slice(&change.lines);
    if let Some(lines) = &paper.shown {
        out.extend_from_slice(lines);
    }
    let scheme: &[u8] = if client.secure { b"https" } else { b"http" };
    let own = [
        ("x-forwarded-for", client.ip.bytes()),
        ("x-forwarded-proto", scheme),
        ("x-forwarded-host", asked),
        (ID_HEADER, id.text(bytes)),
    ];
    for (name, value) in own.into_iter().filter(|(name, value)| !value.is_empty() && !change.takes(name)) {
        write::field(out, name.as_bytes(), value);
    }
    for (_, line) in paper.trace.each().into_iter().filter(|(name, _)| !change.takes(name)) {
        out.extend_from_slice(line);
    }
    connection(out, paper.head.upgrade.map(|upgrade| upgrade.bytes(bytes)), head.takes_trailers);
    out.extend_from_slice(b"\r\n");
}

/// Path and query. What is left of a path that was matched in another spelling than the client's has to be of that spelling.
fn write_target(out: &mut Vec<u8>, head: &RequestHead, bytes: &[u8], normal_path: &[u8], strip: usize) {
    let origin = head.origin.bytes(bytes);
    let (path, query) = origin.split_at(head.path.len().min(origin.len()));
    let begins_alike = path.get(..strip) == normal_path.get(..strip);
    let path = if normal_path.is_empty() || begins_alike { path } else { normal_path };
    let rest = path.get(strip..).unwrap_or_default();
    if !rest.starts_with(b"/") && rest != b"*" {
        out.push(b'/');
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(query);
}

fn forwarded(out: &mut Vec<u8>, host: &[u8], client: &Client) {
    write::field(out, b"x-forwarded-for", client.ip.bytes());
    out.extend_from_slice(match client.secure {
        true => b"x-forwarded-proto: https\r\n",
        false => b"x-forwarded-proto: http\r\n",
    });
    if !host.is_empty() {
        write::field(out, b"x-forwarded-host", host);
    }
}

fn connection(out: &mut Vec<u8>, upgrade: Option<&[u8]>, takes_trailers: bool) {
    if takes_trailers {
        out.extend_from_slice(b"te: trailers\r\n");
    }
    if let Some(protocols) = upgrade {
        write::field(out, b"upgrade", protocols);
    }
    out.extend_from_slice(match (upgrade.is_some(), takes_trailers) {
        (false, false) => b"",
        (false, true) => b"connection: te\r\n",
        (true, false) => b"connection: upgrade\r\n",
        (true, true) => b"connection: te, upgrade\r\n",
    });
}

#[cfg(test)]
mod tests;
