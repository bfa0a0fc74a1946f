//! The text that nft is given: one table of Pando's own, swapped whole.
//!
//! Only what opens something is judged. Two hooks see it: `input`, for what this
//! machine takes itself, and `forward`, for what another program's address
//! translation sends on to a container. Both ask for the port that the sender
//! named, so that a rule means the same whether a process or a container answers.

use std::collections::BTreeSet;
use std::fmt::Write;

use pando_model::firewall::{Cidr, FirewallRule, FirewallRules, Protocol, Sources};

/// Where our own rules live. Nothing outside it is ever touched.
pub(crate) const TABLE: &str = "inet pando";

/// What nft can keep of a remark.
const LONGEST_REMARK: usize = 120;

/// Makes the table hold exactly `rules`, whatever it held before, in one transaction. What arrives by the interfaces `inside`
/// comes from this machine's own containers and is not judged.
pub(crate) fn text(rules: &FirewallRules, inside: &BTreeSet<String>) -> String {
    let own: Vec<&str> = std::iter::once("lo").chain(inside.iter().map(String::as_str)).collect();
    let mut allowed = String::new();
    for rule in &rules.rules {
        add(rule, &mut allowed);
    }
    // Written out by number where names depend on what is installed: 2 is IGMP, 50 and 51 IPsec, 112 VRRP, by which two
    // balancers share an address.
    format!(
        "{clear}table {TABLE} {{
	chain input {{
		type filter hook input priority 0; policy drop;
		iifname {{ {own} }} accept
		ct state established,related accept
		tcp flags & (fin | syn | rst | ack) != syn accept
		meta l4proto {{ 2, 50, 51, 112 }} accept
		icmp type {{ 0, 3, 8, 11, 12 }} accept
		icmpv6 type {{ 1-4, 128-136, 141-143, 148-149, 151-153 }} accept
		udp sport 67 udp dport 68 accept
		ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept
		jump allowed
	}}
	chain forward {{
		type filter hook forward priority 0; policy accept;
		iifname {{ {own} }} accept
		ct state new ct status dnat jump published
	}}
	chain published {{
		jump allowed
		drop
	}}
	chain allowed {{
{allowed}	}}
}}
",
        clear = removal(),
        own = own.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", "),
    )
}

/// Removes the table, whether it is there or not.
pub(crate) fn removal() -> String {
    format!("table {TABLE}\ndelete table {TABLE}\n")
}

/// Brings back a table as nft listed it.
pub(crate) fn restoration(listing: &str) -> String {
    format!("{}{listing}", removal())
}

fn add(rule: &FirewallRule, text: &mut String) {
    let port = match rule.ports {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    };
    let protocol = match rule.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    let what = format!("meta l4proto {protocol} ct original proto-dst {port} accept");
    let why = quoted(&remark(&rule.why));
    let from: Vec<String> = match &rule.from {
        Sources::Anywhere => vec![String::new()],
        Sources::Of(ranges) => by_family(ranges),
    };
    for from in from {
        // Writing to a string can't fail.
        let _ = writeln!(text, "\t\t{from}{what} comment {why}");
    }
}

/// A match for each family that has ranges. A range within another is left out: nft takes no overlaps.
fn by_family(ranges: &BTreeSet<Cidr>) -> Vec<String> {
    let within = |range: &&Cidr| ranges.iter().any(|other| other != *range && other.covers(range));
    let widest: Vec<&Cidr> = ranges.iter().filter(|range| !within(range)).collect();
    let family = |name: &str, v4: bool| {
        let of_family = widest.iter().filter(|range| range.address().is_ipv4() == v4);
        let texts: Vec<String> = of_family.map(|range| range.to_string()).collect();
        (!texts.is_empty()).then(|| format!("{name} saddr {{ {} }} ", texts.join(", ")))
    };
    family("ip", true).into_iter().chain(family("ip6", false)).collect()
}

/// What users named is part of it: nothing that ends a string or a line may be left.
fn remark(why: &str) -> String {
    let plain = |c: char| !c.is_control() && !matches!(c, '"' | '\\');
    let mut text: String = why.chars().filter(|c| plain(*c)).collect();
    while text.len() > LONGEST_REMARK {
        text.pop();
    }
    text
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

#[cfg(test)]
mod tests;
