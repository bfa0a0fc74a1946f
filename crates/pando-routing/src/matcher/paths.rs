//! The rules of one host.

use std::cmp::Reverse;

use super::Match;
use crate::names::NameMap;
use crate::rule::{Asks, PathMatch, Pattern, Rule, When};

/// So many prefixes of a host are walked; more are looked up, from the longest prefix of the path to the shortest.
const FEW: usize = 8;

#[derive(Debug, Clone, Default)]
pub(super) struct Paths {
    /// The longest first; of one prefix, who asks for most.
    pub(super) prefixes: Vec<Prefix>,
    /// The first of each prefix, where there are many.
    pub(super) by_prefix: NameMap<usize>,
    /// What else there is; most hosts have nothing.
    special: Option<Box<Special>>,
}

#[derive(Debug, Clone, Default)]
struct Special {
    exact: NameMap<Vec<Candidate>>,
    /// The most exact first.
    patterns: Vec<(Pattern, Candidate)>,
}

#[derive(Debug, Clone)]
pub(super) struct Prefix {
    /// Without a slash at its end.
    path: Box<[u8]>,
    candidate: Candidate,
}

/// A rule that may be the one.
#[derive(Debug, Clone)]
struct Candidate {
    found: Match,
    when: Option<Box<When>>,
}

impl Candidate {
    fn holds(&self, asks: &impl Asks) -> bool {
        self.when.as_ref().is_none_or(|when| when.holds(asks))
    }

    fn conditions(&self) -> usize {
        self.when.as_ref().map_or(0, |when| when.count())
    }
}

impl Paths {
    /// `n`: its place in the table. To be followed by [`Paths::order`] once all are there.
    pub(super) fn add(&mut self, n: usize, rule: &Rule) {
        let strip = if rule.strip_prefix { rule.prefix().map_or(0, str::len) } else { 0 };
        let when = (!rule.when.is_empty()).then(|| Box::new(rule.when.clone()));
        let candidate = Candidate { found: Match { rule: n, strip }, when };
        match &rule.path {
            PathMatch::Prefix(path) => {
                let path = path.trim_end_matches('/').as_bytes().into();
                self.prefixes.push(Prefix { path, candidate });
            }
            PathMatch::Exact(path) => {
                let exact = &mut self.special.get_or_insert_default().exact;
                exact.entry(path.as_bytes().into()).or_default().push(candidate);
            }
            PathMatch::Pattern(pattern) => {
                self.special.get_or_insert_default().patterns.push((pattern.clone(), candidate));
            }
        }
    }

    /// Of rules alike in all that counts the table's first wins: sorting is stable.
    pub(super) fn order(&mut self) {
        self.prefixes.sort_by(|a, b| {
            let more = b.candidate.conditions().cmp(&a.candidate.conditions());
            b.path.len().cmp(&a.path.len()).then_with(|| a.path.cmp(&b.path)).then(more)
        });
        if self.prefixes.len() > FEW {
            for (n, prefix) in self.prefixes.iter().enumerate() {
                self.by_prefix.entry(prefix.path.clone()).or_insert(n);
            }
        }
        if let Some(special) = &mut self.special {
            special.order();
        }
    }

    pub(super) fn find(&self, path: &[u8], asks: &impl Asks) -> Option<Match> {
        let special = self.special.as_ref().and_then(|special| special.find(path, asks));
        special.or_else(|| self.longest(path, asks))
    }

    fn longest(&self, path: &[u8], asks: &impl Asks) -> Option<Match> {
        if self.by_prefix.is_empty() {
            let fits = |prefix: &&Prefix| is_below(path, &prefix.path) && prefix.candidate.holds(asks);
            return self.prefixes.iter().find(fits).map(|prefix| prefix.candidate.found);
        }
        let mut ends =
            (0..=path.len()).rev().filter(|end| matches!(path.get(*end), None | Some(b'/')) || *end == 0);
        ends.find_map(|end| self.of_prefix(&path[..end], asks))
    }

    fn of_prefix(&self, path: &[u8], asks: &impl Asks) -> Option<Match> {
        let first = *self.by_prefix.get(path)?;
        let mut alike = self.prefixes[first..].iter().take_while(|prefix| *prefix.path == *path);
        alike.find(|prefix| prefix.candidate.holds(asks)).map(|prefix| prefix.candidate.found)
    }
}

impl Special {
    fn order(&mut self) {
        for candidates in self.exact.values_mut() {
            candidates.sort_by_key(|candidate| Reverse(candidate.conditions()));
        }
        self.patterns.sort_by(|(a, first), (b, second)| {
            a.vagueness().cmp(b.vagueness()).then(second.conditions().cmp(&first.conditions()))
        });
    }

    fn find(&self, path: &[u8], asks: &impl Asks) -> Option<Match> {
        let exact = self.exact.get(path).and_then(|all| all.iter().find(|candidate| candidate.holds(asks)));
        let pattern = || {
            let fits =
                |(pattern, candidate): &&(Pattern, Candidate)| pattern.matches(path) && candidate.holds(asks);
            self.patterns.iter().find(fits).map(|(_, candidate)| candidate)
        };
        exact.or_else(pattern).map(|candidate| candidate.found)
    }
}

/// `prefix` has no slash at its end; `/api` covers `/api` and `/api/x`, not `/apiary`.
fn is_below(path: &[u8], prefix: &[u8]) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/") || prefix.is_empty())
}
