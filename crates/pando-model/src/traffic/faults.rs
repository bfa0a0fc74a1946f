//! What a table would refuse of an app's traffic, by the place where it is said.

use std::collections::BTreeMap;
use std::fmt;

use pando_routing::{Host, Table, TableError};

use super::{RouteSpec, Traffic};
use crate::app::AppSpec;
use crate::name::ProcessName;

/// Routes of one app.
const MOST_ROUTES: usize = 1_000;

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub place: Place,
    pub message: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// One of `routes`, by its index.
    Route(usize),
    /// How requests are spread over this process.
    Pool(ProcessName),
    /// How this domain is served.
    Domain(String),
    /// The routes together.
    Routes,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Route(index) => write!(f, "route {}: {}", index + 1, self.message),
            Place::Pool(process) => write!(f, "the balancing of `{process}`: {}", self.message),
            Place::Domain(domain) => write!(f, "the domain `{domain}`: {}", self.message),
            Place::Routes => write!(f, "the routes: {}", self.message),
        }
    }
}

/// Everything that a table would refuse. Empty: nothing.
#[must_use]
pub fn faults(spec: &AppSpec) -> Vec<Fault> {
    let mut found = Vec::new();
    if spec.routes.len() > MOST_ROUTES {
        let message = format!("there are {}; {MOST_ROUTES} are the most", spec.routes.len());
        return vec![Fault { place: Place::Routes, message }];
    }
    let hosts = hosts(spec);
    let hosts = if hosts.is_empty() { vec![Host::Any] } else { hosts };
    for process in spec.pools.keys() {
        let messages = of_pool(spec, process);
        found.extend(messages.map(|message| Fault { place: Place::Pool(process.clone()), message }));
    }
    found.extend(of_domains(spec));
    for (index, route) in spec.routes.iter().enumerate() {
        let messages = of_route(spec, route, &hosts);
        found.extend(messages.into_iter().map(|message| Fault { place: Place::Route(index), message }));
    }
    if found.is_empty() {
        found.extend(doubles(spec, &hosts));
    }
    if found.is_empty() {
        let messages = refused(&spec.table(&hosts));
        found.extend(messages.map(|message| Fault { place: Place::Routes, message }));
    }
    found
}

/// Routes for what an earlier one is for, too.
fn doubles(spec: &AppSpec, hosts: &[Host]) -> Vec<Fault> {
    let ruled = spec.routes.iter().enumerate().map(|(index, route)| {
        let mut traffic = Traffic::default();
        traffic.route(spec, index, route, hosts);
        (index, route.host.is_some(), traffic.rules)
    });
    let ruled: Vec<_> = ruled.collect();
    let mut taken = BTreeMap::new();
    let mut found = Vec::new();
    for (index, named, rules) in &ruled {
        let earlier: Vec<usize> =
            rules.iter().filter_map(|rule| taken.insert((named, rule.place()), *index)).collect();
        if let Some(first) = earlier.first() {
            let message = format!("it is for the same requests as route {}", first + 1);
            found.push(Fault { place: Place::Route(*index), message });
        }
    }
    found
}

/// Those that the app answers to.
fn hosts(spec: &AppSpec) -> Vec<Host> {
    let names = spec.domains.iter().flat_map(|domain| std::iter::once(&domain.domain).chain(&domain.aliases));
    names.filter_map(|name| name.parse().ok()).collect()
}

fn of_pool(spec: &AppSpec, process: &ProcessName) -> impl Iterator<Item = String> {
    let unknown = (!spec.processes.contains_key(process)).then(|| "there is no such process".to_owned());
    let weights = spec.pools.get(process).into_iter().flat_map(|pool| pool.weights.values());
    let wrong = weights
        .filter(|weight| !(1..=256).contains(*weight))
        .map(|weight| format!("a weight is {weight}; it must be 1 to 256"));
    let wrong: Vec<String> = wrong.collect();
    let refused: Vec<String> = refused(&spec.of_pools(std::iter::once(process))).collect();
    let shown = unshown(spec, process);
    unknown.into_iter().chain(wrong).chain(refused).chain(shown)
}

/// Whose clients would be asked for certificates of nobody.
fn of_domains(spec: &AppSpec) -> impl Iterator<Item = Fault> {
    spec.domains.iter().filter_map(|domain| {
        let pem = &domain.https.client_auth.as_ref()?.ca_certificates;
        let fault = pando_routing::upstream::authorities(pem).err()?;
        let message = format!("the authorities of its clients: {fault}");
        Some(Fault { place: Place::Domain(domain.domain.clone()), message })
    })
}

/// Certificates are known by their hosts.
fn unshown(spec: &AppSpec, process: &ProcessName) -> Option<String> {
    let named = spec.pool(process).tls?.client_certificate?;
    let is_host = named.parse::<Host>().is_ok_and(|host| host != Host::Any);
    (!is_host).then(|| format!("the client certificate `{named}` is not named by a host"))
}

fn of_route(spec: &AppSpec, route: &RouteSpec, hosts: &[Host]) -> Vec<String> {
    if route.destinations() > 1 {
        return vec!["it names more than one of `process`, `split`, `redirect` and `respond`".to_owned()];
    }
    let unknown: Vec<String> = unknown(spec, route).collect();
    if !unknown.is_empty() {
        return unknown;
    }
    let host = route.host.as_ref().and_then(|host| host.parse::<Host>().ok());
    if let Some(name) = &route.host
        && !host.is_some_and(|host| super::is_within(&host, hosts))
    {
        return vec![format!("`{name}` is not a domain of this app")];
    }
    // Only its own faults are looked for.
    let alone = AppSpec { routes: vec![route.clone()], pools: BTreeMap::new(), ..spec.clone() };
    // One host tells as much as all of them.
    let hosts = if route.host.is_none() { &hosts[..1] } else { hosts };
    refused(&alone.table(hosts)).collect()
}

fn unknown(spec: &AppSpec, route: &RouteSpec) -> impl Iterator<Item = String> {
    let named = route.processes().into_iter().filter(|process| !spec.processes.contains_key(process));
    named.map(|process| format!("it leads to `{process}`, which is no process"))
}

fn refused(table: &Table) -> impl Iterator<Item = String> + use<> {
    table.validate().err().unwrap_or_default().into_iter().map(said)
}

/// Without the name of the rule or the pool, which whoever reads it hasn't given.
fn said(error: TableError) -> String {
    match error {
        TableError::Rule { fault, .. } => fault.to_string(),
        TableError::Range { what, value, least, most, .. } => {
            format!("{what} is {value}; it must be {least} to {most}")
        }
        TableError::Tls { why, .. } => why,
        TableError::Ca { fault, .. } => format!("its authorities: {fault}"),
        TableError::User { user, why, .. } => format!("user `{user}`: {why}"),
        other => other.to_string(),
    }
}
