//! The long poll for what this server is to run and what its proxy is to route.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use pando_api::client::{Client, ClientError};
use pando_api::v1::agents::{AgentTarget, TargetQuery};
use pando_model::assignment::Assignment;
use pando_model::id::{ServerId, Version};
use pando_routing::{Secrets, Table};
use pando_rt::error_chain::error_chain;
use pando_trust::{Kind, Signed, TrustError};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::TRY_AGAIN;
use super::contact::Contact;
use super::published::Published;
use crate::ledger;
use crate::reconcile::Event;

/// Below the 30 s that control allows, and below what middle boxes cut.
const WAIT: Duration = Duration::from_secs(25);

/// Answers that bring nothing newer don't come faster than this, whatever control does.
const EMPTY_PACE: Duration = Duration::from_millis(100);

pub(crate) struct Poller {
    pub(crate) client: Client,
    pub(crate) server: ServerId,
    pub(crate) contact: Contact,
    pub(crate) published: Published,
    /// Of the ledger: the newest assignment is kept there as it was signed.
    pub(crate) directory: PathBuf,
    /// The newest assignment seen.
    pub(crate) assignment: Version,
    pub(crate) events: mpsc::Sender<Event>,
}

/// What became of an answer.
enum Taken {
    Newer,
    Nothing,
    /// Nobody wants it any more.
    Over,
}

/// The control plane's own word.
struct Believed {
    table: Option<Signed<Table>>,
    secrets: Option<Signed<Secrets>>,
    assignment: Option<Signed<Assignment>>,
}

impl Poller {
    /// Runs until it is dropped, or nobody takes what it brings.
    pub(crate) async fn run(mut self) {
        let (mut returns, mut held) = (self.contact.returns(), self.published.held.subscribe());
        // The first answer comes at once: whoever starts waits for a word. So does the first after a silence.
        let (mut failures, mut wait) = (0, Duration::ZERO);
        loop {
            let began = Instant::now();
            returns.mark_unchanged();
            let query = self.query(wait);
            let answer = tokio::select! {
                answer = self.client.target(self.server, &query) => answer,
                // What was forgotten is asked for as soon as it is needed again. Cancel-safe: the next look sees it too.
                Ok(_) = held.wait_for(|held| held.mark() != query.secrets) => {
                    wait = Duration::ZERO;
                    continue;
                }
                // A poll from before the silence may hang on a connection that is long dead.
                _ = returns.changed() => {
                    wait = Duration::ZERO;
                    continue;
                }
            };
            match self.judge(answer).await {
                Ok(Taken::Over) => return,
                Ok(taken) => {
                    if matches!(taken, Taken::Nothing) && !wait.is_zero() {
                        tokio::time::sleep_until(began + EMPTY_PACE).await;
                    }
                    (failures, wait) = (0, WAIT);
                }
                Err(error) => {
                    complain(error.as_ref(), failures);
                    tokio::time::sleep(TRY_AGAIN.nth(failures)).await;
                    failures = failures.saturating_add(1);
                }
            }
        }
    }

    fn query(&self, wait: Duration) -> TargetQuery {
        let held = self.published.held.borrow();
        let table = held.version();
        TargetQuery {
            assignment_epoch: self.assignment.epoch,
            assignment_revision: self.assignment.revision,
            table_epoch: table.epoch,
            table_revision: table.revision,
            secrets: held.mark(),
            wait_millis: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        }
    }

    async fn judge(
        &mut self,
        answer: Result<AgentTarget, ClientError>,
    ) -> Result<Taken, Box<dyn Error + Send + Sync>> {
        match answer {
            Ok(target) => {
                self.contact.answered();
                Ok(self.take(target).await?)
            }
            Err(error) => {
                self.contact.failed(&error);
                Err(error.into())
            }
        }
    }

    /// # Errors
    /// When it is not the control plane's; nothing of it was taken then, and the next report says so.
    async fn take(&mut self, target: AgentTarget) -> Result<Taken, TrustError> {
        match self.read(target) {
            Ok(believed) => Ok(self.pass_on(believed).await.unwrap_or(Taken::Over)),
            Err(error) => {
                let why = format!("what the control plane sent is not believed: {}", error_chain(&error));
                let told = self.events.send(Event::Mistrusted(Some(why))).await;
                told.map_or(Ok(Taken::Over), |()| Err(error))
            }
        }
    }

    fn read(&self, target: AgentTarget) -> Result<Believed, TrustError> {
        let AgentTarget { assignment, table, secrets } = target;
        Ok(Believed {
            table: table.map(|bytes| self.published.read(bytes, Kind::Table)).transpose()?,
            secrets: secrets.map(|bytes| self.published.read(bytes, Kind::Secrets)).transpose()?,
            assignment: assignment.map(|bytes| self.published.read(bytes, Kind::Assignment)).transpose()?,
        })
    }

    async fn pass_on(&mut self, believed: Believed) -> Option<Taken> {
        let Believed { table, secrets, assignment } = believed;
        let mut newer = self.published.offer(table, secrets);
        if let Some(assignment) = assignment.filter(|one| one.value.version > self.assignment) {
            newer = true;
            self.assignment = assignment.value.version;
            self.keep(&assignment).await;
            self.events.send(Event::Assignment(assignment.value)).await.ok()?;
        }
        self.events.send(Event::Mistrusted(None)).await.ok()?;
        self.events.send(Event::TargetHeard).await.ok()?;
        Some(if newer { Taken::Newer } else { Taken::Nothing })
    }

    /// Whose cluster the ledger is of is told by it at the next start. Without it, the ledger is still good.
    async fn keep(&self, assignment: &Signed<Assignment>) {
        if self.published.key.is_none() {
            return;
        }
        let (directory, bytes) = (self.directory.clone(), assignment.bytes.clone());
        let kept = tokio::task::spawn_blocking(move || ledger::keep_signed(&directory, &bytes)).await;
        if let Ok(Err(error)) = kept {
            tracing::warn!("{}", error_chain(&error));
        }
    }
}

/// That control is away is said once, not every second; that it refuses us, each time it has something new to say.
fn complain(error: &(dyn Error + Send + Sync + 'static), failures: u32) {
    if failures == 0 {
        tracing::warn!("{}; this server goes on as it is", error_chain(error));
    } else {
        tracing::debug!("{}", error_chain(error));
    }
}
