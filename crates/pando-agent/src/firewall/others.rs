//! What other programs' filters would drop of what is needed here, and how to mend it.
//!
//! Their rules are read, never changed: nftables as such, and what iptables (of
//! either make) shows, which is how ufw and Docker write theirs. Each need is
//! sent through them as a packet would go.

mod filter;
mod iptables;
mod nftables;
mod remedy;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use pando_model::firewall::{Cidr, FirewallRule, FirewallRules, Protocol, SSH_PORT, Sources};

use super::machine::Machine;
use super::tool;
use filter::{Filter, Hook, Origin, Packet};
use remedy::Obstacle;

/// Lines at most; whoever mends the first of them sees the rest.
const MOST: usize = 20;

/// Whoever writes these tables prints them better itself.
const BY_IPTABLES: [&str; 5] = ["filter", "nat", "mangle", "raw", "security"];

/// A line for each chain that would drop something needed, with the command that mends it. What can't be read is left out.
pub(super) async fn problems(rules: &FirewallRules, machine: &Machine, address: IpAddr) -> Vec<String> {
    if rules.rules.is_empty() {
        return Vec::new();
    }
    judge(rules, machine, address, &gather().await)
}

async fn gather() -> Vec<Filter> {
    let mut filters = Vec::new();
    let (mut v4, mut v6) = (false, false);
    for (program, changed_by) in [
        ("iptables-nft-save", "iptables"),
        ("ip6tables-nft-save", "ip6tables"),
        ("iptables-legacy-save", "iptables-legacy"),
        ("ip6tables-legacy-save", "ip6tables-legacy"),
    ] {
        if !tool::exists(program) {
            continue;
        }
        if let Ok(text) = tool::run(program, &[], None).await {
            v4 |= program == "iptables-nft-save";
            v6 |= program == "ip6tables-nft-save";
            filters.extend(iptables::read(changed_by, &text));
        }
    }
    if let Ok(json) = tool::run("nft", &["--json", "list", "ruleset"], None).await {
        let shown = |family: &str, table: &str| {
            BY_IPTABLES.contains(&table) && ((family == "ip" && v4) || (family == "ip6" && v6))
        };
        let own = |family: &str, table: &str| super::ruleset::TABLE == format!("{family} {table}");
        filters.extend(nftables::read(&json, |family, table| !shown(family, table) && !own(family, table)));
    }
    filters
}

fn judge(rules: &FirewallRules, machine: &Machine, address: IpAddr, filters: &[Filter]) -> Vec<String> {
    let mut lines = Vec::new();
    // One command may mend several things, such as both families of addresses.
    let mut mended = BTreeSet::new();
    // SSH is the people's own: whoever closed it knows why.
    let needed = |rule: &&FirewallRule| rule.protocol == Protocol::Tcp && !rule.covers(SSH_PORT);
    for rule in rules.rules.iter().filter(needed) {
        for (obstacle, sources) in obstacles(rule, machine, address, filters) {
            if mended.insert(remedy::command(rule, &obstacle, &sources)) {
                lines.push(remedy::line(rule, &obstacle, &sources));
            }
        }
    }
    lines.truncate(MOST);
    lines
}

/// What stands in the way of a rule, and of whom. `None`: of everybody.
fn obstacles(
    rule: &FirewallRule,
    machine: &Machine,
    address: IpAddr,
    filters: &[Filter],
) -> BTreeMap<Obstacle, Vec<Option<Cidr>>> {
    let mut found: BTreeMap<Obstacle, Vec<Option<Cidr>>> = BTreeMap::new();
    for (source, packet) in packets(rule, machine, address) {
        let ports = [rule.ports.0, rule.ports.1];
        let sent = ports.map(|port| Packet { port, original_port: port, ..packet.clone() });
        let Some(obstacle) = sent.into_iter().find_map(|packet| obstacle(packet, machine, filters)) else {
            continue;
        };
        let sources = found.entry(obstacle).or_default();
        if sources.last() != Some(&source) {
            sources.push(source);
        }
    }
    found
}

/// One for each source, as it arrives from there.
fn packets(rule: &FirewallRule, machine: &Machine, address: IpAddr) -> Vec<(Option<Cidr>, Packet)> {
    let packet = |from: Option<IpAddr>, v6: bool| Packet {
        from,
        v6,
        to: (address.is_ipv6() == v6).then_some(address),
        port: 0,
        original_port: 0,
        arrives_by: from.and_then(|from| machine.interface_towards(from)).map(str::to_owned),
        leaves_by: None,
        local: true,
        translated: false,
    };
    match &rule.from {
        Sources::Of(ranges) => {
            let others = ranges.iter().filter(|range| {
                let from = range.address();
                !from.is_loopback() && from != address
            });
            others
                .map(|range| (Some(*range), packet(Some(range.address()), range.address().is_ipv6())))
                .collect()
        }
        Sources::Anywhere => {
            let families = [Some(false), machine.has_global_v6().then_some(true)];
            families.into_iter().flatten().map(|v6| (None, packet(None, v6))).collect()
        }
    }
}

/// The first chain on its way that drops the packet for certain.
fn obstacle(mut packet: Packet, machine: &Machine, filters: &[Filter]) -> Option<Obstacle> {
    let dropped = dropped_at(Hook::Prerouting, &packet, filters);
    if dropped.is_some() {
        return dropped;
    }
    translate(&mut packet, machine, filters);
    let hook = if packet.translated { Hook::Forward } else { Hook::Input };
    dropped_at(hook, &packet, filters)
}

fn dropped_at(hook: Hook, packet: &Packet, filters: &[Filter]) -> Option<Obstacle> {
    filters.iter().filter(|filter| concerns(filter, packet)).find_map(|filter| {
        let entrances = filter.entrances(hook).filter(|(_, base)| !base.translates);
        entrances.into_iter().find_map(|(entrance, _)| {
            let outcome = filter.judge(entrance, packet);
            let (chain, by_policy) = outcome.dropped.filter(|_| !outcome.accepted)?;
            Some(Obstacle {
                keeper: remedy::keeper(filter, &chain),
                origin: filter.origin.clone(),
                entrance: entrance.clone(),
                chain,
                by_policy,
                hook,
                port: (packet.translated && packet.port != packet.original_port).then_some(packet.port),
                v6: packet.v6,
            })
        })
    })
}

/// Where a container's port is published, the packet goes on to the container.
fn translate(packet: &mut Packet, machine: &Machine, filters: &[Filter]) {
    let concerned = filters.iter().filter(|filter| concerns(filter, packet));
    let to = concerned.into_iter().find_map(|filter| {
        let entrances = filter.entrances(Hook::Prerouting).filter(|(_, base)| base.translates);
        entrances.into_iter().find_map(|(name, _)| filter.judge(name, packet).translated)
    });
    let Some((address, port)) = to else { return };
    packet.port = port.unwrap_or(packet.port);
    if let Some(address) = address {
        packet.leaves_by = machine.interface_towards(address).map(str::to_owned);
        packet.to = Some(address);
        packet.local = false;
        packet.translated = true;
    }
}

fn concerns(filter: &Filter, packet: &Packet) -> bool {
    match &filter.origin {
        Origin::Iptables { program, .. } => program.starts_with("ip6") == packet.v6,
        Origin::Nft { family, .. } => family == "inet" || (family == "ip6") == packet.v6,
    }
}

#[cfg(test)]
mod tests;
