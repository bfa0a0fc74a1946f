//! Labels: what Traefik's say of domains and paths, and the names of the others.

use std::collections::BTreeMap;

use super::Process;
use crate::decode::{Leaf, listed};
use crate::diagnostic::quoted;
use crate::import::draft::{Draft, plain};
use crate::import::variables;
use crate::import::write::Out;
use crate::tree::{Node, Scalar};
use crate::value::{Host, UrlPath};

/// Requests to any of these hosts and one of these paths; none of a kind: whichever it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) hosts: Vec<String>,
    pub(super) paths: Vec<Path>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) path: String,
    pub(super) exact: bool,
}

/// Most alternatives that a rule is taken apart into.
const MOST: usize = 50;

/// The port that Traefik was told to send requests to.
pub(super) fn port(labels: &Node) -> Option<u16> {
    let of = |(key, value): (String, Option<String>)| {
        let is_port = key.starts_with("traefik.http.services.") && key.ends_with(".loadbalancer.server.port");
        value.filter(|_| is_port)?.parse().ok().filter(|port| *port > 0)
    };
    variables::pairs(labels).into_iter().find_map(of)
}

pub(super) fn carry_over(labels: &Node, process: &mut Process, draft: &mut Draft) {
    let mut others = Vec::new();
    let hidden = is_hidden(labels);
    for (key, value) in variables::pairs(labels) {
        let (key, value) = (key.trim().to_owned(), value.unwrap_or_default());
        let is_rule = key.starts_with("traefik.http.routers.") && key.ends_with(".rule");
        if is_rule && hidden {
            draft.note(format!(
                "`labels` of `{}`: with `traefik.enable: false`, {} brought it no requests; if they are to come to it, write it as \
                 `domains` or `routes`",
                process.service,
                quoted(&value)
            ));
        } else if is_rule {
            match rules(&value) {
                Some(found) => process.rules.extend(found),
                None => draft.note(format!(
                    "`labels` of `{}`: {} has more in it than `Host`, `Path` and `PathPrefix`; write it as `routes`",
                    process.service,
                    quoted(&value)
                )),
            }
        } else if !key.ends_with(".loadbalancer.server.port") && key != "traefik.enable" {
            others.push(key);
        }
    }
    tell_others(&others, process, draft);
}

/// Whether Traefik was told to pass it over.
fn is_hidden(labels: &Node) -> bool {
    let is_false = |value: &str| matches!(value, "0" | "f" | "F" | "false" | "False" | "FALSE");
    let enabled = variables::pairs(labels).into_iter().rfind(|(key, _)| key.trim() == "traefik.enable");
    enabled.and_then(|(_, value)| value).is_some_and(|value| is_false(value.trim()))
}

fn tell_others(others: &[String], process: &Process, draft: &mut Draft) {
    let (traefik, others): (Vec<&String>, Vec<&String>) =
        others.iter().partition(|key| key.starts_with("traefik."));
    let mut tell = |keys: &[&String], why: &str| {
        if !keys.is_empty() {
            let names = listed(
                keys.iter().map(|key| plain(key)).collect::<Vec<_>>().iter().map(String::as_str),
                "and",
            );
            draft.note(format!("`labels` of `{}`: {names}: {why}", process.service));
        }
    };
    tell(
        &traefik,
        "certificates and entrances are the load balancer's (`pando cert`); what middlewares did is written below `routes` and \
         `load_balancing`",
    );
    tell(&others, "containers carry Pando's labels alone");
}

/// What `rule` says in alternatives; `None`: more than can be said so.
fn rules(rule: &str) -> Option<Vec<Rule>> {
    let mut rest = rule;
    let found = either(&mut rest, 0)?;
    let rest_is_empty = rest.trim().is_empty();
    Some(found.into_iter().collect()).filter(|_| rest_is_empty)
}

fn either(rest: &mut &str, depth: usize) -> Option<Vec<Rule>> {
    let mut found = both(rest, depth)?;
    while take(rest, "||") {
        found.extend(both(rest, depth)?);
    }
    (found.len() <= MOST).then_some(found)
}

fn both(rest: &mut &str, depth: usize) -> Option<Vec<Rule>> {
    let mut found = one(rest, depth)?;
    while take(rest, "&&") {
        let more = one(rest, depth)?;
        let pairs = found.iter().flat_map(|rule| more.iter().map(move |other| and(rule, other)));
        found = pairs.collect::<Option<Vec<Rule>>>()?;
        if found.len() > MOST {
            return None;
        }
    }
    Some(found)
}

/// Two hosts, or two paths, at once are more than is said here.
fn and(rule: &Rule, other: &Rule) -> Option<Rule> {
    let pick = |one: bool, other: bool| !(one && other);
    let hosts = pick(!rule.hosts.is_empty(), !other.hosts.is_empty());
    let paths = pick(!rule.paths.is_empty(), !other.paths.is_empty());
    (hosts && paths).then(|| Rule {
        hosts: [&*rule.hosts, &*other.hosts].concat(),
        paths: [&*rule.paths, &*other.paths].concat(),
    })
}

fn one(rest: &mut &str, depth: usize) -> Option<Vec<Rule>> {
    if depth < 10 && take(rest, "(") {
        let found = either(rest, depth + 1)?;
        return take(rest, ")").then_some(found);
    }
    let open = rest.find('(')?;
    let (name, after) = rest.split_at(open);
    let close = after.find(')')?;
    let words = after[1..close].split(',').map(|word| word.trim().trim_matches(['`', '"', '\'']).to_owned());
    let words: Vec<String> = words.collect();
    let rule = match name.trim() {
        "Host" => Rule { hosts: hosts(words)?, paths: Vec::new() },
        "PathPrefix" => Rule { hosts: Vec::new(), paths: paths(words, false)? },
        "Path" => Rule { hosts: Vec::new(), paths: paths(words, true)? },
        _ => return None,
    };
    *rest = &after[close + 1..];
    Some(vec![rule])
}

