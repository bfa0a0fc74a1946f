//! Which headers pass, which end here, which are ours.
//!
//! A public entry point believes nothing that a client says about where it comes
//! from: what tells the replica about the client is replaced, not added to.

use http::header::{
    CONNECTION, CONTENT_LENGTH, Entry, HOST, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Response, Version};

use super::id;
use crate::engine::Client;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Meant for this connection only (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 6] =
    [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TE, TRANSFER_ENCODING, UPGRADE];

/// Claims about the client that replicas tend to believe and that we don't make. `proxy` would become the environment
/// variable HTTP_PROXY in a CGI program.
const CLAIMS: [HeaderName; 6] = [
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-scheme"),
    HeaderName::from_static("x-forwarded-ssl"),
    HeaderName::from_static("proxy"),
];

/// What a client wants its connection to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Upgrade {
    pub(super) is_websocket: bool,
}

/// Whether `chunked` is the only coding of the body. Whatever else the coding names stays on the body when `chunked` is
/// taken off, and `Transfer-Encoding` does not go on to say so (RFC 9112, 6.1).
pub(super) fn is_plainly_framed(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(only), None) => only.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}

/// Makes a client's headers those of our own request. `may_upgrade`: an upgrade that is asked for is asked for upstream too.
pub(super) fn to_upstream(
    headers: &mut HeaderMap,
    client: Client,
    id: &HeaderValue,
    may_upgrade: bool,
) -> Option<Upgrade> {
    let upgrade = may_upgrade.then(|| wanted_upgrade(headers)).flatten();
    let takes_trailers = headers.get_all(TE).iter().any(|value| has_token(value, "trailers"));
    remove_hop_by_hop(headers);
    for name in &CLAIMS {
        headers.remove(name);
    }
    for name in disguised(headers) {
        headers.remove(name);
    }
    headers.insert(FORWARDED_FOR, address(client));
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
    match headers.get(HOST).cloned() {
        Some(host) => headers.insert(FORWARDED_HOST, host),
        None => headers.remove(FORWARDED_HOST),
    };
    headers.insert(id::HEADER, id.clone());
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.append(CONNECTION, HeaderValue::from_static("te"));
    }
    if let Some((protocol, _)) = &upgrade {
        headers.insert(UPGRADE, protocol.clone());
        headers.append(CONNECTION, HeaderValue::from_static("upgrade"));
    }
    upgrade.map(|(_, upgrade)| upgrade)
}

/// Makes an endpoint's headers those of our own answer.
pub(super) fn to_client<B>(response: &mut Response<B>) {
    *response.version_mut() = Version::HTTP_11;
    let headers = response.headers_mut();
    if headers.contains_key(TRANSFER_ENCODING) {
        // Both at once is how answers are smuggled; the coding decides how the body was read, so the length is a lie.
        headers.remove(CONTENT_LENGTH);
    }
    remove_hop_by_hop(headers);
}

/// As [`to_client`] for a 101, which speaks of the connection by intention.
pub(super) fn to_client_upgrading<B>(response: &mut Response<B>) {
    let protocol = response.headers().get(UPGRADE).cloned();
    to_client(response);
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        headers.insert(UPGRADE, protocol);
    }
}

/// With `_` for `-` a claim is another header here and the same one to a CGI or WSGI program, whose variables have no `-`.
fn disguised(headers: &HeaderMap) -> Vec<HeaderName> {
    let is_claim = |name: &HeaderName| {
        let plain = name.as_str().replace('_', "-");
        let ours = [&FORWARDED_FOR, &FORWARDED_PROTO, &FORWARDED_HOST, &id::HEADER];
        CLAIMS.iter().chain(ours).any(|claim| claim.as_str() == plain)
    };
    headers.keys().filter(|name| name.as_str().contains('_')).filter(|name| is_claim(name)).cloned().collect()
}

fn wanted_upgrade(headers: &HeaderMap) -> Option<(HeaderValue, Upgrade)> {
    let protocol = headers.get(UPGRADE)?;
    if tokens(protocol).any(is_http_or_tls) {
        return None;
    }
    let asked = headers.get_all(CONNECTION).iter().any(|value| has_token(value, "upgrade"));
    let upgrade = Upgrade { is_websocket: has_token(protocol, "websocket") };
    asked.then(|| (protocol.clone(), upgrade))
}

/// Upgrades to HTTP itself would carry requests past the rules, under headers that nobody checked. A server may decline any.
fn is_http_or_tls(token: &str) -> bool {
    let lower = token.to_ascii_lowercase();
    lower == "h2c" || lower.starts_with("http/") || lower.starts_with("tls/")
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        for name in nominated(headers) {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// What `Connection` names, but for what every request needs on its whole way: naming that is an attack, not a wish.
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let is_needed = |name: &HeaderName| matches!(*name, HOST | CONTENT_LENGTH | TRAILER);
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(tokens)
        .filter(|token| !token.eq_ignore_ascii_case("close") && !token.eq_ignore_ascii_case("keep-alive"))
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        .filter(|name| !is_needed(name))
        .collect()
}

fn tokens(value: &HeaderValue) -> impl Iterator<Item = &str> {
    value.to_str().unwrap_or_default().split(',').map(str::trim).filter(|token| !token.is_empty())
}

fn has_token(value: &HeaderValue, wanted: &str) -> bool {
    tokens(value).any(|token| token.eq_ignore_ascii_case(wanted))
}

fn address(client: Client) -> HeaderValue {
    let text = client.address.ip().to_canonical().to_string();
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// HTTP/1.1 needs a host; a client of HTTP/1.0 may have sent none.
pub(super) fn ensure_host(headers: &mut HeaderMap, fallback: impl FnOnce() -> String) {
    if let Entry::Vacant(slot) = headers.entry(HOST)
        && let Ok(host) = HeaderValue::from_str(&fallback())
    {
        slot.insert(host);
    }
}

#[cfg(test)]
mod tests;
