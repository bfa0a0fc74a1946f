//! Says what stands in the way, and the command that mends it, in the words of whoever keeps that filter.

use pando_model::firewall::{Cidr, FirewallRule};

use super::filter::{Filter, Hook, Origin};

/// A chain that drops something needed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Obstacle {
    pub(super) v6: bool,
    pub(super) keeper: Keeper,
    pub(super) origin: Origin,
    /// The base chain by which packets get there.
    pub(super) entrance: String,
    pub(super) chain: String,
    pub(super) by_policy: bool,
    pub(super) hook: Hook,
    /// The container's, where it is another than the one that others name.
    pub(super) port: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Keeper {
    Ufw,
    Firewalld,
    Docker,
    /// Nobody that is known here.
    Somebody,
}

/// Who is likely to have written the chain.
pub(super) fn keeper(filter: &Filter, chain: &str) -> Keeper {
    let has = |beginning: &str| filter.chains.keys().any(|name| name.starts_with(beginning));
    let base = filter.chains.get(chain).is_some_and(|chain| chain.base.is_some());
    match &filter.origin {
        Origin::Nft { table, .. } if table == "firewalld" => Keeper::Firewalld,
        Origin::Nft { .. } => Keeper::Somebody,
        Origin::Iptables { .. } if chain.starts_with("DOCKER") => Keeper::Docker,
        Origin::Iptables { .. } if chain.starts_with("ufw") || (base && has("ufw")) => Keeper::Ufw,
        Origin::Iptables { .. } if base && has("DOCKER") => Keeper::Docker,
        Origin::Iptables { .. } => Keeper::Somebody,
    }
}

/// One line: who drops what of whom where, why it is needed, and what to do.
pub(super) fn line(rule: &FirewallRule, obstacle: &Obstacle, sources: &[Option<Cidr>]) -> String {
    let (first, last) = rule.ports;
    let ports = if first == last { first.to_string() } else { format!("{first}-{last}") };
    let from = match sources {
        [None, ..] if obstacle.v6 => "anywhere over IPv6".to_owned(),
        [None, ..] | [] => "anywhere".to_owned(),
        some => some.iter().flatten().map(Cidr::to_string).collect::<Vec<_>>().join(", "),
    };
    let place = if obstacle.by_policy { "by the policy of chain" } else { "in chain" };
    format!(
        "{} drops {ports}/tcp from {from}, {place} {} ({}); needed for {}; mend it: {}",
        name(obstacle),
        obstacle.chain,
        table(&obstacle.origin),
        rule.why,
        command(rule, obstacle, sources),
    )
}

fn name(obstacle: &Obstacle) -> &'static str {
    match (obstacle.keeper, &obstacle.origin) {
        (Keeper::Ufw, _) => "ufw",
        (Keeper::Firewalld, _) => "firewalld",
        (Keeper::Docker, _) => "a rule for Docker's containers",
        (Keeper::Somebody, Origin::Iptables { .. }) => "a rule of iptables",
        (Keeper::Somebody, Origin::Nft { .. }) => "a rule of nftables",
    }
}

fn table(origin: &Origin) -> String {
    match origin {
        Origin::Nft { family, table } => format!("nftables, table {family} {table}"),
        Origin::Iptables { program, table } => format!("{program}, table {table}"),
    }
}

/// For a shell. One source is named in place; several are gone through.
pub(super) fn command(rule: &FirewallRule, obstacle: &Obstacle, sources: &[Option<Cidr>]) -> String {
    let named: Vec<String> = sources.iter().flatten().map(Cidr::to_string).collect();
    let one = |from: Option<&str>| match obstacle.keeper {
        Keeper::Ufw => ufw(rule, obstacle, from),
        Keeper::Firewalld => firewalld(rule, obstacle, from),
        Keeper::Docker | Keeper::Somebody => by_hand(rule, obstacle, from),
    };
    let after = if obstacle.keeper == Keeper::Firewalld { " && firewall-cmd --reload" } else { "" };
    let whole = match named.as_slice() {
        [] => one(None),
        [only] => one(Some(only)),
        several => format!("for from in {}; do {}; done", several.join(" "), one(Some("$from"))),
    };
    format!("`{whole}{after}`")
}

/// The ports as the chain sees them, with `between` the first and the last.
fn ports(rule: &FirewallRule, obstacle: &Obstacle, between: char) -> String {
    match (obstacle.port, rule.ports) {
        (Some(port), _) => port.to_string(),
        (None, (first, last)) if first == last => first.to_string(),
        (None, (first, last)) => format!("{first}{between}{last}"),
    }
}

fn ufw(rule: &FirewallRule, obstacle: &Obstacle, from: Option<&str>) -> String {
    let route = if obstacle.hook == Hook::Forward { "route " } else { "" };
    let ports = ports(rule, obstacle, ':');
    format!("ufw {route}allow proto tcp from {} to any port {ports}", from.unwrap_or("any"))
}

fn firewalld(rule: &FirewallRule, obstacle: &Obstacle, from: Option<&str>) -> String {
    let ports = ports(rule, obstacle, '-');
    let family = if obstacle.v6 { "ipv6" } else { "ipv4" };
    match from {
        None => format!("firewall-cmd --permanent --add-port={ports}/tcp"),
        // Double quotes outside, so that a shell puts the address in.
        Some(from) => format!(
            "firewall-cmd --permanent --add-rich-rule=\"rule family='{family}' source address='{from}' \
             port port='{ports}' protocol='tcp' accept\""
        ),
    }
}

fn by_hand(rule: &FirewallRule, obstacle: &Obstacle, from: Option<&str>) -> String {
    match &obstacle.origin {
        Origin::Iptables { program, table } => {
            let table = if table == "filter" { String::new() } else { format!("-t {table} ") };
            let from = from.map(|from| format!("-s {from} ")).unwrap_or_default();
            let docker = obstacle.chain == "DOCKER-USER";
            let chain = if docker { &obstacle.chain } else { &obstacle.entrance };
            let ports = ports(rule, obstacle, ':');
            format!("{program} {table}-I {chain} {from}-p tcp --dport {ports} -j ACCEPT")
        }
        Origin::Nft { family, table } => {
            let saddr = if obstacle.v6 { "ip6 saddr" } else { "ip saddr" };
            let from = from.map(|from| format!("{saddr} {from} ")).unwrap_or_default();
            let ports = ports(rule, obstacle, '-');
            format!("nft insert rule {family} {table} {} {from}tcp dport {ports} accept", obstacle.entrance)
        }
    }
}
