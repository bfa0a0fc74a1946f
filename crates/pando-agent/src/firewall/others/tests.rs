//! Filters as real programs wrote them (ufw 0.36, Docker 20.10, firewalld 1.3), and needs that they are in the way of.

use super::*;

const UFW_V4: &str = include_str!("fixtures/ufw.v4.save");
const UFW_V6: &str = include_str!("fixtures/ufw.v6.save");
const DOCKER_V4: &str = include_str!("fixtures/docker.v4.save");
const DOCKER_V6: &str = include_str!("fixtures/docker.v6.save");
const FIREWALLD: &str = include_str!("fixtures/firewalld.nft.json");

fn ufw() -> Vec<Filter> {
    [iptables::read("iptables", UFW_V4), iptables::read("ip6tables", UFW_V6)].concat()
}

fn docker(v4: &str) -> Vec<Filter> {
    [iptables::read("iptables", v4), iptables::read("ip6tables", DOCKER_V6)].concat()
}

/// The machine that Docker was recorded on: 10.0.0.2 on `out0`, containers behind `docker0`.
fn machine() -> Machine {
    Machine::read(
        include_str!("fixtures/docker.address.json"),
        include_str!("fixtures/docker.route4.json"),
        include_str!("fixtures/docker.route6.json"),
    )
}

fn need(ports: (u16, u16), from: &[&str], why: &str) -> FirewallRule {
    let ranges =
        || Sources::Of(std::sync::Arc::new(from.iter().map(|range| range.parse().unwrap()).collect()));
    let from = if from.is_empty() { Sources::Anywhere } else { ranges() };
    FirewallRule { ports, protocol: Protocol::Tcp, from, why: why.to_owned() }
}

fn found(needs: Vec<FirewallRule>, filters: &[Filter]) -> Vec<String> {
    let rules = FirewallRules { rules: needs, ..FirewallRules::default() };
    judge(&rules, &machine(), IpAddr::from([10, 0, 0, 2]), filters)
}

