//! Names of services in the values of variables and in commands. In Compose's network they are addresses; here databases and
//! caches are told as `services`, and for others a note says what to write.

use std::collections::BTreeMap;
use std::ops::Range;

use super::databases::Database;
use super::{Process, Service};
use crate::diagnostic::quoted;
use crate::import::draft::Draft;
use crate::import::variables::{From, Variable};
use crate::tree::Node;

/// What every name in the network means: the service that answers to it.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<String, String>);

/// A name where an address stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place<'a> {
    range: Range<usize>,
    pub(super) name: &'a str,
    port: Option<u16>,
    /// The whole value is the name, which may mean something else.
    bare: bool,
}

impl Names {
    pub(super) fn of(services: &[Service]) -> Self {
        let mut names = BTreeMap::new();
        for service in services {
            let mut add = |name: &str, of: &str| {
                names.entry(name.to_owned()).or_insert_with(|| of.to_owned());
            };
            add(&service.name, &service.name);
            if let Some(alias) = service.node.get("container_name").and_then(Node::scalar) {
                add(&alias.text, &service.name);
            }
            let networks = service.node.get("networks").and_then(Node::entries).unwrap_or_default();
            let aliases = networks.iter().filter_map(|entry| entry.value.get("aliases")?.items()).flatten();
            aliases.filter_map(Node::scalar).for_each(|alias| add(&alias.text, &service.name));
            let links = service.node.get("links").and_then(Node::items).unwrap_or_default();
            let links = links.iter().filter_map(|link| link.scalar()?.text.split_once(':'));
            links.for_each(|(other, alias)| add(alias, other));
        }
        Self(names)
    }

    pub(super) fn places<'a>(&self, value: &'a str) -> Vec<Place<'a>> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        let mut places = Vec::new();
        let mut at = 0;
        while let Some(start) = value[at..].find(is_part).map(|found| at + found) {
            let end = value[start..].find(|c| !is_part(c)).map_or(value.len(), |found| start + found);
            let name = &value[start..end];
            if self.0.contains_key(name) && is_address(value, start..end) {
                let bare = name.len() == value.len();
                places.push(Place { range: start..end, name, port: port_after(&value[end..]), bare });
            }
            at = end;
        }
        places
    }
}

fn port_after(rest: &str) -> Option<u16> {
    let digits = rest.strip_prefix(':')?;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok().filter(|port| *port > 0)
}

/// Whether an address is meant there: in a URL's authority, behind `host=`, before a port, or all alone.
fn is_address(value: &str, range: Range<usize>) -> bool {
    let (before, after) = (&value[..range.start], &value[range.end..]);
    let ends =
        after.is_empty() || after.starts_with([':', '/', ',', ')', ';', '?', ' ', '\'', '"', '&', ']']);
    if !ends {
        return false;
    }
    if let Some((_, authority)) =
        before.rsplit_once("://").filter(|(_, rest)| !rest.contains(['/', '?', '#', ' ', ';']))
    {
        // Where a user stands before `@`, the name is not the host.
        let rest = after.split(['/', '?', '#', ' ', ';', ',']).next().unwrap_or_default();
        let is_host = authority.is_empty() || authority.ends_with(['@', ',']);
        return is_host && !rest.contains('@');
    }
    let key = before.strip_suffix('=').map(str::to_ascii_lowercase);
    let of_host = |key: &String| {
        ["host", "server", "address", "addr", "source", "url"].iter().any(|end| key.ends_with(end))
    };
    if key.as_ref().is_some_and(of_host) || before.ends_with(['@', '(']) {
        return true;
    }
    let first = before.is_empty() || before.ends_with([',', ' ', '=', '\'', '"', '[']);
    let lowest = if value.contains(',') { 1 } else { 80 };
    first && (port_after(after).is_some_and(|port| port >= lowest) || (before.is_empty() && after.is_empty()))
}

/// Parts of names of variables that are addresses, and of such as are something else.
const ADDRESSES: [&str; 9] = ["HOST", "SERVER", "ADDR", "ENDPOINT", "URL", "URI", "NODE", "SEED", "BROKER"];
const OTHERS: [&str; 24] = [
    "CONNECTION",
    "DRIVER",
    "USER",
    "NAME",
    "PASS",
    "DATABASE",
    "ADAPTER",
    "DIALECT",
    "TYPE",
    "ENGINE",
    "STORE",
    "BACKEND",
    "ENV",
    "MODE",
    "ROLE",
    "PROVIDER",
    "KIND",
    "_DB",
    "CLIENT",
    "QUEUE",
    "MAILER",
    "DISK",
    "PREFIX",
    "SCHEMA",
];

/// Whether a variable of that name, whose value is no more than a name, is an address. `None`: it can't be told.
fn names_an_address(variable: &str) -> Option<bool> {
    let upper = variable.to_ascii_uppercase();
    let has = |words: &[&str]| words.iter().any(|word| upper.contains(word));
    match () {
        () if has(&ADDRESSES) => Some(true),
        () if has(&OTHERS) => Some(false),
        () => None,
    }
}

