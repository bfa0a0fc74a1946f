//! Where in a table something is wrong, as a path, and where that is in a text.

use std::fmt;

use super::{RuleFault, TableError};
use crate::table::Table;

/// One fault of a table, for whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub place: Place,
    /// What is wrong, in a sentence.
    pub text: String,
}

/// A path into a table, such as `pools.web.endpoints[0].address`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.place, self.text)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if n == 0 => write!(f, "{key}")?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl TableError {
    /// What it says of `table`, and where.
    #[must_use]
    pub fn fault(&self, table: &Table) -> Fault {
        Fault { place: self.place(table), text: self.to_string() }
    }

    fn place(&self, table: &Table) -> Place {
        match self {
            Self::Schema(_) => Place::of("schema"),
            Self::ManySubjects(_) => Place::of("rules"),
            Self::ManyAlike { host, .. } => rule(table, 0, |rule| rule.host.to_string() == *host),
            Self::UnknownPool { rule: label, pool } => {
                let named = |rule: &crate::rule::Rule| rule.pools().any(|named| named.0 == *pool);
                rule(table, 0, |rule| rule.label() == *label && named(rule))
            }
            Self::Rule { rule: label, fault } => {
                let found = rule(table, 0, |rule| rule.label() == *label);
                fault.within().iter().fold(found, |place, key| place.key(key))
            }
            Self::TwiceTheSame(label) => {
                rule(table, 1, |rule| format!("{}{}", rule.host, rule.path) == *label)
            }
            Self::TwoNames(name) => rule(table, 1, |rule| rule.name.as_deref() == Some(name)).key("name"),
            Self::LargePage { set, statuses, .. } => {
                Place::of("error_pages").key(set).key("pages").key(statuses)
            }
            Self::User { set, user, .. } => Place::of("secret").key("users").key(set).key(user),
            Self::EndpointTwice { id, second, .. } => {
                endpoint(table, second, |endpoint| endpoint.id.to_string() == *id).key("id")
            }
            Self::NoPort { pool, address } => {
                endpoint(table, pool, |endpoint| endpoint.address.to_string() == *address).key("address")
            }
            Self::Range { pool, what: "an endpoint's weight", value, .. } => {
                endpoint(table, pool, |endpoint| u64::from(endpoint.weight) == *value).key("weight")
            }
            Self::Zero { pool, what } | Self::Range { pool, what, .. } | Self::Name { pool, what, .. } => {
                keys(what).iter().fold(Place::of("pools").key(pool), |place, key| place.key(key))
            }
            Self::HedgeSticky { pool } => Place::of("pools").key(pool).key("hedge"),
            Self::ProbeGrpc { pool } => Place::of("pools").key(pool).key("probe").key("kind"),
            Self::ProbePath { pool, .. } => Place::of("pools").key(pool).key("probe").key("kind").key("path"),
            Self::Canonical { host, .. } => Place::of("hosts").key(host).key("https").key("canonical"),
            Self::Preload { host } => Place::of("hosts").key(host),
            Self::Ca { ca, .. } => Place::of("ca_certificates").key(ca),
            Self::ClientCertificate { certificate, .. } => {
                Place::of("secret").key("client_certificates").key(certificate)
            }
            Self::ClientAuth { host, .. } => Place::of("hosts").key(host).key("https").key("client_auth"),
            Self::Tls { pool, .. } => Place::of("pools").key(pool).key("tls"),
            Self::Certificate { certificate, .. } => certificates(table, 0, certificate),
            Self::TwoCertificates(host) => certificates(table, 1, host),
            Self::ManyTicketKeys(_) => Place::of("secret").key("ticket_keys"),
        }
    }
}

