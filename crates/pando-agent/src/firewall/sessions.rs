//! Who is connected now and could not connect again under new rules.
//!
//! Connections that are open stay open; but whoever holds one, and could not
//! come back, is about to be locked out. For SSH that counts for sessions of
//! people who have logged in, which show by what their shells were told; a
//! stranger who merely tries passwords holds nothing up.

mod proc;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use pando_model::firewall::{CONTROL_PORT, FirewallRules, Protocol, SSH_PORT};

pub(crate) use proc::look;

/// What the kernel and the processes say.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Sessions {
    /// TCP connections that others opened or we did: here, there.
    pub(crate) established: BTreeSet<(SocketAddr, SocketAddr)>,
    /// Logins over SSH, the same way around. Some may have ended.
    pub(crate) logins: BTreeSet<(SocketAddr, SocketAddr)>,
    /// Ports on which an SSH server waits for other machines.
    pub(crate) ssh_ports: BTreeSet<u16>,
    /// Whether the API is served here.
    pub(crate) serves_api: bool,
}

/// What would be cut off, a line each, with what mends it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Cut {
    /// People; rules stay refused until they are changed.
    pub(crate) people: Vec<String>,
    /// Connections to the API. Who they are is not known here, so they hold rules up only while they last.
    pub(crate) api: Vec<String>,
}

const FORCE: &str = "or force it: `pando firewall enable --force`";

/// What `rules` would cut.
pub(crate) fn cut(rules: &FirewallRules, sessions: &Sessions) -> Cut {
    let mut people: Vec<String> = logins(rules, sessions).map(|(port, from)| shut_out(port, from)).collect();
    people.extend(sessions.ssh_ports.iter().filter(|port| !lets_anybody_in(rules, **port)).map(|port| {
        format!(
            "the SSH server listens on port {port}, which the rules close to everybody; keep it open: \
             `pando firewall open {port}`, {FORCE}"
        )
    }));
    let api = api_peers(rules, sessions).into_iter().map(|from| {
        format!(
            "{from} is connected to the API and could not connect again; name it: \
             `pando firewall allow-control {from}`, {FORCE}"
        )
    });
    Cut { people, api: api.collect() }
}

fn shut_out(port: u16, from: IpAddr) -> String {
    let remedy = match port {
        SSH_PORT => format!("allow-ssh {from}"),
        port => format!("open {port} --from {from}"),
    };
    format!(
        "somebody is logged in over SSH from {from} and could not log in again; name the address: \
         `pando firewall {remedy}`, {FORCE}"
    )
}

/// Those that are still connected, and shut out: port and address.
fn logins(rules: &FirewallRules, sessions: &Sessions) -> impl Iterator<Item = (u16, IpAddr)> {
    let living = sessions.logins.intersection(&sessions.established);
    let places: BTreeSet<(u16, IpAddr)> = living
        .map(|(here, there)| (here.port(), there.ip()))
        .filter(|(_, from)| !from.is_loopback())
        .collect();
    places.into_iter().filter(|(port, from)| !lets_in(rules, *port, *from)).collect::<Vec<_>>().into_iter()
}

fn api_peers(rules: &FirewallRules, sessions: &Sessions) -> BTreeSet<IpAddr> {
    let own: BTreeSet<IpAddr> = sessions.established.iter().map(|(here, _)| here.ip()).collect();
    let peers =
        sessions.established.iter().filter(|(here, _)| sessions.serves_api && here.port() == CONTROL_PORT);
    let others = peers.map(|(_, there)| there.ip()).filter(|from| !from.is_loopback() && !own.contains(from));
    others.filter(|from| !lets_in(rules, CONTROL_PORT, *from)).collect()
}

fn lets_in(rules: &FirewallRules, port: u16, from: IpAddr) -> bool {
    rules
        .rules
        .iter()
        .any(|rule| rule.protocol == Protocol::Tcp && rule.covers(port) && rule.from.contain(from))
}

fn lets_anybody_in(rules: &FirewallRules, port: u16) -> bool {
    rules.rules.iter().any(|rule| rule.protocol == Protocol::Tcp && rule.covers(port))
}

#[cfg(test)]
mod tests;
