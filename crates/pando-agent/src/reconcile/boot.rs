//! A server that starts asks first.
//!
//! While it was away its replicas may have been moved, and what is no longer its
//! own must never be started. So nothing is started from the ledger before the
//! newest target was heard and is in force, or nobody answered in time: then the
//! ledger holds. What runs already goes on meanwhile.

use std::collections::BTreeSet;

use pando_model::id::InstanceId;
use pando_model::time::{Millis, Timestamp};

use super::{Effect, State};

/// How long a start waits for an answer. Beyond it, being of use counts for more than being sure.
pub const ASK_FOR: Millis = Millis::from_secs(5);

/// An agent that has started and does not know yet what is newest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking {
    pub(super) until: Timestamp,
    heard: bool,
}

pub(super) fn begin(state: &mut State, now: Timestamp) {
    state.asking = Some(Asking { until: now + ASK_FOR, heard: false });
}

/// Somebody told what is newest; that may still be on its way to the disk.
pub(super) fn heard(state: &mut State) {
    state.doubt_ends = true;
    if let Some(asking) = &mut state.asking {
        asking.heard = true;
    }
}

/// The same, but what is to run here nobody but the control plane knows.
pub(super) fn peers_heard(state: &mut State, gone: BTreeSet<InstanceId>) {
    let ours = &state.ledger.assignment.instances;
    state.gone.extend(gone.into_iter().filter(|id| ours.contains_key(id)));
    if let Some(asking) = &mut state.asking {
        asking.heard = true;
    }
}

/// Ends the wait when it is over, and from then on says how the server takes requests from outside.
pub(super) fn settle(state: &mut State, now: Timestamp, effects: &mut Vec<Effect>) {
    let in_force = state.wanted.assignment.version == state.ledger.assignment.version;
    if state.doubt_ends && in_force {
        state.gone.clear();
        state.doubt_ends = false;
    }
    if state.asking.is_some_and(|asking| now >= asking.until || (asking.heard && in_force)) {
        state.asking = None;
    }
    let entry = state.ledger.assignment.entry;
    if state.adopted && state.asking.is_none() && state.entry != Some(entry) {
        state.entry = Some(entry);
        // One that is to go is told of until it is gone.
        state.has_proxy |= state.site.has_proxy(&state.ledger.assignment);
        effects.push(Effect::Entry(entry));
    }
}
