//! Reads what `nft --json list ruleset` prints.

use std::collections::BTreeMap;
use std::net::IpAddr;

use pando_model::firewall::Cidr;
use serde_json::Value;

use super::filter::{Base, Chain, Filter, Hook, Origin, Rule, Test, Verdict};

/// One filter for each table for which `wanted` (family, name) holds. What can't be read is a test whose answer is unknown.
pub(super) fn read(json: &str, wanted: impl Fn(&str, &str) -> bool) -> Vec<Filter> {
    let Ok(whole) = serde_json::from_str::<Value>(json) else { return Vec::new() };
    let items = whole.get("nftables").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut tables: BTreeMap<(String, String), Table> = BTreeMap::new();
    for (kind, item) in items.iter().filter_map(Value::as_object).flatten() {
        let name = if kind == "table" { "name" } else { "table" };
        let (Some(family), Some(table)) = (text(item, "family"), text(item, name)) else { continue };
        if matches!(family, "inet" | "ip" | "ip6") && wanted(family, table) {
            let table = tables.entry((family.to_owned(), table.to_owned())).or_default();
            table.take(kind, item);
        }
    }
    let filters = tables.into_iter().map(|((family, name), table)| table.filter(family, name));
    filters.collect()
}

/// As it is read: rules refer to sets by name, wherever these are.
#[derive(Default)]
struct Table<'a> {
    chains: BTreeMap<String, Option<Base>>,
    rules: Vec<(&'a str, &'a Value)>,
    sets: BTreeMap<&'a str, &'a Value>,
}

impl<'a> Table<'a> {
    fn take(&mut self, kind: &str, item: &'a Value) {
        match (kind, text(item, "name"), text(item, "chain")) {
            ("chain", Some(name), _) => {
                self.chains.insert(name.to_owned(), base(item));
            }
            ("set" | "map", Some(name), _) => {
                self.sets.insert(name, item.get("elem").unwrap_or(&Value::Null));
            }
            ("rule", _, Some(chain)) => {
                self.rules.extend(item.get("expr").map(|expressions| (chain, expressions)));
            }
            _ => {}
        }
    }

    fn filter(self, family: String, table: String) -> Filter {
        let chains =
            self.chains.iter().map(|(name, base)| (name.clone(), Chain { base: *base, rules: Vec::new() }));
        let mut chains: BTreeMap<String, Chain> = chains.collect();
        for (name, expressions) in &self.rules {
            let rules = self.rules_of(&family, expressions.as_array().map(Vec::as_slice).unwrap_or_default());
            chains.entry((*name).to_owned()).or_default().rules.extend(rules);
        }
        Filter { origin: Origin::Nft { family, table }, chains }
    }

    /// A map of verdicts is a rule for each of its elements.
    fn rules_of(&self, family: &str, expressions: &[Value]) -> Vec<Rule> {
        let mut tests = match family {
            "ip" => vec![(true, Test::V6(false))],
            "ip6" => vec![(true, Test::V6(true))],
            _ => Vec::new(),
        };
        for (kind, value) in expressions.iter().filter_map(Value::as_object).flatten() {
            match kind.as_str() {
                "match" => tests.extend(self.matches(value)),
                "vmap" => return self.verdict_map(&tests, value),
                "limit" | "meter" | "xt" | "quota" | "ct count" => tests.push((true, Test::Unknown)),
                kind => {
                    if let Some(verdict) = verdict(kind, value) {
                        return vec![Rule { tests, verdict }];
                    }
                }
            }
        }
        Vec::new()
    }

    fn verdict_map(&self, tests: &[(bool, Test)], value: &Value) -> Vec<Rule> {
        let key = value.get("key").unwrap_or(&Value::Null);
        let data = value.get("data").unwrap_or(&Value::Null);
        let pairs = self.elements(data);
        let rule = |pair: &&Value| {
            let (element, verdict) = (pair.get(0)?, pair.get(1)?.as_object()?.iter().next()?);
            let verdict = self::verdict(verdict.0, verdict.1)?;
            let mut tests = tests.to_vec();
            tests.extend(self.ask(key, element).into_iter().map(|test| (true, test)));
            Some(Rule { tests, verdict })
        };
        pairs.iter().filter_map(rule).collect()
    }

    fn matches(&self, value: &Value) -> Vec<(bool, Test)> {
        let (left, right) = (value.get("left"), value.get("right"));
        let (Some(left), Some(right)) = (left, right) else { return vec![(true, Test::Unknown)] };
        match text(value, "op") {
            Some("==" | "in") => self.ask(left, right).into_iter().map(|test| (true, test)).collect(),
            Some("!=") => {
                let mut tests = self.ask(left, right);
                // What a packet must be to be asked at all stays as it is; the question itself is turned round.
                let last = tests.pop().map(|test| (false, test));
                tests.into_iter().map(|test| (true, test)).chain(last).collect()
            }
            _ => vec![(true, Test::Unknown)],
        }
    }

