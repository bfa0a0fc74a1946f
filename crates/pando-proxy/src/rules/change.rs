//! What rules change of a request on its way up.

use std::sync::Arc;

use pando_http::{Known, write};
use pando_routing::balance::sticky::cookie;
use pando_routing::rule::filters::HeaderChanges;

use super::fill::{Facts, query};
use super::redirect;
use crate::asked::Paper;
use crate::upstream::drop_claims;

/// A request's head, as far as it is not the client's own.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// Path and query; the client's, if there is none.
    pub(crate) target: Option<Vec<u8>>,
    pub(crate) host: Option<Vec<u8>>,
    /// Whole field lines.
    pub(crate) lines: Vec<u8>,
    complete: bool,
    /// Names, in small letters, of fields that the proxy would write and a rule writes instead, or wants away.
    taken: Vec<Box<str>>,
}

impl Change {
    /// Of a request of the proxy's own; `complete`: its head says all that the proxy says.
    pub(super) fn of_ours(complete: bool) -> Self {
        Self { complete, ..Self::default() }
    }

    /// Whether a rule has the last word about that field.
    pub(crate) fn takes(&self, name: &str) -> bool {
        self.complete || self.taken.iter().any(|taken| **taken == *name)
    }

    /// A field that only the proxy may write: whatever the client says under that name, in whichever disguise, stays behind.
    pub(super) fn set(&mut self, paper: &mut Paper, name: &str, value: Option<&[u8]>) {
        self.remove(paper, name);
        if let Some(value) = value {
            write::field(&mut self.lines, name.as_bytes(), value);
        }
    }

    pub(super) fn remove(&mut self, paper: &mut Paper, name: &str) {
        self.taken.push(name.to_ascii_lowercase().into());
        let Paper { head, bytes, .. } = paper;
        let bytes = bytes.bytes();
        head.fields.drop_if(|field| is_alike(field.name.bytes(bytes), name.as_bytes()));
    }

    /// Takes these cookies off.
    pub(super) fn hide_cookies(&mut self, paper: &mut Paper, names: &[&Arc<str>]) {
        let Paper { head, bytes, .. } = paper;
        let bytes = bytes.bytes();
        head.fields.drop_if(|field| {
            if field.known != Known::Cookie || field.dropped {
                return false;
            }
            let mut value = field.value.bytes(bytes).to_vec();
            for name in names {
                let kept: Vec<u8> =
                    cookie::without(&value, name.as_bytes()).flat_map(|part| value[part].to_vec()).collect();
                value = kept;
            }
            if !value.is_empty() {
                write::field(&mut self.lines, b"cookie", &value);
            }
            true
        });
    }
}

/// CGI and its kin know no `-`: `x_user` becomes what `x-user` does.
fn is_alike(one: &[u8], other: &[u8]) -> bool {
    let plain = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    one.len() == other.len() && one.iter().map(plain).eq(other.iter().map(plain))
}

/// What the rule says of the head, told while nothing of it is changed.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    target: Option<Vec<u8>>,
    set: Vec<(Arc<str>, Vec<u8>)>,
    add: Vec<(Arc<str>, Vec<u8>)>,
}

impl Wanted {
    /// `None`: the path that comes out climbs up.
    pub(super) fn of(facts: &Facts<'_>) -> Option<Self> {
        let filters = &facts.route.filters;
        let target = match &filters.rewrite {
            Some(rewrite) => {
                let mut target = redirect::path(Some(rewrite), facts)?;
                let query = query(facts.shown);
                if !query.is_empty() {
                    target.push(b'?');
                    target.extend_from_slice(query);
                }
                Some(target)
            }
            None => None,
        };
        let HeaderChanges { set, add, .. } = &filters.request_headers;
        let filled = |values: &std::collections::BTreeMap<Arc<str>, _>| {
            values.iter().map(|(name, value)| (Arc::clone(name), facts.header(value))).collect()
        };
        Some(Self { target, set: filled(set), add: filled(add) })
    }

    /// Makes it so. What clients claim goes first.
    pub(super) fn make(self, paper: &mut Paper, changes: &HeaderChanges) -> Change {
        drop_claims(paper);
        let mut change = Change { target: self.target, ..Change::default() };
        changes.remove.iter().for_each(|name| change.remove(paper, name));
        for (name, value) in self.set {
            if name.eq_ignore_ascii_case("host") {
                change.remove(paper, "host");
                change.host = Some(value);
            } else {
                change.set(paper, &name, Some(&value));
            }
        }
        for (name, value) in self.add {
            write::field(&mut change.lines, name.as_bytes(), &value);
        }
        change
    }
}
