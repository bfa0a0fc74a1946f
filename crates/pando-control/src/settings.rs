//! The cluster's settings: what a change makes of them, and what it would close.

use std::collections::BTreeSet;
use std::net::IpAddr;

use pando_api::v1::balancers::{BalancerList, EntryPointStatus, EntryRole};
use pando_api::v1::cluster::{FirewallChange, RuleChange, RuleChanges, SettingsChange};
use pando_api::{ErrorBody, ErrorCode};
use pando_model::desired::{FirewallSettings, Settings};
use pando_model::firewall::{Cidr, OpenPort};
use pando_model::time::Millis;
use pando_plan::{Input, World, firewall};

/// Direct requests that are younger than this hold up a lockdown.
const RECENT: Millis = Millis::from_secs(60);
/// More addresses than this are no list that anybody keeps in mind.
const MAX_RANGES: usize = 200;

/// The settings after a change.
///
/// # Errors
/// When nothing was named, or too much.
pub fn after(before: &Settings, change: &SettingsChange) -> Result<Settings, ErrorBody> {
    let invalid = |text: String| Err(ErrorBody::new(ErrorCode::Invalid, text));
    if change.lockdown.is_none() && change.firewall.as_ref().is_none_or(|it| *it == FirewallChange::default())
    {
        return invalid("no setting was named".to_owned());
    }
    let mut settings = before.clone();
    settings.lockdown = change.lockdown.unwrap_or(before.lockdown);
    if let Some(change) = &change.firewall {
        let firewall = &mut settings.firewall;
        firewall.enabled = change.enabled.unwrap_or(firewall.enabled);
        replace(&mut firewall.ssh_from, change.ssh_from.as_ref());
        replace(&mut firewall.control_from, change.control_from.as_ref());
        replace(&mut firewall.open, change.open.as_ref());
        firewall.cut_sessions = change.cut_sessions.unwrap_or(firewall.cut_sessions);
        let open = firewall.open.iter().map(|open| open.from.len()).sum::<usize>() + firewall.open.len();
        let most = firewall.ssh_from.len().max(firewall.control_from.len()).max(open);
        if most > MAX_RANGES {
            return invalid(format!("{most} ranges of addresses; {MAX_RANGES} are the most"));
        }
    }
    Ok(settings)
}

fn replace<T: Clone>(held: &mut BTreeSet<T>, wanted: Option<&BTreeSet<T>>) {
    if let Some(wanted) = wanted {
        held.clone_from(wanted);
    }
}

/// For the event log: what differs, in words.
#[must_use]
pub fn words(before: &Settings, after: &Settings) -> String {
    let mut words = Vec::new();
    if before.lockdown != after.lockdown {
        words.push(if after.lockdown {
            "direct access is to be closed: requests go through the load balancers alone".to_owned()
        } else {
            "direct access is to be open again".to_owned()
        });
    }
    let (old, new) = (&before.firewall, &after.firewall);
    if old.enabled != new.enabled {
        words.push(format!("the firewall is to be {}", if new.enabled { "on" } else { "off" }));
    }
    if old.ssh_from != new.ssh_from {
        words.push(format!("SSH is open to {}", ranges(&new.ssh_from, "everybody")));
    }
    if old.control_from != new.control_from {
        words
            .push(format!("the API is open to {}", ranges(&new.control_from, "the cluster's servers alone")));
    }
    if old.open != new.open {
        let open: Vec<String> = new.open.iter().map(open_port).collect();
        let open = if open.is_empty() { "nothing else".to_owned() } else { open.join(", ") };
        words.push(format!("beyond what follows from roles, {open} stays open"));
    }
    if words.is_empty() {
        let what = if new.cut_sessions { "even if they cut off" } else { "unless they would cut off" };
        words.push(format!("firewall rules come into force {what} somebody who is connected"));
    }
    words.join("; ")
}

/// `9100 to 10.0.0.7 on servers with the role db`
fn open_port(open: &OpenPort) -> String {
    let role = open.role.as_ref().map(|role| format!(" on servers with the role {role}")).unwrap_or_default();
    format!("{} to {}{role}", open.ports, ranges(&open.from, "everybody"))
}

fn ranges(ranges: &BTreeSet<Cidr>, none: &str) -> String {
    let texts: Vec<String> = ranges.iter().map(Cidr::to_string).collect();
    if texts.is_empty() { none.to_owned() } else { texts.join(", ") }
}

