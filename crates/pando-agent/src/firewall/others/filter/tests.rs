//! What becomes of packets where not every test can be judged.

use super::*;

fn rule(tests: Vec<(bool, Test)>, verdict: Verdict) -> Rule {
    Rule { tests, verdict }
}

fn filter(accepts: bool, chains: Vec<(&str, Vec<Rule>)>) -> Filter {
    let base =
        |name: &str| (name == "input").then_some(Base { hook: Hook::Input, translates: false, accepts });
    let chains = chains.into_iter().map(|(name, rules)| (name.to_owned(), Chain { base: base(name), rules }));
    Filter {
        origin: Origin::Nft { family: "inet".to_owned(), table: "t".to_owned() },
        chains: chains.collect(),
    }
}

fn packet() -> Packet {
    Packet {
        from: None,
        v6: false,
        to: None,
        port: 80,
        original_port: 80,
        arrives_by: Some("eth0".to_owned()),
        leaves_by: None,
        local: true,
        translated: false,
    }
}

fn outcome(accepts: bool, chains: Vec<(&str, Vec<Rule>)>) -> (bool, Option<String>) {
    let outcome = filter(accepts, chains).judge("input", &packet());
    (
        outcome.accepted,
        outcome.dropped.map(|(chain, policy)| format!("{chain}{}", if policy { " by policy" } else { "" })),
    )
}

fn port(port: u16) -> Vec<(bool, Test)> {
    vec![(true, Test::Port(vec![(port, port)]))]
}

fn perhaps() -> Vec<(bool, Test)> {
    vec![(true, Test::Unknown)]
}

#[test]
fn the_first_rule_that_applies_decides_else_the_policy() {
    use Verdict::{Accept, Drop};
    let rules = || vec![rule(port(22), Drop), rule(port(80), Accept), rule(vec![], Drop)];
    assert_eq!(outcome(true, vec![("input", rules())]), (true, None));
    assert_eq!(outcome(false, vec![("input", vec![])]), (false, Some("input by policy".to_owned())));
    assert_eq!(outcome(true, vec![("input", vec![rule(vec![], Drop)])]), (false, Some("input".to_owned())));
}

#[test]
fn what_may_pass_does_not_count_as_dropped() {
    use Verdict::{Accept, Drop};
    let limited = vec![rule(perhaps(), Drop), rule(vec![], Accept)];
    assert!(outcome(false, vec![("input", limited)]).0);
    let perhaps_let_in = vec![rule(perhaps(), Accept), rule(vec![], Drop)];
    assert!(outcome(false, vec![("input", perhaps_let_in)]).0);
    // Somebody, from wherever it may be.
    let named = vec![(true, Test::From(vec![(IpAddr::from([10, 0, 0, 9]), IpAddr::from([10, 0, 0, 9]))]))];
    assert!(outcome(false, vec![("input", vec![rule(named, Accept)])]).0);
    // Of the other family, it is none of these.
    let named = vec![(true, Test::From(vec![("fd00::9".parse().unwrap(), "fd00::9".parse().unwrap())]))];
    assert!(!outcome(false, vec![("input", vec![rule(named, Accept)])]).0);
}

#[test]
fn chains_are_gone_into_and_come_back_from() {
    use Verdict::{Accept, Drop, Goto, Jump, Return};
    let to = |verdict: Verdict| vec![rule(vec![], verdict), rule(vec![], Drop)];
    let inner = |rules: Vec<Rule>| ("inner", rules);
    let jump = || to(Jump("inner".to_owned()));
    assert_eq!(outcome(true, vec![("input", jump()), inner(vec![rule(vec![], Accept)])]), (true, None));
    assert_eq!(outcome(true, vec![("input", jump()), inner(vec![rule(vec![], Return)])]).1.unwrap(), "input");
    assert_eq!(outcome(true, vec![("input", jump()), inner(vec![])]).1.unwrap(), "input");
    assert_eq!(outcome(true, vec![("input", jump()), inner(vec![rule(vec![], Drop)])]).1.unwrap(), "inner");
    // What comes back from a `goto` goes on to the policy.
    let goto = to(Goto("inner".to_owned()));
    assert_eq!(outcome(true, vec![("input", goto), inner(vec![])]), (true, None));
    // Perhaps back, perhaps not.
    let inner_perhaps = inner(vec![rule(perhaps(), Return), rule(vec![], Accept)]);
    assert!(outcome(true, vec![("input", jump()), inner_perhaps]).0);
}

#[test]
fn a_circle_of_chains_ends() {
    let circle = vec![rule(vec![], Verdict::Jump("input".to_owned()))];
    assert!(outcome(false, vec![("input", circle)]).0);
}

#[test]
fn interfaces_are_told_by_name_and_by_beginning() {
    let by = |name: &str| vec![(true, Test::ArrivesBy(vec![name.to_owned()]))];
    for (name, passes) in [("eth0", true), ("eth*", true), ("eth1", false), ("lo", false)] {
        assert_eq!(
            outcome(false, vec![("input", vec![rule(by(name), Verdict::Accept)])]).0,
            passes,
            "{name}"
        );
    }
}
