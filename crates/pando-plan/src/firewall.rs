//! What each server accepts from the network, derived from roles.
//!
//! Everything that must be reachable for the cluster to work, for its people and
//! for its visitors is a rule with its reason; nothing else is. How a rule comes
//! into force is left to agents.

mod changes;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use pando_model::app::{AppSpec, ProcessSpec, ServiceSpec};
use pando_model::desired::{Deployment, DeploymentPhase, Settings, Target};
use pando_model::firewall::{
    APP_PORTS, CONTROL_PORT, Cidr, ENTRY_PORTS, FirewallRule, FirewallRules, OpenPort, Protocol, SSH_PORT,
    Sources,
};
use pando_model::id::ServerId;
use pando_model::name::{AppName, ProcessName, ServiceName};
use pando_model::release::{Release, ReleaseNumber};
use pando_model::server::Server;

use crate::app::AppPlan;
use crate::input::{Input, Liveness};

pub use changes::{Change, changes};

/// The rules of every server as they follow from `input` before anything more is planned: what to show of the firewall, and,
/// with other settings in `input`, what they would change.
#[must_use]
pub fn rules(input: &Input<'_>) -> BTreeMap<ServerId, FirewallRules> {
    let apps = input.desired.apps.iter();
    let apps = apps.map(|(name, app)| {
        let held = app.assigned.instances.values();
        let held = held.map(|it| (&it.replica.process, it.target.release, it.server));
        Users::of(name, &app.releases, app.assigned.committed, held, app.deployments.iter())
    });
    let cluster = Cluster::new(input, apps.collect());
    input.desired.servers.values().map(|server| (server.id, cluster.rules_of(server))).collect()
}

/// The rule that lets a TCP connection from another machine in. `None`: it is dropped.
#[must_use]
pub fn allowed(rules: &FirewallRules, from: IpAddr, port: u16) -> Option<&FirewallRule> {
    let tcp = rules.rules.iter().filter(|rule| rule.protocol == Protocol::Tcp);
    tcp.into_iter().find(|rule| rule.covers(port) && rule.from.contain(from))
}

/// Everything that rules follow from, the same for all servers.
pub(crate) struct Cluster<'a> {
    settings: &'a Settings,
    apps: Vec<Users<'a>>,
    /// Somebody who holds a token may be on the way.
    joining: bool,
    /// Every server.
    all: Arc<BTreeSet<Cidr>>,
    /// Those that send requests to replicas.
    balancing: Arc<BTreeSet<Cidr>>,
    /// For each service in use, the servers that use it.
    services: Vec<Service<'a>>,
}

/// Who an app is, for its services and its balancers.
pub(crate) struct Users<'a> {
    name: &'a AppName,
    /// Of every release that runs or is to run.
    specs: Vec<&'a AppSpec>,
    /// Where something of it runs, whatever the roles say by now.
    homes: BTreeSet<ServerId>,
    /// Where something of it runs that gets requests.
    serving: BTreeSet<ServerId>,
}

struct Service<'a> {
    app: &'a AppName,
    name: &'a ServiceName,
    spec: &'a ServiceSpec,
    users: Arc<BTreeSet<Cidr>>,
}

