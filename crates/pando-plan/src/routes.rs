//! The routing table, derived from what was decided for every app.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use pando_model::app::{AppSpec, DomainSpec};
use pando_model::desired::{DeploymentPhase, Phase};
use pando_model::name::ProcessName;
use pando_model::traffic::{Interlude, Traffic, pool_id};
use pando_routing::{Endpoint, EndpointId, EndpointState, Host, Pool, PoolId, Secrets, Table, TableVersion};

use crate::action::{Action, Plan};
use crate::app::AppPlan;
use crate::hosts;
use crate::input::Liveness;
use crate::members::Member;
use crate::view::View;

pub(crate) fn publish(view: &View<'_>, apps: &[AppPlan<'_>], plan: &mut Plan) {
    let desired = view.input.desired;
    let before = desired.table.as_ref();
    let pools = pools(apps);
    let Traffic { rules, error_pages, users } = traffic(view, apps, &pools);
    let hosts = hosts::hosts(apps.iter().filter_map(AppPlan::routing_spec));
    let of_pools = pools.values().filter_map(|wanted| wanted.spec.authorities(wanted.process));
    let of_hosts = hosts::authorities(apps.iter().filter_map(AppPlan::routing_spec), &hosts);
    let ca_certificates = of_pools.chain(of_hosts).collect();
    let same = before.is_some_and(|before| {
        before.version.epoch == desired.epoch
            && before.rules == rules
            && before.hosts == hosts
            && before.error_pages == error_pages
            && before.secret.users == users
            && before.ca_certificates == ca_certificates
            && are_pools(view, &pools, before)
    });
    // Which certificates a table goes out with is not in it, but is a change of it all the same.
    let same = same && desired.secrets == desired.table_secrets;
    if same {
        return;
    }
    let revision = before.map_or(0, |before| before.version.revision) + 1;
    let version = TableVersion { epoch: desired.epoch, revision };
    let pools = pools.into_iter().map(|(id, wanted)| (id, wanted.pool(view))).collect();
    let secret = Secrets { users, ..Secrets::default() };
    plan.actions.push(Action::Publish(Table {
        schema: 1,
        version,
        rules,
        pools,
        hosts,
        error_pages,
        ca_certificates,
        secret,
        ..Table::default()
    }));
}

/// A pool to be: what it is made from.
struct Wanted<'p> {
    spec: &'p AppSpec,
    process: &'p ProcessName,
    members: &'p [Member<'p>],
}

impl Wanted<'_> {
    fn pool(&self, view: &View<'_>) -> Pool {
        let mut members: Vec<&Member<'_>> = self.members.iter().collect();
        members.sort_by_key(|member| (member.replica.ordinal, member.id));
        let endpoints = members.into_iter().filter_map(|member| self.endpoint(view, member)).collect();
        Pool { endpoints, ..self.spec.pool(self.process) }
    }

    fn endpoint(&self, view: &View<'_>, member: &Member<'_>) -> Option<Endpoint> {
        let (weight, priority) = self.share(view, member);
        Some(Endpoint {
            id: EndpointId(member.id.as_uuid()),
            address: address(view, member)?,
            name: member.replica.to_string(),
            locality: Some(view.name_of(member.seen.place).to_owned()),
            state: state(view, member)?,
            weight,
            priority,
        })
    }

    /// Weight and priority.
    fn share(&self, view: &View<'_>, member: &Member<'_>) -> (u32, u8) {
        let asked = self.spec.pools.get(self.process).zip(view.seat(member.seen.place));
        asked.map_or((1, 0), |(pool, seat)| pool.on(&seat.server.name))
    }

    /// The published pool is just so. Of an endpoint nothing changes but its state and its share.
    fn is(&self, view: &View<'_>, published: &Pool) -> bool {
        let mut wanted = 0;
        for member in self.members {
            let Some(state) = state(view, member) else { continue };
            let address = address(view, member);
            let share = self.share(view, member);
            let same = |held: &Endpoint| {
                held.state == state && Some(held.address) == address && (held.weight, held.priority) == share
            };
            if !member.seen.endpoint.is_some_and(same) {
                return false;
            }
            wanted += 1;
        }
        published.same_settings(&self.spec.pool(self.process)) && published.endpoints.len() == wanted
    }
}

