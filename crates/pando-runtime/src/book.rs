//! What a runtime knows of its runs between calls: who is held, whom to tell, and what was forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pando_rt::shutdown::Shutdown;
use pando_rt::tasks::Tasks;
use tokio::sync::mpsc;

use crate::dir::RunDir;
use crate::run::{Held, RunEvent, RunKey, RuntimeError};
use crate::tombstones::Tombstones;

/// Events that may wait for their reader. More ends than that at once wait in their watchers.
const EVENTS: usize = 1024;

/// What is known of one run; `None`: nothing yet. Its mutex keeps two calls for one key from acting at the same time.
pub(crate) type Slot = Arc<tokio::sync::Mutex<Option<Held>>>;

#[derive(Debug)]
pub(crate) struct Book {
    /// A directory for each run lies in it, `ID.ATTEMPT`.
    pub(crate) runs: PathBuf,
    pub(crate) tasks: Tasks,
    pub(crate) events: mpsc::Sender<RunEvent>,
    slots: Mutex<BTreeMap<RunKey, Slot>>,
    tombstones: Mutex<Tombstones>,
    warnings: Mutex<BTreeSet<String>>,
}

impl Book {
    /// Makes what is missing of the directory, and reads what was forgotten.
    pub(crate) fn open(
        runs: PathBuf,
        shutdown: &Shutdown,
    ) -> Result<(Self, mpsc::Receiver<RunEvent>), RuntimeError> {
        make_private(&runs)?;
        let path = runs.join("forgotten");
        let tombstones =
            Tombstones::open(path.clone()).map_err(failed(format!("read `{}`", path.display())))?;
        let (events, receiver) = mpsc::channel(EVENTS);
        let book = Self {
            runs,
            tasks: Tasks::new(shutdown),
            events,
            slots: Mutex::default(),
            tombstones: Mutex::new(tombstones),
            warnings: Mutex::default(),
        };
        Ok((book, receiver))
    }

    pub(crate) fn dir(&self, key: RunKey) -> RunDir {
        RunDir::of(&self.runs, key)
    }

    /// The place for what is known of `key`, empty when there is none yet.
    pub(crate) fn slot(&self, key: RunKey) -> Slot {
        Arc::clone(lock(&self.slots).entry(key).or_default())
    }

    /// Drops a place that turned out to stay empty, or whose run is forgotten; not while somebody else waits for it, who would
    /// then act beside the next one to come.
    pub(crate) fn drop_slot(&self, key: RunKey, slot: &Slot) {
        let mut slots = lock(&self.slots);
        // Clones are made under this lock only: one in the map, one with the caller.
        if Arc::strong_count(slot) <= 2 {
            slots.remove(&key);
        }
    }

    pub(crate) fn keys(&self) -> Vec<RunKey> {
        lock(&self.slots).keys().copied().collect()
    }

    /// Why `key` may not be started although nothing of it is here. `None`: it may.
    pub(crate) fn used_up(&self, key: RunKey) -> Option<String> {
        let held = lock(&self.slots).keys().filter(|held| held.id == key.id).map(|held| held.attempt).max();
        if held.is_some_and(|attempt| attempt > key.attempt) {
            return Some(format!("a later start of {} is known", key.id));
        }
        let forgotten = lock(&self.tombstones).highest(key.id)?;
        (forgotten >= key.attempt)
            .then(|| format!("start {} of {} was ended and forgotten", key.attempt, key.id))
    }

    /// Whether `key`, or a later attempt of its id, was forgotten.
    pub(crate) fn is_forgotten(&self, key: RunKey) -> bool {
        lock(&self.tombstones).highest(key.id).is_some_and(|highest| highest >= key.attempt)
    }

    /// Blocks for the disk.
    pub(crate) fn bury(&self, key: RunKey) -> io::Result<()> {
        lock(&self.tombstones).add(key)
    }

    pub(crate) fn warn(&self, warning: String) {
        if lock(&self.warnings).insert(warning.clone()) {
            tracing::warn!(target: "pando", "{warning}");
        }
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        lock(&self.warnings).iter().cloned().collect()
    }
}

/// Nothing under these locks can leave them half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn make_private(directory: &Path) -> Result<(), RuntimeError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(failed(format!("make the directory `{}`", directory.display())))
}

/// The error of having tried `what`.
pub(crate) fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> RuntimeError {
    let what = what.into();
    move |source| RuntimeError::Io { what, source }
}
