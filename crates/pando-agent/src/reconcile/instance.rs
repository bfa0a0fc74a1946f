//! The life of an assigned instance: waits for its release, runs, ends, runs again.

use std::net::SocketAddr;
use std::sync::Arc;

use pando_model::app::HealthKind;
use pando_model::assignment::AssignedInstance;
use pando_model::id::InstanceId;
use pando_model::observed::{ExitReport, FailureReason};
use pando_model::time::{Millis, Timestamp};
use pando_rt::backoff::Backoff;
use pando_runtime::{Held, RunKey};

use super::health::{Health, ImageRules};
use super::{CheckSpec, Effect, State, release, stray};

/// Ready for so long, a run has proved itself: the next end is a first failure again.
const PROVEN: Millis = Millis::from_secs(60);

/// An instance that is assigned, or was and still has a run.
#[derive(Debug, Clone)]
pub(super) struct Instance {
    pub(super) spec: Arc<AssignedInstance>,
    pub(super) run: Run,
    pub(super) health: Health,
    /// Ends and failed starts since it last proved itself.
    pub(super) failures: u32,
    pub(super) last_exit: Option<ExitReport>,
    /// The attempt of the newest run, once there was one.
    pub(super) attempt: Option<u32>,
    /// The newest run that has ended. The runtime keeps it until the next one is held, so that attempts rise across
    /// restarts of the agent without a write to the ledger.
    ended: Option<RunKey>,
    /// Of the newest run, once there was one.
    pub(super) unmounted: Vec<String>,
    /// It ran before this agent did, and its check has yet to say how it is.
    unproven: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Run {
    /// Never started here.
    None,
    /// Asked for.
    Starting,
    Running {
        pid: Option<u32>,
    },
    /// Asked to end. `again_at`: that failed, and is tried again then.
    Stopping {
        pid: Option<u32>,
        again_at: Option<Timestamp>,
    },
    /// Ended; to be started again then.
    Ended {
        next_at: Timestamp,
    },
    /// Could not be started; tried again then.
    Refused {
        reason: FailureReason,
        message: String,
        next_at: Timestamp,
    },
}

impl Instance {
    pub(super) fn new(spec: Arc<AssignedInstance>) -> Self {
        Self {
            spec,
            run: Run::None,
            health: Health::default(),
            failures: 0,
            last_exit: None,
            attempt: None,
            ended: None,
            unmounted: Vec::new(),
            unproven: false,
        }
    }

    fn key(&self, id: InstanceId) -> RunKey {
        RunKey { id: id.as_uuid(), attempt: self.attempt.unwrap_or(0) }
    }

    pub(super) fn has_process(&self) -> bool {
        matches!(self.run, Run::Starting | Run::Running { .. } | Run::Stopping { .. })
    }

