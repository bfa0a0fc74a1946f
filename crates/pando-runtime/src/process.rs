//! Runs as plain processes, each under a shim of its own.
//!
//! The shim ([`crate::shim`]) holds what must not be lost when this program ends: output, exit status, and the will to stop
//! the run. Here is what may be lost and found again: who runs, and whom to tell. Everything found again is found on disk
//! (`STATE_DIR/runs/ID.ATTEMPT/`), and a run lives exactly as long as its shim holds a lock there.

mod commands;
mod find;
mod lost;
mod registry;
mod start;
mod watch;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pando_model::time::Millis;
use pando_rt::shutdown::Shutdown;
use tokio::sync::{mpsc, oneshot};

use crate::logs::{LogSettings, LogStore};
use crate::run::{Held, RunEvent, RunKey, RunSpec, Runtime, RuntimeError, StartError};

pub use commands::{CommandGroups, Commands, Limits};
use registry::Registry;

/// How runs are started on this machine.
#[derive(Debug, Clone)]
pub struct ProcessSettings {
    /// Absolute. `runs/` and `logs/` are made in it, readable by nobody else.
    pub state_dir: PathBuf,
    /// The executable of the shim, such as this program's own.
    pub shim_program: PathBuf,
    /// What makes it a shim, such as `["shim"]`; `run --dir DIR` or `keep --dir DIR` follows.
    pub shim_args: Vec<String>,
    pub log: LogSettings,
    /// False: limits are not enforced, and [`Runtime::warnings`] says so when one was asked for.
    pub use_cgroups: bool,
    /// Where a run's environment lacks `PATH`, `HOME`, `USER`, `LANG` or `TZ`: its value, such as the caller's own under
    /// `pando dev`. What is missing here too gets the system's: the standard `PATH`, the user's home and name, `C.UTF-8`, `UTC`.
    pub default_env: BTreeMap<String, String>,
}

/// The [`Runtime`] of plain processes.
#[derive(Debug)]
pub struct ProcessRuntime {
    registry: Arc<Registry>,
    events: Mutex<Option<mpsc::Receiver<RunEvent>>>,
}

impl ProcessRuntime {
    /// Makes what is missing of the directories; starts nothing and looks for nothing before it is asked. `shutdown` ends the
    /// watching, not the runs. Runs on a Tokio runtime with time and IO.
    ///
    /// # Errors
    /// When the state directory can't be used.
    pub fn open(settings: ProcessSettings, shutdown: &Shutdown) -> Result<Self, RuntimeError> {
        let (registry, events) = Registry::open(settings, shutdown)?;
        Ok(Self { registry: Arc::new(registry), events: Mutex::new(Some(events)) })
    }

    /// The logs of the runs.
    #[must_use]
    pub fn logs(&self) -> LogStore {
        self.registry.logs()
    }

    /// For commands that others start.
    #[must_use]
    pub fn commands(&self) -> Commands {
        Commands::new(Arc::clone(&self.registry))
    }

    /// Ends the watching and waits for it, at most `patience`. Runs go on; a later [`Runtime::adopt`] finds them. False: not
    /// everything had ended by then.
    pub async fn close(&self, patience: Duration) -> bool {
        self.registry.book.tasks.finish(patience).await
    }
}

impl Runtime for ProcessRuntime {
    async fn start(&self, spec: RunSpec) -> Result<Held, StartError> {
        let (command, registry) = (spec.command.clone(), Arc::clone(&self.registry));
        let (answer, answered) = oneshot::channel();
        // A task of its own: a caller that gives up waiting must not leave a start half done.
        self.registry.book.tasks.spawn(async move { drop(answer.send(start::start(&registry, spec).await)) });
        let gone = |error| StartError::Io { command, source: std::io::Error::other(error) };
        answered.await.map_err(gone)?
    }

    async fn stop(&self, key: RunKey, timeout: Millis) -> Result<(), RuntimeError> {
        watch::stop(&self.registry, key, timeout).await
    }

    async fn adopt(&self) -> Result<Vec<Held>, RuntimeError> {
        let ((), held) = tokio::join!(commands::sweep(&self.registry), find::adopt(&self.registry));
        held
    }

    async fn forget(&self, key: RunKey) -> Result<(), RuntimeError> {
        find::forget(&self.registry, key).await
    }

    fn events(&self) -> Option<mpsc::Receiver<RunEvent>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn warnings(&self) -> Vec<String> {
        self.registry.book.warnings()
    }
}

/// Runs blocking work aside. A panic of it comes out here.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}
