//! Pure matching: host and path to a rule.
//!
//! An exact host beats a wildcard, the longer wildcard beats the shorter, any
//! wildcard beats `*`; within the chosen host the longest path prefix wins, and
//! only when no rule of that host fits is the next host tried. Nothing is allocated
//! on the way, and no list of rules is walked that is longer than a few.

use crate::names::NameMap;
use crate::table::{Host, Table};

/// The longest host that a rule may be for, and one more than that.
pub const LONGEST_HOST: usize = 256;

/// So many rules of a host are walked; more are looked up, from the longest prefix of the path to the shortest.
const FEW: usize = 8;

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

/// The rules of one host.
#[derive(Debug, Clone, Default)]
struct Paths {
    /// The longest prefix first.
    all: Vec<Prefix>,
    /// By prefix, where there are many.
    by_prefix: NameMap<usize>,
}

#[derive(Debug, Clone)]
struct Prefix {
    /// Without a slash at its end.
    path: Box<[u8]>,
    found: Match,
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
            let path = rule.path.trim_end_matches('/').as_bytes();
            let strip = if rule.strip_prefix { path.len() } else { 0 };
            paths.all.push(Prefix { path: path.into(), found: Match { rule: n, strip } });
        }
        let all = matcher.exact.values_mut().chain(matcher.wildcard.values_mut()).chain([&mut matcher.any]);
        all.for_each(Paths::order);
        matcher
    }

    /// `host` as the client sent it (a port, the case and a dot at the end are ignored), `path` without its query.
    #[must_use]
    pub fn find(&self, host: &[u8], path: &[u8]) -> Option<Match> {
        let mut room = [0; LONGEST_HOST];
        let host = normalise(host, &mut room);
        let exact = self.exact.get(host).and_then(|paths| paths.longest(path));
        exact.or_else(|| self.find_wildcard(host, path)).or_else(|| self.any.longest(path))
    }

    fn find_wildcard(&self, host: &[u8], path: &[u8]) -> Option<Match> {
        if self.wildcard.is_empty() {
            return None;
        }
        let dots = host.iter().enumerate().filter(|(_, byte)| **byte == b'.');
        let mut parents = dots.map(|(dot, _)| &host[dot + 1..]);
        parents.find_map(|parent| self.wildcard.get(parent)?.longest(path))
    }
}

impl Paths {
    /// Of rules with the same path the table's first wins.
    fn order(&mut self) {
        self.all.sort_by_key(|prefix| std::cmp::Reverse(prefix.path.len()));
        if self.all.len() > FEW {
            for (n, prefix) in self.all.iter().enumerate() {
                self.by_prefix.entry(prefix.path.clone()).or_insert(n);
            }
        }
    }

    fn longest(&self, path: &[u8]) -> Option<Match> {
        if self.by_prefix.is_empty() {
            return self.all.iter().find(|prefix| is_below(path, &prefix.path)).map(|prefix| prefix.found);
        }
        let ends =
            (0..=path.len()).rev().filter(|end| matches!(path.get(*end), None | Some(b'/')) || *end == 0);
        let mut found = ends.filter_map(|end| self.by_prefix.get(&path[..end]));
        found.next().and_then(|n| self.all.get(*n)).map(|prefix| prefix.found)
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

/// `prefix` has no slash at its end; `/api` covers `/api` and `/api/x`, not `/apiary`.
fn is_below(path: &[u8], prefix: &[u8]) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/") || prefix.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{PoolId, Rule};

    fn table(rules: &[(&str, &str, &str)]) -> Table {
        let rule = |(host, path, pool): &(&str, &str, &str)| Rule {
            host: host.parse().unwrap(),
            path: (*path).to_owned(),
            pool: PoolId((*pool).to_owned()),
            strip_prefix: path.len() > 1,
        };
        Table { rules: rules.iter().map(rule).collect(), ..Table::default() }
    }

    #[test]
    fn the_most_exact_host_then_the_longest_path_wins() {
        let table = table(&[
            ("*", "/", "any"),
            ("a.example", "/", "a"),
            ("a.example", "/api", "api"),
            ("a.example", "/api/v2/", "v2"),
            ("*.example", "/", "wild"),
            ("*.b.example", "/only", "deep"),
        ]);
        let matcher = Matcher::new(&table);
        for (host, path, pool, strip) in [
            ("a.example", "/", "a", ""),
            ("A.EXAMPLE:8080", "/x", "a", ""),
            ("a.example.", "/api", "api", "/api"),
            ("a.example", "/api/v2", "v2", "/api/v2"),
            ("a.example", "/api/v20", "api", "/api"),
            ("a.example", "/apiary", "a", ""),
            ("x.b.example", "/only/x", "deep", "/only"),
            ("x.b.example", "/other", "wild", ""),
            ("example", "/", "any", ""),
            ("[::1]:80", "/", "any", ""),
            ("", "*", "any", ""),
        ] {
            let found = matcher.find(host.as_bytes(), path.as_bytes()).unwrap();
            assert_eq!(table.rules[found.rule].pool.0, pool, "{host}{path}");
            assert_eq!(&path[..found.strip], strip, "{host}{path}");
        }
    }

    #[test]
    fn without_a_rule_there_is_no_match() {
        let matcher = Matcher::new(&table(&[("a.example", "/api", "api")]));
        assert_eq!(matcher.find(b"a.example", b"/"), None);
        assert_eq!(matcher.find(b"b.example", b"/api"), None);
        let long = [b'a'; 10_000];
        assert_eq!(matcher.find(&long, b"/api"), None);
    }

    /// Few rules are walked and many are looked up: what they find is the same.
    #[test]
    fn many_rules_match_as_few_do() {
        let paths = ["/", "/a", "/a/b", "/a/b/c", "/ab", "/b", "/b/c", "/c/d/e", "/d", "/e"];
        let rules: Vec<_> = paths.iter().map(|path| ("*", *path, *path)).collect();
        let many = Matcher::new(&table(&rules));
        assert!(!many.any.by_prefix.is_empty());
        let mut few = many.clone();
        few.any.by_prefix.clear();
        for path in ["/", "", "*", "/a", "/a/", "/a/b/x", "/abc", "/ab/c", "/c/d", "/c/d/e/f", "//a", "/e/"] {
            assert_eq!(many.find(b"h", path.as_bytes()), few.find(b"h", path.as_bytes()), "{path}");
        }
    }
}