fn take(rest: &mut &str, what: &str) -> bool {
    match rest.trim_start().strip_prefix(what) {
        Some(after) => {
            *rest = after;
            true
        }
        None => false,
    }
}

fn hosts(words: Vec<String>) -> Option<Vec<String>> {
    words.into_iter().map(|name| Host::parse(&Scalar::text(name)).ok().map(|host| host.0)).collect()
}

fn paths(words: Vec<String>, exact: bool) -> Option<Vec<Path>> {
    let fits =
        |path: &String| UrlPath::parse(&Scalar::text(path.clone())).is_ok() && !path.contains(['?', '{']);
    let path = |path: String| fits(&path).then_some(Path { path, exact });
    words.into_iter().map(path).collect()
}

/// `domains`, and the `routes` to other processes than `web` and to paths.
pub(super) fn write(processes: &[Process], draft: &mut Draft) {
    let mut domains: Vec<String> =
        processes.iter().flat_map(|process| &process.rules).flat_map(|rule| rule.hosts.clone()).collect();
    domains.sort();
    domains.dedup();
    if !domains.is_empty() {
        draft.set("domains", Out::List(domains.into_iter().map(Out::Text).collect()));
    } else if processes.iter().any(|process| process.name == "web") {
        draft.offer(
            "The domains that it answers to; without any, nobody reaches it from outside.",
            "domains: [example.com]",
        );
    }
    let routes = routes(processes, draft);
    if !routes.is_empty() {
        draft.set_with("Which requests go elsewhere than to `web`.", "routes", Out::List(routes));
    }
}

fn routes(processes: &[Process], draft: &mut Draft) -> Vec<Out> {
    let mut taken: BTreeMap<(String, String, bool), String> = BTreeMap::new();
    for process in processes.iter().filter(|process| process.name == "web") {
        let paths = process.rules.iter().filter(|rule| !rule.paths.is_empty()).flat_map(|rule| &rule.paths);
        for path in paths.filter(|path| path.path != "/") {
            draft.note(format!(
                "`labels` of `{}`: it answered below {} alone; `web` gets every path of its domains",
                process.service,
                quoted(&path.path)
            ));
        }
    }
    let mut routes = Vec::new();
    for process in processes.iter().filter(|process| process.name != "web") {
        for (host, path) in process.rules.iter().flat_map(places) {
            let path = path.unwrap_or_else(|| Path { path: "/".to_owned(), exact: false });
            let place = (host.clone().unwrap_or_default(), path.path.clone(), path.exact);
            match taken.get(&place) {
                Some(other) if *other != process.name => draft.note(format!(
                    "`labels` of `{}`: requests for {} go to `{other}` already",
                    process.service,
                    quoted(&format!("{}{}", place.0, place.1))
                )),
                Some(_) => {}
                None => {
                    routes.push(route(host, &path, &process.name));
                    taken.insert(place, process.name.clone());
                }
            }
        }
    }
    routes
}

fn places(rule: &Rule) -> Vec<(Option<String>, Option<Path>)> {
    let hosts: Vec<Option<String>> =
        if rule.hosts.is_empty() { vec![None] } else { rule.hosts.iter().cloned().map(Some).collect() };
    let paths: Vec<Option<Path>> =
        if rule.paths.is_empty() { vec![None] } else { rule.paths.iter().cloned().map(Some).collect() };
    hosts.iter().flat_map(|host| paths.iter().map(move |path| (host.clone(), path.clone()))).collect()
}

fn route(host: Option<String>, path: &Path, process: &str) -> Out {
    let mut pairs = Vec::new();
    pairs.extend(host.map(|host| ("host".to_owned(), Out::Text(host))));
    if path.exact {
        pairs.push(("path".to_owned(), Out::pairs([("exact", Out::text(path.path.clone()))])));
    } else if path.path != "/" {
        pairs.push(("path".to_owned(), Out::text(path.path.clone())));
    }
    pairs.push(("process".to_owned(), Out::text(process)));
    Out::Map(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(rule: &str) -> Option<String> {
        let one = |rule: &Rule| {
            let paths: Vec<String> = rule
                .paths
                .iter()
                .map(|path| format!("{}{}", path.path, if path.exact { "!" } else { "" }))
                .collect();
            format!("{}{}", rule.hosts.join(","), paths.join(","))
        };
        Some(rules(rule)?.iter().map(one).collect::<Vec<_>>().join(" | "))
    }

    #[test]
    fn rules_are_taken_apart() {
        for (rule, expected) in [
            ("Host(`a.example`)", "a.example"),
            ("Host(`a.example`, `b.example`)", "a.example,b.example"),
            ("Host(`a.example`) || Host(`b.example`)", "a.example | b.example"),
            ("Host(`a.example`) && PathPrefix(`/api`)", "a.example/api"),
            (
                "(Host(`a.example`) || Host(`b.example`)) && (Path(`/x`) || PathPrefix(`/y`))",
                "a.example/x! | a.example/y | b.example/x! | b.example/y",
            ),
            ("PathPrefix(\"/api\")", "/api"),
        ] {
            assert_eq!(shown(rule).as_deref(), Some(expected), "{rule}");
        }
        for rule in [
            "HostRegexp(`.+`)",
            "!Host(`a.example`)",
            "Host(`a.example`) && Headers(`a`, `b`)",
            "Host(`a.example`",
            "",
            "Host(`a.example`) Host(`b.example`)",
            "Path(`/{id}`)",
            "Host(`a b`)",
        ] {
            assert_eq!(shown(rule), None, "{rule}");
        }
    }
}
