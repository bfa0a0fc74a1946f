//! Lines of `iptables-save` and what they mean.

use super::*;

fn rules(lines: &str) -> Vec<Rule> {
    let text = format!("*filter\n:INPUT DROP [1:2]\n:mine - [0:0]\n{lines}\nCOMMIT\n");
    let mut filters = read("iptables", &text);
    assert_eq!(filters.len(), 1);
    let input = filters[0].chains.remove("INPUT").unwrap();
    assert_eq!(input.base, Some(Base { hook: Hook::Input, translates: false, accepts: false }));
    input.rules
}

fn check(line: &str, tests: Vec<(bool, Test)>, verdict: Verdict) {
    assert_eq!(rules(&format!("-A INPUT {line}")), [Rule { tests, verdict }], "{line}");
}

#[test]
fn what_is_asked_is_read() {
    let yes = |test: Test| (true, test);
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    check(
        "-p tcp -m tcp --dport 22 -j ACCEPT",
        vec![yes(Test::Known(true)), yes(Test::Port(vec![(22, 22)]))],
        Verdict::Accept,
    );
    let ports = Test::Port(vec![(80, 80), (20_000, 32_767)]);
    check("-m multiport ! --dports 80,20000:32767 -j DROP", vec![(false, ports)], Verdict::Drop);
    let range = Test::From(vec![(address("10.0.0.0"), address("10.0.255.255"))]);
    check("! -s 10.0.0.0/16 -j mine", vec![(false, range)], Verdict::Jump("mine".to_owned()));
    check(
        "-i eth+ -g mine",
        vec![yes(Test::ArrivesBy(vec!["eth*".to_owned()]))],
        Verdict::Goto("mine".to_owned()),
    );
    check("-m addrtype --dst-type LOCAL -j RETURN", vec![yes(Test::Local)], Verdict::Return);
    check(
        "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        vec![yes(Test::Known(false))],
        Verdict::Accept,
    );
    check("-m state --state NEW -j ACCEPT", vec![yes(Test::Known(true))], Verdict::Accept);
    check("-p udp -j ACCEPT", vec![yes(Test::Known(false))], Verdict::Accept);
    check("-m comment --comment \"a \\\"b\\\" -j DROP\" -j ACCEPT", vec![], Verdict::Accept);
    let syn = "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT";
    check(syn, vec![yes(Test::Known(true)), yes(Test::Known(true))], Verdict::Accept);
    let christmas = "-p tcp -m tcp --tcp-flags FIN,SYN FIN,SYN -j DROP";
    check(christmas, vec![yes(Test::Known(true)), yes(Test::Known(false))], Verdict::Drop);
}

#[test]
fn what_is_not_known_here_is_asked_of_nobody() {
    check(
        "-m set --match-set bad src -j DROP",
        vec![(true, Test::Unknown), (true, Test::Unknown)],
        Verdict::Drop,
    );
    let limit = vec![(true, Test::Unknown), (true, Test::Unknown)];
    check(
        "-m limit --limit 3/min --limit-burst 10 -j LOG --log-prefix \"[UFW BLOCK] \"",
        limit,
        Verdict::Continue,
    );
    check("-s 10.0.0.1-10.0.0.9 -j DROP", vec![(true, Test::Unknown)], Verdict::Drop);
    assert_eq!(read("iptables", "nonsense\n-A INPUT -j DROP\n"), []);
}

#[test]
fn translations_are_read() {
    let text = "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp --dport 1 -j DNAT --to-destination 172.17.0.2:80\n\
        -A PREROUTING -j DNAT --to-destination [fd01::2]:80\n-A PREROUTING -j DNAT --to-destination 172.17.0.2\n\
        -A PREROUTING -j REDIRECT --to-ports 8080\nCOMMIT\n";
    let filters = read("iptables", text);
    let verdicts: Vec<Verdict> =
        filters[0].chains["PREROUTING"].rules.iter().map(|rule| rule.verdict.clone()).collect();
    let container = Some(IpAddr::from([172, 17, 0, 2]));
    assert_eq!(
        verdicts,
        [
            Verdict::Translate(container, Some(80)),
            Verdict::Translate(Some("fd01::2".parse().unwrap()), Some(80)),
            Verdict::Translate(container, None),
            Verdict::Translate(None, Some(8080)),
        ]
    );
}
