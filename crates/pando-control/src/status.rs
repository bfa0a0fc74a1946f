//! What `pando status` shows: a pure view of what is wanted, what is seen and what is waited for.

mod certificates;
mod entry;
mod servers;

use std::collections::BTreeSet;

use pando_api::v1::apps::{
    AppState, AppStatus, AppSummary, ProcessStatus, ReleaseList, ReleaseSummary, ReplicaState, ReplicaStatus,
    losses,
};
use pando_api::v1::status::ClusterStatus;
use pando_model::app::{AppSpec, ReplicaCount};
use pando_model::desired::{
    AppDesired, Deployment, DeploymentPhase, Instance, MaintenanceWish, PauseWish, Phase,
};
use pando_model::id::{InstanceId, ServerId};
use pando_model::name::{AppName, ProcessName, ServerName};
use pando_model::observed::{InstanceState, InstanceStatus, Observed};
use pando_model::release::Release;
use pando_model::time::Timestamp;
use pando_plan::{Input, Liveness, Report};

use crate::shared::EntryPoint;
use crate::state::State;

/// Everything that a view is made of.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    pub state: &'a State,
    pub observed: &'a Observed,
    /// The planner's last word.
    pub report: &'a Report,
    pub entry: Option<&'a EntryPoint>,
    pub now: Timestamp,
}

