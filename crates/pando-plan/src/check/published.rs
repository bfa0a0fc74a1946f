//! Of what is published: the table sends requests to what serves, assignments lose only what is stopping, versions rise.

use std::collections::BTreeSet;

use pando_model::assignment::Assignment;
use pando_model::desired::Phase;
use pando_model::id::InstanceId;
use pando_model::name::{ProcessName, ReplicaName};
use pando_routing::{EndpointState, Table};

use super::{After, Violation};
use crate::action::Action;
use crate::input::Liveness;

pub(super) fn check(after: &After<'_>, found: &mut Vec<Violation>) {
    for action in &after.plan.actions {
        match action {
            Action::Publish(table) => check_table(after, table, found),
            Action::Assign(assignment) => check_assignment(after, assignment, found),
            _ => {}
        }
    }
}

fn check_table(after: &After<'_>, table: &Table, found: &mut Vec<Violation>) {
    if let Err(errors) = table.validate() {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        found.push(Violation::BadTable(errors.join("; ")));
    }
    if let Some(before) = &after.view.input.desired.table
        && table.version <= before.version
    {
        let (old, new) = (before.version.to_string(), table.version.to_string());
        found.push(Violation::VersionFell { old, new });
    }
    for (_, endpoint) in table.endpoints().filter(|(_, e)| e.state == EndpointState::Active) {
        check_route(after, InstanceId::from_uuid(endpoint.id.0), found);
    }
}

fn check_route(after: &After<'_>, id: InstanceId, found: &mut Vec<Violation>) {
    let view = &after.view;
    let Some((instance, seat)) = after.instances.get(&id).and_then(|held| {
        let seat = view.seat_of(held.instance.server)?;
        Some((held.instance, seat))
    }) else {
        let replica = ReplicaName::new(ProcessName::web(), 0);
        found.push(Violation::RouteToUnready { replica, id });
        return;
    };
    let was = view.endpoint(id).is_some_and(|endpoint| endpoint.state == EndpointState::Active);
    let ready = match seat.liveness {
        Liveness::Lost => view.halted && was,
        Liveness::Unknown => was,
        Liveness::Alive | Liveness::Suspect => view.input.ready_since(instance.server, id).is_some(),
    };
    if !ready || !matches!(instance.phase, Phase::Serving { .. }) {
        found.push(Violation::RouteToUnready { replica: instance.replica.clone(), id });
    }
}

fn check_assignment(after: &After<'_>, assignment: &Assignment, found: &mut Vec<Violation>) {
    let desired = after.view.input.desired;
    if !desired.servers.contains_key(&assignment.server) || after.forgets(assignment.server) {
        found.push(Violation::AssignedToNobody { server: assignment.server });
    }
    if let Some(before) = desired.assignments.get(&assignment.server) {
        if assignment.version <= before.version {
            let (old, new) = (before.version.to_string(), assignment.version.to_string());
            found.push(Violation::VersionFell { old, new });
        }
        check_leavers(after, before, assignment, found);
    }
    let mut ports = BTreeSet::new();
    for assigned in assignment.instances.values() {
        if !ports.insert(assigned.port) {
            found.push(Violation::PortTwice { server: assignment.server, port: assigned.port });
        }
    }
}

/// Only what is stopping may leave an assignment.
fn check_leavers(after: &After<'_>, before: &Assignment, now: &Assignment, found: &mut Vec<Violation>) {
    for id in before.instances.keys().filter(|id| !now.instances.contains_key(id)) {
        let held = after.instances.get(id).map(|held| held.instance);
        if let Some(instance) = held.filter(|i| !matches!(i.phase, Phase::Stopping { .. })) {
            let (replica, phase) = (instance.replica.clone(), instance.phase);
            found.push(Violation::LeftWhileWanted { replica, id: *id, phase });
        }
    }
}
