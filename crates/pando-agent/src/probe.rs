//! Runs health checks: one task a run, from its start until it is told to stop.
//!
//! It says what each check answered. What that makes of the run is judged in
//! [`crate::reconcile`]; here only the pace depends on it: every 100 ms until
//! the first pass, at the check's own interval after.

mod command;
mod http;
mod tcp;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pando_model::app::HealthKind;
use pando_rt::shutdown::Shutdown;
use pando_rt::tasks::Tasks;
use pando_runtime::RunKey;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::reconcile::{CheckSpec, Event};
use crate::session::Sessions;

/// Until the first pass: an app that is up should get traffic at once.
const EAGER: Duration = Duration::from_millis(100);

/// Faster than this nobody means it.
const FASTEST: Duration = Duration::from_millis(10);

/// The checks under way.
#[derive(Debug)]
pub(crate) struct Probes {
    sessions: Arc<Sessions>,
    tasks: Tasks,
    events: mpsc::Sender<Event>,
    running: BTreeMap<RunKey, Shutdown>,
}

impl Probes {
    pub(crate) fn new(sessions: Arc<Sessions>, tasks: Tasks, events: mpsc::Sender<Event>) -> Self {
        Self { sessions, tasks, events, running: BTreeMap::new() }
    }

    /// Checks this run from now on, in place of an earlier check of it.
    pub(crate) fn start(&mut self, spec: CheckSpec) {
        let stopped = self.tasks.shutdown().child();
        if let Some(earlier) = self.running.insert(spec.key, stopped.clone()) {
            earlier.begin();
        }
        let (sessions, events) = (Arc::clone(&self.sessions), self.events.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                // Dropping a check in its middle closes its connection or kills its command.
                () = stopped.wait() => {}
                () = check_on(&spec, &sessions, &events) => {}
            }
        });
    }

    pub(crate) fn stop(&mut self, key: RunKey) {
        if let Some(stopped) = self.running.remove(&key) {
            stopped.begin();
        }
    }
}

async fn check_on(spec: &CheckSpec, sessions: &Sessions, events: &mpsc::Sender<Event>) {
    let mut passed = false;
    loop {
        let began = Instant::now();
        let answer = check_once(spec, sessions).await;
        passed = passed || answer.is_ok();
        let event = match answer {
            Ok(()) => Event::CheckPassed(spec.key),
            Err(answer) => Event::CheckFailed { key: spec.key, answer },
        };
        if events.send(event).await.is_err() {
            return;
        }
        let pace = if passed { spec.health.interval.duration().max(FASTEST) } else { EAGER };
        tokio::time::sleep_until(began + pace).await;
    }
}

/// One check; the error is what it answered, such as `503 from /health`.
async fn check_once(spec: &CheckSpec, sessions: &Sessions) -> Result<(), String> {
    let timeout = spec.health.timeout;
    match &spec.health.kind {
        HealthKind::None => Ok(()),
        // A command that is late must be ended with all that it started, so it keeps the time itself.
        HealthKind::Command { command } => command::check(command, spec, sessions).await,
        HealthKind::Tcp => in_time(timeout.duration(), tcp::check(spec.address)).await,
        HealthKind::Http { path } => in_time(timeout.duration(), http::check(spec.address, path)).await,
    }
}

async fn in_time(limit: Duration, check: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let answer = tokio::time::timeout(limit, check).await;
    answer.unwrap_or_else(|_| Err(format!("no answer within {}", pando_model::Millis::from(limit))))
}

#[cfg(test)]
mod tests;