impl<'a> View<'a> {
    fn input(&self) -> Input<'a> {
        // Nothing random is drawn for a view.
        Input { desired: &self.state.world, observed: self.observed, now: self.now, seed: 0 }
    }

    /// `None`: there is no such app.
    #[must_use]
    pub fn app(&self, name: &AppName) -> Option<AppStatus> {
        let app = self.state.app(name)?;
        let replicas = self.replicas(name);
        let processes = self.processes(app, &replicas);
        let current = app.deployments.front();
        Some(AppStatus {
            name: name.clone(),
            state: app_state(app, &processes),
            release: app.assigned.committed.map(|target| target.release),
            deployment: current.cloned(),
            queued: app.deployments.len().saturating_sub(1),
            last: self.last(name).cloned(),
            wish: app.wish.clone(),
            wish_in_force: self.is_in_force(name, app),
            waiting_on: self.waiting_on(name),
            domains: shown_release(app).map(|release| domains(&release.spec)).unwrap_or_default(),
            urls: self.urls(app),
            warnings: self.warnings_of(app, &replicas),
            processes,
            replicas,
        })
    }

    fn last(&self, name: &AppName) -> Option<&'a Deployment> {
        let ended = self.state.ended.get(name)?;
        ended.iter().max_by_key(|deployment| (deployment.ended_at, deployment.id))
    }

    /// One line for each thing that is missing; empty when nothing is.
    #[must_use]
    pub fn waiting_on(&self, name: &AppName) -> Vec<String> {
        let report = self.report.apps.get(name).filter(|report| !report.settled);
        report.into_iter().flat_map(|report| report.lines()).map(str::to_owned).collect()
    }

    /// The app's replicas by name, the older instance of each first.
    #[must_use]
    pub fn replicas(&self, name: &AppName) -> Vec<ReplicaStatus> {
        let Some(app) = self.state.app(name) else { return Vec::new() };
        let instances = app.assigned.instances.iter();
        let mut replicas: Vec<ReplicaStatus> =
            instances.map(|(id, instance)| self.replica(*id, instance)).collect();
        replicas.sort_by(|a, b| (&a.replica, a.instance).cmp(&(&b.replica, b.instance)));
        replicas
    }

    fn replica(&self, id: InstanceId, instance: &Instance) -> ReplicaStatus {
        let input = self.input();
        let status = input.status(instance.server, id);
        let server = self.state.world.servers.get(&instance.server);
        ReplicaStatus {
            replica: instance.replica.clone(),
            process: instance.replica.process.clone(),
            instance: id,
            release: instance.target.release,
            server: instance.server,
            server_name: server.map_or_else(unknown_server, |server| server.name.clone()),
            port: instance.port,
            state: replica_state(input.liveness(instance.server), instance.phase, status),
            since: since(instance),
            pid: status.and_then(|status| status.pid),
            restarts: status.map_or(0, |status| status.restarts),
            ready_for: status.and_then(|status| status.ready_for),
            in_flight: self.in_flight(id),
            problem: status.and_then(problem),
            last_exit: status.and_then(|status| status.last_exit.clone()),
            unmounted: status.map(|status| status.unmounted.clone()).unwrap_or_default(),
        }
    }

    fn in_flight(&self, id: InstanceId) -> u64 {
        let proxies = self.observed.servers.values().filter_map(|seen| seen.report.proxy.as_ref());
        proxies.filter_map(|proxy| proxy.in_flight.get(&id)).sum()
    }

    fn processes(&self, app: &AppDesired, replicas: &[ReplicaStatus]) -> Vec<ProcessStatus> {
        let Some(release) = shown_release(app) else { return Vec::new() };
        let processes = release.spec.processes.iter().map(|(name, spec)| ProcessStatus {
            process: name.clone(),
            role: spec.role.clone(),
            wanted: if app.wish.stopped { 0 } else { self.wanted(app, &release.spec, name) },
            ready: count(of(replicas, name).filter(|replica| replica.state == ReplicaState::Serving)),
            existing: count(of(replicas, name)),
            scaled: app.wish.scale.contains_key(name),
        });
        processes.collect()
    }

    fn wanted(&self, app: &AppDesired, spec: &AppSpec, name: &ProcessName) -> u32 {
        let Some(process) = spec.processes.get(name) else { return 0 };
        let wanted = app.wish.scale.get(name).copied().map_or(process.count, ReplicaCount::Total);
        let wanted = match wanted {
            ReplicaCount::Total(count) => count,
            ReplicaCount::PerServer(each) => {
                let servers = self.state.world.servers.values();
                each.saturating_mul(count(servers.filter(|server| server.roles.contains(&process.role))))
            }
        };
        if process.singleton { wanted.min(1) } else { wanted }
    }

    fn urls(&self, app: &AppDesired) -> Vec<String> {
        let (Some(release), Some(entry)) = (shown_release(app), self.entry) else { return Vec::new() };
        let domains = domains(&release.spec);
        if !domains.is_empty() {
            return domains.iter().map(|domain| entry.url_of(domain, self.is_certified(domain))).collect();
        }
        let answers = self.state.world.settings.open_host && !release.spec.routed().is_empty();
        if answers { vec![entry.url()] } else { Vec::new() }
    }

    fn summary(&self, name: &AppName, app: &AppDesired) -> AppSummary {
        let replicas = self.replicas(name);
        let processes = self.processes(app, &replicas);
        AppSummary {
            name: name.clone(),
            state: app_state(app, &processes),
            release: app.assigned.committed.map(|target| target.release),
            wanted: processes.iter().map(|process| process.wanted).sum(),
            ready: processes.iter().map(|process| process.ready).sum(),
            urls: self.urls(app),
            maintenance_since: app.wish.maintenance.as_ref().map(|wish| wish.since),
            paused_until: app.wish.pause_at(self.now).map(|wish| wish.until),
        }
    }

    /// The published table says what the wish says of maintenance and pause, and every live proxy has taken it in.
    fn is_in_force(&self, name: &AppName, app: &AppDesired) -> bool {
        let Some(table) = &self.state.world.table else { return false };
        let maintenance = app.wish.maintenance.as_ref().map(MaintenanceWish::in_table);
        let pause = app.wish.pause_at(self.now).map(PauseWish::in_table);
        let own = format!("{name}/");
        let rules = table.rules.iter().filter(|rule| rule.pools().any(|pool| pool.0.starts_with(&own)));
        let mut said = rules.map(|rule| {
            let filters = rule.filters.as_deref();
            (filters.and_then(|all| all.maintenance.as_ref()), filters.and_then(|all| all.pause.as_ref()))
        });
        let published = said.all(|said| said == (maintenance.as_ref(), pause.as_ref()));
        let servers = self.state.world.servers.values();
        let proxies = servers.filter(|server| self.entry_role(server).is_some()).map(|s| self.proxy(s));
        published && proxies.filter(|proxy| proxy.alive).all(|proxy| proxy.acknowledged >= proxy.published)
    }

    /// Every app in one line each, by name.
    #[must_use]
    pub fn apps(&self) -> Vec<AppSummary> {
        self.state.world.apps.iter().map(|(name, app)| self.summary(name, app)).collect()
    }

    /// The app's kept releases, newest first.
    #[must_use]
    pub fn releases(&self, name: &AppName) -> Option<ReleaseList> {
        let app = self.state.app(name)?;
        let ended = self.state.ended.get(name).into_iter().flatten();
        let good: Vec<_> = ended
            .filter(|deployment| matches!(deployment.phase, DeploymentPhase::Done { .. }))
            .map(|deployment| deployment.release)
            .collect();
        let current = app.assigned.committed.map(|target| target.release);
        let releases = app.releases.values().rev().map(|release| ReleaseSummary {
            current: current == Some(release.number),
            succeeded: good.contains(&release.number),
            release: release.clone(),
        });
        Some(ReleaseList { releases: releases.collect() })
    }

    /// The whole cluster; `version` is the program's.
    #[must_use]
    pub fn cluster(&self, version: &str) -> ClusterStatus {
        ClusterStatus {
            version: version.to_owned(),
            now: self.now,
            servers: self.servers(),
            apps: self.apps(),
            warnings: self.warnings(),
        }
    }

    fn warnings(&self) -> Vec<String> {
        let halted = self.report.halted.iter();
        let silent = halted.chain(self.report.servers.values()).cloned();
        silent.chain(self.told_by(|_| true)).chain(self.https_warnings()).collect()
    }

    /// What its replicas lose, and what the servers say that have some: who may see nothing else of the cluster sees these.
    fn warnings_of(&self, app: &AppDesired, replicas: &[ReplicaStatus]) -> Vec<String> {
        let servers: BTreeSet<ServerId> =
            app.assigned.instances.values().map(|instance| instance.server).collect();
        losses(replicas).into_iter().chain(self.told_by(|id| servers.contains(&id))).collect()
    }

    /// What a server said that was removed since is of no use to anybody.
    fn told_by(&self, counts: impl Fn(ServerId) -> bool) -> impl Iterator<Item = String> {
        let servers = &self.state.world.servers;
        let seen = self.observed.servers.iter();
        let known = seen.filter(move |(id, _)| servers.contains_key(id) && counts(**id));
        known.flat_map(|(id, seen)| {
            let name = self.state.server_name(*id);
            seen.report.warnings.iter().map(move |warning| format!("{name}: {warning}"))
        })
    }
}

