//! Ends containers: the signal now, SIGKILL when the time is over, whoever is still there to send it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bollard::query_parameters::{KillContainerOptions, StopContainerOptions};
use pando_model::time::{Millis, Timestamp};

use super::record::{Record, Stop};
use super::shared::{Shared, engine_failed};
use super::{create, find, name};
use crate::book::failed;
use crate::process::blocking;
use crate::run::{RunKey, RuntimeError};

/// The engine answers a stop when the container has ended; what is wrong with it is said before this.
const ERRORS_WITHIN: Duration = Duration::from_millis(200);

/// Between two tries to kill.
const AGAIN: Duration = Duration::from_millis(500);

/// A container that was told to end, and how long after that it is killed.
struct Ending {
    container: String,
    key: RunKey,
    timeout: Millis,
}

pub(super) async fn stop(shared: &Arc<Shared>, key: RunKey, timeout: Millis) -> Result<(), RuntimeError> {
    let Some(held) = find::held(shared, key).await?.filter(|held| held.exit.is_none()) else { return Ok(()) };
    let what = format!("stop container {}", name::run(key));
    let ending = Ending { container: name::container(&held.spec), key, timeout };
    let slot = shared.book.slot(key);
    let known = slot.lock().await;
    if known.as_ref().is_none_or(|held| held.exit.is_some()) {
        return Ok(());
    }
    let sooner = note(shared, &ending).await.map_err(failed(what.clone()))?;
    if let Some(kill_at) = sooner {
        kill_later(shared, ending.container.clone(), key, kill_at);
    }
    let told = tell(shared, &ending).await;
    drop(known);
    told.map_err(engine_failed(what))
}

/// Puts on disk when it is to be killed. `Some`: sooner than was known.
async fn note(shared: &Arc<Shared>, ending: &Ending) -> io::Result<Option<Timestamp>> {
    let records = shared.records(ending.key);
    let (now, timeout) = (shared.now(), ending.timeout);
    blocking(move || {
        let known = records.stop()?;
        let wanted = now + timeout;
        if known.is_some_and(|known| known.kill_at <= wanted) {
            return Ok(None);
        }
        let sent = known.is_some_and(|known| known.sent);
        records.set_stop(&Stop { kill_at: wanted, asked_at: now, sent })?;
        Ok(Some(wanted))
    })
    .await
}

/// Tells the engine, once.
async fn tell(shared: &Arc<Shared>, ending: &Ending) -> Result<(), super::EngineError> {
    let records = shared.records(ending.key);
    let there = records.clone();
    let known = blocking(move || there.stop()).await.ok().flatten();
    if known.is_some_and(|known| known.sent) || ending.timeout == Millis::ZERO {
        return Ok(());
    }
    send(shared, ending).await?;
    if let Some(known) = known {
        // Lost, it costs a second signal to a container that has to end anyway.
        let _ = blocking(move || records.set_stop(&Stop { sent: true, ..known })).await;
    }
    Ok(())
}

async fn send(shared: &Arc<Shared>, ending: &Ending) -> Result<(), super::EngineError> {
    // A second later than we do it ourselves, more exactly: it is for when we can't.
    let seconds = create::seconds_above(ending.timeout).saturating_add(1);
    let options = StopContainerOptions { signal: None, t: Some(i32::try_from(seconds).unwrap_or(i32::MAX)) };
    let (there, key, container) = (Arc::clone(shared), ending.key, ending.container.clone());
    let patience = Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX).saturating_add(30));
    let (answer, answered) = tokio::sync::oneshot::channel();
    // The engine goes on with it when nobody waits for its answer any more.
    shared.book.tasks.spawn_until_shutdown(async move {
        let stopped = async {
            let id = there.id_of(key, &container).await?;
            let stop =
                |docker: bollard::Docker| async move { docker.stop_container(&id, Some(options)).await };
            there.engine.call_within(patience, stop).await
        };
        let _ = answer.send(stopped.await);
    });
    match tokio::time::timeout(ERRORS_WITHIN, answered).await {
        Ok(Ok(Err(error))) if !error.is_missing() => Err(error),
        _ => Ok(()),
    }
}

/// Goes on with a stop that an earlier run of this program was asked for.
pub(super) async fn rearm(shared: &Arc<Shared>, record: &Record) {
    let records = shared.records(record.spec.key);
    let Ok(Some(stop)) = blocking(move || records.stop()).await else { return };
    // A clock that was set back must not make it wait for longer than was asked.
    let (now, given) = (shared.now(), stop.kill_at.since(stop.asked_at));
    let kill_at = stop.kill_at.min(now + given);
    kill_later(shared, record.container.clone(), record.spec.key, kill_at);
    if !stop.sent {
        let ending =
            Ending { container: record.container.clone(), key: record.spec.key, timeout: kill_at.since(now) };
        let there = Arc::clone(shared);
        shared.book.tasks.spawn_until_shutdown(async move {
            if let Err(error) = tell(&there, &ending).await {
                tracing::debug!(
                    "a container is not told to stop: {error}; it is killed when its time is over"
                );
            }
        });
    }
}

/// Kills the container then, unless it has ended before. Tries until the engine has done it.
fn kill_later(shared: &Arc<Shared>, container: String, key: RunKey, kill_at: Timestamp) {
    let there = Arc::clone(shared);
    // May be dropped at any await: the next run of this program finds the time on disk.
    shared.book.tasks.spawn_until_shutdown(async move {
        tokio::time::sleep(kill_at.since(there.now()).duration()).await;
        while !has_ended(&there, key).await {
            match kill(&there, key, &container).await {
                Ok(()) => return,
                // It does not run, or is gone: the watch tells.
                Err(error) if error.is_conflict() || error.is_missing() => return,
                Err(error) => tracing::debug!("a container whose time is over is not killed yet: {error}"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    });
}

async fn kill(shared: &Shared, key: RunKey, container: &str) -> Result<(), super::EngineError> {
    let id = shared.id_of(key, container).await?;
    let options = KillContainerOptions { signal: "SIGKILL".to_owned() };
    shared.engine.call(|docker| async move { docker.kill_container(&id, Some(options)).await }).await
}

async fn has_ended(shared: &Arc<Shared>, key: RunKey) -> bool {
    let records = shared.records(key);
    // Without a record nobody holds it any more.
    blocking(move || Ok(!records.0.exists() || records.exit()?.is_some())).await.unwrap_or(false)
}
