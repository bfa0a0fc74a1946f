//! Templates, filled with what a request shows.
//!
//! Nothing that a client sends can end a header line, lead a redirect to another host, or a rewritten path out of where it was
//! meant to be.

use pando_routing::rule::template::Part;
use pando_routing::rule::{Asks, PathMatch, Template, Variable};

use super::route::Route;
use super::shown::Shown;

/// What templates of one request are filled with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) shown: Shown<'a>,
    pub(super) id: &'a [u8],
    pub(super) route: &'a Route,
}

impl<'a> Facts<'a> {
    /// For a header's value: one line, whatever came in.
    pub(super) fn header(&self, template: &Template) -> Vec<u8> {
        let mut out = Vec::with_capacity(template.text().len());
        for part in template.parts() {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Variable(variable) => {
                    let visible = |byte: &&u8| **byte >= b' ' && **byte != 0x7f;
                    out.extend(self.value(variable).iter().filter(visible));
                }
            }
        }
        out.trim_ascii().to_vec()
    }

    /// For a path. `None`: what comes out climbs up.
    pub(super) fn path(&self, template: &Template) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(template.text().len());
        for part in template.parts() {
            match part {
                Part::Text(text) => escape(&mut out, text.as_bytes(), is_of_path),
                Part::Variable(variable @ (Variable::Path | Variable::Place(_))) => {
                    escape(&mut out, self.value(variable), is_of_path);
                }
                Part::Variable(variable) => escape(&mut out, self.value(variable), is_of_segment),
            }
        }
        let start = out.iter().position(|byte| *byte != b'/').unwrap_or(out.len());
        // Two slashes at the start of a path are the start of a host's name.
        let mut path = b"/".to_vec();
        path.extend_from_slice(&out[start..]);
        (!climbs(&path)).then_some(path)
    }

    fn value(&self, variable: &Variable) -> &'a [u8] {
        let Shown { paper, client } = self.shown;
        let bytes = paper.bytes.bytes();
        match variable {
            Variable::ClientAddress => client.ip.bytes(),
            Variable::RequestId => self.id,
            Variable::Host => paper.head.host.bytes(bytes),
            Variable::Path => paper.head.path.bytes(bytes),
            Variable::Query => query(self.shown),
            Variable::Method => paper.head.method_text.bytes(bytes),
            Variable::Scheme if client.secure => b"https",
            Variable::Scheme => b"http",
            Variable::Route => self.route.live.label.as_bytes(),
            Variable::Header(name) => {
                let mut values = paper.head.fields.iter().filter(|field| {
                    !field.known.is_about_client()
                        && field.name.bytes(bytes).eq_ignore_ascii_case(name.as_bytes())
                });
                values.next().map_or(&[], |field| field.value.bytes(bytes))
            }
            Variable::Place(name) => match &self.route.path {
                PathMatch::Pattern(pattern) => pattern.capture(paper.path(), name).unwrap_or_default(),
                PathMatch::Prefix(_) | PathMatch::Exact(_) => &[],
            },
        }
    }
}

/// Without the `?`.
pub(super) fn query(shown: Shown<'_>) -> &[u8] {
    let (head, bytes) = (&shown.paper.head, shown.paper.bytes.bytes());
    let query = head.origin.bytes(bytes).get(head.path.len()..).unwrap_or_default();
    debug_assert_eq!(query.strip_prefix(b"?").unwrap_or_default(), shown.query());
    query.strip_prefix(b"?").unwrap_or_default()
}

/// Writes what `fits` as it is, and anything else as an escape.
pub(super) fn escape(out: &mut Vec<u8>, text: &[u8], fits: impl Fn(u8) -> bool) {
    for byte in text {
        if fits(*byte) {
            out.push(*byte);
        } else {
            let digit = |nibble: u8| b"0123456789ABCDEF"[usize::from(nibble & 15)];
            out.extend_from_slice(&[b'%', digit(*byte >> 4), digit(*byte)]);
        }
    }
}

fn is_of_segment(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// What may stand in a path (RFC 3986, 3.3), escapes included.
pub(super) fn is_of_path(byte: u8) -> bool {
    is_of_segment(byte) || b"!$&'()*+,;=:@/%".contains(&byte)
}

/// Whether a segment means another than itself.
pub(super) fn climbs(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').any(|segment| {
        let plain = String::from_utf8_lossy(segment).replace("%2e", ".").replace("%2E", ".");
        matches!(&*plain, "." | "..")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_part_of_a_path_is_escaped() {
        let mut out = Vec::new();
        escape(&mut out, b"/a b?c#\r\n\xff%41", is_of_path);
        assert_eq!(out, b"/a%20b%3Fc%23%0D%0A%FF%41");
        assert!(
            climbs(b"/a/../b")
                && climbs(b"/%2e%2E")
                && climbs(b"/a/.")
                && !climbs(b"/a/...")
                && !climbs(b"/.a")
        );
    }
}
