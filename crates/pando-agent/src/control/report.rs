//! Posts what is true: at once when it changes, every 2 s anyway.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pando_api::client::{Client, ClientError};
use pando_api::v1::agents::{RelayedReport, ReportBody};
use pando_model::firewall::FirewallStatus;
use pando_model::id::ServerId;
use pando_model::observed::AgentReport;
use pando_model::resources::Capacity;
use pando_routing::ProxyStats;
use pando_rt::error_chain::error_chain;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use super::TRY_AGAIN;
use super::contact::Contact;
use super::relays::Relays;
use crate::firewall;
use crate::moment::Moments;
use crate::news::News;
use crate::reconcile::{Facts, Heading};

/// How often control hears from a server that has nothing to say.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Changes that come closer than this make one report.
const COALESCE: Duration = Duration::from_millis(20);

/// A report that got no answer for so long is made anew: its connection may be dead.
const WITHIN: Duration = Duration::from_secs(4);

/// What is true, in the form of reports. Whoever makes one draws the next number. Clones draw from the same.
#[derive(Clone)]
pub(crate) struct Reports {
    pub(crate) server: ServerId,
    pub(crate) capacity: Capacity,
    pub(crate) moments: Moments,
    pub(crate) boot: Uuid,
    pub(crate) sequence: Arc<AtomicU64>,
    pub(crate) facts: watch::Receiver<Option<Arc<Facts>>>,
    pub(crate) traffic: watch::Receiver<Option<ProxyStats>>,
    pub(crate) firewall: watch::Receiver<firewall::Told>,
}

impl Reports {
    /// `None` before the first facts are known.
    pub(crate) fn make(&self) -> Option<ReportBody> {
        let facts = self.facts.borrow().clone()?;
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        let heading = Heading { boot: self.boot, sequence, capacity: self.capacity, now: self.moments.now() };
        let report = AgentReport { firewall: self.firewall(&facts), ..facts.at(&heading) };
        Some(ReportBody {
            report,
            traffic: self.traffic.borrow().clone(),
            relayed: Vec::new(),
            news: Vec::new(),
        })
    }

    /// A newer assignment may be in force before its rules are.
    fn firewall(&self, facts: &Facts) -> Option<FirewallStatus> {
        let (version, status) = self.firewall.borrow().clone()?;
        Some(FirewallStatus { in_force: status.in_force && version >= facts.assignment, ..status })
    }
}

pub(crate) struct Reporter {
    pub(crate) client: Client,
    pub(crate) contact: Contact,
    pub(crate) reports: Reports,
    pub(crate) relays: Relays,
    pub(crate) news: News,
}

impl Reporter {
    /// Runs until it is dropped, or there is nothing more to tell.
    pub(crate) async fn run(mut self) {
        let mut relayed = self.relays.came();
        let mut failures = 0;
        let mut next = Instant::now();
        while let Some(body) = self.due(next, &mut relayed).await {
            let posted = Instant::now();
            let wait = match self.post(body).await {
                Ok(()) => {
                    failures = 0;
                    COALESCE
                }
                Err(error) => {
                    tracing::debug!("{}", error_chain(&error));
                    // It has not heard of this change yet.
                    self.reports.facts.mark_changed();
                    failures = u32::saturating_add(failures, 1);
                    TRY_AGAIN.nth(failures - 1)
                }
            };
            next = posted + wait;
        }
    }

    /// Waits for a change (not before `earliest`), or for the time of the next heartbeat.
    async fn due(&mut self, earliest: Instant, relayed: &mut watch::Receiver<u64>) -> Option<ReportBody> {
        loop {
            let heartbeat = earliest + HEARTBEAT;
            tokio::select! {
                // Cancel-safe, as the others: a change not yet seen stays so.
                changed = self.reports.facts.changed() => changed.ok()?,
                // Its writer lives as long as the agent, or was never there; then the heartbeat is all there is.
                Ok(()) = self.reports.firewall.changed() => {}
                Ok(()) = relayed.changed() => {}
                () = tokio::time::sleep_until(heartbeat) => {}
            }
            tokio::time::sleep_until(earliest).await;
            relayed.mark_unchanged();
            self.reports.facts.mark_unchanged();
            if let Some(body) = self.reports.make() {
                return Some(body);
            }
        }
    }

    async fn post(&self, body: ReportBody) -> Result<(), ClientError> {
        let relayed: Vec<RelayedReport> = self.relays.waiting();
        let news = self.news.waiting();
        let body = ReportBody { relayed: relayed.clone(), news: news.clone(), ..body };
        self.contact.called();
        let posting = self.client.report(self.reports.server, &body);
        let posted = tokio::time::timeout(WITHIN, posting).await.unwrap_or_else(|_| {
            Err(ClientError::TimedOut { url: self.client.url().to_owned(), after: WITHIN })
        });
        match &posted {
            Ok(()) => {
                self.relays.done(&relayed);
                self.news.done(&news);
                self.contact.answered();
            }
            Err(error) => self.contact.failed(error),
        }
        posted
    }
}
