//! Tasks: commands that are started at most once, whatever dies.
//!
//! The ledger says on disk that a task was started before it is. A task that it
//! names and that nobody holds, or whose end nobody saw, is unknown, and never
//! started again.

use pando_model::assignment::AssignedTask;
use pando_model::id::TaskId;
use pando_model::observed::{ExitReport, TaskState};
use pando_model::time::{Millis, Timestamp};
use pando_runtime::RunKey;

use super::{Effect, State, release};
use crate::ledger::TaskRecord;

/// How long a task that is stopped may take to end before it is killed.
pub(super) const STOP: Millis = Millis::from_secs(10);

#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) spec: AssignedTask,
    run: Run,
    /// The runtime holds its run, or what is left of it.
    held: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Run {
    /// For its release.
    Waiting,
    /// For the disk to say that it is started.
    Recording,
    Starting,
    Running,
    Stopping {
        again_at: Option<Timestamp>,
    },
    Ended(ExitReport),
    Failed(String),
    Unknown,
}

fn key(id: TaskId) -> RunKey {
    RunKey { id: id.as_uuid(), attempt: 0 }
}

impl Task {
    pub(super) fn has_process(&self) -> bool {
        matches!(self.run, Run::Starting | Run::Running | Run::Stopping { .. })
    }

    /// It has not ended: its release must stay.
    pub(super) fn is_begun(&self) -> bool {
        self.run == Run::Recording || self.has_process()
    }

    pub(super) fn state(&self) -> TaskState {
        match &self.run {
            Run::Waiting | Run::Recording => TaskState::Waiting,
            Run::Starting | Run::Running | Run::Stopping { .. } => TaskState::Running,
            Run::Ended(exit) => TaskState::Ended(exit.clone()),
            Run::Failed(message) => TaskState::Failed { message: message.clone() },
            Run::Unknown => TaskState::Unknown,
        }
    }
}

fn find(state: &mut State, key: RunKey) -> Option<(TaskId, &mut Task)> {
    let id = TaskId::from_uuid(key.id);
    state.tasks.get_mut(&id).filter(|task| task.has_process()).map(|task| (id, task))
}

/// Takes over what is assigned, moves each task on, drops what is gone.
pub(super) fn settle(state: &mut State, now: Timestamp, effects: &mut Vec<Effect>) {
    for (id, spec) in &state.ledger.assignment.tasks {
        if !state.tasks.contains_key(id) {
            let run = state.wanted.tasks.get(id).map_or(Run::Waiting, unheld);
            state.tasks.insert(*id, Task { spec: spec.clone(), run, held: false });
        }
    }
    let ids: Vec<TaskId> = state.tasks.keys().copied().collect();
    for id in ids {
        if state.ledger.assignment.tasks.contains_key(&id) {
            move_on(state, id, now, effects);
        } else {
            leave(state, id, now, effects);
        }
    }
}

/// What is true of a task that the ledger names and nobody holds.
fn unheld(record: &TaskRecord) -> Run {
    record.failed.as_ref().map_or(Run::Unknown, |message| Run::Failed(message.clone()))
}

fn move_on(state: &mut State, id: TaskId, now: Timestamp, effects: &mut Vec<Effect>) {
    let Some(task) = state.tasks.get(&id) else { return };
    let release = (task.spec.app.clone(), task.spec.release);
    let may_start = state.asking.is_none() && release::is_ready(state, &release);
    let next = match &task.run {
        Run::Waiting if may_start => begin(state, id, now),
        Run::Recording if state.ledger.tasks.contains_key(&id) && may_start => {
            let run = state.site.task_run(key(id), &task.spec);
            effects.push(Effect::Start(Box::new(run)));
            Some(Run::Starting)
        }
        Run::Running if is_over(state, id, now) => stop_late(state, id, effects),
        Run::Stopping { again_at: Some(at) } if now >= *at => Some(stop(id, effects)),
        _ => None,
    };
    if let (Some(next), Some(task)) = (next, state.tasks.get_mut(&id)) {
        task.run = next;
    }
}

