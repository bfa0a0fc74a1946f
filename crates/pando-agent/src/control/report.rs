//! Posts what is true: at once when it changes, every 2 s anyway.

use std::sync::Arc;
use std::time::Duration;

use pando_api::client::Client;
use pando_api::v1::agents::ReportBody;
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
use crate::firewall;
use crate::moment::Moments;
use crate::reconcile::{Facts, Heading};

/// How often control hears from a server that has nothing to say.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Changes that come closer than this make one report.
const COALESCE: Duration = Duration::from_millis(20);

pub(crate) struct Reporter {
    pub(crate) client: Client,
    pub(crate) server: ServerId,
    pub(crate) capacity: Capacity,
    pub(crate) moments: Moments,
    pub(crate) facts: watch::Receiver<Option<Arc<Facts>>>,
    pub(crate) traffic: watch::Receiver<Option<ProxyStats>>,
    pub(crate) firewall: watch::Receiver<firewall::Told>,
}

impl Reporter {
    /// Runs until it is dropped, or there is nothing more to tell.
    pub(crate) async fn run(mut self) {
        let boot = Uuid::now_v7();
        let (mut sequence, mut failures) = (0, 0);
        let mut next = Instant::now();
        while let Some(facts) = self.due(next).await {
            let posted = Instant::now();
            sequence += 1;
            let body = self.body(&facts, boot, sequence);
            let wait = match self.client.report(self.server, &body).await {
                Ok(()) => {
                    failures = 0;
                    COALESCE
                }
                Err(error) => {
                    tracing::debug!("{}", error_chain(&error));
                    // It has not heard of this change yet.
                    self.facts.mark_changed();
                    failures = u32::saturating_add(failures, 1);
                    TRY_AGAIN.nth(failures - 1)
                }
            };
            next = posted + wait;
        }
    }

    /// Waits for a change (not before `earliest`), or for the time of the next heartbeat.
    async fn due(&mut self, earliest: Instant) -> Option<Arc<Facts>> {
        loop {
            let heartbeat = earliest + HEARTBEAT;
            tokio::select! {
                // Cancel-safe: a change not yet seen stays so.
                changed = self.facts.changed() => changed.ok()?,
                // Its writer lives as long as the agent, or was never there; then the heartbeat is all there is.
                Ok(()) = self.firewall.changed() => {}
                () = tokio::time::sleep_until(heartbeat) => {}
            }
            tokio::time::sleep_until(earliest).await;
            // Nothing is told before the first facts are known.
            if let Some(facts) = self.facts.borrow_and_update().clone() {
                return Some(facts);
            }
        }
    }

    fn body(&self, facts: &Facts, boot: Uuid, sequence: u64) -> ReportBody {
        let heading = Heading { boot, sequence, capacity: self.capacity, now: self.moments.now() };
        let report = AgentReport { firewall: self.firewall(facts), ..facts.at(&heading) };
        ReportBody { report, traffic: self.traffic.borrow().clone(), relayed: Vec::new() }
    }

    /// A newer assignment may be in force before its rules are.
    fn firewall(&self, facts: &Facts) -> Option<FirewallStatus> {
        let (version, status) = self.firewall.borrow().clone()?;
        Some(FirewallStatus { in_force: status.in_force && version >= facts.assignment, ..status })
    }
}