impl<'a> Cluster<'a> {
    /// As the plan leaves it.
    pub(crate) fn planned(input: &'a Input<'a>, apps: &'a [AppPlan<'a>]) -> Self {
        let users = |app: &'a AppPlan<'a>| {
            let held = app.members.iter().map(|it| (&it.replica.process, it.target.release, it.server));
            Users::of(app.name, &app.desired.releases, app.committed, held, app.deployments.iter())
        };
        Self::new(input, apps.iter().map(users).collect())
    }

    fn new(input: &'a Input<'a>, apps: Vec<Users<'a>>) -> Self {
        let (desired, settings) = (input.desired, &input.desired.settings);
        let servers = || desired.servers.values();
        // One that is no entry point any more still ends what it began.
        let balances = |server: &&Server| {
            let proxy = input.report(server.id).and_then(|report| report.proxy.as_ref());
            let ending =
                proxy.is_some_and(|proxy| proxy.alive) && input.liveness(server.id) != Liveness::Lost;
            server.is_entry_point(settings) || ending
        };
        let mut known = Known::of(input);
        Self {
            settings,
            joining: settings.joining_until.is_some_and(|until| input.now < until),
            all: known.share(servers().flat_map(every_address).collect()),
            balancing: known.share(servers().filter(balances).map(private_address).collect()),
            services: services(&apps, &mut known, || desired.servers.values()),
            apps,
        }
    }

    /// Sorted by port; what several need at one port is one rule.
    pub(crate) fn rules_of(&self, server: &Server) -> FirewallRules {
        let mut rules = Vec::new();
        self.add_entry(server, &mut rules);
        self.add_replicas(server, &mut rules);
        self.add_services(server, &mut rules);
        self.add_own(server, &mut rules);
        self.add_named(server, &mut rules);
        let own: BTreeSet<Cidr> = every_address(server).collect();
        // A server reaches itself whatever the rules say.
        rules.retain(|rule| match &rule.from {
            Sources::Anywhere => true,
            Sources::Of(ranges) => !ranges.is_subset(&own),
        });
        FirewallRules {
            enforced: self.settings.firewall.enabled,
            cut_sessions: self.settings.firewall.cut_sessions,
            rules: merge(rules),
        }
    }

    fn add_entry(&self, server: &Server, rules: &mut Vec<FirewallRule>) {
        if !server.is_entry_point(self.settings) {
            return;
        }
        let why = match has_role(server, "lb") {
            true => "requests from outside: it has the role lb",
            false => "requests from outside: it has the role web, and direct access is open",
        };
        rules.extend(ENTRY_PORTS.map(|port| tcp((port, port), Sources::Anywhere, why)));
    }

    fn add_replicas(&self, server: &Server, rules: &mut Vec<FirewallRule>) {
        if self.apps.iter().any(|app| app.serves_on(server)) {
            let from = Sources::Of(Arc::clone(&self.balancing));
            rules.push(tcp(APP_PORTS, from, "replicas, from entry points"));
        }
    }

    fn add_services(&self, server: &Server, rules: &mut Vec<FirewallRule>) {
        for Service { app, name, spec, users } in &self.services {
            if server.roles.contains(&spec.role) {
                let why = format!("{} ({name}), from servers that run {app}", spec.kind);
                rules.push(tcp((spec.port, spec.port), Sources::Of(Arc::clone(users)), &why));
            }
        }
    }

    /// What Pando itself serves.
    fn add_own(&self, server: &Server, rules: &mut Vec<FirewallRule>) {
        let cluster = || Sources::Of(Arc::clone(&self.all));
        let port = server.agent_address.port();
        rules.push(tcp((port, port), cluster(), "the agent, from the cluster's servers"));
        if !has_role(server, "control") {
            return;
        }
        let api = (CONTROL_PORT, CONTROL_PORT);
        rules.push(tcp(api, cluster(), "the API, from the cluster's servers"));
        let named = self.settings.firewall.control_from.clone();
        rules.push(tcp(api, Sources::Of(Arc::new(named)), "the API, from addresses named in the settings"));
        if self.joining {
            rules.push(tcp(
                api,
                Sources::Anywhere,
                "the API, from anywhere while a token for joining is good",
            ));
        }
    }

    /// What people say.
    fn add_named(&self, server: &Server, rules: &mut Vec<FirewallRule>) {
        let settings = &self.settings.firewall;
        let (from, why) = match settings.ssh_from.is_empty() {
            true => (Sources::Anywhere, "SSH, from anywhere: the settings name no addresses"),
            false => (named(&settings.ssh_from), "SSH, from addresses named in the settings"),
        };
        rules.push(tcp((SSH_PORT, SSH_PORT), from, why));
        let here = |open: &&OpenPort| open.role.as_ref().is_none_or(|role| server.roles.contains(role));
        rules.extend(settings.open.iter().filter(here).map(|open| FirewallRule {
            ports: (open.ports.first, open.ports.last),
            protocol: open.ports.protocol,
            from: if open.from.is_empty() { Sources::Anywhere } else { named(&open.from) },
            why: "kept open by the settings".to_owned(),
        }));
    }
}

impl<'a> Users<'a> {
    fn of<'d>(
        name: &'a AppName,
        releases: &'a BTreeMap<ReleaseNumber, Release>,
        committed: Option<Target>,
        held: impl Iterator<Item = (&'d ProcessName, ReleaseNumber, ServerId)>,
        deployments: impl Iterator<Item = &'d Deployment> + Clone,
    ) -> Self {
        let (mut numbers, mut homes, mut serving) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for (process, release, server) in held {
            numbers.insert(release);
            homes.insert(server);
            // Of a release that is not known any more, it may be.
            if releases.get(&release).is_none_or(|release| release.spec.routed().contains(process)) {
                serving.insert(server);
            }
        }
        numbers.extend(committed.map(|target| target.release));
        numbers.extend(deployments.clone().map(|deployment| deployment.release));
        homes.extend(deployments.filter_map(|deployment| match deployment.phase {
            DeploymentPhase::Releasing { task } => Some(task?.server),
            _ => None,
        }));
        let specs = numbers.iter().filter_map(|number| releases.get(number)).map(|release| &release.spec);
        Self { name, specs: specs.collect(), homes, serving }
    }

