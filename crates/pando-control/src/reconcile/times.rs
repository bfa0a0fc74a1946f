//! When things were recorded.

use pando_model::desired::{AppDesired, DeploymentPhase, Instance, Phase};
use pando_model::time::Timestamp;
use pando_plan::input::World;

/// The newest time at which something was recorded, deadlines left aside.
pub(super) fn newest(world: &World) -> Timestamp {
    let servers = world.servers.values().map(|server| server.joined_at);
    let leases = world.ports.values().map(|lease| lease.changed_at);
    let apps = world.apps.values().flat_map(of_app);
    servers.chain(leases).chain(apps).fold(world.published_at, Timestamp::max)
}

fn of_app(app: &AppDesired) -> impl Iterator<Item = Timestamp> {
    let deployments = app.deployments.iter().flat_map(|deployment| {
        let going_back = match &deployment.phase {
            DeploymentPhase::GoingBack { since, .. } => Some(*since),
            _ => None,
        };
        [Some(deployment.created_at), deployment.started_at, going_back]
    });
    deployments.flatten().chain(app.assigned.instances.values().map(of_instance))
}

fn of_instance(instance: &Instance) -> Timestamp {
    let phase = match instance.phase {
        Phase::Starting => instance.created_at,
        Phase::Serving { since } | Phase::Draining { since, .. } | Phase::Stopping { since } => since,
    };
    let unready = instance.unready_since.unwrap_or(phase);
    instance.created_at.max(phase).max(unready)
}
