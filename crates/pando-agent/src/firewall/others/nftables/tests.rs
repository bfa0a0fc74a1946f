//! Rules as `nft --json` prints them, and what they mean.

use serde_json::json;

use super::*;

fn filter(items: &[Value]) -> Filter {
    let mut all = vec![json!({"table": {"family": "inet", "name": "mine"}})];
    all.extend_from_slice(items);
    let mut filters = read(&json!({"nftables": all}).to_string(), |_, _| true);
    assert_eq!(filters.len(), 1);
    filters.remove(0)
}

fn rules(items: &[Value], expressions: Value) -> Vec<Rule> {
    let rule = json!({"rule": {"family": "inet", "table": "mine", "chain": "input", "expr": expressions}});
    filter(&[items, &[rule]].concat()).chains.remove("input").unwrap().rules
}

fn asked(left: Value, op: &str, right: Value) -> Vec<(bool, Test)> {
    let expressions = json!([{"match": {"op": op, "left": left, "right": right}}, {"accept": null}]);
    let rules = rules(&[], expressions);
    assert_eq!((rules.len(), &rules[0].verdict), (1, &Verdict::Accept));
    rules[0].tests.clone()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn what_is_asked_is_read() {
    let payload = |protocol: &str, field: &str| json!({"payload": {"protocol": protocol, "field": field}});
    let yes = |test: Test| (true, test);
    let any = || yes(Test::Known(true));
    assert_eq!(asked(payload("tcp", "dport"), "==", json!(22)), [any(), yes(Test::Port(vec![(22, 22)]))]);
    let several = json!({"set": [80, {"range": [20000, 32767]}]});
    let ports = Test::Port(vec![(80, 80), (20_000, 32_767)]);
    assert_eq!(asked(payload("th", "dport"), "!=", several), [any(), (false, ports)]);
    let range = Test::From(vec![(address("10.0.0.0"), address("10.0.255.255"))]);
    let prefix = json!({"prefix": {"addr": "10.0.0.0", "len": 16}});
    assert_eq!(asked(payload("ip", "saddr"), "!=", prefix), [yes(Test::V6(false)), (false, range)]);
    assert_eq!(
        asked(payload("udp", "dport"), "==", json!(53)),
        [yes(Test::Known(false)), yes(Test::Unknown)]
    );
    let state = |right: Value| asked(json!({"ct": {"key": "state"}}), "in", right);
    assert_eq!(state(json!(["established", "related"])), [yes(Test::Known(false))]);
    assert_eq!(state(json!({"set": ["new", "established"]})), [any()]);
    let meta = |key: &str, right: Value| asked(json!({"meta": {"key": key}}), "==", right);
    assert_eq!(meta("iifname", json!("lo")), [yes(Test::ArrivesBy(vec!["lo".to_owned()]))]);
    assert_eq!(meta("nfproto", json!("ipv6")), [yes(Test::V6(true))]);
    assert_eq!(meta("l4proto", json!({"set": ["tcp", "udp"]})), [any()]);
    assert_eq!(meta("mark", json!(1)), [yes(Test::Unknown)]);
    let fib = |flag: &str| asked(json!({"fib": {"result": "type", "flags": [flag]}}), "==", json!("local"));
    assert_eq!((fib("daddr"), fib("saddr")), (vec![yes(Test::Local)], vec![yes(Test::Unknown)]));
    assert_eq!(asked(payload("tcp", "dport"), ">", json!(1024)), [yes(Test::Unknown)]);
}

#[test]
fn sets_and_maps_of_verdicts_are_looked_up_by_name() {
    let set = json!({"set": {"family": "inet", "table": "mine", "name": "good", "elem": ["10.0.0.9", {"range": ["10.0.1.1", "10.0.1.9"]}]}});
    let match_set = json!([{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "@good"}}, {"drop": null}]);
    let good = Test::From(vec![
        (address("10.0.0.9"), address("10.0.0.9")),
        (address("10.0.1.1"), address("10.0.1.9")),
    ]);
    assert_eq!(rules(&[set], match_set)[0].tests[1], (true, good));
    let map = json!([{"vmap": {"key": {"payload": {"protocol": "tcp", "field": "dport"}},
        "data": {"set": [[22, {"accept": null}], [80, {"jump": {"target": "web"}}], [{"range": [1, 9]}, {"drop": null}]]}}}]);
    let read = rules(&[], map);
    let verdicts: Vec<&Verdict> = read.iter().map(|rule| &rule.verdict).collect();
    assert_eq!(verdicts, [&Verdict::Accept, &Verdict::Jump("web".to_owned()), &Verdict::Drop]);
    assert_eq!(read[2].tests[1], (true, Test::Port(vec![(1, 9)])));
}

#[test]
fn chains_know_where_packets_enter() {
    let chain = |name: &str, more: Value| {
        let mut chain = json!({"family": "inet", "table": "mine", "name": name});
        chain.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"chain": chain})
    };
    let filter = filter(&[
        chain("in", json!({"type": "filter", "hook": "input", "prio": 0, "policy": "drop"})),
        chain("pre", json!({"type": "nat", "hook": "prerouting", "prio": -100, "policy": "accept"})),
        chain("out", json!({"type": "filter", "hook": "output", "prio": 0, "policy": "drop"})),
        chain("plain", json!({})),
    ]);
    let base = |name: &str| filter.chains[name].base;
    assert_eq!(base("in"), Some(Base { hook: Hook::Input, translates: false, accepts: false }));
    assert_eq!(base("pre"), Some(Base { hook: Hook::Prerouting, translates: true, accepts: true }));
    assert_eq!((base("out"), base("plain")), (None, None));
}

#[test]
fn nonsense_is_no_filter() {
    for text in ["", "null", "[]", "{\"nftables\": 3}", "{\"nftables\": [{\"rule\": {}}, 7]}"] {
        assert_eq!(read(text, |_, _| true), [], "{text}");
    }
}
