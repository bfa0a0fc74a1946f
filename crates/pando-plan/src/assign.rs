//! What each server is to run, derived from what was decided for every app.

use std::collections::{BTreeMap, BTreeSet};

use pando_model::assignment::{AssignedInstance, AssignedRelease, AssignedTask, Assignment, Entry, TaskKind};
use pando_model::desired::{DeploymentPhase, Instance, Phase};
use pando_model::id::{InstanceId, ServerId, Version};
use pando_model::release::ReleaseNumber;
use pando_model::server::Server;

use crate::action::{Action, Plan};
use crate::app::AppPlan;
use crate::deployment::COMMAND_WITHIN;
use crate::environment;
use crate::firewall::Cluster;
use crate::input::Context;

/// So many of the newest releases stay unpacked on the servers, so that going back to one needs no network.
const UNPACKED_RELEASES: usize = 3;

pub(crate) fn publish(context: &Context<'_>, apps: &[AppPlan<'_>], plan: &mut Plan) {
    let desired = context.input.desired;
    let cluster = Cluster::planned(context.input, apps);
    for server in desired.servers.values() {
        let mut wanted = of_server(context, apps, server);
        wanted.firewall = Some(cluster.rules_of(server));
        let before = desired.assignments.get(&server.id);
        if before.is_some_and(|before| before.same_content(&wanted) && before.version.epoch == desired.epoch)
        {
            continue;
        }
        let revision = before.map_or(0, |before| before.version.revision) + 1;
        wanted.version = Version::new(desired.epoch, revision);
        plan.actions.push(Action::Assign(wanted));
    }
}

fn of_server(context: &Context<'_>, apps: &[AppPlan<'_>], server: &Server) -> Assignment {
    let mut assignment = Assignment::empty(server.id);
    let settings = &context.input.desired.settings;
    assignment.entry =
        server.is_entry_point(settings).then(|| Entry { prefer_local: server.prefers_local() });
    for app in apps {
        assignment.instances.extend(instances(app, server));
        assignment.tasks.extend(tasks(app, server.id));
        assignment.releases.extend(releases(context, app, server));
    }
    assignment
}

fn instances(app: &AppPlan<'_>, server: &Server) -> BTreeMap<InstanceId, AssignedInstance> {
    let here = app.assigned.instances.iter().filter(|(_, instance)| instance.server == server.id);
    let running = here.filter(|(_, instance)| !matches!(instance.phase, Phase::Stopping { .. }));
    running.filter_map(|(id, instance)| Some((*id, assigned(app, *id, instance, server)?))).collect()
}

fn assigned(
    app: &AppPlan<'_>,
    id: InstanceId,
    instance: &Instance,
    server: &Server,
) -> Option<AssignedInstance> {
    let spec = app.spec(instance.target)?;
    let process = spec.processes.get(&instance.replica.process)?;
    Some(AssignedInstance {
        app: app.name.clone(),
        process: instance.replica.process.clone(),
        replica: instance.replica.clone(),
        release: instance.target.release,
        command: process.command.clone().unwrap_or_default(),
        port: instance.port,
        env: environment::of_instance(spec, process, id, instance, Some(server)),
        health: process.health.clone(),
        stop_timeout: process.stop_timeout,
        resources: process.resources,
    })
}

fn tasks(app: &AppPlan<'_>, server: ServerId) -> BTreeMap<pando_model::TaskId, AssignedTask> {
    let Some((deployment, target)) = app.current() else { return BTreeMap::new() };
    let DeploymentPhase::Releasing { task: Some(task) } = deployment.phase else { return BTreeMap::new() };
    let Some(spec) = app.spec(target).filter(|_| task.server == server) else { return BTreeMap::new() };
    let command = spec.release_command.clone().unwrap_or_default();
    let assigned = AssignedTask {
        app: app.name.clone(),
        release: target.release,
        kind: TaskKind::Release,
        command,
        env: environment::of_app(spec, target.release),
        timeout: COMMAND_WITHIN,
    };
    BTreeMap::from([(task.id, assigned)])
}

fn releases(context: &Context<'_>, app: &AppPlan<'_>, server: &Server) -> Vec<AssignedRelease> {
    let mut wanted: BTreeSet<ReleaseNumber> =
        app.assigned.instances.values().filter(|i| i.server == server.id).map(|i| i.target.release).collect();
    let under_way = app.current().filter(|(deployment, _)| deployment.phase != DeploymentPhase::Queued);
    wanted.extend(under_way.map(|(_, target)| target.release));
    if !(app.desired.wish.stopped && app.desired.wish.remove) {
        wanted.extend(kept(app));
    }
    let concerned = |release: &ReleaseNumber| {
        let target = pando_model::desired::Target { release: *release, deployment: nil_deployment() };
        let runs_here =
            app.assigned.instances.values().any(|i| i.server == server.id && i.target.release == *release);
        runs_here || app.servers_of(context.input, target).iter().any(|known| known.id == server.id)
    };
    wanted.into_iter().filter(concerned).filter_map(|release| assigned_release(app, release)).collect()
}

/// Servers depend on the release alone; which deployment brings it doesn't matter.
fn nil_deployment() -> pando_model::DeploymentId {
    pando_model::DeploymentId::from_uuid(uuid::Uuid::nil())
}

/// The committed one and those before it.
fn kept(app: &AppPlan<'_>) -> Vec<ReleaseNumber> {
    let Some(committed) = app.assigned.committed else { return Vec::new() };
    let up_to = app.desired.releases.range(..=committed.release).rev().take(UNPACKED_RELEASES);
    up_to.map(|(number, _)| *number).collect()
}

fn assigned_release(app: &AppPlan<'_>, number: ReleaseNumber) -> Option<AssignedRelease> {
    let release = app.release(number)?;
    Some(AssignedRelease {
        app: app.name.clone(),
        release: number,
        artifact: release.artifact.clone()?,
        prepare: release.spec.prepare.clone(),
        env: environment::of_app(&release.spec, number),
    })
}
