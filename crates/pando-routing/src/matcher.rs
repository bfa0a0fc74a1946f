//! Pure matching: a request to a rule.
//!
//! An exact host beats a wildcard, the longer wildcard beats the shorter, any
//! wildcard beats `*`. Within the chosen host a whole path beats a pattern, which beats the longest prefix; of rules
//! for the same path the one that asks for more goes first. Only when no rule of that host fits is the next host tried.
//! Nothing is allocated on the way; how many hosts there are, and how many whole paths and prefixes a host has, does not
//! matter. Patterns of a host, and rules for one path, are walked: `Table::validate` bounds both.

mod paths;

use crate::names::NameMap;
use crate::rule::Asks;
use crate::table::{Host, Table};
use paths::Paths;

/// The longest host that a rule may be for, and one more than that.
pub const LONGEST_HOST: usize = 256;

/// A table's rules, ready to be asked.
#[derive(Debug, Clone, Default)]
pub struct Matcher {
    exact: NameMap<Paths>,
    wildcard: NameMap<Paths>,
    any: Paths,
}

/// What a request matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match {
    /// The place in the table's rules of the one that won.
    pub rule: usize,
    /// How much to take off the path before it goes upstream.
    pub strip: usize,
}

impl Matcher {
    #[must_use]
    pub fn new(table: &Table) -> Self {
        let mut matcher = Self::default();
        for (n, rule) in table.rules.iter().enumerate() {
            let paths = match &rule.host {
                Host::Exact(name) => matcher.exact.entry(name.as_bytes().into()).or_default(),
                Host::Wildcard(name) => matcher.wildcard.entry(name.as_bytes().into()).or_default(),
                Host::Any => &mut matcher.any,
            };
            paths.add(n, rule);
        }
        let all = matcher.exact.values_mut().chain(matcher.wildcard.values_mut()).chain([&mut matcher.any]);
        all.for_each(Paths::order);
        matcher
    }

    /// `host` as the client sent it (a port, the case and a dot at the end are ignored), `path` without its query in its normal
    /// spelling.
    #[must_use]
    pub fn find(&self, host: &[u8], path: &[u8], asks: &impl Asks) -> Option<Match> {
        let mut room = [0; LONGEST_HOST];
        let host = normalise(host, &mut room);
        let exact = self.exact.get(host).and_then(|paths| paths.find(path, asks));
        exact.or_else(|| self.find_wildcard(host, path, asks)).or_else(|| self.any.find(path, asks))
    }

    fn find_wildcard(&self, host: &[u8], path: &[u8], asks: &impl Asks) -> Option<Match> {
        if self.wildcard.is_empty() {
            return None;
        }
        let dots = host.iter().enumerate().filter(|(_, byte)| **byte == b'.');
        let mut parents = dots.map(|(dot, _)| &host[dot + 1..]);
        parents.find_map(|parent| self.wildcard.get(parent)?.find(path, asks))
    }
}

/// Lower case, without a port and without the dot at the end that a fully qualified name may have. Longer ones than any rule's
/// are cut, by which they match none.
#[must_use]
pub fn normalise<'a>(host: &[u8], room: &'a mut [u8; LONGEST_HOST]) -> &'a [u8] {
    let end = match host.first() {
        Some(b'[') => host.iter().position(|byte| *byte == b']').map_or(host.len(), |end| end + 1),
        _ => host.iter().position(|byte| *byte == b':').unwrap_or(host.len()),
    };
    let mut name = &host[..end.min(room.len())];
    while let [rest @ .., b'.'] = name {
        name = rest;
    }
    let lower = &mut room[..name.len()];
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    lower
}

#[cfg(test)]
mod tests;
