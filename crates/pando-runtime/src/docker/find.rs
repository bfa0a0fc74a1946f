//! Finds runs: on disk, which ones were begun, and at the engine, how they fare.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum};
use futures_util::StreamExt;
use pando_model::observed::ExitReport;

use super::engine::EngineError;
use super::record::{Record, Records};
use super::shared::{Shared, engine_failed};
use super::{name, stop, undo, watch};
use crate::book::failed;
use crate::dir;
use crate::process::blocking;
use crate::run::{Held, RunKey, RuntimeError};

/// How long the engine may take for its first answer when this program starts. Replicas and traffic do not wait for it, but who
/// wants to know what runs here does.
const AT_START: Duration = Duration::from_secs(5);

/// So many are adopted at a time. One that has ended and printed much takes two seconds, and the others need not wait for it; more
/// would press the engine, which begins itself after a restart of the machine.
const SIDE_BY_SIDE: usize = 16;

/// What the disk says of a run.
struct OnDisk {
    record: Record,
    exit: Option<ExitReport>,
}

/// Everything held. An engine that can't be reached is no hindrance: what was begun counts as running until it says otherwise.
pub(super) async fn adopt(shared: &Arc<Shared>) -> Result<Vec<Held>, RuntimeError> {
    let answers = shared.engine.socket().exists() && shared.engine.answers_within(AT_START).await;
    let runs = shared.book.runs.clone();
    let what = format!("read the directory `{}`", runs.display());
    let on_disk = blocking(move || dir::list(&runs)).await.map_err(failed(what))?;
    let mut keys = shared.book.keys();
    keys.extend(on_disk.iter().copied());
    keys.sort_unstable();
    keys.dedup();
    undo::all(shared, answers).await;
    if answers {
        sweep(shared, &on_disk).await;
    }
    let looks = keys.into_iter().map(|key| adopted(shared, key, answers));
    Ok(futures_util::stream::iter(looks)
        .buffered(SIDE_BY_SIDE)
        .filter_map(std::future::ready)
        .collect()
        .await)
}

/// What can't be looked at is left as it is.
async fn adopted(shared: &Arc<Shared>, key: RunKey, answers: bool) -> Option<Held> {
    held_if(shared, key, answers).await.unwrap_or_else(|error| {
        let error = pando_rt::error_chain::error_chain(&error);
        tracing::warn!(target: "pando", "a container is left as it is: {error}");
        None
    })
}

/// Removes containers of ours that nothing is known of any more: of runs that were forgotten while the engine was away, and of commands
/// whose callers went with an earlier run of this program.
async fn sweep(shared: &Arc<Shared>, known: &[RunKey]) {
    let listed = async {
        let mut left = Vec::new();
        for (id, labels) in shared.list(name::RUN).await? {
            let key = name::run_of(Some(&labels), &shared.owner);
            left.extend(key.filter(|key| !known.contains(key)).map(|_| id));
        }
        if !shared.adopted.swap(true, Ordering::Relaxed) {
            let commands = shared.list(name::COMMAND).await?.into_iter();
            // An image may bring a label of that name along to replicas.
            let of_no_run =
                commands.filter(|(_, labels)| name::run_of(Some(labels), &shared.owner).is_none());
            left.extend(of_no_run.map(|(id, _)| id));
        }
        Ok::<_, EngineError>(left)
    };
    let Ok(left) = listed.await else { return };
    for id in left {
        if let Err(error) = shared.remove(&id).await {
            tracing::debug!("a container that is left over stays for now: {error}");
        }
    }
}

/// What is held of `key`, from memory, from disk or from the engine. `None`: nothing.
pub(super) async fn held(shared: &Arc<Shared>, key: RunKey) -> Result<Option<Held>, RuntimeError> {
    held_if(shared, key, true).await
}

/// The same; `answers`: the engine may be asked.
async fn held_if(shared: &Arc<Shared>, key: RunKey, answers: bool) -> Result<Option<Held>, RuntimeError> {
    let slot = shared.book.slot(key);
    let mut known = slot.lock().await;
    if known.is_none() {
        let what = format!("look for container {}", name::run(key));
        *known = look(shared, key, answers).await.map_err(engine_failed(what))?;
    }
    if known.is_none() {
        shared.book.drop_slot(key, &slot);
    }
    Ok(known.clone())
}

