//! Releases on this server: fetched, unpacked, prepared, sealed, and removed when nothing needs them.

use std::sync::Arc;

use pando_model::assignment::AssignedRelease;
use pando_model::id::{InstanceId, TaskId};
use pando_model::observed::{ExitReport, Fetched, ReleaseState, ReleaseStatus};
use pando_model::release::Digest;
use pando_model::time::{Millis, Timestamp};
use pando_runtime::RunKey;

use super::{Effect, Needs, ReleaseKey, State, TRY_AGAIN, task};

/// How long `prepare` may run: long enough to compile what an app depends on, short enough that one that hangs is
/// noticed the same hour.
pub(crate) const PREPARE_TIMEOUT: Millis = Millis::from_secs(30 * 60);

/// What failed is tried again after this, then after twice as long, and so on: a disk may have space again. What always fails, as
/// a `prepare` may that runs for minutes, must not keep the server busy.
const RETRY_FIRST: Millis = Millis::from_secs(30);
const RETRY_MOST: Millis = Millis::from_secs(10 * 60);

#[derive(Debug, Clone)]
pub(super) struct Slot {
    /// As the work under way was ordered.
    spec: Option<AssignedRelease>,
    /// What a ready one is made from.
    made_from: Option<Digest>,
    /// In a row.
    failures: u32,
    phase: Phase,
}

#[derive(Debug, Clone, PartialEq)]
enum Phase {
    /// Not there, or there in part.
    Absent,
    Fetching(Fetched),
    Unpacking,
    Preparing(Prepare),
    Sealing,
    Ready,
    Failed {
        message: String,
        again_at: Timestamp,
    },
    /// `again_at`: that failed, and is tried again then.
    Removing {
        again_at: Option<Timestamp>,
    },
}

#[derive(Debug, Clone, PartialEq)]
struct Prepare {
    key: RunKey,
    deadline: Timestamp,
    started: bool,
    /// It was told to stop, because it is late or no longer wanted.
    stopping: bool,
    again_at: Option<Timestamp>,
    late: bool,
}

impl Slot {
    pub(super) fn on_disk(sealed: Option<Digest>) -> Self {
        let phase = if sealed.is_some() { Phase::Ready } else { Phase::Absent };
        Self { spec: None, made_from: sealed, failures: 0, phase }
    }

    fn fail(&mut self, message: String, now: Timestamp) {
        let after = Millis(RETRY_FIRST.0 << self.failures.min(16)).min(RETRY_MOST);
        self.failures += 1;
        self.phase = Phase::Failed { message, again_at: now + after };
    }

    /// It is ready, and made from `artifact` where one is asked for: a restored store may count releases anew.
    fn holds(&self, artifact: Option<&Digest>) -> bool {
        self.phase == Phase::Ready && artifact.is_none_or(|wanted| self.made_from.as_ref() == Some(wanted))
    }
}

fn key_of(release: &AssignedRelease) -> ReleaseKey {
    (release.app.clone(), release.release)
}

fn is_assigned(assigned: &[Arc<AssignedRelease>], key: &ReleaseKey) -> bool {
    assigned.iter().any(|release| release.app == key.0 && release.release == key.1)
}

/// Whether runs may start in it.
pub(super) fn is_ready(state: &State, key: &ReleaseKey) -> bool {
    let mut assigned = state.ledger.assignment.releases.iter();
    let artifact = assigned.find(|release| release.app == key.0 && release.release == key.1);
    state
        .releases
        .get(key)
        .is_some_and(|slot| slot.holds(artifact.and_then(|release| release.artifact.as_ref())))
}

/// Why it can't be had, when it can't.
pub(super) fn failure(state: &State, key: &ReleaseKey) -> Option<String> {
    match state.releases.get(key).map(|slot| &slot.phase) {
        Some(Phase::Failed { message, .. }) => Some(message.clone()),
        _ if is_assigned(&state.ledger.assignment.releases, key) => None,
        Some(Phase::Ready) => None,
        _ => Some(format!("{} {} is not among the releases that this server was told to have", key.0, key.1)),
    }
}