/// The services of a file, as far as variables name them.
pub(super) struct Resolver<'a> {
    pub(super) names: &'a Names,
    pub(super) databases: &'a mut Vec<Database>,
    /// Names of `services` that are given already.
    pub(super) taken: &'a mut Vec<String>,
    /// What the app runs itself.
    pub(super) own: &'a [String],
}

impl Resolver<'_> {
    pub(super) fn resolve(&mut self, process: &mut Process, draft: &mut Draft) {
        for variable in &mut process.env {
            self.variable(variable, draft);
        }
        let line = process.keys.iter().find_map(|(key, value)| match value {
            crate::import::write::Out::Text(line) if key == "command" => Some(line.clone()),
            _ => None,
        });
        for place in line.as_deref().map(|line| self.names.places(line)).unwrap_or_default() {
            draft.note(format!(
                "`command` of `{}`: it names the service {}, whose name is no address here; say where it is in `env`, and wait for it \
                 in the app",
                process.service,
                quoted(place.name)
            ));
        }
    }

    fn variable(&mut self, variable: &mut Variable, draft: &mut Draft) {
        let From::Value(value) = &variable.value else { return };
        let places = self.names.places(value);
        let Some(first) = places.first() else { return };
        let service = self.names.0[first.name].clone();
        let (shown, name) = (quoted(first.name), &variable.name);
        if first.bare && names_an_address(name) != Some(true) {
            if names_an_address(name).is_none() {
                draft.note(format!(
                    "`env`: `{name}` is {shown}, which is the name of a service, too; if its address is meant, write that of its server"
                ));
            }
            return;
        }
        let same = places.iter().all(|place| self.names.0[place.name] == service);
        let database = self.databases.iter_mut().find(|database| database.service == service && same);
        if let Some(database) = database {
            let url = (!first.bare).then(|| template(value, &places));
            if let Some(name) = database.declare(url, first.port, self.taken) {
                variable.value = From::Service(name);
                return;
            }
        }
        draft.note(self.advice(name, &places));
    }

    fn advice(&self, variable: &str, places: &[Place<'_>]) -> String {
        let shown: Vec<&str> = places.iter().map(|place| place.name).collect();
        let shown = crate::decode::listed(shown, "and");
        let own = places.iter().any(|place| self.own.contains(&self.names.0[place.name]));
        if own {
            return format!(
                "`env`: `{variable}` names {shown}: processes have no names in the network; requests reach them by the load balancer, at \
                 one of `domains` or by one of `routes`"
            );
        }
        format!(
            "`env`: `{variable}` names {shown}, which is no name in the network here: write the private address of its server, or its \
             domain"
        )
    }
}

/// `value` with `{host}` for each name, and `{port}` for each port behind one.
fn template(value: &str, places: &[Place<'_>]) -> String {
    let mut out = String::new();
    let mut at = 0;
    for place in places {
        out.push_str(&value[at..place.range.start]);
        out.push_str("{host}");
        at = place.range.end;
        if let Some(port) = place.port.filter(|port| Some(*port) == places[0].port) {
            out.push_str(":{port}");
            at += 1 + value[at + 1..].find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len() - at - 1);
            debug_assert!(port > 0 || at <= value.len(), "a port follows the name");
        }
    }
    out + &value[at..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(value: &str) -> Vec<String> {
        let names =
            ["db", "redis", "postgres", "es01", "es02"].map(|name| (name.to_owned(), name.to_owned()));
        let names = Names(BTreeMap::from(names));
        let places = names.places(value);
        if places.is_empty() { Vec::new() } else { vec![template(value, &places)] }
    }

    #[test]
    fn addresses_are_found_where_they_are_meant() {
        for (value, expected) in [
            ("postgres://app:pw@db:5432/app", "postgres://app:pw@{host}:{port}/app"),
            (
                "postgres://postgres:postgres@postgres/postgres",
                "postgres://postgres:postgres@{host}/postgres",
            ),
            ("redis://redis:6379/0", "redis://{host}:{port}/0"),
            ("redis://:pw@redis", "redis://:pw@{host}"),
            ("jdbc:postgresql://db:5432/app?user=db", "jdbc:postgresql://{host}:{port}/app?user=db"),
            ("host=db port=5432 user=db dbname=db", "host={host} port=5432 user=db dbname=db"),
            ("Server=db;Database=app;User Id=db", "Server={host};Database=app;User Id=db"),
            ("app:pw@tcp(db:3306)/app", "app:pw@tcp({host}:{port})/app"),
            ("db:5432", "{host}:{port}"),
            ("es01:9200,es02:9200", "{host}:{port},{host}:{port}"),
            ("db", "{host}"),
        ] {
            assert_eq!(found(value), [expected], "{value}");
        }
        for value in [
            "my-db:5432",
            "db.example.com",
            "web/db",
            "postgres://db:pw@elsewhere/db",
            "the db is here",
            "/var/lib/redis",
            "redis:7",
            "sqlite:///db",
            "https://example.com/db:90",
            "a=db",
        ] {
            assert_eq!(found(value), Vec::<String>::new(), "{value}");
        }
    }
}