/// Looks on disk and at the engine; what runs, or may, is watched from now on. To be called with the key's slot locked.
pub(super) async fn look(
    shared: &Arc<Shared>,
    key: RunKey,
    answers: bool,
) -> Result<Option<Held>, EngineError> {
    let records = shared.records(key);
    let on_disk = blocking(move || read(&records)).await.map_err(unreadable)?;
    let Some(OnDisk { record, exit }) = on_disk else { return Ok(None) };
    if shared.book.is_forgotten(key) {
        if answers {
            clear(shared, &record).await?;
        }
        return Ok(None);
    }
    if exit.is_some() {
        return Ok(Some(record.held(None, exit)));
    }
    let state = if answers { state(shared, &record).await? } else { State::Unknown };
    let pid = match state {
        State::NeverRan => return clear(shared, &record).await.map(|()| None),
        State::Over => {
            let exit = watch::settle(shared, &record).await?;
            return Ok(Some(record.held(None, exit)));
        }
        State::Runs(pid) => pid,
        State::Unknown => None,
    };
    stop::rearm(shared, &record).await;
    watch::watch(shared, record.clone(), Vec::new());
    Ok(Some(record.held(pid, None)))
}

/// What the engine says of a container that was begun.
enum State {
    NeverRan,
    Runs(Option<u32>),
    /// It ended, or is gone.
    Over,
    /// Nobody can be asked.
    Unknown,
}

async fn state(shared: &Arc<Shared>, record: &Record) -> Result<State, EngineError> {
    match shared.inspect(record.spec.key, &record.container).await {
        Ok(Some(found)) if never_ran(&found) => Ok(State::NeverRan),
        Ok(Some(found)) if is_running(&found) => Ok(State::Runs(pid_of(&found))),
        Ok(_) => Ok(State::Over),
        Err(error) if error.is_uncertain() => Ok(State::Unknown),
        Err(error) => Err(error),
    }
}

fn read(records: &Records) -> io::Result<Option<OnDisk>> {
    if !records.0.exists() || records.is_to_be_undone() {
        return Ok(None);
    }
    match records.record()? {
        Some(record) => Ok(Some(OnDisk { record, exit: records.exit()? })),
        // Without a whole record no container was made.
        None => records.0.remove().map(|()| None),
    }
}

fn unreadable(error: io::Error) -> EngineError {
    EngineError::Unfit(format!("what was kept of it can't be read: {error}"))
}

async fn clear(shared: &Arc<Shared>, record: &Record) -> Result<(), EngineError> {
    if let Some(found) = shared.inspect(record.spec.key, &record.container).await? {
        shared.remove(found.id.as_deref().unwrap_or(&record.container)).await?;
    }
    let records = shared.records(record.spec.key);
    blocking(move || records.0.remove()).await.map_err(unreadable)
}

pub(super) async fn forget(shared: &Arc<Shared>, key: RunKey) -> Result<(), RuntimeError> {
    let what = format!("forget container {}", name::run(key));
    let held = match held(shared, key).await? {
        None => return Ok(()),
        Some(held) if held.exit.is_none() => {
            let running = io::Error::new(io::ErrorKind::ResourceBusy, "it still runs; stop it first");
            return Err(RuntimeError::Io { what, source: running });
        }
        Some(held) => held,
    };
    let slot = shared.book.slot(key);
    let mut known = slot.lock().await;
    let there = Arc::clone(shared);
    // First on record, then gone: never the other way round.
    blocking(move || there.book.bury(key)).await.map_err(failed(what.clone()))?;
    *known = None;
    shared.book.drop_slot(key, &slot);
    let container = name::container(&held.spec);
    let record = Record { container, created_at: shared.now(), spec: held.spec, unmounted: held.unmounted };
    clear(shared, &record).await.map_err(engine_failed(what))
}

pub(super) fn is_running(found: &ContainerInspectResponse) -> bool {
    found.state.as_ref().is_some_and(|state| state.running == Some(true))
}

/// It was made, and its start never came, or failed.
fn never_ran(found: &ContainerInspectResponse) -> bool {
    let status = found.state.as_ref().and_then(|state| state.status);
    status == Some(ContainerStateStatusEnum::CREATED)
}

pub(super) fn pid_of(found: &ContainerInspectResponse) -> Option<u32> {
    let pid = found.state.as_ref()?.pid?;
    u32::try_from(pid).ok().filter(|pid| *pid > 0)
}
