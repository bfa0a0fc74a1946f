//! Which reports there is no need to plan for.
//!
//! A large cluster is heard hundreds of times a second, nearly always to say that
//! all is as it was. What such a report changes are times, and planning has said
//! itself when it wants to look at those again.

use std::collections::BTreeMap;
use std::mem::discriminant;

use pando_model::desired::Phase;
use pando_model::id::InstanceId;
use pando_model::observed::{AgentReport, InstanceState, InstanceStatus, ProxyStatus, ServerObserved};

use crate::input::{SUSPECT_AFTER, World, ready_since};

/// Planning may decide otherwise after this report of a server than before it. If not, nothing changes before the `wake_at` of the
/// last plan, provided that this was made with what was known until now of the server (`before`) and with this `world`.
#[must_use]
pub fn has_news(world: &World, before: Option<&ServerObserved>, after: &ServerObserved) -> bool {
    let Some(before) = before else { return true };
    after.heard_at.since(before.heard_at) >= SUSPECT_AFTER
        || after.reported_at.since(before.reported_at) >= SUSPECT_AFTER
        || after.proxy_back_at != before.proxy_back_at
        || !is_same(world, &before.report, &after.report)
        || proves_itself(world, before, after)
}

/// By this clock, something has been ready for longer than it seemed that is to be so for a while before it serves.
fn proves_itself(world: &World, before: &ServerObserved, after: &ServerObserved) -> bool {
    let earlier = |(id, status): (&InstanceId, &InstanceStatus)| {
        let then = ready_since(before, before.report.instances.get(id)?)?;
        (ready_since(after, status)? < then).then_some(*id)
    };
    let mut earlier = after.report.instances.iter().filter_map(earlier);
    earlier.any(|id| is_in(world, id, |phase| *phase == Phase::Starting))
}

fn is_same(world: &World, before: &AgentReport, after: &AgentReport) -> bool {
    let AgentReport {
        server: _,
        boot: _,
        sequence: _,
        assignment,
        instances,
        tasks,
        releases,
        proxy,
        capacity,
        firewall,
        warnings,
    } = after;
    (assignment, tasks, releases) == (&before.assignment, &before.tasks, &before.releases)
        && (capacity, firewall, warnings) == (&before.capacity, &before.firewall, &before.warnings)
        && are_instances_same(&before.instances, instances)
        && is_proxy_same(world, before.proxy.as_ref(), proxy.as_ref())
}

type Statuses = BTreeMap<InstanceId, InstanceStatus>;

fn are_instances_same(before: &Statuses, after: &Statuses) -> bool {
    let mut pairs = before.iter().zip(after);
    before.len() == after.len()
        && pairs.all(|((old, before), (new, after))| old == new && is_status_same(before, after))
}

fn is_status_same(before: &InstanceStatus, after: &InstanceStatus) -> bool {
    let InstanceStatus { state, ready_for, restarts, check, last_exit, pid, start_period, unmounted: _ } =
        after;
    // Ready for less long than before, it was not ready in between.
    let goes_on = match (before.ready_for, ready_for) {
        (None, None) => true,
        (Some(then), Some(now)) => then <= *now,
        _ => false,
    };
    let same_state = match state {
        InstanceState::BackingOff { .. } => discriminant(state) == discriminant(&before.state),
        other => *other == before.state,
    };
    goes_on
        && same_state
        && (restarts, check, last_exit, pid, start_period)
            == (&before.restarts, &before.check, &before.last_exit, &before.pid, &before.start_period)
}

fn is_proxy_same(world: &World, before: Option<&ProxyStatus>, after: Option<&ProxyStatus>) -> bool {
    let (Some(before), Some(after)) = (before, after) else { return before.is_none() && after.is_none() };
    let ProxyStatus {
        alive,
        acknowledged,
        refused,
        not_in_rotation,
        in_flight,
        error,
        without_certificate: _,
        secrets: _,
    } = after;
    (alive, acknowledged, refused) == (&before.alive, &before.acknowledged, &before.refused)
        && (not_in_rotation, error) == (&before.not_in_rotation, &before.error)
        && !differing(&before.in_flight, in_flight).any(|id| is_in(world, id, drains))
}

/// How many requests others have says nothing: they come and go.
fn drains(phase: &Phase) -> bool {
    matches!(phase, Phase::Draining { .. })
}

/// The endpoints with another number of requests.
fn differing<'r>(
    before: &'r BTreeMap<InstanceId, u64>,
    after: &'r BTreeMap<InstanceId, u64>,
) -> impl Iterator<Item = InstanceId> {
    let changed = after.iter().filter(|(id, count)| before.get(id) != Some(count)).map(|(id, _)| *id);
    let ended = before.keys().copied().filter(|id| !after.contains_key(id));
    changed.chain(ended)
}

fn is_in(world: &World, id: InstanceId, which: impl Fn(&Phase) -> bool) -> bool {
    let held = world.apps.values().find_map(|app| app.assigned.instances.get(&id));
    held.is_some_and(|instance| which(&instance.phase))
}