    /// It may go on to hold back the first report.
    pub(super) fn is_unproven(&self) -> bool {
        self.unproven && matches!(self.run, Run::Running { .. }) && !self.health.is_settled(&self.spec.health)
    }
}

fn find(state: &mut State, key: RunKey) -> Option<(InstanceId, &mut Instance)> {
    let id = InstanceId::from_uuid(key.id);
    let instance = state.instances.get_mut(&id)?;
    (instance.key(id) == key && instance.has_process()).then_some((id, instance))
}

/// Takes over what is assigned, starts what may start, stops what is not assigned, drops what is gone.
pub(super) fn settle(state: &mut State, now: Timestamp, effects: &mut Vec<Effect>) {
    take_over(state, effects);
    let ids: Vec<InstanceId> = state.instances.keys().copied().collect();
    for id in ids {
        let assigned = state.ledger.assignment.instances.contains_key(&id);
        if assigned && !is_stopping(state, id) {
            start_if_due(state, id, now, effects);
        } else {
            leave(state, id, now, effects);
        }
    }
    // An assignment on its way to the disk may list as leaving what the one in force is yet to start.
    if state.wanted.assignment.version == state.ledger.assignment.version {
        let instances = &state.instances;
        state.wanted.leaving.retain(|id, _| instances.contains_key(id));
    }
}

fn take_over(state: &mut State, effects: &mut Vec<Effect>) {
    for (id, spec) in &state.ledger.assignment.instances {
        let instance = state.instances.entry(*id).or_insert_with(|| Instance::new(Arc::clone(spec)));
        if instance.spec != *spec {
            let check_changed = instance.spec.health != spec.health;
            instance.spec = Arc::clone(spec);
            if check_changed && matches!(instance.run, Run::Running { .. }) {
                effects.push(Effect::StopCheck(instance.key(*id)));
                effects.extend(check(&state.site, *id, instance));
            }
        }
    }
}

/// Also one that is assigned again: a stop that failed may have been half done, so it is brought to its end first.
fn is_stopping(state: &State, id: InstanceId) -> bool {
    state.instances.get(&id).is_some_and(|instance| matches!(instance.run, Run::Stopping { .. }))
}

fn start_if_due(state: &mut State, id: InstanceId, now: Timestamp, effects: &mut Vec<Effect>) {
    let Some(instance) = state.instances.get(&id) else { return };
    let due = match &instance.run {
        _ if state.asking.is_some() || state.gone.contains(&id) => false,
        Run::None => true,
        Run::Ended { next_at } | Run::Refused { next_at, .. } => now >= *next_at,
        Run::Starting | Run::Running { .. } | Run::Stopping { .. } => false,
    };
    let release = (instance.spec.app.clone(), instance.spec.release);
    if !due || !release::is_ready(state, &release) || stray::has_run(state, id.as_uuid()) {
        return;
    }
    let Some(instance) = state.instances.get_mut(&id) else { return };
    instance.attempt = Some(match (instance.attempt, &instance.run) {
        (None, _) => 0,
        // That start has left nothing behind: the same attempt is tried again.
        (Some(attempt), Run::Refused { reason: FailureReason::PortTaken, .. }) => attempt,
        // Whatever the runtime has against this attempt (it may have been forgotten long ago), the next is another.
        (Some(attempt), _) => attempt.saturating_add(1),
    });
    instance.run = Run::Starting;
    instance.health = instance.health.anew();
    let spec = state.site.instance_run(instance.key(id), &instance.spec);
    effects.push(Effect::Start(Box::new(spec)));
}

fn leave(state: &mut State, id: InstanceId, now: Timestamp, effects: &mut Vec<Effect>) {
    let Some(instance) = state.instances.get_mut(&id) else { return };
    let key = instance.key(id);
    match instance.run.clone() {
        Run::Starting | Run::Stopping { again_at: None, .. } => {}
        Run::Stopping { again_at: Some(at), .. } if now < at => {}
        Run::Running { pid } | Run::Stopping { pid, .. } => {
            instance.run = Run::Stopping { pid, again_at: None };
            effects.push(Effect::StopCheck(key));
            // Where an earlier agent asked for it, the runtime keeps to the time given then.
            effects.push(Effect::Stop { key, timeout: instance.spec.stop_timeout });
        }
        Run::None | Run::Ended { .. } | Run::Refused { .. } => {
            effects.extend(instance.ended.map(Effect::Forget));
            state.instances.remove(&id);
        }
    }
}

/// Takes a run over that was there before this agent.
pub(super) fn adopt(
    state: &mut State,
    id: InstanceId,
    held: &Held,
    now: Timestamp,
    effects: &mut Vec<Effect>,
) {
    let Some(instance) = state.instances.get_mut(&id) else { return };
    instance.attempt = Some(held.spec.key.attempt);
    instance.run = Run::Starting;
    instance.unproven = true;
    started(state, held, now, effects);
}

/// Takes over that two runs of it live: both end, then the next is started.
pub(super) fn adopt_rival(state: &mut State, id: InstanceId, key: RunKey, now: Timestamp) {
    if let Some(instance) = state.instances.get_mut(&id) {
        instance.attempt = Some(key.attempt);
        instance.run = Run::Ended { next_at: now };
    }
}

/// Takes over that a run had ended when this agent came.
pub(super) fn adopt_ended(
    state: &mut State,
    id: InstanceId,
    held: &Held,
    exit: &ExitReport,
    now: Timestamp,
    effects: &mut Vec<Effect>,
) {
    let Some(instance) = state.instances.get_mut(&id) else { return };
    instance.attempt = Some(held.spec.key.attempt);
    instance.unmounted.clone_from(&held.unmounted);
    instance.run = Run::Running { pid: None };
    ended(state, held.spec.key, exit, now, effects);
}

pub(super) fn started(state: &mut State, held: &Held, now: Timestamp, effects: &mut Vec<Effect>) -> bool {
    let Some((id, instance)) = find(state, held.spec.key) else { return false };
    if instance.run != Run::Starting {
        return true;
    }
    instance.run = Run::Running { pid: held.pid };
    instance.unmounted.clone_from(&held.unmounted);
    if instance.spec.health.kind == HealthKind::None {
        instance.health = Health::unchecked(now);
    }
    effects.extend(instance.ended.take().map(Effect::Forget));
    let Some(instance) = state.instances.get(&id) else { return true };
    effects.extend(check(&state.site, id, instance));
    true
}

fn check(site: &super::Site, id: InstanceId, instance: &Instance) -> Option<Effect> {
    if instance.spec.health.kind == HealthKind::None {
        return None;
    }
    let run = site.instance_run(instance.key(id), &instance.spec);
    Some(Effect::StartCheck(Box::new(CheckSpec {
        key: run.key,
        health: instance.spec.health.clone(),
        address: SocketAddr::new(site.address, instance.spec.port),
        place: run.place,
        env: run.env,
        user: run.user,
    })))
}

pub(super) fn start_failed(
    state: &mut State,
    key: RunKey,
    reason: FailureReason,
    message: &str,
    now: Timestamp,
) -> bool {
    let Some((_, instance)) = find(state, key) else { return false };
    if instance.run == Run::Starting {
        instance.failures = instance.failures.saturating_add(1);
        let wait = Backoff::RESTART.after(instance.failures.saturating_add(1));
        let next_at = now + Millis::from(wait);
        instance.run = Run::Refused { reason, message: message.to_owned(), next_at };
    }
    true
}

pub(super) fn stop_failed(state: &mut State, key: RunKey, again: Timestamp) -> bool {
    let Some((_, instance)) = find(state, key) else { return false };
    if let Run::Stopping { again_at, .. } = &mut instance.run {
        *again_at = Some(again);
    }
    true
}

pub(super) fn ended(
    state: &mut State,
    key: RunKey,
    exit: &ExitReport,
    now: Timestamp,
    effects: &mut Vec<Effect>,
) -> bool {
    let Some((_, instance)) = find(state, key) else { return false };
    let proven = instance.health.ready_since.is_some_and(|since| now.since(since) >= PROVEN);
    let asked = matches!(instance.run, Run::Stopping { .. });
    instance.failures = match (asked, proven) {
        (true, _) => 0,
        (false, true) => 1,
        (false, false) => instance.failures.saturating_add(1),
    };
    effects.push(Effect::StopCheck(key));
    effects.extend(instance.ended.replace(key).map(Effect::Forget));
    instance.last_exit = Some(exit.clone());
    instance.health = instance.health.ended();
    instance.run = Run::Ended { next_at: now + Millis::from(Backoff::RESTART.after(instance.failures)) };
    true
}

pub(super) fn ruled(state: &mut State, key: RunKey, rules: ImageRules) {
    if let Some((_, instance)) = find(state, key) {
        instance.health.image = Some(rules);
    }
}

pub(super) fn checked(state: &mut State, key: RunKey, answer: Result<(), String>, now: Timestamp) {
    let Some((_, instance)) = find(state, key) else { return };
    if !matches!(instance.run, Run::Running { .. }) {
        return;
    }
    match answer {
        Ok(()) => instance.health.pass(&instance.spec.health, now),
        Err(answer) => instance.health.fail(&instance.spec.health, answer),
    }
}

pub(super) fn wakes(state: &State) -> impl Iterator<Item = Timestamp> {
    state.instances.values().filter_map(|instance| match &instance.run {
        Run::Ended { next_at } | Run::Refused { next_at, .. } => Some(*next_at),
        Run::Stopping { again_at, .. } => *again_at,
        Run::None | Run::Starting | Run::Running { .. } => None,
    })
}
