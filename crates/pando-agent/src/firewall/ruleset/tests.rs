//! What nft is given, word for word.

use pando_model::firewall::Ports;

use super::*;

fn rule(ports: &str, from: &[&str], why: &str) -> FirewallRule {
    let ports: Ports = ports.parse().unwrap();
    let ranges =
        || Sources::Of(std::sync::Arc::new(from.iter().map(|range| range.parse().unwrap()).collect()));
    FirewallRule {
        ports: (ports.first, ports.last),
        protocol: ports.protocol,
        from: if from.is_empty() { Sources::Anywhere } else { ranges() },
        why: why.to_owned(),
    }
}

fn rules(rules: Vec<FirewallRule>) -> FirewallRules {
    FirewallRules { enforced: true, cut_sessions: false, rules }
}

#[test]
fn a_table_of_our_own_is_swapped_whole() {
    let given = rules(vec![
        rule(
            "22",
            &["198.51.100.0/24", "198.51.100.7", "2001:db8::/32"],
            "SSH, from addresses named in the settings",
        ),
        rule("80", &[], "requests from outside"),
        rule("20000-32767", &["10.0.0.1", "fd00::1"], "replicas, from entry points"),
        rule("51820/udp", &[], "kept open by the settings"),
    ]);
    insta::assert_snapshot!(text(&given, &BTreeSet::from(["docker0".to_owned()])), @r#"
        table inet pando
        delete table inet pando
        table inet pando {
        	chain input {
        		type filter hook input priority 0; policy drop;
        		iifname { "lo", "docker0" } accept
        		ct state established,related accept
        		tcp flags & (fin | syn | rst | ack) != syn accept
        		meta l4proto { 2, 50, 51, 112 } accept
        		icmp type { 0, 3, 8, 11, 12 } accept
        		icmpv6 type { 1-4, 128-136, 141-143, 148-149, 151-153 } accept
        		udp sport 67 udp dport 68 accept
        		ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept
        		jump allowed
        	}
        	chain forward {
        		type filter hook forward priority 0; policy accept;
        		iifname { "lo", "docker0" } accept
        		ct state new ct status dnat jump published
        	}
        	chain published {
        		jump allowed
        		drop
        	}
        	chain allowed {
        		ip saddr { 198.51.100.0/24 } meta l4proto tcp ct original proto-dst 22 accept comment "SSH, from addresses named in the settings"
        		ip6 saddr { 2001:db8::/32 } meta l4proto tcp ct original proto-dst 22 accept comment "SSH, from addresses named in the settings"
        		meta l4proto tcp ct original proto-dst 80 accept comment "requests from outside"
        		ip saddr { 10.0.0.1 } meta l4proto tcp ct original proto-dst 20000-32767 accept comment "replicas, from entry points"
        		ip6 saddr { fd00::1 } meta l4proto tcp ct original proto-dst 20000-32767 accept comment "replicas, from entry points"
        		meta l4proto udp ct original proto-dst 51820 accept comment "kept open by the settings"
        	}
        }
    "#);
}

#[test]
fn without_rules_only_what_a_network_needs_is_let_in() {
    let nothing = text(&rules(vec![]), &BTreeSet::new());
    assert!(nothing.contains("chain allowed {\n\t}"), "{nothing}");
    assert!(nothing.contains("policy drop;") && nothing.contains("iifname { \"lo\" } accept"), "{nothing}");
}

#[test]
fn remarks_end_no_string_and_are_not_too_long() {
    let wild = rule("1", &[], &format!("a\"; drop\n}}\\ {}", "ä".repeat(200)));
    let text = text(&rules(vec![wild]), &BTreeSet::new());
    let line = text.lines().find(|line| line.contains("proto-dst 1 ")).unwrap();
    let remark = line.split_once("comment ").unwrap().1;
    assert!(remark.starts_with("\"a; drop} ä") && remark.ends_with("ä\""), "{remark}");
    assert!(remark.len() <= LONGEST_REMARK + 2 && remark.matches('"').count() == 2, "{remark}");
}

#[test]
fn an_earlier_table_comes_back_as_it_was_listed() {
    assert_eq!(removal(), "table inet pando\ndelete table inet pando\n");
    let listing = "table inet pando {\n}\n";
    assert_eq!(restoration(listing), format!("{}{listing}", removal()));
}
