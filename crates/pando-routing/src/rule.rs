//! Traffic rules: which requests are meant, where they go, and what is done to them on the way.
//!
//! A rule is data. Matching is in [`matcher`](crate::matcher), what must hold in `validate`; carrying it out is for
//! proxies. What is left out of a rule does nothing and costs nothing.

pub mod access;
pub mod answers;
pub mod destination;
pub mod filters;
pub mod limits;
pub mod pattern;
pub mod template;
pub mod when;

use std::fmt;
use std::sync::Arc;

use serde::de::{MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::table::{Host, PoolId};
pub use destination::{Destination, Redirect, Respond, Rewrite, Side, Split, Stick};
pub use filters::Filters;
pub use pattern::Pattern;
pub use template::{Template, Variable};
pub use when::{Asks, Test, When};

/// What happens to requests for a host and a path. The most exact host wins, then the most exact path (a whole path, a
/// pattern, the longest prefix), then whoever asks for more in `when`; of rules alike in all that, the table's first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Rule {
    /// How metrics, logs and errors call it; one of a kind. Default: host and path, see [`Rule::label`].
    pub name: Option<Arc<str>>,
    pub host: Host,
    pub path: PathMatch,
    pub when: When,
    pub to: Destination,
    /// The replica sees the path without the prefix that matched.
    pub strip_prefix: bool,
    pub filters: Option<Box<Filters>>,
}

/// A rule as it is written: where it leads is said by one of four keys.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<Arc<str>>,
    host: Host,
    #[serde(default)]
    path: PathMatch,
    #[serde(default, skip_serializing_if = "When::is_empty")]
    when: When,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pool: Option<PoolId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    split: Option<Split>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    redirect: Option<Redirect>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    respond: Option<Respond>,
    #[serde(default)]
    strip_prefix: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    filters: Option<Box<Filters>>,
}

impl TryFrom<Written> for Rule {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written { name, host, path, when, pool, split, redirect, respond, strip_prefix, filters } =
            written;
        let wrong = || {
            format!(
                "the rule for `{host}{path}` must have exactly one of `pool`, `split`, `redirect` and `respond`"
            )
        };
        let to = match (pool, split, redirect, respond) {
            (Some(pool), None, None, None) => Destination::Pool(pool),
            (None, Some(split), None, None) => Destination::Split(split),
            (None, None, Some(redirect), None) => Destination::Redirect(redirect),
            (None, None, None, Some(respond)) => Destination::Respond(respond),
            _ => return Err(wrong()),
        };
        let filters = filters.filter(|filters| **filters != Filters::default());
        Ok(Self { name, host, path, when, to, strip_prefix, filters })
    }
}

impl From<Rule> for Written {
    fn from(rule: Rule) -> Self {
        let Rule { name, host, path, when, to, strip_prefix, filters } = rule;
        let (pool, split, redirect, respond) = match to {
            Destination::Pool(pool) => (Some(pool), None, None, None),
            Destination::Split(split) => (None, Some(split), None, None),
            Destination::Redirect(redirect) => (None, None, Some(redirect), None),
            Destination::Respond(respond) => (None, None, None, Some(respond)),
        };
        Self { name, host, path, when, pool, split, redirect, respond, strip_prefix, filters }
    }
}

impl Rule {
    /// Requests for `host` whose path begins with `prefix` go to `pool`, and nothing else is done.
    #[must_use]
    pub fn new(host: Host, prefix: impl Into<String>, pool: PoolId) -> Self {
        Self {
            name: None,
            host,
            path: PathMatch::Prefix(prefix.into()),
            when: When::default(),
            to: Destination::Pool(pool),
            strip_prefix: false,
            filters: None,
        }
    }

    /// Its name; without one, host and path, such as `example.com/api`. Rules alike in both are alike in this.
    #[must_use]
    pub fn label(&self) -> String {
        self.name.as_ref().map_or_else(|| format!("{}{}", self.host, self.path), ToString::to_string)
    }

    /// Which requests it is for: two rules alike in this are one too many.
    #[must_use]
    pub fn place(&self) -> (&Host, (u8, &str), &When) {
        (&self.host, self.path.meaning(), &self.when)
    }

    /// Every pool that it names, wherever.
    pub fn pools(&self) -> impl Iterator<Item = &PoolId> {
        let to: Vec<&PoolId> = match &self.to {
            Destination::Pool(pool) => vec![pool],
            Destination::Split(split) => split.sides.iter().map(|side| &side.pool).collect(),
            Destination::Redirect(_) | Destination::Respond(_) => Vec::new(),
        };
        let filters = self.filters.iter().flat_map(|filters| filters.pools());
        to.into_iter().chain(filters)
    }

    /// The prefix that the replica may be spared.
    #[must_use]
    pub fn prefix(&self) -> Option<&str> {
        match &self.path {
            PathMatch::Prefix(prefix) => Some(prefix.trim_end_matches('/')),
            PathMatch::Exact(_) | PathMatch::Pattern(_) => None,
        }
    }
}

/// Which paths are meant, in their normal spelling. Written `"/api"`, `{"exact": "/api"}` or `{"pattern": "/users/{id}"}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathMatch {
    /// Starts with `/`; `/api` means `/api` and whatever is below `/api/`.
    Prefix(String),
    /// This one alone; a slash at its end is part of it.
    Exact(String),
    Pattern(Pattern),
}

impl Default for PathMatch {
    /// All paths.
    fn default() -> Self {
        Self::Prefix("/".to_owned())
    }
}

impl PathMatch {
    /// Two that mean the same are alike in this.
    fn meaning(&self) -> (u8, &str) {
        match self {
            Self::Prefix(prefix) => (0, prefix.trim_end_matches('/')),
            Self::Exact(path) => (1, path),
            Self::Pattern(pattern) => (2, pattern.text()),
        }
    }
}

impl fmt::Display for PathMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix(text) | Self::Exact(text) => f.write_str(text),
            Self::Pattern(pattern) => f.write_str(pattern.text()),
        }
    }
}

/// What is not a plain prefix.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Special {
    Exact(String),
    Pattern(Pattern),
}

impl Serialize for PathMatch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Prefix(prefix) => serializer.serialize_str(prefix),
            Self::Exact(path) => Special::Exact(path.clone()).serialize(serializer),
            Self::Pattern(pattern) => Special::Pattern(pattern.clone()).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for PathMatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PathVisitor)
    }
}

struct PathVisitor;

impl<'de> Visitor<'de> for PathVisitor {
    type Value = PathMatch;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a prefix such as `/api`, or `{\"exact\": …}`, or `{\"pattern\": …}`")
    }

    fn visit_str<E>(self, text: &str) -> Result<PathMatch, E> {
        Ok(PathMatch::Prefix(text.to_owned()))
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<PathMatch, M::Error> {
        Ok(match Special::deserialize(MapAccessDeserializer::new(map))? {
            Special::Exact(path) => PathMatch::Exact(path),
            Special::Pattern(pattern) => PathMatch::Pattern(pattern),
        })
    }
}

#[cfg(test)]
mod tests;