pub(super) fn needs(state: &State) -> Needs {
    let assigned = || [&state.ledger, &state.wanted].into_iter().flat_map(|one| &one.assignment.releases);
    let instances = state.instances.values().map(|one| (one.spec.app.clone(), one.spec.release));
    let tasks = state.tasks.values().map(|one| (one.spec.app.clone(), one.spec.release));
    let keys = assigned().map(|release| key_of(release)).chain(instances).chain(tasks);
    Needs {
        releases: state.releases.keys().cloned().chain(keys).collect(),
        artifacts: assigned().filter_map(|release| release.artifact.clone()).collect(),
    }
}

/// Orders what is assigned and not there; ends a `prepare` that is late.
pub(super) fn ensure(state: &mut State, now: Timestamp, effects: &mut Vec<Effect>) {
    if state.asking.is_some() {
        // Nothing is under way yet, and what would be fetched may not be needed any more.
        return;
    }
    for release in state.ledger.assignment.releases.clone() {
        let key = key_of(&release);
        // A directory is not touched under what runs in it. Containers go on whatever is done for their image, and what of them ends
        // is waiting for it: an agent that has just started looks for it first.
        let busy = release.image.is_none() && has_process(state, &key);
        let slot = state.releases.entry(key).or_insert_with(|| Slot::on_disk(None));
        let missing = match &slot.phase {
            // What a failed removal left is cleared by the work itself.
            Phase::Absent | Phase::Removing { again_at: Some(_) } => true,
            Phase::Failed { again_at, .. } => now >= *again_at,
            Phase::Ready => !slot.holds(release.artifact.as_ref()),
            _ => false,
        };
        if missing && !busy {
            slot.phase = Phase::Fetching(Fetched::default());
            slot.spec = Some(AssignedRelease::clone(&release));
            effects.push(Effect::EnsureRelease(AssignedRelease::clone(&release)));
        }
    }
    for slot in state.releases.values_mut() {
        if let Phase::Preparing(prepare) = &mut slot.phase
            && now >= prepare.deadline
        {
            prepare.late = true;
            stop_prepare(prepare, now, effects);
        }
    }
}

/// Removes what is not assigned and not in use.
pub(super) fn clear(state: &mut State, now: Timestamp, effects: &mut Vec<Effect>) {
    let keys: Vec<ReleaseKey> = state.releases.keys().cloned().collect();
    for key in keys {
        let wanted = is_assigned(&state.ledger.assignment.releases, &key)
            || is_assigned(&state.wanted.assignment.releases, &key);
        if wanted || is_used(state, &key) {
            continue;
        }
        let Some(slot) = state.releases.get_mut(&key) else { continue };
        match &mut slot.phase {
            Phase::Preparing(prepare) => stop_prepare(prepare, now, effects),
            Phase::Sealing | Phase::Removing { again_at: None } => {}
            Phase::Removing { again_at: Some(at) } if now < *at => {}
            _ => {
                slot.phase = Phase::Removing { again_at: None };
                effects.push(Effect::RemoveRelease(key));
            }
        }
    }
}

fn stop_prepare(prepare: &mut Prepare, now: Timestamp, effects: &mut Vec<Effect>) {
    let due = prepare.again_at.map_or(!prepare.stopping, |at| now >= at);
    if prepare.started && due {
        prepare.stopping = true;
        prepare.again_at = None;
        effects.push(Effect::Stop { key: prepare.key, timeout: task::STOP });
    }
}

/// The image of that run's release is to be looked for, and brought if need be.
pub(super) fn image_lost(state: &mut State, run: RunKey) {
    let instance =
        state.instances.get(&InstanceId::from_uuid(run.id)).map(|one| (&one.spec.app, one.spec.release));
    let task = state.tasks.get(&TaskId::from_uuid(run.id)).map(|one| (&one.spec.app, one.spec.release));
    let Some((app, release)) = instance.or(task) else { return };
    let key = (app.clone(), release);
    if let Some(slot) = state.releases.get_mut(&key)
        && matches!(slot.phase, Phase::Ready)
    {
        slot.phase = Phase::Absent;
    }
}

/// A container's end was told, so the engine answers: an image that it could not be asked for is looked for at once, before anybody
/// takes the instance for one that can't run here.
pub(super) fn engine_answers(state: &mut State, ended: RunKey, now: Timestamp) {
    let Some(instance) = state.instances.get(&InstanceId::from_uuid(ended.id)) else { return };
    let release = (instance.spec.app.clone(), instance.spec.release);
    let Some(slot) = state.releases.get_mut(&release) else { return };
    let is_image = slot.spec.as_ref().is_some_and(|spec| spec.image.is_some());
    if let Phase::Failed { again_at, .. } = &mut slot.phase
        && is_image
    {
        *again_at = now.min(*again_at);
    }
}