/// What the app runs, or is about to run for the first time.
fn shown_release(app: &AppDesired) -> Option<&Release> {
    let committed = app.assigned.committed.map(|target| target.release);
    let number = committed.or_else(|| app.deployments.front().map(|deployment| deployment.release))?;
    app.releases.get(&number)
}

fn of<'a>(
    replicas: &'a [ReplicaStatus],
    process: &'a ProcessName,
) -> impl Iterator<Item = &'a ReplicaStatus> {
    replicas.iter().filter(move |replica| replica.process == *process)
}

fn domains(spec: &AppSpec) -> Vec<String> {
    let all = spec.domains.iter().flat_map(|domain| std::iter::once(&domain.domain).chain(&domain.aliases));
    all.cloned().collect()
}

fn app_state(app: &AppDesired, processes: &[ProcessStatus]) -> AppState {
    match app.deployments.front().map(|deployment| &deployment.phase) {
        Some(DeploymentPhase::GoingBack { .. }) => return AppState::GoingBack,
        Some(_) => return AppState::Deploying,
        None => {}
    }
    if app.wish.stopped {
        return if app.assigned.instances.is_empty() { AppState::Stopped } else { AppState::Stopping };
    }
    if app.assigned.committed.is_none() {
        return AppState::New;
    }
    let whole = processes.iter().all(|process| process.ready >= process.wanted);
    if whole { AppState::Running } else { AppState::Degraded }
}

/// The decision says where it is in its life; what was seen says how it is.
fn replica_state(liveness: Liveness, phase: Phase, status: Option<&InstanceStatus>) -> ReplicaState {
    if liveness == Liveness::Lost {
        return ReplicaState::Lost;
    }
    let seen = status.map(|status| &status.state);
    match (phase, seen) {
        (Phase::Stopping { .. }, _) | (_, Some(InstanceState::Stopping)) => ReplicaState::Stopping,
        (Phase::Draining { .. }, _) => ReplicaState::Draining,
        (_, None | Some(InstanceState::Waiting)) => ReplicaState::Pending,
        (_, Some(InstanceState::Starting)) => ReplicaState::Starting,
        (Phase::Starting, Some(InstanceState::Ready)) => ReplicaState::Ready,
        (Phase::Serving { .. }, Some(InstanceState::Ready)) => ReplicaState::Serving,
        (_, Some(InstanceState::Unhealthy)) => ReplicaState::Unhealthy,
        (_, Some(InstanceState::BackingOff { .. })) => ReplicaState::BackingOff,
        (_, Some(InstanceState::Failed { .. })) => ReplicaState::Failed,
    }
}

fn since(instance: &Instance) -> Timestamp {
    match instance.phase {
        Phase::Starting => instance.created_at,
        Phase::Serving { since } | Phase::Draining { since, .. } | Phase::Stopping { since } => since,
    }
}

fn problem(status: &InstanceStatus) -> Option<String> {
    match &status.state {
        InstanceState::Failed { message, .. } => Some(message.clone()),
        InstanceState::BackingOff { next_start_in } => Some(format!("starts again in {next_start_in}")),
        InstanceState::Ready | InstanceState::Stopping => None,
        InstanceState::Waiting | InstanceState::Starting | InstanceState::Unhealthy => status.check.clone(),
    }
}

fn count(items: impl Iterator) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

/// A server that was removed while instances of it were still recorded.
fn unknown_server() -> ServerName {
    // The text is a DNS label, so this can't fail; an empty default does not exist for names.
    #[allow(clippy::unwrap_used)]
    ServerName::new("removed").unwrap()
}

#[cfg(test)]
mod tests;
