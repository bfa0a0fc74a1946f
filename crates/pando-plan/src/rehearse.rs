//! What a plan would come to, if everything went well: for `--dry-run`.
//!
//! Planning is played to its end in a copy of the world where every release
//! unpacks, every check passes and every load balancer confirms at once.

use std::collections::BTreeMap;

use pando_model::assignment::Assignment;
use pando_model::desired::{Assigned, Phase};
use pando_model::id::{InstanceId, ServerId, Version};
use pando_model::name::AppName;
use pando_model::observed::{
    AgentReport, ExitReport, InstanceState, InstanceStatus, Observed, ProxyStatus, ReleaseState,
    ReleaseStatus, TaskState,
};
use pando_model::time::{Millis, Timestamp};

use crate::action::Action;
use crate::input::{Input, World, heard};

/// More steps than any deployment of a few thousand replicas takes.
const MOST_STEPS: usize = 20_000;

/// One line for each thing that would happen to `app`, in order. `world` holds the wanted deployment already.
#[must_use]
pub fn rehearse(mut world: World, app: &AppName, now: Timestamp, seed: u64) -> Vec<String> {
    let mut lines = Vec::new();
    let mut now = now;
    for step in 0..MOST_STEPS {
        let observed = all_is_well(&world, now);
        let input = Input { desired: &world, observed: &observed, now, seed: seed.wrapping_add(step as u64) };
        let plan = crate::plan(&input);
        if plan.actions.is_empty() {
            match plan.report.apps.get(app) {
                Some(report) if !report.settled => {}
                _ => return lines,
            }
        }
        for action in plan.actions {
            tell(&world, app, &action, &mut lines);
            carry_out(&mut world, action, now);
        }
        now = now + Millis(1000);
    }
    lines
}

fn tell(world: &World, name: &AppName, action: &Action, lines: &mut Vec<String>) {
    match action {
        Action::RecordAssigned { app, assigned } if app == name => {
            let before = world.apps.get(app).map(|app| app.assigned.clone()).unwrap_or_default();
            tell_instances(world, &before, assigned, lines);
        }
        Action::Assign(assignment) => tell_tasks(world, name, assignment, lines),
        _ => {}
    }
}

fn tell_instances(world: &World, before: &Assigned, after: &Assigned, lines: &mut Vec<String>) {
    for (id, instance) in &after.instances {
        let name = format!("{} of {}", instance.replica, instance.target.release);
        let server = world.servers.get(&instance.server).map_or("?", |server| server.name.as_str());
        let was = before.instances.get(id).map(|before| before.phase);
        let line = match (was, instance.phase) {
            (None, _) => format!("start {name} on {server}, port {}", instance.port),
            (Some(Phase::Starting), Phase::Serving { .. }) => format!("{name} is ready and gets requests"),
            (Some(Phase::Serving { .. }), Phase::Draining { .. }) => format!("{name} gets no new requests"),
            (Some(was), Phase::Stopping { .. }) if !matches!(was, Phase::Stopping { .. }) => {
                format!("stop {name} on {server}")
            }
            _ => continue,
        };
        lines.push(line);
    }
    if let (committed, Some(target)) = (before.committed, after.committed)
        && committed != Some(target)
    {
        lines.push(format!("{} is live", target.release));
    }
}

fn tell_tasks(world: &World, app: &AppName, assignment: &Assignment, lines: &mut Vec<String>) {
    let server = world.servers.get(&assignment.server).map_or("?", |server| server.name.as_str());
    let before = world.assignments.get(&assignment.server);
    for release in assignment.releases.iter().filter(|release| release.app == *app) {
        let known = before.is_some_and(|before| before.releases.contains(release));
        if !known {
            let prepare = release.prepare.as_ref().map(|command| format!(" and run `{command}`"));
            lines.push(format!("bring {} to {server}{}", release.release, prepare.unwrap_or_default()));
        }
    }
    for (id, task) in assignment.tasks.iter().filter(|(_, task)| task.app == *app) {
        if before.is_none_or(|before| !before.tasks.contains_key(id)) {
            lines.push(format!("run `{}` once on {server}", task.command));
        }
    }
}

fn carry_out(world: &mut World, action: Action, now: Timestamp) {
    match action {
        Action::RecordAssigned { app, assigned } => world.apps.entry(app).or_default().assigned = assigned,
        Action::RecordDeployment(deployment) => {
            let held = &mut world.apps.entry(deployment.app.clone()).or_default().deployments;
            if deployment.phase.has_ended() {
                held.retain(|held| held.id != deployment.id);
            } else if let Some(held) = held.iter_mut().find(|held| held.id == deployment.id) {
                *held = deployment;
            }
        }
        Action::RecordPort { key, lease: Some(lease) } => drop(world.ports.insert(key, lease)),
        Action::RecordPort { key, lease: None } => drop(world.ports.remove(&key)),
        Action::ForgetRelease { app, release } => {
            drop(world.apps.entry(app).or_default().releases.remove(&release));
        }
        Action::Publish(table) => world.take_table(table, now),
        Action::Assign(assignment) => drop(world.assignments.insert(assignment.server, assignment)),
        Action::ForgetServer(server) => forget(world, server),
    }
}

fn forget(world: &mut World, server: ServerId) {
    world.servers.remove(&server);
    world.assignments.remove(&server);
    world.ports.retain(|key, _| key.server != server);
}

/// Reports of agents and load balancers that have done everything they were told.
fn all_is_well(world: &World, now: Timestamp) -> Observed {
    let mut servers = BTreeMap::new();
    for id in world.servers.keys() {
        let assignment = world.assignments.get(id).cloned().unwrap_or_else(|| Assignment::empty(*id));
        let report = AgentReport {
            server: *id,
            boot: uuid::Uuid::nil(),
            sequence: 1,
            assignment: assignment.version,
            instances: assignment.instances.keys().map(|id: &InstanceId| (*id, ready())).collect(),
            tasks: assignment.tasks.keys().map(|id| (*id, TaskState::Ended(success()))).collect(),
            releases: assignment.releases.iter().map(|release| unpacked(release)).collect(),
            proxy: Some(confirmed(world)),
            capacity: world.servers.get(id).map(|server| server.capacity).unwrap_or_default(),
            firewall: None,
            warnings: Vec::new(),
        };
        servers.insert(*id, heard(None, report, now).into());
    }
    Observed { since: Timestamp::from_millis(0), servers }
}

fn ready() -> InstanceStatus {
    InstanceStatus {
        state: InstanceState::Ready,
        ready_for: Some(Millis::from_secs(24 * 3600)),
        restarts: 0,
        check: None,
        last_exit: None,
        pid: None,
        start_period: None,
        unmounted: Vec::new(),
    }
}

fn success() -> ExitReport {
    ExitReport { code: Some(0), signal: None, out_of_memory: false, last_lines: Vec::new() }
}

fn unpacked(release: &pando_model::assignment::AssignedRelease) -> ReleaseStatus {
    ReleaseStatus { app: release.app.clone(), release: release.release, state: ReleaseState::Ready }
}

fn confirmed(world: &World) -> ProxyStatus {
    let version = world.table.as_ref().map(|table| table.version);
    ProxyStatus {
        alive: true,
        acknowledged: version.map(|version| Version::new(version.epoch, version.revision)),
        ..ProxyStatus::default()
    }
}
