//! Finds runs on disk: who lives, who ended, and what was never begun.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pando_model::observed::ExitReport;

use super::registry::Registry;
use super::{blocking, lost, watch};
use crate::book::failed;
use crate::dir::{self, Launch, RunDir, Status};
use crate::run::{Held, RunKey, RuntimeError};

/// A shim that was just started has this long to start its run.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// What a run's directory says.
#[derive(Debug)]
enum Found {
    /// There is no such run; what lay there without ever having begun is removed.
    Nothing,
    Running(Box<Launch>, Option<u32>),
    Ended(Box<Launch>, ExitReport),
}

/// Everything held. What can't be read is left where it is, with a warning in this program's log.
pub(super) async fn adopt(registry: &Arc<Registry>) -> Result<Vec<Held>, RuntimeError> {
    let runs = registry.book.runs.clone();
    let what = format!("read the directory `{}`", runs.display());
    let on_disk = blocking(move || dir::list(&runs)).await.map_err(failed(what))?;
    let mut keys: Vec<RunKey> = registry.book.keys();
    keys.extend(on_disk);
    keys.sort_unstable();
    keys.dedup();
    let mut all = Vec::new();
    for key in keys {
        match held(registry, key).await {
            Ok(held) => all.extend(held),
            Err(error) => {
                let error = pando_rt::error_chain::error_chain(&error);
                tracing::warn!(target: "pando", "a run is left as it is: {error}");
            }
        }
    }
    Ok(all)
}

/// What is held of `key`, from memory or from disk. `None`: nothing.
pub(super) async fn held(registry: &Arc<Registry>, key: RunKey) -> Result<Option<Held>, RuntimeError> {
    let slot = registry.book.slot(key);
    let mut known = slot.lock().await;
    if known.is_none() {
        *known =
            look(registry, key).await.map_err(failed(format!("look for run {}.{}", key.id, key.attempt)))?;
    }
    if known.is_none() {
        registry.book.drop_slot(key, &slot);
    }
    Ok(known.clone())
}

pub(super) async fn forget(registry: &Arc<Registry>, key: RunKey) -> Result<(), RuntimeError> {
    let what = format!("forget run {}.{}", key.id, key.attempt);
    match held(registry, key).await? {
        None => return Ok(()),
        Some(held) if held.exit.is_none() => {
            let running = io::Error::new(io::ErrorKind::ResourceBusy, "it still runs; stop it first");
            return Err(RuntimeError::Io { what, source: running });
        }
        Some(_) => {}
    }
    let slot = registry.book.slot(key);
    let mut known = slot.lock().await;
    let (registry_there, dir) = (Arc::clone(registry), registry.book.dir(key));
    // First on record, then gone: never the other way round.
    let forgotten = blocking(move || registry_there.book.bury(key).and_then(|()| dir.remove())).await;
    forgotten.map_err(failed(what))?;
    *known = None;
    registry.book.drop_slot(key, &slot);
    Ok(())
}

/// Looks on disk; what runs is watched from now on. To be called with the key's slot locked.
pub(super) async fn look(registry: &Arc<Registry>, key: RunKey) -> io::Result<Option<Held>> {
    let (dir, boot, logs) = (registry.book.dir(key), registry.boot.clone(), registry.logs());
    let found = blocking(move || {
        let until = Instant::now() + START_PATIENCE;
        loop {
            match inspect(&dir, &boot, &logs)? {
                Found::Running(_, None) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(1))
                }
                found => return Ok(found),
            }
        }
    })
    .await?;
    Ok(match found {
        Found::Nothing => None,
        Found::Running(launch, pid) => {
            registry.warn_of_limits(&launch.spec.resources);
            watch::watch(registry, key);
            Some(Held { spec: launch.spec, pid, exit: None, unmounted: Vec::new() })
        }
        Found::Ended(launch, exit) => {
            Some(Held { spec: launch.spec, pid: None, exit: Some(exit), unmounted: Vec::new() })
        }
    })
}

fn inspect(dir: &RunDir, boot: &str, logs: &crate::logs::LogStore) -> io::Result<Found> {
    if !dir.exists() {
        return Ok(Found::Nothing);
    }
    let lock = match dir.try_lock() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        lock => lock?,
    };
    let (launch, status) = (dir.launch()?, dir.status()?);
    let launch = match (launch, &lock) {
        (Some(launch), _) => Box::new(launch),
        // Without a whole spec no shim was started.
        (None, Some(_)) => return dir.remove().map(|()| Found::Nothing),
        (None, None) => {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it runs, and its spec can't be read"));
        }
    };
    match (status, lock) {
        // A shim that has written this is about to go, if it is still there.
        (Some(Status { exit: Some(exit), .. }), _) => Ok(Found::Ended(launch, exit)),
        (status, None) => {
            Ok(Found::Running(launch, status.and_then(|status| status.child).map(|child| child.pid)))
        }
        // Before a restart of the machine it may well have run: its status need not have reached the disk.
        (None, Some(_)) if launch.boot == boot => discard(dir, &launch),
        (Some(Status { refused: Some(_), .. }), Some(_)) => discard(dir, &launch),
        (status, Some(_)) => {
            let exit = lost::settle(dir, &launch, status, boot, logs)?;
            Ok(Found::Ended(launch, exit))
        }
    }
}

/// It never ran. The lock is held, and a shim that comes late finds its directory gone.
fn discard(dir: &RunDir, launch: &Launch) -> io::Result<Found> {
    for group in &launch.groups {
        let _ = group.remove();
    }
    dir.remove().map(|()| Found::Nothing)
}