fn begin(state: &mut State, id: TaskId, now: Timestamp) -> Option<Run> {
    // A newer assignment on its way to the disk may have withdrawn it.
    if !state.wanted.assignment.tasks.contains_key(&id) {
        return None;
    }
    let record = TaskRecord { started_at: now, timed_out: false, failed: None };
    state.wanted.tasks.insert(id, record);
    Some(Run::Recording)
}

fn deadline(state: &State, id: TaskId) -> Option<Timestamp> {
    let (task, record) = (state.tasks.get(&id)?, state.wanted.tasks.get(&id)?);
    Some(record.started_at + task.spec.timeout)
}

fn is_over(state: &State, id: TaskId, now: Timestamp) -> bool {
    deadline(state, id).is_some_and(|deadline| now >= deadline)
}

/// That it is late goes to disk first: after a crash, an orderly exit on SIGTERM must not pass for success.
fn stop_late(state: &mut State, id: TaskId, effects: &mut Vec<Effect>) -> Option<Run> {
    if let Some(record) = state.wanted.tasks.get_mut(&id) {
        record.timed_out = true;
    }
    let recorded = state.ledger.tasks.get(&id).is_some_and(|record| record.timed_out);
    recorded.then(|| stop(id, effects))
}

fn stop(id: TaskId, effects: &mut Vec<Effect>) -> Run {
    effects.push(Effect::Stop { key: key(id), timeout: STOP });
    Run::Stopping { again_at: None }
}

fn leave(state: &mut State, id: TaskId, now: Timestamp, effects: &mut Vec<Effect>) {
    let Some(task) = state.tasks.get_mut(&id) else { return };
    match &task.run {
        Run::Starting | Run::Stopping { again_at: None } => {}
        Run::Stopping { again_at: Some(at) } if now < *at => {}
        Run::Running | Run::Stopping { .. } => task.run = stop(id, effects),
        _ => {
            effects.extend(task.held.then(|| Effect::Forget(key(id))));
            state.tasks.remove(&id);
        }
    }
}

/// Takes a run over that was there before this agent; `exit` when it had ended.
pub(super) fn adopt(
    state: &mut State,
    id: TaskId,
    spec: AssignedTask,
    exit: Option<&ExitReport>,
    now: Timestamp,
) {
    let record = TaskRecord { started_at: now, timed_out: false, failed: None };
    state.wanted.tasks.entry(id).or_insert(record);
    state.tasks.insert(id, Task { spec, run: Run::Running, held: true });
    if let Some(exit) = exit {
        ended(state, key(id), exit);
    }
}

pub(super) fn started(state: &mut State, key: RunKey) -> bool {
    let Some((_, task)) = find(state, key) else { return false };
    if task.run == Run::Starting {
        task.run = Run::Running;
    }
    true
}

pub(super) fn start_failed(state: &mut State, key: RunKey, message: &str) -> bool {
    let Some((id, task)) = find(state, key) else { return false };
    task.run = Run::Failed(message.to_owned());
    if let Some(record) = state.wanted.tasks.get_mut(&id) {
        record.failed = Some(message.to_owned());
    }
    true
}

pub(super) fn stop_failed(state: &mut State, key: RunKey, again: Timestamp) -> bool {
    let Some((_, task)) = find(state, key) else { return false };
    if let Run::Stopping { again_at } = &mut task.run {
        *again_at = Some(again);
    }
    true
}

pub(super) fn ended(state: &mut State, key: RunKey, exit: &ExitReport) -> bool {
    let id = TaskId::from_uuid(key.id);
    let late = state.wanted.tasks.get(&id).is_some_and(|record| record.timed_out);
    let Some((_, task)) = find(state, key) else { return false };
    task.held = true;
    task.run = if late {
        Run::Failed(format!("stopped after {}, before it had ended", task.spec.timeout))
    } else if nobody_saw(exit) {
        Run::Unknown
    } else {
        Run::Ended(exit.clone())
    };
    true
}

fn nobody_saw(exit: &ExitReport) -> bool {
    exit.code.is_none() && exit.signal.is_none() && !exit.out_of_memory
}

pub(super) fn wakes(state: &State) -> impl Iterator<Item = Timestamp> {
    state.tasks.iter().filter_map(|(id, task)| match &task.run {
        Run::Running => deadline(state, *id),
        Run::Stopping { again_at } => *again_at,
        _ => None,
    })
}
