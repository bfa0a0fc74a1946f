//! Runs as containers, on the engine of this machine.
//!
//! The engine holds what must not be lost when this program ends: the container, its output for a while, how it ended, and the
//! will to stop it. What Pando must remember of its own (that a run was begun, when SIGKILL is due, how far output is stored) lies in
//! `STATE_DIR/containers/ID.ATTEMPT/`. Containers are known by labels; no other is ever touched.
//!
//! **What a stop promises.** The engine is asked to stop the container and to kill it after the whole second that follows the
//! time-out; it does so whether or not this program still runs. This program kills at the time-out itself, and, since the time is
//! on disk, a later one does when it adopts the run. Should both this program and the engine be gone by then, whichever comes back
//! first ends it.
//!
//! **What can't be told.** The engine knows exit codes alone: a program that a signal ended and one that returned 128 and the signal's
//! number look alike, and are both told as ended by the signal.

mod commands;
mod containers;
mod copy;
mod create;
mod engine;
mod find;
mod images;
mod journal;
mod name;
mod pins;
mod position;
mod pull;
mod record;
mod shared;
mod start;
mod stop;
mod survey;
mod undo;
mod volumes;
mod watch;
mod words;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pando_model::time::Millis;
use pando_rt::shutdown::Shutdown;
use tokio::sync::{mpsc, oneshot};

use crate::logs::{LogSettings, LogStore};
use crate::run::{Held, RunEvent, RunKey, RunSpec, Runtime, RuntimeError, StartError};

pub use commands::{Command, CommandEnd, CommandInput, CommandOutput, OneOff, Piece, Within};
pub use containers::Containers;
pub use copy::CopyError;
pub use engine::{DEFAULT_SOCKET, Engine, EngineError};
pub use images::{ImageFacts, ImageHealthCheck};
pub use pull::{Credentials, PullError};
pub use survey::{ContainerSeen, ImageSeen, Survey};
pub use volumes::VolumeSeen;
pub use words::exec_failed;

use shared::Shared;

/// Where containers run and what is kept of them.
#[derive(Debug, Clone)]
pub struct DockerSettings {
    /// Absolute. `containers/` and `logs/` are made in it, readable by nobody else.
    pub state_dir: PathBuf,
    pub engine: Engine,
    pub log: LogSettings,
    /// The same for all servers of a cluster, and no other: what named volumes are known by.
    pub cluster: String,
}

/// The [`Runtime`] of containers.
#[derive(Debug)]
pub struct DockerRuntime {
    shared: Arc<Shared>,
    events: Mutex<Option<mpsc::Receiver<RunEvent>>>,
}

impl DockerRuntime {
    /// Makes what is missing of the directories. The engine isn't asked anything before it is needed: a server may have none.
    /// `shutdown` ends the watching, not the runs. Runs on a Tokio runtime with time and IO.
    ///
    /// # Errors
    /// When the state directory can't be used.
    pub fn open(settings: DockerSettings, shutdown: &Shutdown) -> Result<Self, RuntimeError> {
        let (shared, events) = Shared::open(settings, shutdown)?;
        Ok(Self { shared: Arc::new(shared), events: Mutex::new(Some(events)) })
    }

    /// The logs of the runs.
    #[must_use]
    pub fn logs(&self) -> LogStore {
        self.shared.logs()
    }

    /// Images, and commands in and beside containers.
    #[must_use]
    pub fn containers(&self) -> Containers {
        Containers::new(Arc::clone(&self.shared))
    }

    /// Ends the watching and waits for it, at most `patience`. Runs go on; a later [`Runtime::adopt`] finds them. False: not
    /// everything had ended by then.
    pub async fn close(&self, patience: Duration) -> bool {
        self.shared.book.tasks.finish(patience).await
    }
}

impl Runtime for DockerRuntime {
    async fn start(&self, spec: RunSpec) -> Result<Held, StartError> {
        let (gone, shared) = (StartError::io(&spec), Arc::clone(&self.shared));
        let (answer, answered) = oneshot::channel();
        // A task of its own: a caller that gives up waiting must not leave a start half done.
        self.shared.book.tasks.spawn(async move { drop(answer.send(start::start(&shared, spec).await)) });
        answered.await.map_err(|error| gone(std::io::Error::other(error)))?
    }

    async fn stop(&self, key: RunKey, timeout: Millis) -> Result<(), RuntimeError> {
        stop::stop(&self.shared, key, timeout).await
    }

    async fn adopt(&self) -> Result<Vec<Held>, RuntimeError> {
        find::adopt(&self.shared).await
    }

    async fn forget(&self, key: RunKey) -> Result<(), RuntimeError> {
        find::forget(&self.shared, key).await
    }

    fn events(&self) -> Option<mpsc::Receiver<RunEvent>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn warnings(&self) -> Vec<String> {
        self.shared.warnings()
    }
}