#[test]
fn ufw_that_denies_is_named_with_its_own_command() {
    let needs = vec![
        need((80, 80), &[], "requests from outside"),
        need((5432, 5432), &["10.0.0.3", "10.0.0.9"], "postgres"),
        need((20_000, 32_767), &["10.0.0.4", "10.0.0.5", "fd00::4"], "replicas"),
    ];
    insta::assert_snapshot!(found(needs, &ufw()).join("\n"), @r#"
        ufw drops 80/tcp from anywhere, by the policy of chain INPUT (iptables, table filter); needed for requests from outside; mend it: `ufw allow proto tcp from any to any port 80`
        ufw drops 5432/tcp from 10.0.0.3, by the policy of chain INPUT (iptables, table filter); needed for postgres; mend it: `ufw allow proto tcp from 10.0.0.3 to any port 5432`
        ufw drops 20000-32767/tcp from 10.0.0.4, 10.0.0.5, by the policy of chain INPUT (iptables, table filter); needed for replicas; mend it: `for from in 10.0.0.4 10.0.0.5; do ufw allow proto tcp from $from to any port 20000:32767; done`
        ufw drops 20000-32767/tcp from fd00::4, by the policy of chain INPUT (ip6tables, table filter); needed for replicas; mend it: `ufw allow proto tcp from fd00::4 to any port 20000:32767`
    "#);
}

#[test]
fn what_ufw_lets_in_is_no_problem() {
    let needs = vec![
        need((5432, 5432), &["10.0.0.9"], "postgres"),
        // `ufw limit` lets in what is not too often.
        need((2222, 2222), &[], "kept open"),
    ];
    assert_eq!(found(needs, &ufw()), Vec::<String>::new());
    // SSH is closed here to some by choice.
    let closed = UFW_V4.replace("--dport 22 ", "--dport 2 ");
    let filters = iptables::read("iptables", &closed);
    assert_eq!(found(vec![need((22, 22), &[], "SSH")], &filters), Vec::<String>::new());
    // By the interface at which they arrive.
    let by_interface =
        UFW_V4.replace("-A ufw-user-input -p tcp -m tcp --dport 22", "-A ufw-user-input -i out0");
    let filters = iptables::read("iptables", &by_interface);
    assert_eq!(
        found(vec![need((20_000, 32_767), &["10.0.0.4"], "replicas")], &filters),
        Vec::<String>::new()
    );
}

#[test]
fn published_ports_go_to_their_containers_through_dockers_chains() {
    let needs = || {
        vec![need((5432, 5432), &["10.0.0.3", "fd00::3"], "postgres"), need((8080, 8080), &[], "requests")]
    };
    assert_eq!(found(needs(), &docker(DOCKER_V4)), Vec::<String>::new());
    let drop_all =
        DOCKER_V4.replace("-A DOCKER-USER -j RETURN", "-A DOCKER-USER ! -s 10.0.0.9/32 -i out0 -j DROP");
    insta::assert_snapshot!(found(needs(), &docker(&drop_all)).join("\n"), @r#"
        a rule for Docker's containers drops 5432/tcp from 10.0.0.3, in chain DOCKER-USER (iptables, table filter); needed for postgres; mend it: `iptables -I DOCKER-USER -s 10.0.0.3 -p tcp --dport 5432 -j ACCEPT`
    "#);
}

#[test]
fn a_container_that_accepts_nobody_is_dockers_forward_policy() {
    let closed = DOCKER_V4.replace("--dport 5432 -j ACCEPT", "--dport 5433 -j ACCEPT");
    let lines = found(vec![need((5432, 5432), &["10.0.0.3"], "postgres")], &docker(&closed));
    insta::assert_snapshot!(lines.join("\n"), @r#"
        a rule for Docker's containers drops 5432/tcp from 10.0.0.3, by the policy of chain FORWARD (iptables, table filter); needed for postgres; mend it: `iptables -I FORWARD -s 10.0.0.3 -p tcp --dport 5432 -j ACCEPT`
    "#);
}

#[test]
fn firewalld_is_named_with_its_own_command() {
    let filters = nftables::read(FIREWALLD, |_, _| true);
    let needs = vec![
        need((8443, 8443), &["10.0.0.3"], "open"),
        need((5432, 5432), &["10.0.0.9"], "postgres"),
        need((5432, 5432), &["10.0.0.3"], "postgres"),
        need((80, 80), &[], "requests from outside"),
        need((20_000, 32_767), &["10.0.0.4", "10.0.0.5"], "replicas"),
    ];
    insta::assert_snapshot!(found(needs, &filters).join("\n"), @r#"
        firewalld drops 5432/tcp from 10.0.0.3, in chain filter_IN_public (nftables, table inet firewalld); needed for postgres; mend it: `firewall-cmd --permanent --add-rich-rule="rule family='ipv4' source address='10.0.0.3' port port='5432' protocol='tcp' accept" && firewall-cmd --reload`
        firewalld drops 80/tcp from anywhere, in chain filter_IN_public (nftables, table inet firewalld); needed for requests from outside; mend it: `firewall-cmd --permanent --add-port=80/tcp && firewall-cmd --reload`
        firewalld drops 20000-32767/tcp from 10.0.0.4, 10.0.0.5, in chain filter_IN_public (nftables, table inet firewalld); needed for replicas; mend it: `for from in 10.0.0.4 10.0.0.5; do firewall-cmd --permanent --add-rich-rule="rule family='ipv4' source address='$from' port port='20000-32767' protocol='tcp' accept"; done && firewall-cmd --reload`
    "#);
}

#[test]
fn a_filter_of_ones_own_is_named_by_its_table() {
    let text = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n-A INPUT -p tcp -m multiport --dports 5432,6379 ! -s 10.0.0.9/32 -j REJECT --reject-with tcp-reset\nCOMMIT\n";
    let filters = iptables::read("iptables-legacy", text);
    let lines = found(
        vec![need((6379, 6379), &["10.0.0.3"], "redis"), need((6379, 6379), &["10.0.0.9"], "redis")],
        &filters,
    );
    insta::assert_snapshot!(lines.join("\n"), @r#"
        a rule of iptables drops 6379/tcp from 10.0.0.3, in chain INPUT (iptables-legacy, table filter); needed for redis; mend it: `iptables-legacy -I INPUT -s 10.0.0.3 -p tcp --dport 6379 -j ACCEPT`
    "#);
}

#[test]
fn without_needs_or_filters_there_is_nothing_to_say() {
    assert_eq!(found(vec![need((80, 80), &[], "requests")], &[]), Vec::<String>::new());
    assert_eq!(found(Vec::new(), &ufw()), Vec::<String>::new());
    // Nobody comes from the machine itself by the network.
    let own = need((20_000, 32_767), &["10.0.0.2", "127.0.0.1"], "replicas");
    assert_eq!(found(vec![own], &ufw()), Vec::<String>::new());
}

#[test]
fn there_are_never_more_lines_than_somebody_reads() {
    let needs = (1..100).map(|port| need((30_000 + port, 30_000 + port), &["10.0.0.3"], "much")).collect();
    assert_eq!(found(needs, &ufw()).len(), MOST);
}
