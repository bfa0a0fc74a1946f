//! Where domains point, compared with where requests should arrive.
//!
//! Asking is the system's resolver's; judging what it said is a function.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use pando_api::v1::balancers::{BalancerList, EntryPointStatus, EntryRole};
use pando_model::name::ServerName;
use serde::Serialize;

/// An answer that takes longer helps nobody who waits.
const WITHIN: Duration = Duration::from_secs(5);
/// Questions at once.
const AT_ONCE: usize = 16;

/// A domain, and what its addresses belong to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Pointer {
    pub(super) domain: String,
    pub(super) app: String,
    pub(super) points_at: PointsAt,
    pub(super) addresses: BTreeSet<IpAddr>,
    /// The load balancers among them.
    pub(super) balancers: BTreeSet<ServerName>,
    /// Entry points among them that are none.
    pub(super) direct: BTreeSet<ServerName>,
    /// Addresses that are no entry point's.
    pub(super) others: BTreeSet<IpAddr>,
    /// Why there are no addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) problem: Option<String>,
}

/// In one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PointsAt {
    /// At load balancers alone.
    Balancers,
    /// At load balancers and elsewhere too.
    Both,
    /// At servers that answer directly.
    Direct,
    /// At addresses that are no entry point's.
    Elsewhere,
    Nowhere,
}

/// Asks for every domain.
pub(super) async fn ask(list: &BalancerList) -> Vec<Pointer> {
    let questions = list.domains.iter().map(|owner| async move {
        let answer = addresses_of(&owner.domain).await;
        judge(&owner.domain, owner.app.as_str(), answer, &list.entry_points)
    });
    // In the order of the list, so that two looks can be compared.
    futures_util::stream::iter(questions).buffered(AT_ONCE).collect().await
}

async fn addresses_of(domain: &str) -> Result<BTreeSet<IpAddr>, String> {
    let name = asked_name(domain);
    // The port is of no matter; the resolver wants one.
    let looked = tokio::time::timeout(WITHIN, tokio::net::lookup_host((name.as_str(), 443))).await;
    match looked {
        Ok(Ok(addresses)) => Ok(addresses.map(|address| address.ip().to_canonical()).collect()),
        Ok(Err(error)) => Err(plain(&error.to_string())),
        Err(_) => Err(format!("no answer within {} s", WITHIN.as_secs())),
    }
}

/// For `*.example.com`, any name below it.
fn asked_name(domain: &str) -> String {
    match domain.strip_prefix("*.") {
        Some(rest) => format!("pando-check.{rest}"),
        None => domain.to_owned(),
    }
}

/// The library's words without its own name for the call.
fn plain(error: &str) -> String {
    error.strip_prefix("failed to lookup address information: ").unwrap_or(error).to_lowercase()
}

fn judge(
    domain: &str,
    app: &str,
    answer: Result<BTreeSet<IpAddr>, String>,
    entry_points: &[EntryPointStatus],
) -> Pointer {
    let (addresses, problem) = match answer {
        Ok(addresses) => (addresses, None),
        Err(problem) => (BTreeSet::new(), Some(problem)),
    };
    let named = |role: EntryRole| {
        let of_role = entry_points.iter().filter(move |entry| entry.role == role);
        let hit = of_role.filter(|entry| own(entry).any(|address| addresses.contains(&address)));
        hit.map(|entry| entry.name.clone()).collect::<BTreeSet<_>>()
    };
    let (balancers, direct) = (named(EntryRole::Balancer), named(EntryRole::Direct));
    let ours: BTreeSet<IpAddr> = entry_points.iter().flat_map(own).collect();
    let others: BTreeSet<IpAddr> = addresses.difference(&ours).copied().collect();
    let points_at = match (balancers.is_empty(), direct.is_empty() && others.is_empty()) {
        _ if addresses.is_empty() => PointsAt::Nowhere,
        (false, true) => PointsAt::Balancers,
        (false, false) => PointsAt::Both,
        (true, _) if direct.is_empty() => PointsAt::Elsewhere,
        (true, _) => PointsAt::Direct,
    };
    Pointer {
        domain: domain.to_owned(),
        app: app.to_owned(),
        points_at,
        addresses,
        balancers,
        direct,
        others,
        problem,
    }
}

fn own(entry: &EntryPointStatus) -> impl Iterator<Item = IpAddr> {
    entry.public_address.into_iter().chain([entry.private_address])
}

/// A record to set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Record {
    pub(super) name: String,
    /// `A` or `AAAA`.
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) value: IpAddr,
}

/// The records that a domain is to have, and no others: one for each load balancer.
pub(super) fn records(domain: &str, entry_points: &[EntryPointStatus]) -> Vec<Record> {
    let balancers = entry_points.iter().filter(|entry| entry.role == EntryRole::Balancer);
    let addresses = balancers.map(|entry| entry.public_address.unwrap_or(entry.private_address));
    let record = |value: IpAddr| {
        let kind = if value.is_ipv4() { "A" } else { "AAAA" };
        Record { name: domain.to_owned(), kind, value }
    };
    addresses.map(record).collect()
}

#[cfg(test)]
mod tests;