/// A process may be running in it, as it is or as it is being made.
fn has_process(state: &State, key: &ReleaseKey) -> bool {
    let instances = state.instances.values();
    let tasks = state.tasks.values();
    let (directory, staging) = (state.site.directory(key), state.site.staging(key));
    instances.into_iter().any(|one| one.spec.app == key.0 && one.spec.release == key.1 && one.has_process())
        || tasks
            .into_iter()
            .any(|one| one.spec.app == key.0 && one.spec.release == key.1 && one.has_process())
        || state
            .strays
            .values()
            .any(|one| one.directory.as_ref().is_some_and(|of| *of == directory || *of == staging))
}

/// A process runs in it, or is to be started in it again.
fn is_used(state: &State, key: &ReleaseKey) -> bool {
    let (mut instances, mut tasks) = (state.instances.values(), state.tasks.values());
    has_process(state, key)
        || instances.any(|one| one.spec.app == key.0 && one.spec.release == key.1)
        || tasks.any(|one| one.spec.app == key.0 && one.spec.release == key.1 && one.is_begun())
}

/// A new assignment is a new try.
pub(super) fn try_failed_again(state: &mut State) {
    for slot in state.releases.values_mut() {
        if matches!(slot.phase, Phase::Failed { .. }) {
            slot.phase = Phase::Absent;
        }
    }
}

pub(super) fn comes(state: &mut State, key: &ReleaseKey, so_far: Fetched) {
    if let Some(Phase::Fetching(fetched)) = state.releases.get_mut(key).map(|slot| &mut slot.phase) {
        *fetched = so_far;
    }
}

pub(super) fn fetched(state: &mut State, key: &ReleaseKey) {
    if let Some(slot) = state.releases.get_mut(key)
        && matches!(slot.phase, Phase::Fetching(_))
    {
        slot.phase = Phase::Unpacking;
    }
}

pub(super) fn unpacked(state: &mut State, key: &ReleaseKey, now: Timestamp, effects: &mut Vec<Effect>) {
    let Some(slot) = state.releases.get_mut(key) else { return };
    let (Phase::Fetching(_) | Phase::Unpacking, Some(spec)) = (&slot.phase, &slot.spec) else { return };
    if let Some(command) = &spec.prepare {
        let id = TaskId::new(now, &mut state.entropy).as_uuid();
        let key = RunKey { id, attempt: 0 };
        effects.push(Effect::Start(Box::new(state.site.prepare_run(key, spec, command))));
        slot.phase = Phase::Preparing(Prepare {
            key,
            deadline: now + PREPARE_TIMEOUT,
            started: false,
            stopping: false,
            again_at: None,
            late: false,
        });
    } else {
        effects.push(Effect::SealRelease(spec.clone()));
        slot.phase = Phase::Sealing;
    }
}

pub(super) fn ready(state: &mut State, key: &ReleaseKey) {
    let Some(slot) = state.releases.get_mut(key) else { return };
    if matches!(slot.phase, Phase::Fetching(_) | Phase::Unpacking | Phase::Sealing) {
        (slot.phase, slot.failures) = (Phase::Ready, 0);
        slot.made_from = slot.spec.as_ref().and_then(|spec| spec.artifact.clone());
    }
}

pub(super) fn failed(state: &mut State, key: &ReleaseKey, message: String, now: Timestamp) {
    let Some(slot) = state.releases.get_mut(key) else { return };
    if matches!(slot.phase, Phase::Fetching(_) | Phase::Unpacking | Phase::Sealing) {
        slot.fail(message, now);
    }
}

pub(super) fn removed(state: &mut State, key: &ReleaseKey) {
    if state.releases.get(key).is_some_and(|slot| matches!(slot.phase, Phase::Removing { .. })) {
        state.releases.remove(key);
    }
}

pub(super) fn removal_failed(state: &mut State, key: &ReleaseKey, now: Timestamp) {
    if let Some(slot) = state.releases.get_mut(key)
        && let Phase::Removing { again_at } = &mut slot.phase
    {
        *again_at = Some(now + TRY_AGAIN);
        // Whatever is left of it is not a release any more.
        slot.made_from = None;
    }
}

