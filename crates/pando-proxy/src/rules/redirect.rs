//! Where a redirect leads.

use pando_routing::Host;
use pando_routing::rule::destination::Scheme;
use pando_routing::rule::{Redirect, Rewrite};

use super::fill::{Facts, climbs, escape, is_of_path, query};

/// The value of `Location`. Always with a host where one is known, so that no path can be taken for another host. `None`: what a
/// variable brought in climbs up.
pub(super) fn location(redirect: &Redirect, facts: &Facts<'_>) -> Option<Vec<u8>> {
    let paper = facts.shown.paper;
    let asked = paper.head.host.bytes(paper.bytes.bytes());
    let mut location = Vec::new();
    let (name, port) = split_port(asked);
    let name = match &redirect.host {
        Some(Host::Exact(host)) => host.as_bytes(),
        _ => name,
    };
    if !name.is_empty() {
        location.extend_from_slice(match redirect.scheme {
            Some(Scheme::Https) => b"https://",
            Some(Scheme::Http) => b"http://",
            None if facts.shown.client.secure => b"https://",
            None => b"http://",
        });
        location.extend_from_slice(name);
        match redirect.port {
            Some(port) => location.extend_from_slice(format!(":{port}").as_bytes()),
            None if redirect.scheme.is_none() && redirect.host.is_none() => location.extend_from_slice(port),
            None => {}
        }
    }
    location.extend(path(redirect.path.as_ref(), facts)?);
    let query = query(facts.shown);
    if redirect.keep_query && !query.is_empty() {
        location.push(b'?');
        escape(&mut location, query, |byte| is_of_path(byte) || byte == b'?');
    }
    Some(location)
}

/// The path that a rewrite makes of a request's; without one, the request's own.
pub(super) fn path(rewrite: Option<&Rewrite>, facts: &Facts<'_>) -> Option<Vec<u8>> {
    let paper = facts.shown.paper;
    let mut path = match rewrite {
        Some(Rewrite::To(template)) => return facts.path(template),
        Some(rewrite @ Rewrite::Prefix(_)) => {
            let (taken, new) = facts.route.prefix(rewrite)?;
            let rest = paper.path().get(taken..).unwrap_or_default();
            let mut path = new.to_vec();
            escape(&mut path, rest, is_of_path);
            path
        }
        None => {
            let mut path = Vec::new();
            escape(&mut path, paper.head.path.bytes(paper.bytes.bytes()), is_of_path);
            path
        }
    };
    let slashes = path.iter().take_while(|byte| **byte == b'/').count();
    path.splice(..slashes, [b'/']);
    (rewrite.is_none() || !climbs(&path)).then_some(path)
}

/// The port with its colon.
fn split_port(host: &[u8]) -> (&[u8], &[u8]) {
    match host.iter().rposition(|byte| matches!(*byte, b':' | b']')) {
        Some(at) if host[at] == b':' => host.split_at(at),
        _ => (host, b""),
    }
}
