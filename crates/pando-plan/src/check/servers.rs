//! Of servers: what is new goes where people want it, one name means one replica, a server is forgotten when it is empty, and
//! nothing moves while most are silent.

use std::collections::BTreeMap;

use pando_model::assignment::AssignedInstance;
use pando_model::desired::Target;
use pando_model::id::{DeploymentId, InstanceId, ServerId};
use pando_model::name::{AppName, ReplicaName};
use pando_model::release::ReleaseNumber;
use pando_model::server::Standing;

use super::{After, Held, Violation, is_live};
use crate::action::Action;
use crate::placement;
use crate::view::Seat;

pub(super) fn check(after: &After<'_>, found: &mut Vec<Violation>) {
    for (id, held) in after.instances.iter().filter(|(_, held)| held.before.is_none()) {
        check_place(after, *id, held, found);
    }
    check_names(after, found);
    for action in &after.plan.actions {
        if let Action::ForgetServer(server) = action {
            check_forgotten(after, *server, found);
        }
    }
}

/// What is new is on a server that takes it.
fn check_place(after: &After<'_>, id: InstanceId, held: &Held<'_>, found: &mut Vec<Violation>) {
    let seat = after.view.seat_of(held.instance.server);
    let open = seat.is_some_and(|seat| {
        seat.takes_new() && held.process().is_none_or(|spec| placement::accepts(seat.server, spec))
    });
    if !open {
        let (replica, server) = (held.instance.replica.clone(), held.instance.server);
        found.push(Violation::Misplaced { replica, id, server });
    }
}

type Name<'a> = (&'a AppName, &'a ReplicaName, (ReleaseNumber, DeploymentId));

/// Of one target, a name has one live instance; another while it moves or is told something new, and then in one of these ways
/// alone. When people change their mind about where it moves to, the one on the way there may be a third.
fn check_names(after: &After<'_>, found: &mut Vec<Violation>) {
    let mut names: BTreeMap<Name<'_>, Vec<(InstanceId, &Held<'_>)>> = BTreeMap::new();
    for (id, held) in after.instances.iter().filter(|(_, held)| is_live(held.instance)) {
        let key = (held.app, &held.instance.replica, key_of(held.instance.target));
        names.entry(key).or_default().push((*id, held));
    }
    for ((_, replica, _), holders) in names {
        let others = |nth: usize| holders.iter().skip(nth + 1);
        let mut pairs =
            holders.iter().enumerate().flat_map(|(nth, one)| others(nth).map(move |o| (*one, *o)));
        if !pairs.all(|(one, other)| may_both_live(after, one, other)) {
            let servers = holders.iter().map(|(_, held)| held.instance.server).collect();
            found.push(Violation::TwoOfOneName { replica: replica.clone(), servers });
        }
    }
}

fn key_of(target: Target) -> (ReleaseNumber, DeploymentId) {
    (target.release, target.deployment)
}

fn may_both_live(after: &After<'_>, one: (InstanceId, &Held<'_>), other: (InstanceId, &Held<'_>)) -> bool {
    let ((a, one), (b, other)) = (one, other);
    if one.process().is_some_and(|spec| spec.singleton) {
        return false;
    }
    let moves = one.instance.server != other.instance.server;
    let (new, old) = match (one.before, other.before) {
        (Some(_), Some(_)) => return true,
        (None, Some(_)) => ((a, one), (b, other)),
        (Some(_), None) => ((b, other), (a, one)),
        (None, None) => return false,
    };
    let lost = after.view.seat_of(old.1.instance.server).is_none_or(Seat::is_lost);
    if moves { !lost && !after.view.halted } else { is_told_otherwise(after, new.0, old.0) }
}

/// What the new one is told differs from what the old one was, beyond what always does.
fn is_told_otherwise(after: &After<'_>, new: InstanceId, old: InstanceId) -> bool {
    let told = |id: InstanceId| {
        let published = after.plan.actions.iter().filter_map(|action| match action {
            Action::Assign(assignment) => assignment.instances.get(&id),
            _ => None,
        });
        let before = after.view.input.desired.assignments.values();
        let before = before.filter_map(|assignment| assignment.instances.get(&id));
        published.chain(before).next().map(|told| lasting(told))
    };
    told(new) != told(old)
}

fn lasting(told: &AssignedInstance) -> BTreeMap<&str, &str> {
    let own = ["PORT", "PANDO_INSTANCE", "PANDO_ROLES"];
    let env = told.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    env.filter(|(name, _)| !own.contains(name)).collect()
}

fn check_forgotten(after: &After<'_>, server: ServerId, found: &mut Vec<Violation>) {
    let desired = after.view.input.desired;
    let Some(known) = desired.servers.get(&server) else {
        found.push(Violation::ForgottenInUse { server, what: "it is not known" });
        return;
    };
    if known.standing != Standing::Leaving {
        found.push(Violation::ForgottenInUse { server, what: "nobody removed it" });
    }
    if after.view.seats.iter().any(|seat| seat.server.id == server && seat.is_lost()) {
        return;
    }
    let lives = after.instances.values().any(|held| held.instance.server == server);
    let report = after.view.input.report(server);
    let runs = report.is_none_or(|report| !report.instances.is_empty());
    let told = desired.assignments.get(&server);
    let obeyed = told.is_some_and(|told| {
        told.entry.is_none() && report.is_some_and(|report| report.assignment >= told.version)
    });
    if lives || runs {
        found.push(Violation::ForgottenInUse { server, what: "something runs there" });
    } else if !obeyed {
        found.push(Violation::ForgottenInUse { server, what: "it may still take requests from outside" });
    }
}
