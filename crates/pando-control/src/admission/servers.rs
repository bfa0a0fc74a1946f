//! Whether a server may lose a role, be emptied or leave: not while something would have nowhere to go.

use pando_model::app::{AppSpec, ProcessSpec, ReplicaCount};
use pando_model::desired::AppDesired;
use pando_model::id::ServerId;
use pando_model::name::{AppName, ProcessName, RoleName};
use pando_model::server::{Server, Standing};
use pando_plan::{Input, Liveness, World};

/// What would have nowhere to go, a line each. Empty: the change may be made.
pub(super) fn stranded(input: &Input<'_>, changed: &World) -> Vec<String> {
    let after = Input { desired: changed, ..*input };
    let mut lines = processes(input, &after);
    lines.extend(entry_points(input, &after));
    lines
}

/// The world with a server that was changed.
pub(super) fn with(world: &World, server: ServerId, change: impl FnOnce(&mut Server)) -> World {
    let mut world = world.clone();
    world.servers.get_mut(&server).map(change);
    world
}

/// The world with a server that takes no work.
pub(super) fn without(world: &World, server: ServerId) -> World {
    with(world, server, |server| server.standing = Standing::Draining)
}

fn processes(before: &Input<'_>, after: &Input<'_>) -> Vec<String> {
    let running = before.desired.apps.iter().filter_map(|(name, app)| Some((name, app, spec(app)?)));
    let all = running.flat_map(|(name, app, spec)| {
        spec.processes.iter().map(move |(process, it)| (name, app, process, it))
    });
    let lost = all.filter(|(_, app, process, it)| {
        is_wanted(app, process, it) && has_home(before, it) && !has_home(after, it)
    });
    lost.map(|(name, _, process, it)| line(name, process, &it.role)).collect()
}

fn line(app: &AppName, process: &ProcessName, role: &RoleName) -> String {
    format!("{app}/{process} runs on servers with the role `{role}`, and no other one is there")
}

/// What the app runs, or is about to run.
fn spec(app: &AppDesired) -> Option<&AppSpec> {
    let committed = app.assigned.committed.map(|target| target.release);
    let number = app.deployments.back().map(|deployment| deployment.release).or(committed)?;
    (!app.wish.stopped).then(|| app.releases.get(&number).map(|release| &release.spec)).flatten()
}

fn is_wanted(app: &AppDesired, name: &ProcessName, process: &ProcessSpec) -> bool {
    let count = app.wish.scale.get(name).copied().map_or(process.count, ReplicaCount::Total);
    !matches!(count, ReplicaCount::Total(0) | ReplicaCount::PerServer(0))
}

fn has_home(input: &Input<'_>, process: &ProcessSpec) -> bool {
    input.desired.servers.values().any(|server| {
        let named = process.servers.is_empty() || process.servers.contains(&server.name);
        let labelled = process.labels.iter().all(|(key, value)| server.labels.get(key) == Some(value));
        takes_work(input, server) && server.roles.contains(&process.role) && named && labelled
    })
}

fn takes_work(input: &Input<'_>, server: &Server) -> bool {
    server.standing == Standing::Active && input.liveness(server.id) != Liveness::Lost
}

fn entry_points(before: &Input<'_>, after: &Input<'_>) -> Option<String> {
    let any = |input: &Input<'_>| {
        let mut servers = input.desired.servers.values();
        servers.any(|server| takes_work(input, server) && server.is_entry_point(&input.desired.settings))
    };
    let text = "requests from outside arrive there, and no other server takes them";
    (any(before) && !any(after)).then(|| text.to_owned())
}
