//! Runs that the runtime holds and the ledger does not know: they are stopped.

use std::path::PathBuf;

use pando_model::name::ReplicaName;
use pando_model::time::Timestamp;
use pando_runtime::{Held, RunKey};

use super::{Effect, State, task};

#[derive(Debug, Clone)]
pub(super) struct Stray {
    /// `None`: it is a container.
    pub(super) directory: Option<PathBuf>,
    pub(super) pid: Option<u32>,
    /// By its name it is an instance, and is reported as one.
    pub(super) is_instance: bool,
    stopping: bool,
    again_at: Option<Timestamp>,
}

impl Stray {
    pub(super) fn of(held: Held) -> Self {
        Self {
            is_instance: held.spec.name.parse::<ReplicaName>().is_ok(),
            directory: held.spec.directory().map(Into::into),
            pid: held.pid,
            stopping: false,
            again_at: None,
        }
    }
}

pub(super) fn settle(state: &mut State, now: Timestamp, effects: &mut Vec<Effect>) {
    for (key, stray) in &mut state.strays {
        let due = stray.again_at.map_or(!stray.stopping, |at| now >= at);
        if due {
            stray.stopping = true;
            stray.again_at = None;
            effects.push(Effect::Stop { key: *key, timeout: task::STOP });
        }
    }
}

/// A stray of this instance lives: no other run of it may.
pub(super) fn has_run(state: &State, id: uuid::Uuid) -> bool {
    state.strays.keys().any(|key| key.id == id)
}

pub(super) fn stop_failed(state: &mut State, key: RunKey, again: Timestamp) {
    if let Some(stray) = state.strays.get_mut(&key) {
        stray.again_at = Some(again);
    }
}

pub(super) fn ended(state: &mut State, key: RunKey, effects: &mut Vec<Effect>) {
    if state.strays.remove(&key).is_some() {
        effects.push(Effect::Forget(key));
    }
}

pub(super) fn wakes(state: &State) -> impl Iterator<Item = Timestamp> {
    state.strays.values().filter_map(|stray| stray.again_at)
}
