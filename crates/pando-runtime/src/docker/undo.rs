//! Starts that failed: nothing is left of them, at the latest before anything of the same id is started again.
//!
//! An engine that went away in the middle of a start may have started the container all the same. That is noted on disk, and
//! undone when the engine is back.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::engine::EngineError;
use super::record::Record;
use super::shared::Shared;
use crate::dir;
use crate::process::blocking;
use crate::run::RunKey;

/// Between two tries.
const AGAIN: Duration = Duration::from_secs(2);

/// Pauses before it is looked for processes that nobody knows of.
const LOOKS: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

/// Undoes a start whose key is locked by the caller.
pub(super) async fn failed_start(shared: &Arc<Shared>, record: &Record) {
    let key = record.spec.key;
    let records = shared.records(key);
    if let Err(error) = blocking(move || records.set_to_be_undone()).await {
        tracing::warn!(target: "pando", "that a failed start is to be undone can't be written down: {error}");
    }
    if undo(shared, key).await.is_err() {
        undo_later(shared, key);
    }
}

/// Undoes what failed starts of `id` left.
pub(super) async fn of_id(shared: &Arc<Shared>, id: Uuid) -> Result<(), EngineError> {
    for key in left(shared).await.into_iter().filter(|key| key.id == id) {
        undo(shared, key).await?;
    }
    Ok(())
}

/// Undoes all that failed starts left: now, as far as the engine `answers`, else when it does.
pub(super) async fn all(shared: &Arc<Shared>, answers: bool) {
    for key in left(shared).await {
        if !answers || undo(shared, key).await.is_err() {
            undo_later(shared, key);
        }
    }
}

fn undo_later(shared: &Arc<Shared>, key: RunKey) {
    let there = Arc::clone(shared);
    // May be dropped at any await: it is on disk.
    shared.book.tasks.spawn_until_shutdown(async move {
        while let Err(error) = undo(&there, key).await {
            tracing::debug!("a failed start is not undone yet: {error}");
            tokio::time::sleep(AGAIN).await;
        }
    });
}

/// Looked for at once and again for a while: what a dead engine had begun may come to life after it.
fn end_unknown_soon(shared: &Arc<Shared>, id: String) {
    shared.book.tasks.spawn_until_shutdown(async move {
        for pause in LOOKS {
            tokio::time::sleep(pause).await;
            let id = id.clone();
            let _ = blocking(move || end_unknown(&id)).await;
        }
    });
}

/// Ends what runs of a container that the engine has removed: one that was killed in the middle of a start knows nothing of the
/// processes that came of it. A cgroup carries the container's id, which is given once.
fn end_unknown(id: &str) -> io::Result<()> {
    for process in crate::proc::all().iter().map(crate::proc::Stat::process) {
        let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", process.pid)).unwrap_or_default();
        if groups.contains(id) {
            // Only root may; and it may have ended this moment.
            let _ = process.signal(rustix::process::Signal::KILL);
        }
    }
    Ok(())
}

async fn left(shared: &Arc<Shared>) -> Vec<RunKey> {
    let there = Arc::clone(shared);
    let found = blocking(move || {
        let mut keys = dir::list(&there.book.runs)?;
        keys.retain(|key| there.records(*key).is_to_be_undone());
        Ok(keys)
    });
    found.await.unwrap_or_else(|error| {
        tracing::warn!(target: "pando", "can't look for what failed starts left: {error}");
        Vec::new()
    })
}

/// Removes container and record. What can't be read was never given to the engine.
async fn undo(shared: &Arc<Shared>, key: RunKey) -> Result<(), EngineError> {
    let records = shared.records(key);
    let there = records.clone();
    let record = blocking(move || there.record()).await.ok().flatten();
    if let Some(record) = record
        && let Some(found) = shared.inspect(key, &record.container).await?
    {
        let id = found.id.unwrap_or(record.container);
        shared.remove(&id).await?;
        end_unknown_soon(shared, id);
    }
    if let Err(error) = blocking(move || records.0.remove()).await {
        tracing::warn!(target: "pando", "the record of a failed start can't be removed: {error}");
    }
    Ok(())
}
