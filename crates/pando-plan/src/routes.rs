//! The routing table, derived from what was decided for every app.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use pando_model::app::{Algorithm as Wanted, AppSpec, DomainSpec};
use pando_model::desired::{DeploymentPhase, Instance, Phase};
use pando_model::id::InstanceId;
use pando_model::name::{AppName, ProcessName};
use pando_routing::{
    Algorithm, Endpoint, EndpointId, EndpointState, Host, Pool, PoolId, Rule, Table, TableVersion,
};

use crate::action::{Action, Plan};
use crate::app::AppPlan;
use crate::input::{Context, Input, Liveness};

pub(crate) fn publish(context: &Context<'_>, apps: &[AppPlan<'_>], plan: &mut Plan) {
    let desired = context.input.desired;
    let mut table = Table { schema: 1, ..Table::default() };
    for app in apps {
        add_pools(context.input, app, &mut table.pools);
        add_rules(context.input, app, &mut table);
    }
    let before = desired.table.as_ref();
    if before.is_some_and(|before| before.same_content(&table) && before.version.epoch == desired.epoch) {
        return;
    }
    let revision = before.map_or(0, |before| before.version.revision) + 1;
    table.version = TableVersion { epoch: desired.epoch, revision };
    plan.actions.push(Action::Publish(table));
}

/// The name of a process's pool.
#[must_use]
pub(crate) fn pool_id(app: &AppName, process: &ProcessName) -> PoolId {
    PoolId(format!("{app}/{process}"))
}

fn add_pools(input: &Input<'_>, app: &AppPlan<'_>, pools: &mut BTreeMap<PoolId, Pool>) {
    for spec in specs(app) {
        for process in spec.routed() {
            let pool = pools.entry(pool_id(&app.name, process)).or_default();
            pool.algorithm = match spec.balancing {
                Wanted::RoundRobin => Algorithm::RoundRobin,
                Wanted::LeastConnections => Algorithm::LeastConnections,
            };
        }
    }
    let mut instances: Vec<(&InstanceId, &Instance)> = app.assigned.instances.iter().collect();
    instances.sort_by(|a, b| (&a.1.replica, a.0).cmp(&(&b.1.replica, b.0)));
    for (id, instance) in instances {
        let Some(pool) = pools.get_mut(&pool_id(&app.name, &instance.replica.process)) else { continue };
        pool.endpoints.extend(endpoint(input, *id, instance));
    }
}

/// The release under way and the committed one, which has the last word on a pool's settings.
fn specs<'a>(app: &AppPlan<'a>) -> Vec<&'a AppSpec> {
    let under_way = app.current().filter(|(deployment, _)| {
        matches!(deployment.phase, DeploymentPhase::Rolling | DeploymentPhase::GoingBack { .. })
    });
    let next = under_way.and_then(|(_, target)| app.spec(target));
    let committed = app.assigned.committed.and_then(|target| app.spec(target));
    next.into_iter().chain(committed).collect()
}

fn endpoint(input: &Input<'_>, id: InstanceId, instance: &Instance) -> Option<Endpoint> {
    let state = match instance.phase {
        Phase::Serving { .. } if may_serve(input, id, instance) => EndpointState::Active,
        Phase::Draining { deadline, .. } => EndpointState::Draining { deadline_millis: deadline.as_millis() },
        _ => return None,
    };
    let server = input.desired.servers.get(&instance.server)?;
    Some(Endpoint {
        id: EndpointId(id.as_uuid()),
        address: SocketAddr::new(server.private_address, instance.port),
        name: instance.replica.to_string(),
        locality: Some(server.name.to_string()),
        state,
    })
}

/// The agent says that it is ready. Where nobody has spoken yet, what was published stays.
fn may_serve(input: &Input<'_>, id: InstanceId, instance: &Instance) -> bool {
    match input.liveness(instance.server) {
        Liveness::Lost => false,
        Liveness::Unknown => input.published_state(id) == Some(EndpointState::Active),
        Liveness::Alive | Liveness::Suspect => input.ready_since(instance.server, id).is_some(),
    }
}

fn add_rules(input: &Input<'_>, app: &AppPlan<'_>, table: &mut Table) {
    let Some(spec) = app.routing_spec() else { return };
    let hosts = hosts(input, spec);
    let web = ProcessName::web();
    let mut rules = Vec::new();
    if spec.processes.contains_key(&web) {
        rules.extend(hosts.iter().map(|host| rule(app, host.clone(), "/", &web, false)));
    }
    for route in &spec.routes {
        let named = route.host.as_ref().and_then(|host| host.parse().ok());
        let of_route = named.map_or_else(|| hosts.clone(), |host| vec![host]);
        let strip = route.strip_prefix;
        rules.extend(of_route.into_iter().map(|host| rule(app, host, &route.path, &route.process, strip)));
    }
    for rule in rules {
        let same = |other: &Rule| {
            other.host == rule.host && other.path.trim_end_matches('/') == rule.path.trim_end_matches('/')
        };
        // Two apps that want one place: the first by name has it; admission told the second.
        if !table.rules.iter().any(same) && table.pools.contains_key(&rule.pool) {
            table.rules.push(rule);
        }
    }
}

fn hosts(input: &Input<'_>, spec: &AppSpec) -> Vec<Host> {
    if spec.domains.is_empty() && input.desired.settings.open_host {
        return vec![Host::Any];
    }
    let names = |domain: &DomainSpec| {
        let all = std::iter::once(&domain.domain).chain(&domain.aliases);
        all.filter_map(|name| name.parse().ok()).collect::<Vec<Host>>()
    };
    spec.domains.iter().flat_map(names).collect()
}

fn rule(app: &AppPlan<'_>, host: Host, path: &str, process: &ProcessName, strip_prefix: bool) -> Rule {
    Rule { host, path: path.to_owned(), pool: pool_id(&app.name, process), strip_prefix }
}
