//! Rules and routes agree: whoever is sent to a replica can reach it, and nobody else can.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use pando_model::firewall::{APP_PORTS, Cidr, FirewallRules, Ports, Protocol, Sources};
use pando_model::id::ServerId;
use pando_model::server::Server;
use pando_routing::Table;

use super::Violation;
use crate::action::{Action, Plan};
use crate::firewall::allowed;
use crate::input::Input;

pub(super) fn check_reach(input: &Input<'_>, plan: &Plan, found: &mut Vec<Violation>) {
    let rules = rules_after(input, plan);
    let entry: Vec<&Server> = input
        .desired
        .servers
        .values()
        .filter(|server| server.is_entry_point(&input.desired.settings))
        .collect();
    if let Some(table) = table_after(input, plan) {
        check_reachable(input, table, &rules, &entry, found);
    }
    check_closed(input, &rules, &entry, found);
}

fn rules_after<'a>(input: &Input<'a>, plan: &'a Plan) -> BTreeMap<ServerId, &'a FirewallRules> {
    let before = input.desired.assignments.iter().filter(|(id, _)| input.desired.servers.contains_key(id));
    let mut rules: BTreeMap<ServerId, &FirewallRules> =
        before.filter_map(|(id, assignment)| Some((*id, assignment.firewall.as_ref()?))).collect();
    for action in &plan.actions {
        match action {
            Action::Assign(assignment) => {
                rules.extend(assignment.firewall.as_ref().map(|held| (assignment.server, held)));
            }
            // What it was told last is nobody's business any more.
            Action::ForgetServer(server) => drop(rules.remove(server)),
            _ => {}
        }
    }
    rules
}

fn table_after<'a>(input: &Input<'a>, plan: &'a Plan) -> Option<&'a Table> {
    let published = plan.actions.iter().find_map(|action| match action {
        Action::Publish(table) => Some(table),
        _ => None,
    });
    published.or(input.desired.table.as_ref())
}

/// Every endpoint of the table, from every entry point on another server.
fn check_reachable(
    input: &Input<'_>,
    table: &Table,
    rules: &BTreeMap<ServerId, &FirewallRules>,
    entry: &[&Server],
    found: &mut Vec<Violation>,
) {
    let mut ports: BTreeMap<IpAddr, BTreeSet<u16>> = BTreeMap::new();
    for (_, endpoint) in table.endpoints() {
        ports.entry(endpoint.address.ip()).or_default().insert(endpoint.address.port());
    }
    for server in input.desired.servers.values() {
        let (Some(ports), Some(rules)) = (ports.get(&server.private_address), rules.get(&server.id)) else {
            continue;
        };
        let others = entry.iter().filter(|entry| entry.private_address != server.private_address);
        for (from, port) in others.flat_map(|from| ports.iter().map(move |port| (from, *port))) {
            if allowed(rules, from.private_address, port).is_none() {
                found.push(Violation::Unreachable { from: from.id, to: server.id, port });
            }
        }
    }
}

/// The ports of replicas, to everybody but those who balance, and but for what people opened themselves.
fn check_closed(
    input: &Input<'_>,
    rules: &BTreeMap<ServerId, &FirewallRules>,
    entry: &[&Server],
    found: &mut Vec<Violation>,
) {
    let ending = input.desired.servers.values().filter(|server| {
        input.report(server.id).and_then(|report| report.proxy.as_ref()).is_some_and(|proxy| proxy.alive)
    });
    let may: BTreeSet<Cidr> =
        entry.iter().copied().chain(ending).map(|server| Cidr::single(server.private_address)).collect();
    let meets = |(first, last): (u16, u16)| first <= APP_PORTS.1 && last >= APP_PORTS.0;
    let by_hand = |ports: &Ports| ports.protocol == Protocol::Tcp && meets((ports.first, ports.last));
    if input.desired.settings.firewall.open.iter().any(|open| by_hand(&open.ports)) {
        return;
    }
    for (server, rules) in rules {
        let app_ports = rules.rules.iter().filter(|rule| rule.ports == APP_PORTS);
        let open = |from: &Sources| match from {
            Sources::Anywhere => true,
            Sources::Of(ranges) => !ranges.is_subset(&may),
        };
        if app_ports.into_iter().any(|rule| open(&rule.from)) {
            found.push(Violation::Exposed { server: *server });
        }
    }
}