    /// Something of it runs there, or may.
    fn may_run_on(&self, server: &Server) -> bool {
        let may = |spec: &&AppSpec| spec.processes.values().any(|process| may_run(process, server));
        self.homes.contains(&server.id) || self.specs.iter().any(may)
    }

    /// Something that gets requests runs there, or may.
    fn serves_on(&self, server: &Server) -> bool {
        let may = |spec: &&AppSpec| {
            let routed = spec.routed();
            let serving = spec.processes.iter().filter(|(name, _)| routed.contains(name));
            serving.into_iter().any(|(_, process)| may_run(process, server))
        };
        self.serving.contains(&server.id) || self.specs.iter().any(may)
    }
}

/// The sets in the published assignments. One that is the same again is the same in memory, so that to find a thousand
/// assignments unchanged doesn't take a million comparisons.
struct Known(Vec<Arc<BTreeSet<Cidr>>>);

impl Known {
    fn of(input: &Input<'_>) -> Self {
        let rules = input.desired.assignments.values().flat_map(|assignment| &assignment.firewall);
        let sets = rules.flat_map(|rules| &rules.rules).filter_map(|rule| match &rule.from {
            Sources::Of(ranges) => Some((Arc::as_ptr(ranges), ranges)),
            Sources::Anywhere => None,
        });
        Self(sets.collect::<BTreeMap<_, _>>().into_values().cloned().collect())
    }

    fn share(&mut self, set: BTreeSet<Cidr>) -> Arc<BTreeSet<Cidr>> {
        if let Some(same) = self.0.iter().find(|known| known.len() == set.len() && *known.as_ref() == set) {
            return Arc::clone(same);
        }
        let set = Arc::new(set);
        self.0.push(Arc::clone(&set));
        set
    }
}

/// Each service of each app once, as the newest release has it last.
fn services<'a, S: Iterator<Item = &'a Server>>(
    apps: &[Users<'a>],
    known: &mut Known,
    servers: impl Fn() -> S,
) -> Vec<Service<'a>> {
    let mut found = Vec::new();
    for app in apps.iter().filter(|app| app.specs.iter().any(|spec| !spec.services.is_empty())) {
        let users = servers().filter(|server| app.may_run_on(server)).map(private_address);
        let users = known.share(users.collect());
        for (name, spec) in app.specs.iter().flat_map(|spec| &spec.services) {
            let users = Arc::clone(&users);
            found.push(Service { app: app.name, name, spec, users });
        }
    }
    found
}

fn may_run(process: &ProcessSpec, server: &Server) -> bool {
    let pinned = process.servers.is_empty() || process.servers.contains(&server.name);
    let labelled = process.labels.iter().all(|(name, value)| server.labels.get(name) == Some(value));
    server.roles.contains(&process.role) && pinned && labelled
}

fn has_role(server: &Server, role: &str) -> bool {
    server.roles.iter().any(|own| own.as_str() == role)
}

fn private_address(server: &Server) -> Cidr {
    Cidr::single(server.private_address)
}

/// Where its connections may come from: on whichever network it reaches another.
fn every_address(server: &Server) -> impl Iterator<Item = Cidr> {
    let own = [server.private_address, server.agent_address.ip()];
    own.into_iter().chain(server.public_address).map(Cidr::single)
}

fn named(ranges: &BTreeSet<Cidr>) -> Sources {
    Sources::Of(Arc::new(ranges.clone()))
}

fn tcp(ports: (u16, u16), from: Sources, why: &str) -> FirewallRule {
    FirewallRule { ports, protocol: Protocol::Tcp, from, why: why.to_owned() }
}

fn merge(mut rules: Vec<FirewallRule>) -> Vec<FirewallRule> {
    rules.sort_by_key(|rule| (rule.ports, rule.protocol));
    let mut merged: Vec<FirewallRule> = Vec::new();
    for rule in rules {
        match merged.last_mut().filter(|last| (last.ports, last.protocol) == (rule.ports, rule.protocol)) {
            Some(last) => join(last, &rule),
            None => merged.push(rule),
        }
    }
    merged
}

fn join(rule: &mut FirewallRule, other: &FirewallRule) {
    if !rule.why.split("; ").any(|why| why == other.why) {
        rule.why = format!("{}; {}", rule.why, other.why);
    }
    rule.from = match (&rule.from, &other.from) {
        (Sources::Of(some), Sources::Of(more)) if some == more => return,
        (Sources::Of(some), Sources::Of(more)) => Sources::Of(Arc::new(some.union(more).copied().collect())),
        _ => Sources::Anywhere,
    };
}

#[cfg(test)]
mod tests;
