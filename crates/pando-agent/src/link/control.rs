//! The line to the control plane: targets in by long poll, reports out when something changes and as a heartbeat.
//!
//! It may be down for days; nothing on this server waits for it.

use std::sync::Arc;
use std::time::Duration;

use pando_api::client::Client;
use pando_api::v1::agents::{AgentTarget, ReportBody, TargetQuery};
use pando_model::assignment::Assignment;
use pando_model::id::{ServerId, Version};
use pando_model::observed::AgentReport;
use pando_routing::{ProxyStats, Table};
use pando_rt::backoff::Backoff;
use pando_rt::error_chain::error_chain;
use pando_rt::shutdown::Shutdown;
use tokio::sync::{mpsc, watch};

/// A heartbeat is a report.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Reports that follow each other closely are sent as one.
const COALESCE: Duration = Duration::from_millis(20);
/// One long poll.
const WAIT_MILLIS: u64 = 25_000;
/// Between tries while the control plane is away.
const RETRY: Backoff = Backoff { first: Duration::from_millis(50), most: Duration::from_secs(1) };

/// What the agent has already.
#[derive(Debug, Clone, Copy, Default)]
pub struct Have {
    pub assignment: Version,
    pub table: Version,
}

/// Asks for newer targets until the shutdown: assignments go to `assignments`, tables to `tables`.
pub async fn follow(
    client: Client,
    server: ServerId,
    mut have: Have,
    assignments: mpsc::Sender<Assignment>,
    tables: watch::Sender<Option<Arc<Table>>>,
    shutdown: Shutdown,
) {
    let mut failures = 0;
    loop {
        let query = query(have);
        let answer = tokio::select! {
            // Dropping a long poll loses nothing: the next one asks from the same versions.
            () = shutdown.wait() => return,
            answer = client.target(server, &query) => answer,
        };
        match answer {
            Ok(target) => {
                failures = 0;
                if !deliver(target, &mut have, &assignments, &tables).await {
                    return;
                }
            }
            Err(error) => {
                if failures == 0 {
                    tracing::warn!("the control plane gives no target: {}", error_chain(&error));
                }
                if !pause(&mut failures, &shutdown).await {
                    return;
                }
            }
        }
    }
}

fn query(have: Have) -> TargetQuery {
    TargetQuery {
        assignment_epoch: have.assignment.epoch,
        assignment_revision: have.assignment.revision,
        table_epoch: have.table.epoch,
        table_revision: have.table.revision,
        wait_millis: WAIT_MILLIS,
    }
}

/// False: nobody takes assignments any more.
async fn deliver(
    target: AgentTarget,
    have: &mut Have,
    assignments: &mpsc::Sender<Assignment>,
    tables: &watch::Sender<Option<Arc<Table>>>,
) -> bool {
    if let Some(table) = target.table {
        let version = Version::new(table.version.epoch, table.version.revision);
        if version > have.table {
            have.table = version;
            tables.send_replace(Some(Arc::new(table)));
        }
    }
    if let Some(assignment) = target.assignment.filter(|new| new.version > have.assignment) {
        have.assignment = assignment.version;
        return assignments.send(assignment).await.is_ok();
    }
    true
}

/// Makes the report of the moment; its sequence rises with each.
pub type MakeReport = Box<dyn FnMut() -> Option<AgentReport> + Send>;

/// Reports whenever `changed` does, and every 2 s, until the shutdown.
pub async fn report(
    client: Client,
    server: ServerId,
    mut make: MakeReport,
    mut changed: watch::Receiver<u64>,
    traffic: watch::Receiver<Option<Arc<ProxyStats>>>,
    shutdown: Shutdown,
) {
    let mut failures = 0;
    loop {
        // What happens from here on is in the next report.
        changed.mark_unchanged();
        let body = make().map(|report| {
            let traffic = traffic.borrow().as_deref().cloned();
            ReportBody { report, traffic }
        });
        if let Some(body) = body {
            match client.report(server, &body).await {
                Ok(()) => failures = 0,
                Err(error) => {
                    if failures == 0 {
                        tracing::warn!("the control plane takes no report: {}", error_chain(&error));
                    }
                    if !pause(&mut failures, &shutdown).await {
                        return;
                    }
                    continue;
                }
            }
        }
        tokio::select! {
            // Every arm is cancel-safe: a change stays marked until it is looked at.
            () = shutdown.wait() => return,
            ended = changed.changed() => if ended.is_err() { return },
            () = tokio::time::sleep(HEARTBEAT) => {}
        }
        tokio::time::sleep(COALESCE.min(quiet(&changed))).await;
    }
}

/// The first change after a quiet time is told at once; a flood of them is told every 20 ms.
fn quiet(changed: &watch::Receiver<u64>) -> Duration {
    if changed.has_changed().unwrap_or(false) { COALESCE } else { Duration::from_millis(1) }
}

/// False: the shutdown has begun.
async fn pause(failures: &mut u32, shutdown: &Shutdown) -> bool {
    let length = RETRY.nth(*failures);
    *failures = failures.saturating_add(1);
    tokio::select! {
        () = shutdown.wait() => false,
        () = tokio::time::sleep(length) => true,
    }
}