impl RuleFault {
    /// The keys that lead to it within its rule, as far as they are known.
    fn within(&self) -> Vec<&str> {
        match self {
            Self::Name => vec!["name"],
            Self::Path(_) => vec!["path"],
            Self::NoPrefix | Self::TwoPaths => vec!["strip_prefix"],
            Self::RedirectStatus(_) => vec!["redirect", "status"],
            Self::RedirectHost(_) => vec!["redirect", "host"],
            Self::NoRedirect => vec!["redirect"],
            Self::NoWeight => vec!["split"],
            Self::AnyOrigin => vec!["filters", "cors", "origins"],
            Self::Range { what, .. } => match &keys(what)[..] {
                [first @ ("maintenance" | "pause" | "forward_auth" | "cors" | "mirror"), rest @ ..] => {
                    [&["filters", first], rest].concat()
                }
                ["respond", rest @ ..] => [&["respond"], rest].concat(),
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }
}

/// What names a place by its keys, at the end of a phrase or alone.
fn keys(what: &str) -> Vec<&str> {
    let last = what.rsplit(' ').next().unwrap_or_default();
    let is_keys = last == what || last.contains('.');
    if is_keys { last.split('.').collect() } else { Vec::new() }
}

/// The rule after so many of those that are meant, else the last of them.
fn rule(table: &Table, skip: usize, is_it: impl Fn(&crate::rule::Rule) -> bool) -> Place {
    let found: Vec<usize> =
        table.rules.iter().enumerate().filter(|(_, rule)| is_it(rule)).map(|(n, _)| n).collect();
    let place = Place::of("rules");
    match found.get(skip).or(found.last()) {
        Some(n) => place.index(*n),
        None => place,
    }
}

fn endpoint(table: &Table, pool: &str, is_it: impl Fn(&crate::table::Endpoint) -> bool) -> Place {
    let place = Place::of("pools").key(pool);
    let pools = table.pools.iter().find(|(id, _)| id.0 == *pool);
    let found = pools.and_then(|(_, pool)| pool.endpoints.iter().rposition(is_it));
    found.map_or(place.clone(), |n| place.key("endpoints").index(n))
}

fn certificates(table: &Table, skip: usize, host: &str) -> Place {
    let place = Place::of("secret").key("certificates");
    let all = table.secret.certificates.iter().enumerate();
    let mut found =
        all.filter(|(_, one)| one.hosts.iter().any(|name| name.to_string() == host)).map(|(n, _)| n);
    found.nth(skip).map_or(place.clone(), |n| place.index(n))
}

impl Place {
    fn of(key: &str) -> Self {
        Self::default().key(key)
    }

    fn key(mut self, key: &str) -> Self {
        self.0.push(Step::Key(key.to_owned()));
        self
    }

    fn index(mut self, index: usize) -> Self {
        self.0.push(Step::Index(index));
        self
    }

    /// Line and column of the place in the table's text, from 1; of what is around it where the text doesn't say it. `json` has been
    /// read without errors.
    #[must_use]
    pub fn in_text(&self, json: &[u8]) -> (usize, usize) {
        let mut scan = Scan { json, at: 0 };
        scan.skip_space();
        for step in &self.0 {
            let before = scan.at;
            if scan.enter(step).is_none() {
                scan.at = before;
                break;
            }
        }
        let before = &json[..scan.at.min(json.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        (line, String::from_utf8_lossy(&before[start..]).chars().count() + 1)
    }
}

/// Walks through JSON that is known to be some.
struct Scan<'a> {
    json: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.json.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Past a punctuation mark, and to what follows it.
    fn pass(&mut self, mark: u8) -> Option<()> {
        (self.peek()? == mark).then(|| self.at += 1)?;
        self.skip_space();
        Some(())
    }

    /// From the beginning of a value to the one that the step leads to.
    fn enter(&mut self, step: &Step) -> Option<()> {
        match step {
            Step::Key(wanted) => {
                self.pass(b'{')?;
                loop {
                    let start = self.at;
                    self.skip_value()?;
                    let key: String = serde_json::from_slice(self.json.get(start..self.at)?).ok()?;
                    self.skip_space();
                    self.pass(b':')?;
                    if key == *wanted {
                        return Some(());
                    }
                    self.next()?;
                }
            }
            Step::Index(wanted) => {
                self.pass(b'[')?;
                for _ in 0..*wanted {
                    self.next()?;
                }
                (self.peek()? != b']').then_some(())
            }
        }
    }

    /// Past a value and the comma behind it.
    fn next(&mut self) -> Option<()> {
        self.skip_value()?;
        self.skip_space();
        self.pass(b',')
    }

    fn skip_value(&mut self) -> Option<()> {
        let mut depth = 0usize;
        loop {
            match self.peek()? {
                b'"' => self.skip_string()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                _ => self.skip_word(),
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// A number, or a name of JSON's own.
    fn skip_word(&mut self) {
        let is_end = |byte: u8| matches!(byte, b',' | b'}' | b']' | b':') || byte.is_ascii_whitespace();
        while self.peek().is_some_and(|byte| !is_end(byte)) {
            self.at += 1;
        }
    }

    fn skip_string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            match self.peek()? {
                b'\\' => self.at += 2,
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                _ => self.at += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAD: &str = r#"{
  "version": {"epoch": 1, "revision": 1},
  "rules": [
    {"host": "a.example", "pool": "w\u0065b"},
    {"host": "a.example", "path": "/x", "pool": "gone", "filters": {"pause": {"most": 0}}},
    {"host": "a.example", "pool": "web"},
    {"host": "*", "redirect": {"status": 200, "path": {"to": "/"}}}
  ],
  "pools": {"other": {"endpoints": []}, "web": {
    "retry": {"attempts": 100},
    "endpoints": [
      {"id": "01890a5d-ac96-774b-bcce-b302099a8057", "address": "127.0.0.1:80", "weight": 1000},
      {"id": "01890a5d-ac96-774b-bcce-b302099a8057", "address": "127.0.0.1:0"}
    ],
    "timeouts": {"idle_millis": 0}}},
  "hosts": {"b.example": {"https": {"canonical": "b.example"}}},
  "secret": {"ticket_keys": []}
}"#;

    #[test]
    fn each_fault_has_its_place_and_line() {
        let table = Table::read(BAD.as_bytes()).unwrap();
        let faults: Vec<Fault> =
            table.validate().unwrap_err().iter().map(|error| error.fault(&table)).collect();
        let places: Vec<(String, (usize, usize))> = faults
            .iter()
            .map(|fault| (fault.place.to_string(), fault.place.in_text(BAD.as_bytes())))
            .collect();
        for (place, line, column) in [
            ("rules[1]", 5, 5),
            ("rules[1].filters.pause.most", 5, 87),
            ("rules[2]", 6, 5),
            ("rules[3].redirect.status", 7, 42),
            ("pools.web.endpoints[0].weight", 12, 91),
            ("pools.web.endpoints[1].address", 13, 65),
            ("pools.web.endpoints[1].id", 13, 14),
            ("pools.web.timeouts.idle_millis", 15, 33),
            ("pools.web.retry.attempts", 10, 27),
            ("hosts.b.example.https.canonical", 16, 50),
        ] {
            assert!(
                places.contains(&(place.to_owned(), (line, column))),
                "{place} {line}:{column} in {places:#?}"
            );
        }
        let port = faults.iter().find(|fault| fault.place.to_string().ends_with("[1].address")).unwrap();
        assert_eq!(
            port.to_string(),
            "`pools.web.endpoints[1].address`: pool `web`: endpoint 127.0.0.1:0 has no port"
        );
    }

    #[test]
    fn what_the_text_does_not_say_is_around() {
        let json = br#"{"pools": {"a\"b": {"x": [1, "]", {}]}}}"#;
        let place = |keys: [&str; 3]| keys[1..].iter().fold(Place::of(keys[0]), |place, key| place.key(key));
        assert_eq!(place(["pools", "a\"b", "x"]).in_text(json), (1, 26));
        assert_eq!(place(["pools", "a\"b", "y"]).in_text(json), (1, 20));
        assert_eq!(place(["pools", "a\"b", "x"]).index(2).in_text(json), (1, 35));
        assert_eq!(place(["pools", "a\"b", "x"]).index(3).in_text(json), (1, 26));
        assert_eq!(place(["rules", "a", "b"]).in_text(json), (1, 1));
    }
}
