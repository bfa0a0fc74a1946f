//! Pure matching: host and path to a rule.
//!
//! An exact host beats a wildcard, the longer wildcard beats the shorter, any
//! wildcard beats `*`; within the chosen host the longest path prefix wins, and
//! only when no rule of that host fits is the next host tried.

use std::collections::HashMap;

use crate::table::{Host, PoolId, Rule, Table};

/// A table's rules, ready to be asked.
#[derive(Debug, Clone, Default)]
pub struct Matcher {
    exact: HashMap<String, Vec<Rule>>,
    wildcard: HashMap<String, Vec<Rule>>,
    any: Vec<Rule>,
}

/// What a request matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match<'a> {
    pub pool: &'a PoolId,
    /// What to take off the path before it goes upstream; empty for nothing.
    pub strip: &'a str,
    /// The rule that won.
    pub rule: &'a Rule,
}

impl Matcher {
    #[must_use]
    pub fn new(table: &Table) -> Self {
        let mut matcher = Self::default();
        for rule in &table.rules {
            let list = match &rule.host {
                Host::Exact(name) => matcher.exact.entry(name.clone()).or_default(),
                Host::Wildcard(name) => matcher.wildcard.entry(name.clone()).or_default(),
                Host::Any => &mut matcher.any,
            };
            list.push(rule.clone());
        }
        let lists = matcher.exact.values_mut().chain(matcher.wildcard.values_mut()).chain([&mut matcher.any]);
        for list in lists {
            list.sort_by_key(|rule| std::cmp::Reverse(rule.path.trim_end_matches('/').len()));
        }
        matcher
    }

    /// `host` as the client sent it (a port and the case are ignored), `path` without its query.
    #[must_use]
    pub fn find(&self, host: &str, path: &str) -> Option<Match<'_>> {
        let host = normalise(host);
        let exact = self.exact.get(host.as_str()).and_then(|rules| longest(rules, path));
        exact.or_else(|| self.find_wildcard(&host, path)).or_else(|| longest(&self.any, path))
    }

    fn find_wildcard(&self, host: &str, path: &str) -> Option<Match<'_>> {
        let mut rest = host;
        while let Some((_, parent)) = rest.split_once('.') {
            let found = self.wildcard.get(parent).and_then(|rules| longest(rules, path));
            if found.is_some() {
                return found;
            }
            rest = parent;
        }
        None
    }
}

/// Lower case, without a port and without the dot at the end that a fully qualified name may have.
fn normalise(host: &str) -> String {
    let without_port = match host.strip_prefix('[').and_then(|rest| rest.find(']')) {
        Some(end) => &host[..end + 2],
        None => host.split(':').next().unwrap_or(host),
    };
    without_port.trim_end_matches('.').to_ascii_lowercase()
}

fn longest<'a>(rules: &'a [Rule], path: &str) -> Option<Match<'a>> {
    let rule = rules.iter().find(|rule| is_below(path, rule.path.trim_end_matches('/')))?;
    let strip = if rule.strip_prefix { rule.path.trim_end_matches('/') } else { "" };
    Some(Match { pool: &rule.pool, strip, rule })
}

/// `prefix` has no slash at its end; `/api` covers `/api` and `/api/x`, not `/apiary`.
fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(rules: &[(&str, &str, &str)]) -> Matcher {
        let rule = |(host, path, pool): &(&str, &str, &str)| Rule {
            host: host.parse().unwrap(),
            path: (*path).to_owned(),
            pool: PoolId((*pool).to_owned()),
            strip_prefix: path.len() > 1,
        };
        Matcher::new(&Table { rules: rules.iter().map(rule).collect(), ..Table::default() })
    }

    #[test]
    fn the_most_exact_host_then_the_longest_path_wins() {
        let matcher = matcher(&[
            ("*", "/", "any"),
            ("a.example", "/", "a"),
            ("a.example", "/api", "api"),
            ("a.example", "/api/v2/", "v2"),
            ("*.example", "/", "wild"),
            ("*.b.example", "/only", "deep"),
        ]);
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
            let found = matcher.find(host, path).map(|found| (found.pool.0.as_str(), found.strip));
            assert_eq!(found, Some((pool, strip)), "{host}{path}");
        }
    }

    #[test]
    fn without_a_rule_there_is_no_match() {
        let matcher = matcher(&[("a.example", "/api", "api")]);
        assert_eq!(matcher.find("a.example", "/").map(|found| found.pool), None);
        assert_eq!(matcher.find("b.example", "/api").map(|found| found.pool), None);
    }
}
