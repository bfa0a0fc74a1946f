//! What an app asks of load balancers: where requests go, what is done to them on the way, how they are spread.
//!
//! It is said in the words of the routing table, so that nothing can be asked that a table can't say. Pools, users and pages
//! are named within the app here; [`Traffic::of`] gives them the names that a table knows them by, by which no app can
//! name what is another's. Which hosts are the app's, and which replicas serve, is left to the planner.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pando_routing::rule::access::{BasicAuth, Maintenance, Pause};
use pando_routing::rule::answers::{ErrorPage, ErrorPages, Statuses};
use pando_routing::rule::{Redirect, Respond, Split};
use pando_routing::{
    Destination, Filters, Host, PathMatch, Pool, PoolId, Rule, SecretText, Table, rule::When,
};
use serde::{Deserialize, Serialize};

use crate::app::{Algorithm, AppSpec};
use crate::desired::{MaintenanceWish, PauseWish};
use crate::name::{AppName, ProcessName, ServerName};

mod faults;

pub use faults::{Fault, Place, faults};

/// How requests are spread over a process's replicas.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PoolSpec {
    /// As the routing table has it. Its endpoints are not said here: they are the replicas.
    #[schema(value_type = Object)]
    pub pool: Pool,
    /// By server: the part of the requests that each replica there gets relative to others, 1 to 256. Others have 1.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, u32>)]
    pub weights: BTreeMap<ServerName, u32>,
    /// Replicas on these servers get requests while no other one can.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub standby: BTreeSet<ServerName>,
    /// The authorities that replicas' certificates come from, in PEM, where the pool has `tls`. A table knows them by the pool's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_certificates: Option<String>,
}

impl PoolSpec {
    /// What holds for replicas on `server`: weight and priority of their endpoints.
    #[must_use]
    pub fn on(&self, server: &ServerName) -> (u32, u8) {
        (self.weights.get(server).copied().unwrap_or(1), u8::from(self.standby.contains(server)))
    }
}

/// Which requests go where, and what is done to them on the way.
///
/// At most one of `process`, `split`, `redirect` and `respond` is there; without any, they go to the process `web`. Pools
/// that are named are processes of the app.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RouteSpec {
    /// How metrics, logs and errors call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `None`: every domain of the app.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    #[schema(value_type = Object)]
    pub path: PathMatch,
    #[serde(skip_serializing_if = "When::is_empty")]
    #[schema(value_type = Object)]
    pub when: When,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub split: Option<Split>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub redirect: Option<Redirect>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub respond: Option<Respond>,
    pub strip_prefix: bool,
    /// `basic_auth` and `error_pages` are below; what is said here of them is not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub filters: Option<Box<Filters>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<UsersSpec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub error_pages: Option<ErrorPages>,
}

/// Who comes in with a password.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UsersSpec {
    /// Hashed passwords (bcrypt or SHA-512-crypt) by user.
    #[schema(value_type = BTreeMap<String, String>)]
    pub users: BTreeMap<Arc<str>, SecretText>,
    /// What browsers show. Default `Restricted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realm: Option<String>,
    /// The process gets the `Authorization` header too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pass_on: bool,
}

impl RouteSpec {
    /// Requests for a path and what is below it go to a process.
    #[must_use]
    pub fn to(path: impl Into<String>, process: ProcessName) -> Self {
        Self { path: PathMatch::Prefix(path.into()), process: Some(process), ..Self::default() }
    }

    /// How many of the four destinations it names.
    #[must_use]
    pub fn destinations(&self) -> usize {
        [self.process.is_some(), self.split.is_some(), self.redirect.is_some(), self.respond.is_some()]
            .into_iter()
            .filter(|named| *named)
            .count()
    }

    /// The processes that may get requests by it, in whatever way.
    #[must_use]
    pub fn processes(&self) -> BTreeSet<ProcessName> {
        let mut named: BTreeSet<ProcessName> = self.process.iter().cloned().collect();
        if self.destinations() == 0 {
            named.insert(ProcessName::web());
        }
        let sides = self.split.iter().flat_map(|split| split.sides.iter().map(|side| &side.pool));
        let pools = sides.chain(self.filters.iter().flat_map(|filters| filters.pools()));
        named.extend(pools.filter_map(|pool| ProcessName::new(&pool.0).ok()));
        named
    }
}

/// The name of a process's pool in a table.
#[must_use]
pub fn pool_id(app: &AppName, process: &str) -> PoolId {
    PoolId(format!("{app}/{process}"))
}

/// What an app has in a table, but for pools.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Traffic {
    pub rules: Vec<Rule>,
    pub error_pages: BTreeMap<Arc<str>, ErrorPages>,
    pub users: BTreeMap<Arc<str>, BTreeMap<Arc<str>, SecretText>>,
}

