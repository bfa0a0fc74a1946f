//! What a change would close, and how rules differ.

use std::collections::BTreeMap;

use pando_model::id::ServerId;
use pando_model::name::{RoleName, ServerName};
use pando_model::observed::Observed;
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
    let before = world(vec![server(1, "b", [10, 0, 0, 1]), server(2, "a", [10, 0, 0, 2])]);
    let mut after = before.clone();
    after.settings.firewall =
        FirewallSettings { ssh_from: ["203.0.113.7".parse().unwrap()].into(), ..firewall(&[]) };
    let observed = Observed::default();
    let input = |desired| Input { desired, observed: &observed, now: Timestamp::default(), seed: 0 };
    let changes = rule_changes(&input(&before), &input(&after));
    let names: Vec<&str> = changes.iter().map(|it| it.server.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert!(changes.iter().all(|it| it.switched == Some(true)));
    let texts: Vec<&str> = changes[0].changes.iter().map(|it| it.text.as_str()).collect();
    assert!(texts.len() == 1 && texts[0].starts_with("22/tcp: closed to all but 203.0.113.7"), "{texts:?}");
    assert!(rule_changes(&input(&after), &input(&after)).is_empty());
}

#[test]
fn changes_are_told_in_words() {
    let before = Settings::default();
    let mut after = before.clone();
    after.firewall.open = [OpenPort {
        ports: "9100".parse().unwrap(),
        from: ["10.0.0.7".parse().unwrap()].into(),
        role: Some(RoleName::new("db").unwrap()),
    }]
    .into();
    after.lockdown = true;
    let told = words(&before, &after);
    assert!(told.starts_with("direct access is to be closed"), "{told}");
    assert!(told.ends_with("9100 to 10.0.0.7 on servers with the role db stays open"), "{told}");
    after = Settings {
        firewall: FirewallSettings { cut_sessions: true, ..before.firewall.clone() },
        ..before.clone()
    };
    assert!(words(&before, &after).contains("even if they cut off somebody"));
}
