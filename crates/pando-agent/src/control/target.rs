//! The long poll for what this server is to run and what its proxy is to route.

use std::sync::Arc;
use std::time::Duration;

use pando_api::client::Client;
use pando_api::v1::agents::{AgentTarget, TargetQuery};
use pando_model::assignment::Assignment;
use pando_model::id::{ServerId, Version};
use pando_routing::Table;
use pando_rt::error_chain::error_chain;
use pando_trust::{Kind, SignedBytes, TrustError, VerifyingKey};
use serde::de::DeserializeOwned;
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
    /// What the control plane publishes must be signed by it. `None`: it comes from this machine, and is not looked at.
    pub(crate) signing_key: Option<VerifyingKey>,
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
                Ok(target) => match self.take(target).await {
                    Ok(Some(newer)) => {
                        failures = 0;
                        if !newer {
                            tokio::time::sleep_until(began + EMPTY_PACE).await;
                        }
                    }
                    Ok(None) => return,
                    Err(error) => self.wait(&error, &mut failures).await,
                },
                Err(error) => self.wait(&error, &mut failures).await,
            }
        }
    }

    async fn wait(&self, error: &(dyn std::error::Error + Send + Sync + 'static), failures: &mut u32) {
        complain(error, *failures);
        tokio::time::sleep(TRY_AGAIN.nth(*failures)).await;
        *failures = failures.saturating_add(1);
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
    ///
    /// # Errors
    /// When it is not the control plane's; nothing of it was taken then.
    async fn take(&mut self, target: AgentTarget) -> Result<Option<bool>, TrustError> {
        let table: Option<Table> = self.read(target.table, Kind::Table)?;
        let assignment: Option<Assignment> = self.read(target.assignment, Kind::Assignment)?;
        Ok(self.pass_on(table, assignment).await)
    }

    fn read<T: DeserializeOwned>(
        &self,
        signed: Option<SignedBytes>,
        kind: Kind,
    ) -> Result<Option<T>, TrustError> {
        let read = |signed: SignedBytes| match &self.signing_key {
            Some(key) => signed.verify(key, kind),
            None => signed.read_unverified(),
        };
        signed.map(read).transpose()
    }

    async fn pass_on(&mut self, table: Option<Table>, assignment: Option<Assignment>) -> Option<bool> {
        let mut newer = false;
        if let Some(table) = table {
            newer |= self.tables.send_if_modified(|have| {
                let newer = have.as_ref().is_none_or(|have| have.version < table.version);
                if newer {
                    *have = Some(Arc::new(table));
                }
                newer
            });
        }
        if let Some(assignment) = assignment.filter(|one| one.version > self.assignment) {
            newer = true;
            self.assignment = assignment.version;
            self.events.send(Event::Assignment(assignment)).await.ok()?;
        }
        self.events.send(Event::TargetHeard).await.ok()?;
        Some(newer)
    }
}

/// That control is away is said once, not every second; that it refuses us, each time it has something new to say.
fn complain(error: &(dyn std::error::Error + 'static), failures: u32) {
    if failures == 0 {
        tracing::warn!("{}; this server goes on as it is", error_chain(error));
    } else {
        tracing::debug!("{}", error_chain(error));
    }
}
