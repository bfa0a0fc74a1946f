//! What an earlier run of the agent left: runs that are assigned go on untouched, others are stopped.

use std::collections::BTreeMap;
use std::sync::Arc;

use pando_model::id::{InstanceId, TaskId};
use pando_model::time::Timestamp;
use pando_runtime::Held;
use uuid::Uuid;

use super::instance::{self, Instance};
use super::release::Slot;
use super::stray::Stray;
use super::{Effect, HOLD, OnDisk, State, boot, task};

pub(super) fn adopt(
    state: &mut State,
    held: Vec<Held>,
    releases: Vec<OnDisk>,
    now: Timestamp,
    effects: &mut Vec<Effect>,
) {
    if state.adopted {
        return;
    }
    state.adopted = true;
    state.hold = Some(now + HOLD);
    boot::begin(state, now);
    for found in releases {
        state.releases.insert(found.release, Slot::on_disk(found.sealed));
    }
    let mut by_id: BTreeMap<Uuid, Vec<Held>> = BTreeMap::new();
    for one in held {
        by_id.entry(one.spec.key.id).or_default().push(one);
    }
    for (id, mut runs) in by_id {
        runs.sort_by_key(|run| run.spec.key);
        adopt_one(state, id, runs, now, effects);
    }
}

fn adopt_one(state: &mut State, id: Uuid, runs: Vec<Held>, now: Timestamp, effects: &mut Vec<Effect>) {
    let (instance, task) = (InstanceId::from_uuid(id), TaskId::from_uuid(id));
    let assignment = &state.ledger.assignment;
    let leaving = state.ledger.leaving.get(&instance);
    if let Some(spec) = assignment.instances.get(&instance).or(leaving) {
        let spec = Arc::clone(spec);
        state.instances.insert(instance, Instance::new(spec));
        adopt_instance(state, instance, runs, now, effects);
    } else if let (Some(spec), Some(run)) = (assignment.tasks.get(&task), runs.last()) {
        task::adopt(state, task, spec.clone(), run.exit.as_ref(), now);
    } else {
        runs.into_iter().for_each(|run| set_aside(state, run, effects));
    }
}

/// The newest run counts, unless an older one lives: then all end first, so that there are never two.
fn adopt_instance(
    state: &mut State,
    id: InstanceId,
    mut runs: Vec<Held>,
    now: Timestamp,
    effects: &mut Vec<Effect>,
) {
    let Some(newest) = runs.pop() else { return };
    let older_lives = runs.iter().any(|run| run.exit.is_none());
    runs.into_iter().for_each(|run| set_aside(state, run, effects));
    let key = newest.spec.key;
    match &newest.exit {
        Some(exit) => instance::adopt_ended(state, id, &newest, exit, now, effects),
        None if older_lives => {
            instance::adopt_rival(state, id, key, now);
            set_aside(state, newest, effects);
        }
        None => instance::adopt(state, id, &newest, now, effects),
    }
}

fn set_aside(state: &mut State, run: Held, effects: &mut Vec<Effect>) {
    let key = run.spec.key;
    if run.exit.is_some() {
        effects.push(Effect::Forget(key));
    } else {
        state.strays.insert(key, Stray::of(run));
    }
}

/// Whether the first report still waits for what was adopted, or for the proxy, to say how it is.
pub(super) fn holds_back(state: &State, now: Timestamp) -> bool {
    let unproven = state.instances.values().any(Instance::is_unproven);
    let silent = state.has_proxy && state.proxy.is_none();
    state.hold.is_some_and(|until| now < until) && (unproven || silent)
}
