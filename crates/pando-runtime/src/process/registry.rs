//! What the process runtime knows and shares between calls.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pando_rt::shutdown::Shutdown;
use pando_rt::tasks::Tasks;
use tokio::sync::mpsc;

use super::ProcessSettings;
use super::tombstones::Tombstones;
use crate::cgroup::Cgroups;
use crate::dir::RunDir;
use crate::logs::LogStore;
use crate::run::{Held, RunEvent, RunKey, RuntimeError};

/// Events that may wait for their reader. More ends than that at once wait in their watchers.
const EVENTS: usize = 1024;

/// What is known of one run; `None`: nothing yet. Its mutex keeps two calls for one key from acting at the same time.
pub(super) type Slot = Arc<tokio::sync::Mutex<Option<Held>>>;

#[derive(Debug)]
pub(super) struct Registry {
    pub(super) settings: ProcessSettings,
    pub(super) runs: PathBuf,
    pub(super) cgroups: Cgroups,
    pub(super) tasks: Tasks,
    pub(super) events: mpsc::Sender<RunEvent>,
    pub(super) boot: String,
    slots: Mutex<BTreeMap<RunKey, Slot>>,
    tombstones: Mutex<Tombstones>,
    warnings: Mutex<BTreeSet<String>>,
}

impl Registry {
    pub(super) fn open(
        settings: ProcessSettings,
        shutdown: &Shutdown,
    ) -> Result<(Self, mpsc::Receiver<RunEvent>), RuntimeError> {
        let runs = settings.state_dir.join("runs");
        make_private(&runs)?;
        make_private(&settings.state_dir.join("logs"))?;
        let path = settings.state_dir.join("runs").join("forgotten");
        let tombstones =
            Tombstones::open(path.clone()).map_err(failed(format!("read `{}`", path.display())))?;
        let cgroups =
            if settings.use_cgroups { Cgroups::find() } else { Cgroups::none("cgroups are turned off") };
        let (events, receiver) = mpsc::channel(EVENTS);
        let registry = Self {
            settings,
            runs,
            cgroups,
            tasks: Tasks::new(shutdown),
            events,
            boot: crate::proc::boot_id(),
            slots: Mutex::default(),
            tombstones: Mutex::new(tombstones),
            warnings: Mutex::default(),
        };
        Ok((registry, receiver))
    }

    pub(super) fn logs(&self) -> LogStore {
        LogStore::new(self.settings.state_dir.join("logs"), self.settings.log)
    }

    pub(super) fn dir(&self, key: RunKey) -> RunDir {
        RunDir::of(&self.runs, key)
    }

    /// The place for what is known of `key`, empty when there is none yet.
    pub(super) fn slot(&self, key: RunKey) -> Slot {
        Arc::clone(lock(&self.slots).entry(key).or_default())
    }

    /// Drops a place that turned out to stay empty, or whose run is forgotten; not while somebody else waits for it, who would
    /// then act beside the next one to come.
    pub(super) fn drop_slot(&self, key: RunKey, slot: &Slot) {
        let mut slots = lock(&self.slots);
        // Clones are made under this lock only: one in the map, one with the caller.
        if Arc::strong_count(slot) <= 2 {
            slots.remove(&key);
        }
    }

    pub(super) fn keys(&self) -> Vec<RunKey> {
        lock(&self.slots).keys().copied().collect()
    }

    /// Why `key` may not be started although nothing of it is here. `None`: it may.
    pub(super) fn used_up(&self, key: RunKey) -> Option<String> {
        let held = lock(&self.slots).keys().filter(|held| held.id == key.id).map(|held| held.attempt).max();
        if held.is_some_and(|attempt| attempt > key.attempt) {
            return Some(format!("a later start of {} is known", key.id));
        }
        let forgotten = lock(&self.tombstones).highest(key.id)?;
        (forgotten >= key.attempt)
            .then(|| format!("start {} of {} was ended and forgotten", key.attempt, key.id))
    }

    /// Blocks for the disk.
    pub(super) fn bury(&self, key: RunKey) -> io::Result<()> {
        lock(&self.tombstones).add(key)
    }

    pub(super) fn warn(&self, warning: String) {
        if lock(&self.warnings).insert(warning.clone()) {
            tracing::warn!(target: "pando", "{warning}");
        }
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        lock(&self.warnings).iter().cloned().collect()
    }
}

/// Nothing under these locks can leave them half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn make_private(directory: &Path) -> Result<(), RuntimeError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(failed(format!("make the directory `{}`", directory.display())))
}

/// The error of having tried `what`.
pub(super) fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> RuntimeError {
    let what = what.into();
    move |source| RuntimeError::Io { what, source }
}
