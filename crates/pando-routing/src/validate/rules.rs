//! What must hold of rules, of the pages that they name, and of the users that they let in.

mod filters;
mod passwords;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::{TableError, is_token};
use crate::policy::HashKey;
use crate::rule::{
    Destination, PathMatch, Redirect, Respond, Rewrite, Rule, Split, Stick, Template, Test, When,
};
use crate::table::{Host, Table};

/// Patterns of one host at most: they are walked.
const MOST_PATTERNS: usize = 256;
/// Rules for one host and path at most: they are walked.
const MOST_ALIKE: usize = 64;
/// Bytes of an answer, or of a page, that stands in a table.
const MOST_BODY: usize = 64 << 10;
const MOST_CONDITIONS: usize = 32;
const MOST_VALUES: usize = 256;
/// Networks in one list.
const MOST_NETWORKS: usize = 10_000;
const LONGEST_NAME: usize = 100;
/// What all rate limits remember: 128 MB.
const MOST_SUBJECTS: u64 = 8_000_000;

/// What is wrong with one rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleFault {
    #[error("a path starts with `/` and has no `?`, `#` or white space, unlike `{0}`")]
    Path(String),
    #[error("a rule's name has 1 to 100 characters, none of which is a control character")]
    Name,
    #[error("only a prefix can be stripped or replaced; write `rewrite: {{\"to\": …}}` for this path")]
    NoPrefix,
    #[error("`strip_prefix` and `rewrite` both say what the path becomes")]
    TwoPaths,
    #[error("`{{{0}}}` stands for nothing: the rule's path has no place of that name")]
    NoPlace(String),
    #[error("{what} is {value}; it must be {least} to {most}")]
    Range { what: &'static str, value: u64, least: u64, most: u64 },
    #[error("{what} `{name}` is not a name that a header, a cookie or a method can have")]
    Token { what: &'static str, name: String },
    #[error("the header `{0}` is part of how messages are framed and can't be changed")]
    Framing(String),
    #[error("the status {0} is none that a redirect can have; take 301, 302, 303, 307 or 308")]
    RedirectStatus(u16),
    #[error("a redirect leads to one host, not to `{0}`")]
    RedirectHost(String),
    #[error("a redirect names none of `scheme`, `host`, `port` and `path`: it would lead to itself")]
    NoRedirect,
    #[error("{what}: {count} are too many; at most {most} are taken")]
    Many { what: &'static str, count: usize, most: usize },
    #[error("all sides of the split have the weight 0")]
    NoWeight,
    #[error("{what} `{name}` is there twice")]
    Twice { what: &'static str, name: String },
    #[error("there is no `{name}` among {what}")]
    Unknown { what: &'static str, name: String },
    #[error(
        "any origin, and with cookies: every page in the world could act for your visitors; name the origins"
    )]
    AnyOrigin,
    #[error("{0} must not be empty")]
    Empty(&'static str),
    #[error("{0}")]
    Other(&'static str),
}

/// Collects what is wrong with one rule.
struct Faults<'a> {
    rule: &'a Rule,
    found: Vec<RuleFault>,
}

pub(super) fn check(table: &Table, errors: &mut Vec<TableError>) {
    check_doubles(table, errors);
    check_walks(table, errors);
    for rule in &table.rules {
        let unknown = rule.pools().filter(|pool| !table.pools.contains_key(pool));
        errors.extend(
            unknown.map(|pool| TableError::UnknownPool { rule: rule.label(), pool: pool.to_string() }),
        );
        let mut faults = Faults { rule, found: Vec::new() };
        faults.check(table);
        let named = |fault| TableError::Rule { rule: rule.label(), fault };
        errors.extend(faults.found.into_iter().map(named));
    }
    check_subjects(table, errors);
    check_pages(table, errors);
    passwords::check(&table.secret.users, errors);
}

fn check_doubles(table: &Table, errors: &mut Vec<TableError>) {
    let mut names = BTreeSet::new();
    let named = table.rules.iter().filter_map(|rule| rule.name.as_ref());
    errors
        .extend(named.filter(|name| !names.insert(*name)).map(|name| TableError::TwoNames(name.to_string())));
    let mut seen: BTreeMap<_, Vec<&When>> = BTreeMap::new();
    for rule in &table.rules {
        let alike = seen.entry((&rule.host, rule.place().1)).or_default();
        if alike.contains(&&rule.when) {
            errors.push(TableError::TwiceTheSame(format!("{}{}", rule.host, rule.path)));
        }
        // Comparing each with each is bounded, too.
        if alike.len() < MOST_ALIKE {
            alike.push(&rule.when);
        }
    }
}

fn check_walks(table: &Table, errors: &mut Vec<TableError>) {
    let mut patterns: HashMap<&Host, usize> = HashMap::new();
    let mut alike: HashMap<_, usize> = HashMap::new();
    for rule in &table.rules {
        if matches!(rule.path, PathMatch::Pattern(_)) {
            *patterns.entry(&rule.host).or_default() += 1;
        }
        if !rule.when.is_empty() {
            *alike.entry((&rule.host, rule.place().1)).or_default() += 1;
        }
    }
    let mut walks: Vec<_> = patterns
        .into_iter()
        .map(|(host, count)| (host, "with patterns", count, MOST_PATTERNS))
        .chain(
            alike
                .into_iter()
                .map(|((host, _), count)| (host, "with conditions for one path", count, MOST_ALIKE)),
        )
        .filter(|(_, _, count, most)| count > most)
        .collect();
    walks.sort_unstable();
    errors.extend(walks.into_iter().map(|(host, what, count, most)| TableError::ManyAlike {
        host: host.to_string(),
        what,
        count,
        most,
    }));
}

/// Their memory is taken at once.
fn check_subjects(table: &Table, errors: &mut Vec<TableError>) {
    let limits = table.rules.iter().flat_map(|rule| &rule.filters).flat_map(|filters| &filters.rate_limits);
    let all: u64 = limits.map(|limit| u64::from(limit.subjects)).sum();
    if all > MOST_SUBJECTS {
        errors.push(TableError::ManySubjects(all));
    }
}

fn check_pages(table: &Table, errors: &mut Vec<TableError>) {
    for (set, pages) in &table.error_pages {
        for (statuses, page) in &pages.pages {
            let large = page.texts().map(|text| text.len()).filter(|size| *size > MOST_BODY);
            errors.extend(large.map(|size| TableError::LargePage {
                set: set.to_string(),
                statuses: statuses.to_string(),
                size,
            }));
        }
    }
}

impl Faults<'_> {
    fn check(&mut self, table: &Table) {
        let rule = self.rule;
        if rule.name.as_ref().is_some_and(|name| !is_name(name)) {
            self.found.push(RuleFault::Name);
        }
        if let PathMatch::Prefix(path) | PathMatch::Exact(path) = &rule.path {
            self.path(path);
        }
        if rule.strip_prefix && rule.prefix().is_none() {
            self.found.push(RuleFault::NoPrefix);
        }
        self.when(&rule.when);
        match &rule.to {
            Destination::Pool(_) => {}
            Destination::Split(split) => self.split(split),
            Destination::Redirect(redirect) => self.redirect(redirect),
            Destination::Respond(respond) => self.respond(respond),
        }
        if let Some(filters) = &rule.filters {
            self.filters(filters, table);
        }
    }

    fn path(&mut self, path: &str) {
        let odd = |c: char| c == '?' || c == '#' || c.is_whitespace() || c.is_control();
        if !path.starts_with('/') || path.contains(odd) {
            self.found.push(RuleFault::Path(path.to_owned()));
        }
    }

    fn when(&mut self, when: &When) {
        self.bounded("conditions", when.count(), MOST_CONDITIONS);
        self.bounded("methods", when.methods.len(), MOST_CONDITIONS);
        self.bounded("networks of a condition", when.from.len(), MOST_VALUES);
        let names = when.methods.iter().map(|name| ("the method", &**name));
        let names = names.chain(when.headers.keys().map(|name| ("the header", &**name)));
        let names = names.chain(when.cookies.keys().map(|name| ("the cookie", &**name)));
        names.for_each(|(what, name)| self.token(what, name));
        let tests = when.headers.values().chain(when.cookies.values()).chain(when.query.values());
        for test in tests {
            if let Test::OneOf(values) = test {
                self.bounded("values of one condition", values.len(), MOST_VALUES);
            }
        }
    }

    fn split(&mut self, split: &Split) {
        self.range("the number of sides", split.sides.len() as u64, 2, 16);
        split.sides.iter().for_each(|side| self.range("a side's weight", side.weight.into(), 0, 1_000_000));
        if split.sides.iter().all(|side| side.weight == 0) {
            self.found.push(RuleFault::NoWeight);
        }
        let mut seen = BTreeSet::new();
        for side in split.sides.iter().filter(|side| !seen.insert(&side.pool)) {
            self.found.push(RuleFault::Twice { what: "the pool", name: side.pool.to_string() });
        }
        match &split.stick {
            Some(Stick::Cookie(cookie)) => {
                self.token("the cookie", &cookie.name);
                self.range("max_age_seconds", cookie.max_age_seconds, 0, 365 * 86_400);
            }
            Some(Stick::Hash(HashKey::Header(name))) => self.token("the header", name),
            Some(Stick::Hash(HashKey::Cookie(name))) => self.token("the cookie", name),
            Some(Stick::Hash(HashKey::Address | HashKey::Path)) | None => {}
        }
    }

    fn redirect(&mut self, redirect: &Redirect) {
        let Redirect { status, scheme, host, port, path, keep_query: _ } = redirect;
        if !matches!(status, 301 | 302 | 303 | 307 | 308) {
            self.found.push(RuleFault::RedirectStatus(*status));
        }
        match host {
            None | Some(Host::Exact(_)) => {}
            Some(host) => self.found.push(RuleFault::RedirectHost(host.to_string())),
        }
        if scheme.is_none() && host.is_none() && port.is_none() && path.is_none() {
            self.found.push(RuleFault::NoRedirect);
        }
        if *port == Some(0) {
            self.range("port", 0, 1, 65_535);
        }
        path.iter().for_each(|path| self.rewrite(path));
    }

    fn respond(&mut self, respond: &Respond) {
        self.range("respond.status", respond.status.into(), 200, 599);
        self.range("the size of respond.body", respond.body.len() as u64, 0, MOST_BODY as u64);
        if matches!(respond.status, 204 | 205 | 304) && !respond.body.is_empty() {
            self.found.push(RuleFault::Other("an answer of that status has no body"));
        }
        self.bounded("respond.headers", respond.headers.len(), MOST_CONDITIONS);
        respond.headers.iter().for_each(|(name, value)| self.changed(name, value));
    }

    fn rewrite(&mut self, rewrite: &Rewrite) {
        match rewrite {
            Rewrite::Prefix(prefix) => {
                self.path(prefix);
                if self.rule.prefix().is_none() {
                    self.found.push(RuleFault::NoPrefix);
                }
            }
            Rewrite::To(template) => {
                if !template.text().starts_with('/') {
                    self.found.push(RuleFault::Path(template.text().to_owned()));
                }
                self.template(template);
            }
        }
    }

    /// A header that is written.
    fn changed(&mut self, name: &Arc<str>, value: &Template) {
        self.token("the header", name);
        if is_framing(name) {
            self.found.push(RuleFault::Framing(name.to_string()));
        }
        self.template(value);
    }

    fn template(&mut self, template: &Template) {
        let rule = self.rule;
        let has = |place: &str| match &rule.path {
            PathMatch::Pattern(pattern) => pattern.names().any(|name| name == place),
            PathMatch::Prefix(_) | PathMatch::Exact(_) => false,
        };
        let missing = template.places().filter(|place| !has(place));
        self.found.extend(missing.map(|place| RuleFault::NoPlace(place.to_owned())));
    }

    fn token(&mut self, what: &'static str, name: &str) {
        if !is_token(name) {
            self.found.push(RuleFault::Token { what, name: name.to_owned() });
        }
    }

    fn range(&mut self, what: &'static str, value: u64, least: u64, most: u64) {
        if !(least..=most).contains(&value) {
            self.found.push(RuleFault::Range { what, value, least, most });
        }
    }

    fn bounded(&mut self, what: &'static str, count: usize, most: usize) {
        if count > most {
            self.found.push(RuleFault::Many { what, count, most });
        }
    }
}

fn is_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.chars().count()) && !name.contains(|c: char| c.is_control())
}

/// Fields that say where a message ends, or are for one connection alone.
fn is_framing(name: &str) -> bool {
    const FRAMING: [&str; 10] = [
        "connection",
        "content-length",
        "expect",
        "http2-settings",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    FRAMING.iter().any(|framing| framing.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests;