fn are_pools(view: &View<'_>, pools: &BTreeMap<PoolId, Wanted<'_>>, before: &Table) -> bool {
    let same = |((id, wanted), (held, pool)): ((&PoolId, &Wanted<'_>), (&PoolId, &Pool))| {
        id == held && wanted.is(view, pool)
    };
    pools.len() == before.pools.len() && pools.iter().zip(&before.pools).all(same)
}

fn pools<'p>(apps: &'p [AppPlan<'p>]) -> BTreeMap<PoolId, Wanted<'p>> {
    let mut pools = BTreeMap::new();
    for app in apps {
        for spec in specs(app) {
            for process in spec.routed() {
                let wanted = Wanted { spec, process, members: app.members.of_process(process) };
                pools.insert(pool_id(app.name, process.as_str()), wanted);
            }
        }
    }
    pools
}

/// The release under way and the committed one, which has the last word on a pool's settings.
fn specs<'a>(app: &AppPlan<'a>) -> Vec<&'a AppSpec> {
    let under_way = app.current().filter(|(deployment, _)| {
        matches!(deployment.phase, DeploymentPhase::Rolling | DeploymentPhase::GoingBack { .. })
    });
    let next = under_way.and_then(|(_, target)| app.spec(target));
    let committed = app.committed.and_then(|target| app.spec(target));
    next.into_iter().chain(committed).collect()
}

fn address(view: &View<'_>, member: &Member<'_>) -> Option<SocketAddr> {
    let seat = view.seat(member.seen.place)?;
    Some(SocketAddr::new(seat.server.private_address, member.port))
}

/// What is to be published of an instance. One that left the table when its server was lost does not come back to drain.
fn state(view: &View<'_>, member: &Member<'_>) -> Option<EndpointState> {
    match member.phase {
        Phase::Serving { .. } if may_serve(view, member) => Some(EndpointState::Active),
        Phase::Draining { deadline, .. } => {
            let drains = member.seen.endpoint.is_some() && !member.is_lost();
            drains.then(|| EndpointState::Draining { deadline_millis: deadline.as_millis() })
        }
        _ => None,
    }
}

/// The agent says that it is ready. Where nobody has spoken yet, what was published stays; also where most are silent, since the
/// load balancers see for themselves what serves, and the silence may be on this side.
fn may_serve(view: &View<'_>, member: &Member<'_>) -> bool {
    let was = member.seen.endpoint.is_some_and(|endpoint| endpoint.state == EndpointState::Active);
    match member.seen.liveness {
        Liveness::Lost => view.halted && was,
        Liveness::Unknown => was,
        Liveness::Alive | Liveness::Suspect => member.seen.ready_since.is_some(),
    }
}

/// What all apps ask for together.
fn traffic(view: &View<'_>, apps: &[AppPlan<'_>], pools: &BTreeMap<PoolId, Wanted<'_>>) -> Traffic {
    let mut all = Traffic::default();
    for app in apps {
        let Some(spec) = app.routing_spec() else { continue };
        let wish = &app.desired.wish;
        let pause = wish.pause_at(view.input.now);
        let interlude = Interlude { maintenance: wish.maintenance.as_ref(), pause };
        let own = Traffic::of(spec, &hosts(view, spec), interlude);
        all.rules.extend(own.rules);
        all.error_pages.extend(own.error_pages);
        all.users.extend(own.users);
    }
    let mut taken = BTreeSet::new();
    // Two apps that want one place: the first by name has it; admission told the second.
    let served = all.rules.iter().filter(|rule| rule.pools().all(|pool| pools.contains_key(pool)));
    all.rules = served.filter(|rule| taken.insert(rule.place())).cloned().collect();
    all
}

fn hosts(view: &View<'_>, spec: &AppSpec) -> Vec<Host> {
    if spec.domains.is_empty() && view.input.desired.settings.open_host {
        return vec![Host::Any];
    }
    let names = |domain: &DomainSpec| {
        let all = std::iter::once(&domain.domain).chain(&domain.aliases);
        all.filter_map(|name| name.parse().ok()).collect::<Vec<Host>>()
    };
    spec.domains.iter().flat_map(names).collect()
}
