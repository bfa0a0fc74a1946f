//! Which lines a reader wants.

use std::collections::BTreeSet;

use pando_model::name::AppName;
use pando_model::time::Timestamp;

/// Which lines of one app's logs to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    pub app: AppName,
    pub sources: Sources,
    /// Lines of this time and later. `None`: from the oldest kept.
    pub since: Option<Timestamp>,
    /// At most so many of the newest lines (over all sources, in the order of time) before following; at most
    /// [`Query::MOST_TAIL`]. `None`: all.
    pub tail: Option<usize>,
    /// Goes on with lines that are written later, also of replicas that start later.
    pub follow: bool,
}

impl Query {
    /// A larger `tail` counts as this: the lines wait in memory until the last is known.
    pub const MOST_TAIL: usize = 10_000;

    /// Everything that is kept of `app`.
    #[must_use]
    pub fn all(app: AppName) -> Self {
        Self { app, sources: Sources::All, since: None, tail: None, follow: false }
    }
}

/// Whose lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sources {
    All,
    /// Exactly these, such as `web-2` or `release`.
    Names(BTreeSet<String>),
    /// Every replica of a process: `web` means `web-1`, `web-2` …, not `web-api-1`.
    Process(String),
}

impl Sources {
    #[must_use]
    pub fn holds(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Names(names) => names.contains(name),
            Self::Process(process) => match name.rsplit_once('-') {
                Some((of, ordinal)) if of == process => ordinal.bytes().all(|b| b.is_ascii_digit()),
                _ => name == process,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_means_its_replicas_only() {
        let web = Sources::Process("web".to_owned());
        for (name, held) in
            [("web-1", true), ("web-12", true), ("web", true), ("web-api-1", false), ("worker-1", false)]
        {
            assert_eq!(web.holds(name), held, "{name}");
        }
        assert!(!Sources::Names(BTreeSet::from(["web-1".to_owned()])).holds("web-12"));
    }
}