/// What holds for all of an app's requests for a while.
#[derive(Debug, Clone, Copy, Default)]
pub struct Interlude<'a> {
    pub maintenance: Option<&'a MaintenanceWish>,
    pub pause: Option<&'a PauseWish>,
}

impl Traffic {
    /// `hosts`: those that the app answers to. A route for a host that is none of them gets nothing.
    #[must_use]
    pub fn of(spec: &AppSpec, hosts: &[Host], interlude: Interlude<'_>) -> Self {
        let mut traffic = Self::default();
        let numbered = || spec.routes.iter().enumerate();
        for (number, route) in numbered().filter(|(_, route)| route.host.is_some()) {
            traffic.route(spec, number, route, hosts);
        }
        // What is said of one host goes before what is said of all.
        let named = traffic.rules.len();
        for (number, route) in numbered().filter(|(_, route)| route.host.is_none()) {
            traffic.route(spec, number, route, hosts);
        }
        traffic.yield_to(named);
        traffic.front_door(spec, hosts);
        traffic.interrupt(&spec.name, interlude);
        traffic
    }

    /// Of the rules after the first `named`, those stay that are for something else.
    fn yield_to(&mut self, named: usize) {
        let general = self.rules.split_off(named);
        let kept: Vec<Rule> = {
            let taken: BTreeSet<_> = self.rules.iter().map(Rule::place).collect();
            general.into_iter().filter(|rule| !taken.contains(&rule.place())).collect()
        };
        self.rules.extend(kept);
    }

    /// Whatever no route is for goes to `web`.
    fn front_door(&mut self, spec: &AppSpec, hosts: &[Host]) {
        let web = ProcessName::web();
        if !spec.processes.contains_key(&web) {
            return;
        }
        let rule = |host: &Host| Rule::new(host.clone(), "/", pool_id(&spec.name, web.as_str()));
        let doors: Vec<Rule> = {
            let taken: BTreeSet<_> = self.rules.iter().map(Rule::place).collect();
            hosts.iter().map(rule).filter(|door| !taken.contains(&door.place())).collect()
        };
        self.rules.splice(0..0, doors);
    }

    fn route(&mut self, spec: &AppSpec, number: usize, route: &RouteSpec, hosts: &[Host]) {
        let named: Option<Host> = route.host.as_ref().and_then(|host| host.parse().ok());
        let of_route: Vec<&Host> = match &named {
            Some(host) if is_within(host, hosts) => vec![host],
            None if route.host.is_none() => hosts.iter().collect(),
            _ => return,
        };
        let set: Arc<str> = format!("{}/{number}", spec.name).into();
        if let Some(auth) = &route.basic_auth {
            self.users.insert(Arc::clone(&set), auth.users.clone());
        }
        if let Some(pages) = &route.error_pages {
            self.error_pages.insert(Arc::clone(&set), pages.clone());
        }
        let several = of_route.len() > 1;
        for host in of_route {
            let name = route.name.as_ref().map(|name| rule_name(&spec.name, name, several.then_some(host)));
            self.rules.push(route.rule(&spec.name, name, host.clone(), &set));
        }
    }

    fn interrupt(&mut self, app: &AppName, interlude: Interlude<'_>) {
        let Interlude { maintenance, pause } = interlude;
        let set: Arc<str> = format!("{app}/maintenance").into();
        let page = maintenance.and_then(|wish| wish.page.as_ref());
        if let Some(html) = page {
            let page = ErrorPage { html: Some(html.as_str().into()), ..ErrorPage::default() };
            let pages = [(Statuses::One(503), page)].into();
            self.error_pages.insert(Arc::clone(&set), ErrorPages { pages, ..ErrorPages::default() });
        }
        if maintenance.is_none() && pause.is_none() {
            return;
        }
        for rule in &mut self.rules {
            let goes_up = matches!(rule.to, Destination::Pool(_) | Destination::Split(_));
            let filters = rule.filters.get_or_insert_default();
            filters.maintenance = maintenance.map(MaintenanceWish::in_table);
            if page.is_some() {
                filters.error_pages = Some(Arc::clone(&set));
            }
            filters.pause = pause.filter(|_| goes_up).map(PauseWish::in_table);
            rule.filters.take_if(|filters| **filters == Filters::default());
        }
    }
}

impl MaintenanceWish {
    /// As each rule of the app has it.
    #[must_use]
    pub fn in_table(&self) -> Maintenance {
        Maintenance {
            retry_after_seconds: u32::try_from(self.retry_after.0.div_ceil(1000)).unwrap_or(u32::MAX),
            allow: self.allow.clone(),
            message: self.message.as_deref().map(Arc::from),
        }
    }
}

impl PauseWish {
    /// As each rule of the app that leads to replicas has it.
    #[must_use]
    pub fn in_table(&self) -> Pause {
        let until_millis = Some(self.until.as_millis());
        Pause { hold_millis: self.hold().0, most: self.most, until_millis }
    }
}

