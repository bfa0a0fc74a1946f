//! A group of tasks with a parent: nothing is spawned that nobody waits for.

use std::future::Future;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

use crate::shutdown::Shutdown;

/// Tasks that end together. Clones share the group.
#[derive(Debug, Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    shutdown: Shutdown,
}

impl Tasks {
    /// A group that ends with `shutdown`.
    #[must_use]
    pub fn new(shutdown: &Shutdown) -> Self {
        Self { tracker: TaskTracker::new(), shutdown: shutdown.child() }
    }

    /// What the group's tasks listen to.
    #[must_use]
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Starts a task that listens to [`Tasks::shutdown`] by itself and ends in good time. With what it answers, the task can be
    /// ended before.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.tracker.spawn(task).abort_handle()
    }

    /// Starts a task that may be dropped at any await point when the end begins.
    pub fn spawn_until_shutdown(&self, task: impl Future<Output = ()> + Send + 'static) {
        let shutdown = self.shutdown.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                () = shutdown.wait() => {}
                () = task => {}
            }
        });
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.tracker.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tracker.is_empty()
    }

    /// Begins the end and waits for every task, at most `patience`. False: some had not ended by then.
    pub async fn finish(&self, patience: Duration) -> bool {
        self.shutdown.begin();
        self.tracker.close();
        tokio::time::timeout(patience, self.tracker.wait()).await.is_ok()
    }
}
