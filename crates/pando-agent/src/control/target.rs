//! The long poll for what this server is to run and what its proxy is to route.

use std::sync::Arc;
use std::time::Duration;

use pando_api::client::{Client, ClientError};
use pando_api::v1::agents::{AgentTarget, TargetQuery};
use pando_model::id::{ServerId, Version};
use pando_routing::Table;
use pando_rt::error_chain::error_chain;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::TRY_AGAIN;
use crate::reconcile::Event;

/// Below the 30 s that control allows, and below what middle boxes cut.
const WAIT: Duration = Duration::from_secs(25);

/// Answers that bring nothing newer don't come faster than this, whatever control does.
const EMPTY_PACE: Duration = Duration::from_millis(100);

pub(crate) struct Poller {
    pub(crate) client: Client,
    pub(crate) server: ServerId,
    /// The newest assignment seen.
    pub(crate) assignment: Version,
    pub(crate) tables: watch::Sender<Option<Arc<Table>>>,
    pub(crate) events: mpsc::Sender<Event>,
}

impl Poller {
    /// Runs until it is dropped, or nobody takes what it brings.
    pub(crate) async fn run(mut self) {
        let mut failures = 0;
        loop {
            let began = Instant::now();
            match self.client.target(self.server, &self.query()).await {
                Ok(target) => {
                    failures = 0;
                    match self.take(target).await {
                        Some(true) => {}
                        Some(false) => tokio::time::sleep_until(began + EMPTY_PACE).await,
                        None => return,
                    }
                }
                Err(error) => {
                    complain(&error, failures);
                    tokio::time::sleep(TRY_AGAIN.nth(failures)).await;
                    failures = failures.saturating_add(1);
                }
            }
        }
    }

    fn query(&self) -> TargetQuery {
        let table = self.tables.borrow().as_ref().map(|table| table.version).unwrap_or_default();
        TargetQuery {
            assignment_epoch: self.assignment.epoch,
            assignment_revision: self.assignment.revision,
            table_epoch: table.epoch,
            table_revision: table.revision,
            wait_millis: u64::try_from(WAIT.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Whether anything was newer; `None`: nobody wants it any more.
    async fn take(&mut self, target: AgentTarget) -> Option<bool> {
        let mut newer = false;
        if let Some(table) = target.table {
            newer |= self.tables.send_if_modified(|have| {
                let newer = have.as_ref().is_none_or(|have| have.version < table.version);
                if newer {
                    *have = Some(Arc::new(table));
                }
                newer
            });
        }
        if let Some(assignment) = target.assignment.filter(|one| one.version > self.assignment) {
            newer = true;
            self.assignment = assignment.version;
            self.events.send(Event::Assignment(assignment)).await.ok()?;
        }
        self.events.send(Event::TargetHeard).await.ok()?;
        Some(newer)
    }
}

/// That control is away is said once, not every second; that it refuses us, each time it has something new to say.
fn complain(error: &ClientError, failures: u32) {
    if failures == 0 {
        tracing::warn!("{}; this server goes on as it is", error_chain(error));
    } else {
        tracing::debug!("{}", error_chain(error));
    }
}