fn rule_name(app: &AppName, name: &str, host: Option<&Host>) -> Arc<str> {
    match host {
        Some(host) => format!("{app}/{name} at {host}").into(),
        None => format!("{app}/{name}").into(),
    }
}

/// One of them, or below a wildcard among them.
fn is_within(host: &Host, hosts: &[Host]) -> bool {
    hosts.iter().any(|own| match (own, host) {
        (own, host) if own == host => true,
        (Host::Wildcard(parent), Host::Exact(name) | Host::Wildcard(name)) => {
            name.strip_suffix(&**parent).is_some_and(|rest| rest.ends_with('.'))
        }
        _ => false,
    })
}

impl RouteSpec {
    fn rule(&self, app: &AppName, name: Option<Arc<str>>, host: Host, set: &Arc<str>) -> Rule {
        let filters = self.filters(app, set);
        Rule {
            name,
            host,
            path: self.path.clone(),
            when: self.when.clone(),
            to: self.destination(app),
            strip_prefix: self.strip_prefix,
            filters: (filters != Filters::default()).then(|| Box::new(filters)),
        }
    }

    fn destination(&self, app: &AppName) -> Destination {
        if let Some(split) = &self.split {
            let mut split = split.clone();
            split.sides.iter_mut().for_each(|side| side.pool = pool_id(app, &side.pool.0));
            return Destination::Split(split);
        }
        let redirect = self.redirect.clone().map(Destination::Redirect);
        let answer = redirect.or_else(|| self.respond.clone().map(Destination::Respond));
        let web = ProcessName::web();
        let process = self.process.as_ref().unwrap_or(&web);
        answer.unwrap_or_else(|| Destination::Pool(pool_id(app, process.as_str())))
    }

    /// With names that a table knows.
    fn filters(&self, app: &AppName, set: &Arc<str>) -> Filters {
        let mut filters = self.filters.as_deref().cloned().unwrap_or_default();
        if let Some(auth) = &mut filters.forward_auth {
            auth.pool = pool_id(app, &auth.pool.0);
        }
        if let Some(mirror) = &mut filters.mirror {
            mirror.pool = pool_id(app, &mirror.pool.0);
        }
        filters.basic_auth = self.basic_auth.as_ref().map(|auth| BasicAuth {
            users: Arc::clone(set),
            realm: auth.realm.clone().unwrap_or_else(|| "Restricted".to_owned()),
            pass_on: auth.pass_on,
        });
        filters.error_pages = self.error_pages.as_ref().map(|_| Arc::clone(set));
        // People say these for a while, never a release.
        (filters.maintenance, filters.pause) = (None, None);
        filters
    }
}

impl AppSpec {
    /// How requests are spread over a process's replicas: as said of it, else by the app's algorithm.
    #[must_use]
    pub fn pool(&self, process: &ProcessName) -> Pool {
        if let Some(spec) = self.pools.get(process) {
            let mut pool = Pool { endpoints: Vec::new(), ..spec.pool.clone() };
            if let Some(tls) = &mut pool.tls {
                let name = || pool_id(&self.name, process.as_str()).0.into();
                tls.ca = spec.ca_certificates.as_ref().map(|_| name());
            }
            return pool;
        }
        let algorithm = match self.balancing {
            Algorithm::RoundRobin => pando_routing::Algorithm::RoundRobin,
            Algorithm::LeastConnections => pando_routing::Algorithm::LeastConnections,
            Algorithm::PeakEwma => pando_routing::Algorithm::PeakEwma,
        };
        Pool { algorithm, ..Pool::default() }
    }

    /// Whom a process's pool believes, by the name that [`AppSpec::pool`] names it by, if it says so itself.
    #[must_use]
    pub fn authorities(&self, process: &ProcessName) -> Option<(Arc<str>, String)> {
        let pem = self.pools.get(process)?.ca_certificates.clone()?;
        Some((self.pool(process).tls?.ca?, pem))
    }

    /// A table of this app alone, without endpoints; for checks. Certificates that pools show to their endpoints are not in it, nor
    /// named.
    #[must_use]
    fn of_pools<'p>(&self, processes: impl Iterator<Item = &'p ProcessName> + Clone) -> Table {
        let pools = processes.clone().map(|process| {
            let mut pool = self.pool(process);
            pool.tls.iter_mut().for_each(|tls| tls.client_certificate = None);
            (pool_id(&self.name, process.as_str()), pool)
        });
        let ca_certificates = processes.filter_map(|process| self.authorities(process)).collect();
        Table { schema: 1, pools: pools.collect(), ca_certificates, ..Table::default() }
    }

    /// As above, with what its rules say.
    fn table(&self, hosts: &[Host]) -> Table {
        let Traffic { rules, error_pages, users } = Traffic::of(self, hosts, Interlude::default());
        let mut table = Table { rules, error_pages, ..self.of_pools(self.processes.keys()) };
        table.secret.users = users;
        table
    }
}

#[cfg(test)]
pub(crate) mod tests;
