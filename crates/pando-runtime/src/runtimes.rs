//! Processes and containers side by side on one server: each run goes where its [`Place`] says.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pando_model::time::Millis;
use pando_rt::shutdown::Shutdown;
use pando_rt::tasks::Tasks;
use tokio::sync::mpsc;

use crate::docker::DockerRuntime;
use crate::logs::LogStore;
use crate::process::ProcessRuntime;
use crate::run::{Held, Place, RunEvent, RunKey, RunSpec, Runtime, RuntimeError, StartError};

/// Ends that were told by one and wait for whoever listens to both.
const EVENTS: usize = 16;

/// The [`Runtime`] of a server. Both parts keep their logs in one place, so that a replica's log goes on when its app becomes an
/// image.
#[derive(Debug)]
pub struct Runtimes {
    processes: ProcessRuntime,
    containers: DockerRuntime,
    tasks: Tasks,
    events: Mutex<Option<mpsc::Receiver<RunEvent>>>,
}

impl Runtimes {
    /// Of two runtimes on one state directory whose events nobody has taken. `shutdown` is theirs.
    #[must_use]
    pub fn new(processes: ProcessRuntime, containers: DockerRuntime, shutdown: &Shutdown) -> Self {
        let tasks = Tasks::new(shutdown);
        let (sender, receiver) = mpsc::channel(EVENTS);
        for events in [processes.events(), containers.events()] {
            tasks.spawn_until_shutdown(pass_on(events, sender.clone()));
        }
        Self { processes, containers, tasks, events: Mutex::new(Some(receiver)) }
    }

    /// The logs of all runs.
    #[must_use]
    pub fn logs(&self) -> LogStore {
        self.processes.logs()
    }

    /// For commands beside plain processes.
    #[must_use]
    pub fn commands(&self) -> crate::process::Commands {
        self.processes.commands()
    }

    #[must_use]
    pub fn containers(&self) -> crate::docker::Containers {
        self.containers.containers()
    }

    /// Ends the watching and waits for it, at most `patience`. Runs go on. False: not everything had ended by then.
    pub async fn close(&self, patience: Duration) -> bool {
        let (processes, containers, both) = tokio::join!(
            self.processes.close(patience),
            self.containers.close(patience),
            self.tasks.finish(patience)
        );
        processes && containers && both
    }
}

async fn pass_on(events: Option<mpsc::Receiver<RunEvent>>, to: mpsc::Sender<RunEvent>) {
    let Some(mut events) = events else { return };
    while let Some(event) = events.recv().await {
        // Nobody listens: nobody wants to know.
        if to.send(event).await.is_err() {
            return;
        }
    }
}

impl Runtime for Runtimes {
    async fn start(&self, spec: RunSpec) -> Result<Held, StartError> {
        match spec.place {
            Place::Directory(_) => self.processes.start(spec).await,
            Place::Image(_) => self.containers.start(spec).await,
        }
    }

    /// A key is known to one of them at most, and to stop what isn't known changes nothing.
    async fn stop(&self, key: RunKey, timeout: Millis) -> Result<(), RuntimeError> {
        self.processes.stop(key, timeout).await?;
        self.containers.stop(key, timeout).await
    }

    async fn adopt(&self) -> Result<Vec<Held>, RuntimeError> {
        let (mut held, containers) = tokio::try_join!(self.processes.adopt(), self.containers.adopt())?;
        held.extend(containers);
        Ok(held)
    }

    async fn forget(&self, key: RunKey) -> Result<(), RuntimeError> {
        self.processes.forget(key).await?;
        self.containers.forget(key).await
    }

    fn events(&self) -> Option<mpsc::Receiver<RunEvent>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = self.processes.warnings();
        warnings.extend(self.containers.warnings());
        warnings
    }
}
