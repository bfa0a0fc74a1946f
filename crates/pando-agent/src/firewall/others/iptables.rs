//! Reads what `iptables-save` prints.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use pando_model::firewall::Cidr;

use super::filter::{Base, Chain, Filter, Hook, Origin, Rule, Test, Verdict};

/// One filter for each table. What can't be read is a test whose answer is unknown.
pub(super) fn read(program: &'static str, text: &str) -> Vec<Filter> {
    let mut filters: Vec<Filter> = Vec::new();
    for line in text.lines() {
        if let Some(table) = line.strip_prefix('*') {
            let origin = Origin::Iptables { program, table: table.to_owned() };
            filters.push(Filter { origin, chains: BTreeMap::new() });
        } else if let Some(filter) = filters.last_mut() {
            take(filter, line);
        }
    }
    for filter in &mut filters {
        resolve(filter);
    }
    filters
}

fn take(filter: &mut Filter, line: &str) {
    let translates = matches!(&filter.origin, Origin::Iptables { table, .. } if table == "nat");
    if let Some((name, rest)) = line.strip_prefix(':').and_then(|rest| rest.split_once(' ')) {
        let base = hook(name).map(|hook| Base { hook, translates, accepts: !rest.starts_with("DROP") });
        filter.chains.insert(name.to_owned(), Chain { base, rules: Vec::new() });
    } else if let Some((name, rest)) = line.strip_prefix("-A ").and_then(|rest| rest.split_once(' ')) {
        let rule = rule(&words(rest));
        filter.chains.entry(name.to_owned()).or_default().rules.push(rule);
    }
}

fn hook(chain: &str) -> Option<Hook> {
    match chain {
        "PREROUTING" => Some(Hook::Prerouting),
        "INPUT" => Some(Hook::Input),
        "FORWARD" => Some(Hook::Forward),
        _ => None,
    }
}

/// A jump to what is no chain is a target that we don't know: it notes or changes something, and the next rule is asked.
fn resolve(filter: &mut Filter) {
    let known: Vec<String> = filter.chains.keys().cloned().collect();
    for rule in filter.chains.values_mut().flat_map(|chain| &mut chain.rules) {
        if let Verdict::Jump(target) | Verdict::Goto(target) = &rule.verdict
            && !known.contains(target)
        {
            rule.verdict = Verdict::Continue;
        }
    }
}

/// Splits as a shell would; only double quotes occur.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for c in line.chars() {
        match c {
            '\\' if quoted && !escaped => {
                escaped = true;
                continue;
            }
            '"' if !escaped => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => {
                if let Some(word) = words.last_mut() {
                    word.push(c);
                }
            }
        }
        escaped = false;
    }
    words.retain(|word| !word.is_empty());
    words
}

fn rule(words: &[String]) -> Rule {
    let mut rule = Rule { tests: Vec::new(), verdict: Verdict::Continue };
    let mut words = words.iter().map(String::as_str).peekable();
    let mut wanted = true;
    while let Some(word) = words.next() {
        match word {
            "!" => {
                wanted = false;
                continue;
            }
            // Which extension an option belongs to does not matter; a remark is a single word after it.
            "-m" | "--comment" => drop(words.next()),
            "-j" | "-g" => {
                let target = words.next().unwrap_or_default();
                rule.verdict = verdict(word, target, &words.collect::<Vec<&str>>());
                return rule;
            }
            "--tcp-flags" => {
                let (mask, set) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
                rule.tests.push((wanted, Test::Known(opens(mask, set))));
            }
            option => {
                let is_value = |next: &&str| !next.starts_with('-') && *next != "!";
                let value = words.next_if(is_value).unwrap_or_default();
                rule.tests.push((wanted, test(option, value)));
            }
        }
        wanted = true;
    }
    rule
}

/// Whether a packet with SYN alone passes: of the flags in `mask`, those in `set` must be set and no others.
fn opens(mask: &str, set: &str) -> bool {
    let has = |flags: &str, flag: &str| flags.split(',').any(|one| one == flag || one == "ALL");
    let flags = ["FIN", "SYN", "RST", "PSH", "ACK", "URG"];
    flags.iter().filter(|flag| has(mask, flag)).all(|flag| has(set, flag) == (**flag == *"SYN"))
}

fn test(option: &str, value: &str) -> Test {
    let ports = || value.split(',').map(port_range).collect::<Option<Vec<_>>>();
    let name = || vec![value.strip_suffix('+').map_or_else(|| value.to_owned(), |name| format!("{name}*"))];
    let read = match option {
        "-p" => Some(Test::Known(matches!(value, "tcp" | "6" | "all"))),
        "-s" => addresses(value).map(Test::From),
        "-d" => addresses(value).map(Test::To),
        "-i" => Some(Test::ArrivesBy(name())),
        "-o" => Some(Test::LeavesBy(name())),
        "--dport" | "--dports" => ports().map(Test::Port),
        "--ctorigdstport" => ports().map(Test::OriginalPort),
        "--ctstate" | "--state" => Some(state(value)),
        "--syn" => Some(Test::Known(true)),
        "--dst-type" => Some(match value {
            "LOCAL" => Test::Local,
            "BROADCAST" | "MULTICAST" | "ANYCAST" => Test::Known(false),
            _ => Test::Unknown,
        }),
        "--icmp-type" | "--icmpv6-type" => Some(Test::Known(false)),
        _ => None,
    };
    read.unwrap_or(Test::Unknown)
}

fn state(value: &str) -> Test {
    let states: Vec<&str> = value.split(',').collect();
    match states.contains(&"NEW") {
        true => Test::Known(true),
        false if states.contains(&"DNAT") => Test::Translated,
        false => Test::Known(false),
    }
}

fn port_range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once(':').unwrap_or((text, text));
    Some((first.parse().ok()?, last.parse().ok()?))
}

fn addresses(value: &str) -> Option<Vec<(IpAddr, IpAddr)>> {
    let one = |text: &str| text.parse::<Cidr>().ok().map(|range| (range.address(), range.last()));
    value.split(',').map(one).collect()
}

fn verdict(option: &str, target: &str, rest: &[&str]) -> Verdict {
    match target {
        // What a program in user space decides is not known; it may let everything through.
        "ACCEPT" | "NFQUEUE" | "QUEUE" => Verdict::Accept,
        "DROP" | "REJECT" => Verdict::Drop,
        "RETURN" => Verdict::Return,
        "DNAT" => {
            let (address, port) = destination(value_of(rest, "--to-destination").unwrap_or_default());
            Verdict::Translate(address, port)
        }
        "REDIRECT" => {
            Verdict::Translate(None, value_of(rest, "--to-ports").and_then(|port| port.parse().ok()))
        }
        target if option == "-g" => Verdict::Goto(target.to_owned()),
        target => Verdict::Jump(target.to_owned()),
    }
}

fn value_of<'a>(words: &[&'a str], option: &str) -> Option<&'a str> {
    words.iter().position(|word| *word == option).and_then(|at| words.get(at + 1).copied())
}

fn destination(text: &str) -> (Option<IpAddr>, Option<u16>) {
    match text.parse::<SocketAddr>() {
        Ok(place) => (Some(place.ip()), Some(place.port())),
        Err(_) => (text.parse().ok(), None),
    }
}

#[cfg(test)]
mod tests;