    /// The tests that `left` is `right`: first what a packet must be to be asked, last the question itself.
    fn ask(&self, left: &Value, right: &Value) -> Vec<Test> {
        if let Some(payload) = left.get("payload") {
            return self.ask_payload(text(payload, "protocol"), text(payload, "field"), right);
        }
        let of = |kind: &str, key: &str| left.get(kind).and_then(|one| text(one, key));
        let values = self.elements(right);
        let says = |word: &str| values.iter().any(|value| value.as_str() == Some(word));
        let test = match (of("meta", "key"), of("ct", "key"), of("fib", "result")) {
            (Some("iifname" | "iif"), ..) => names(&values).map(Test::ArrivesBy),
            (Some("oifname" | "oif"), ..) => names(&values).map(Test::LeavesBy),
            (Some("l4proto"), ..) => Some(Test::Known(says("tcp") || values.iter().any(|one| **one == 6))),
            (Some("nfproto"), ..) => Some(Test::V6(says("ipv6"))),
            (_, Some("state"), _) => Some(Test::Known(says("new"))),
            (_, Some("status"), _) if says("dnat") => Some(Test::Translated),
            (_, Some("proto-dst"), _) if of("ct", "dir") == Some("original") => {
                ports(&values).map(Test::OriginalPort)
            }
            (_, _, Some("type")) if of_destination(left) => {
                Some(if says("local") { Test::Local } else { Test::Known(false) })
            }
            _ => None,
        };
        vec![test.unwrap_or(Test::Unknown)]
    }

    fn ask_payload(&self, protocol: Option<&str>, field: Option<&str>, right: &Value) -> Vec<Test> {
        let values = self.elements(right);
        let says_tcp = || values.iter().any(|value| value.as_str() == Some("tcp") || **value == 6);
        let (before, test) = match (protocol, field) {
            (Some("ip"), Some("saddr")) => (Test::V6(false), addresses(&values).map(Test::From)),
            (Some("ip6"), Some("saddr")) => (Test::V6(true), addresses(&values).map(Test::From)),
            (Some("ip"), Some("daddr")) => (Test::V6(false), addresses(&values).map(Test::To)),
            (Some("ip6"), Some("daddr")) => (Test::V6(true), addresses(&values).map(Test::To)),
            (Some("ip"), Some("protocol")) => (Test::V6(false), Some(Test::Known(says_tcp()))),
            (Some("ip6"), Some("nexthdr")) => (Test::V6(true), Some(Test::Known(says_tcp()))),
            (Some("tcp" | "th"), Some("dport")) => (Test::Known(true), ports(&values).map(Test::Port)),
            (Some("tcp" | "th" | "ip" | "ip6" | "ether"), _) => (Test::Known(true), None),
            _ => (Test::Known(false), None),
        };
        vec![before, test.unwrap_or(Test::Unknown)]
    }

    /// The values that the right side of a match stands for.
    fn elements<'v>(&'v self, value: &'v Value) -> Vec<&'v Value> {
        if let Some(name) = value.as_str().and_then(|text| text.strip_prefix('@')) {
            return self.sets.get(name).map(|elements| self.elements(elements)).unwrap_or_default();
        }
        let list = value.get("set").or(value.get("|")).or(Some(value)).and_then(Value::as_array);
        let plain = |one: &'v Value| one.get("elem").and_then(|elem| elem.get("val")).unwrap_or(one);
        match list {
            Some(list) => list.iter().map(plain).collect(),
            None => vec![value],
        }
    }
}

fn text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key).and_then(Value::as_str)
}

fn of_destination(left: &Value) -> bool {
    let flags = left.get("fib").and_then(|fib| fib.get("flags")).and_then(Value::as_array);
    flags.is_some_and(|flags| flags.iter().any(|flag| flag.as_str() == Some("daddr")))
}

fn base(chain: &Value) -> Option<Base> {
    let hook = match text(chain, "hook")? {
        "prerouting" => Hook::Prerouting,
        "input" => Hook::Input,
        "forward" => Hook::Forward,
        _ => return None,
    };
    let translates = text(chain, "type") == Some("nat");
    Some(Base { hook, translates, accepts: text(chain, "policy") != Some("drop") })
}

fn verdict(kind: &str, value: &Value) -> Option<Verdict> {
    let target = || text(value, "target").map(str::to_owned);
    Some(match kind {
        // What a program in user space decides is not known; it may let everything through.
        "accept" | "queue" => Verdict::Accept,
        "drop" | "reject" => Verdict::Drop,
        "return" => Verdict::Return,
        "jump" => Verdict::Jump(target()?),
        "goto" => Verdict::Goto(target()?),
        "dnat" | "redirect" => {
            let port = value.get("port").and_then(Value::as_u64);
            let address = text(value, "addr").and_then(|text| text.parse().ok());
            Verdict::Translate(address, port.and_then(|port| u16::try_from(port).ok()))
        }
        _ => return None,
    })
}

fn names(values: &[&Value]) -> Option<Vec<String>> {
    values.iter().map(|value| value.as_str().map(str::to_owned)).collect()
}

fn ports(values: &[&Value]) -> Option<Vec<(u16, u16)>> {
    let number = |value: &Value| value.as_u64().and_then(|number| u16::try_from(number).ok());
    let range = |value: &&Value| match value.get("range") {
        Some(range) => Some((number(range.get(0)?)?, number(range.get(1)?)?)),
        None => number(value).map(|port| (port, port)),
    };
    values.iter().map(range).collect()
}

fn addresses(values: &[&Value]) -> Option<Vec<(IpAddr, IpAddr)>> {
    let one = |value: &Value| value.as_str()?.parse::<IpAddr>().ok();
    let range = |value: &&Value| {
        if let Some(prefix) = value.get("prefix") {
            let range: Cidr = format!("{}/{}", text(prefix, "addr")?, prefix.get("len")?).parse().ok()?;
            return Some((range.address(), range.last()));
        }
        match value.get("range") {
            Some(range) => Some((one(range.get(0)?)?, one(range.get(1)?)?)),
            None => one(value).map(|address| (address, address)),
        }
    };
    values.iter().map(range).collect()
}

#[cfg(test)]
mod tests;