/// Whether the caller, who speaks from `peer`, could still speak after the change.
///
/// # Errors
/// When the firewall would close the API to that address.
pub fn check_reachable(world: &World, after: &FirewallSettings, peer: IpAddr) -> Result<(), ErrorBody> {
    let own = |address: IpAddr| {
        world.servers.values().any(|it| it.private_address == address || it.public_address == Some(address))
    };
    let peer = peer.to_canonical();
    let named = after.control_from.iter().any(|range| range.contains(peer));
    if !after.enabled || peer.is_loopback() || own(peer) || named {
        return Ok(());
    }
    let text = format!("the firewall would close the API to {peer}, from where you speak");
    let error = ErrorBody::new(ErrorCode::Harmful, text);
    Err(error.hint(format!("`pando firewall allow-control {peer}` first, or say `--force`")))
}

/// Whether direct access may be closed.
///
/// # Errors
/// What still arrives there, or what is missing to take it over.
pub fn check_lockdown(balancers: &BalancerList) -> Result<(), ErrorBody> {
    if balancers.lockdown {
        return Ok(());
    }
    let of = |role| balancers.entry_points.iter().filter(move |entry| entry.role == role);
    check_takers(of(EntryRole::Balancer).collect())?;
    let direct: Vec<&EntryPointStatus> = of(EntryRole::Direct).collect();
    let busy: Vec<String> = direct.iter().filter_map(|entry| arriving(entry)).collect();
    if !busy.is_empty() {
        let error = ErrorBody::new(ErrorCode::Harmful, "requests still arrive beside the load balancers");
        let hint = "`pando lb status` shows whose DNS records point there; `--force` closes it all the same";
        return Err(error.details(busy).hint(hint));
    }
    let soon = direct.iter().filter_map(|entry| RECENT.0.checked_sub(entry.requests.followed.0)).max();
    match soon.filter(|missing| *missing > 0) {
        Some(missing) => {
            let text = format!(
                "direct requests have not been watched for {} s yet; ask again in {} s",
                RECENT.0 / 1000,
                missing.div_ceil(1000)
            );
            Err(ErrorBody::new(ErrorCode::Busy, text).hint("`--force` does not wait"))
        }
        None => Ok(()),
    }
}

fn check_takers(balancers: Vec<&EntryPointStatus>) -> Result<(), ErrorBody> {
    if balancers.iter().any(|entry| entry.is_working()) {
        return Ok(());
    }
    let error = ErrorBody::new(ErrorCode::Harmful, "no load balancer is there to take the requests");
    if balancers.is_empty() {
        return Err(error.hint("`pando server add HOST --role lb` adds one"));
    }
    let details = balancers.iter().map(|entry| format!("{}: {}", entry.name, ailment(entry)));
    Err(error.details(details.collect()).hint("`pando lb status` shows them"))
}

fn ailment(entry: &EntryPointStatus) -> &'static str {
    if entry.state != pando_api::v1::status::ServerState::Alive {
        "the server is not alive"
    } else if entry.proxy.alive {
        "it does not have the newest table yet"
    } else {
        "its load balancer does not run"
    }
}

fn arriving(entry: &EntryPointStatus) -> Option<String> {
    let (recent, open) = (entry.requests.last_minute, entry.in_flight);
    match (recent, open) {
        (0, 0) => None,
        (0, open) => Some(format!("{}: {open} under way", entry.name)),
        (recent, 0) => Some(format!("{}: {recent} in the last minute", entry.name)),
        (recent, open) => Some(format!("{}: {recent} in the last minute, {open} under way", entry.name)),
    }
}

/// What differs between two worlds' rules, by server; servers that stay as they are are left out.
#[must_use]
pub fn rule_changes(before: &Input<'_>, after: &Input<'_>) -> Vec<RuleChanges> {
    let (old, new) = (firewall::rules(before), firewall::rules(after));
    let changes = after.desired.servers.values().filter_map(|server| {
        let (old, new) = (old.get(&server.id)?, new.get(&server.id)?);
        let change = RuleChanges {
            server: server.name.clone(),
            switched: (old.enforced != new.enforced).then_some(new.enforced),
            changes: firewall::changes(old, new).into_iter().map(told).collect(),
        };
        (change.switched.is_some() || !change.changes.is_empty()).then_some(change)
    });
    let mut changes: Vec<RuleChanges> = changes.collect();
    changes.sort_by(|a, b| a.server.cmp(&b.server));
    changes
}

fn told(change: firewall::Change) -> RuleChange {
    let text = change.to_string();
    let firewall::Change { ports, protocol, before, after, why: _ } = change;
    RuleChange { ports, protocol, before, after, text }
}

#[cfg(test)]
mod tests;
