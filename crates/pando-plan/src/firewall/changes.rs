//! What differs between two sets of rules, for people who are to agree to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use pando_model::firewall::{Cidr, FirewallRule, FirewallRules, Protocol, Sources};

/// One difference, at one range of ports. `None`: nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub ports: (u16, u16),
    pub protocol: Protocol,
    /// Who may come in so far …
    pub before: Option<Sources>,
    /// … and from now on.
    pub after: Option<Sources>,
    /// Of the rule that is new, or else of the one that goes.
    pub why: String,
}

/// In the order of ports. Whether either of the two is enforced does not matter here: that is for the caller to say.
#[must_use]
pub fn changes(before: &FirewallRules, after: &FirewallRules) -> Vec<Change> {
    let (before, after) = (by_port(before), by_port(after));
    let places: BTreeSet<Place> = before.keys().chain(after.keys()).copied().collect();
    let at = |place: Place| {
        let (old, new) = (before.get(&place), after.get(&place));
        let sources = |rule: Option<&&FirewallRule>| rule.map(|rule| rule.from.clone());
        let why = new.or(old).map(|rule| rule.why.clone()).unwrap_or_default();
        Change { ports: place.0, protocol: place.1, before: sources(old), after: sources(new), why }
    };
    places.into_iter().map(at).filter(|change| change.before != change.after).collect()
}

type Place = ((u16, u16), Protocol);

fn by_port(rules: &FirewallRules) -> BTreeMap<Place, &FirewallRule> {
    rules.rules.iter().map(|rule| ((rule.ports, rule.protocol), rule)).collect()
}

/// `5432/tcp: opened to 10.0.0.4 (postgres (db), from servers that run hits)`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = self.ports;
        write!(f, "{first}")?;
        if first != last {
            write!(f, "-{last}")?;
        }
        let what = match (&self.before, &self.after) {
            (Some(Sources::Of(before)), Some(Sources::Of(after))) => exchanged(before, after),
            (_, Some(after)) if self.before != Some(Sources::Anywhere) => format!("opened to {after}"),
            (_, Some(after)) => format!("closed to all but {after}"),
            (Some(before), None) => format!("closed to {before}"),
            (None, None) => "as it was".to_owned(),
        };
        write!(f, "/{}: {what} ({})", self.protocol, self.why)
    }
}

fn exchanged(before: &BTreeSet<Cidr>, after: &BTreeSet<Cidr>) -> String {
    let mut parts = Vec::new();
    for (word, some, others) in [("opened", after, before), ("closed", before, after)] {
        let more: BTreeSet<Cidr> = some.difference(others).copied().collect();
        if !more.is_empty() {
            parts.push(format!("{word} to {}", Sources::Of(more.into())));
        }
    }
    parts.join(", ")
}