fn preparing(state: &mut State, key: RunKey) -> Option<(ReleaseKey, &mut Slot)> {
    let ours = |slot: &Slot| matches!(&slot.phase, Phase::Preparing(prepare) if prepare.key == key);
    state.releases.iter_mut().find(|(_, slot)| ours(slot)).map(|(release, slot)| (release.clone(), slot))
}

pub(super) fn prepare_started(state: &mut State, key: RunKey) {
    if let Some((_, slot)) = preparing(state, key)
        && let Phase::Preparing(prepare) = &mut slot.phase
    {
        prepare.started = true;
    }
}

pub(super) fn prepare_refused(state: &mut State, key: RunKey, message: &str, now: Timestamp) {
    if let Some((release, slot)) = preparing(state, key) {
        slot.fail(format!("`prepare` of {} could not start: {message}", release.1), now);
    }
}

pub(super) fn stop_failed(state: &mut State, key: RunKey, again: Timestamp) {
    if let Some((_, slot)) = preparing(state, key)
        && let Phase::Preparing(prepare) = &mut slot.phase
    {
        prepare.again_at = Some(again);
    }
}

pub(super) fn prepare_ended(
    state: &mut State,
    key: RunKey,
    exit: &ExitReport,
    now: Timestamp,
    effects: &mut Vec<Effect>,
) -> bool {
    let Some((release, slot)) = preparing(state, key) else { return false };
    let Phase::Preparing(prepare) = &slot.phase else { return false };
    let (late, stopped) = (prepare.late, prepare.stopping);
    effects.push(Effect::Forget(key));
    match &slot.spec {
        Some(spec) if exit.code == Some(0) && !stopped => {
            effects.push(Effect::SealRelease(spec.clone()));
            slot.phase = Phase::Sealing;
        }
        // It was not wanted any more; by now it may be again.
        _ if stopped && !late => slot.phase = Phase::Absent,
        _ => {
            slot.fail(prepare_failure(&release, exit, late), now);
            effects.push(Effect::RemoveRelease(release));
        }
    }
    true
}

fn prepare_failure(release: &ReleaseKey, exit: &ExitReport, late: bool) -> String {
    let how = match (late, exit.out_of_memory, exit.code, exit.signal) {
        (true, ..) => format!("did not end within {PREPARE_TIMEOUT}"),
        (_, true, ..) => "ran out of memory".to_owned(),
        (_, _, Some(code), _) => format!("ended with exit code {code}"),
        (_, _, None, Some(signal)) => format!("was ended by signal {signal}"),
        _ => "ended, and nobody saw how".to_owned(),
    };
    let mut message = format!("`prepare` of {} {how}", release.1);
    for line in &exit.last_lines {
        message.push('\n');
        message.push_str(line);
    }
    message
}

/// What is true of every assigned release.
pub(super) fn statuses(state: &State) -> Vec<ReleaseStatus> {
    let assigned = state.ledger.assignment.releases.iter();
    assigned
        .map(|release| ReleaseStatus {
            app: release.app.clone(),
            release: release.release,
            state: status(state.releases.get(&key_of(release)), release.artifact.as_ref()),
        })
        .collect()
}

fn status(slot: Option<&Slot>, artifact: Option<&Digest>) -> ReleaseState {
    let nothing = ReleaseState::Fetching(Fetched::default());
    match slot.map(|slot| &slot.phase) {
        Some(Phase::Ready) if slot.is_some_and(|slot| !slot.holds(artifact)) => nothing,
        None | Some(Phase::Absent | Phase::Removing { .. }) => nothing,
        Some(Phase::Fetching(fetched)) => ReleaseState::Fetching(*fetched),
        Some(Phase::Unpacking | Phase::Sealing) => ReleaseState::Unpacking,
        Some(Phase::Preparing(_)) => ReleaseState::Preparing,
        Some(Phase::Ready) => ReleaseState::Ready,
        Some(Phase::Failed { message, .. }) => ReleaseState::Failed { message: message.clone() },
    }
}

pub(super) fn wakes(state: &State) -> impl Iterator<Item = Timestamp> {
    state.releases.values().filter_map(|slot| match &slot.phase {
        Phase::Preparing(prepare) if prepare.stopping => prepare.again_at,
        Phase::Preparing(prepare) => Some(prepare.deadline),
        Phase::Removing { again_at } => *again_at,
        Phase::Failed { again_at, .. } => Some(*again_at),
        _ => None,
    })
}
