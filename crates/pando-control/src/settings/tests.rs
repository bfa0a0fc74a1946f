//! What a change would close, and how rules differ.

use pando_model::firewall::{Protocol, Sources};
use pando_model::name::{RoleName, ServerName};
use pando_model::resources::Capacity;
use pando_model::server::{Server, Standing};
use pando_model::time::Timestamp;

use super::*;

fn server(number: u128, name: &str, address: [u8; 4]) -> Server {
    Server {
        id: ServerId::from_uuid(uuid::Uuid::from_u128(number)),
        name: ServerName::new(name).unwrap(),
        roles: [RoleName::web()].into(),
        private_address: address.into(),
        public_address: None,
        agent_address: (address, 7421).into(),
        capacity: Capacity::default(),
        labels: BTreeMap::new(),
        standing: Standing::Active,
        joined_at: Timestamp::default(),
    }
}

fn world(servers: Vec<Server>) -> World {
    World { servers: servers.into_iter().map(|server| (server.id, server)).collect(), ..World::default() }
}

fn firewall(control_from: &[&str]) -> FirewallSettings {
    let control_from = control_from.iter().map(|range| range.parse().unwrap()).collect();
    FirewallSettings { enabled: true, control_from, ..FirewallSettings::default() }
}

#[test]
fn whoever_changes_the_firewall_must_be_able_to_change_it_back() {
    let world = world(vec![server(1, "main", [10, 0, 0, 1])]);
    let check = |after: &FirewallSettings, peer: &str| check_reachable(&world, after, peer.parse().unwrap());
    for (peer, reachable) in [
        ("127.0.0.1", true),
        ("10.0.0.1", true),
        ("203.0.113.7", true),
        ("::ffff:203.0.113.7", true),
        ("203.0.114.7", false),
        ("2001:db8::1", false),
    ] {
        let judged = check(&firewall(&["203.0.113.0/24"]), peer);
        assert_eq!(judged.is_ok(), reachable, "{peer}: {judged:?}");
    }
    let off = FirewallSettings { enabled: false, ..firewall(&[]) };
    assert!(check(&off, "203.0.113.7").is_ok());
    let error = check(&firewall(&[]), "203.0.113.7").unwrap_err();
    assert_eq!(error.code, ErrorCode::Harmful);
    assert!(error.hint.unwrap().contains("allow-control 203.0.113.7"));
}

#[test]
fn rules_are_compared_server_by_server() {
    let world = world(vec![server(1, "b", [10, 0, 0, 1]), server(2, "a", [10, 0, 0, 2])]);
    let ids: Vec<ServerId> = world.servers.keys().copied().collect();
    let rule = |port| FirewallRule {
        ports: (port, port),
        protocol: Protocol::Tcp,
        from: Sources::Anywhere,
        why: String::new(),
    };
    let rules = |ports: &[u16]| FirewallRules {
        rules: ports.iter().map(|port| rule(*port)).collect(),
        ..FirewallRules::default()
    };
    let before = [(ids[0], rules(&[22, 80]))].into();
    let after = [(ids[0], rules(&[22, 443])), (ids[1], rules(&[22]))].into();
    let changes = rule_changes(&world, &before, &after);
    let told: Vec<_> = changes
        .iter()
        .map(|it| {
            let ports = |rules: &[FirewallRule]| rules.iter().map(|rule| rule.ports.0).collect::<Vec<_>>();
            (it.server.as_str(), it.switched, ports(&it.added), ports(&it.removed))
        })
        .collect();
    assert_eq!(told, [("a", Some(true), vec![22], vec![]), ("b", None, vec![443], vec![80])]);
    assert!(rule_changes(&world, &after, &after).is_empty());
}
