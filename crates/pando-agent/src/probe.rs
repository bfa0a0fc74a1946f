//! Runs health checks: one task a run, from its start until it is told to stop.
//!
//! It says what each check answered. What that makes of the run is judged in
//! [`crate::reconcile`]; here only the pace depends on it: every 100 ms until
//! the first pass, at the check's own interval after ([`pace`]).

mod command;
mod container;
mod http;
mod pace;
mod tcp;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pando_model::app::HealthKind;
use pando_rt::shutdown::Shutdown;
use pando_rt::tasks::Tasks;
use pando_runtime::docker::{Containers, ImageHealthCheck};
use pando_runtime::{Place, RunKey};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::reconcile::{CheckSpec, Event, ImageRules};
use crate::session::Sessions;
use pace::Pace;

/// Until the first pass: an app that is up should get traffic at once.
const EAGER: Duration = Duration::from_millis(100);

/// The same where a check starts a process in a container: the engine works a while for each.
const EAGER_INSIDE: Duration = Duration::from_millis(500);

/// What checks are run by.
#[derive(Debug)]
pub(crate) struct Checkers {
    pub(crate) sessions: Sessions,
    /// `None`: nothing runs in containers here.
    pub(crate) containers: Option<Containers>,
}

impl Checkers {
    async fn engine_is_away(&self) -> bool {
        match &self.containers {
            Some(containers) => containers.engine_is_away().await,
            None => false,
        }
    }
}

/// The checks under way.
#[derive(Debug)]
pub(crate) struct Probes {
    checkers: Arc<Checkers>,
    tasks: Tasks,
    events: mpsc::Sender<Event>,
    running: BTreeMap<RunKey, Shutdown>,
}

impl Probes {
    pub(crate) fn new(checkers: Checkers, tasks: Tasks, events: mpsc::Sender<Event>) -> Self {
        Self { checkers: Arc::new(checkers), tasks, events, running: BTreeMap::new() }
    }

    /// Checks this run from now on, in place of an earlier check of it.
    pub(crate) fn start(&mut self, spec: CheckSpec) {
        let stopped = self.tasks.shutdown().child();
        if let Some(earlier) = self.running.insert(spec.key, stopped.clone()) {
            earlier.begin();
        }
        let (checkers, events) = (Arc::clone(&self.checkers), self.events.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                // Dropping a check in its middle closes its connection or kills its command.
                () = stopped.wait() => {}
                () = check_on(&spec, &checkers, &events) => {}
            }
        });
    }

    pub(crate) fn stop(&mut self, key: RunKey) {
        if let Some(stopped) = self.running.remove(&key) {
            stopped.begin();
        }
    }
}

async fn check_on(spec: &CheckSpec, checkers: &Checkers, events: &mpsc::Sender<Event>) {
    let (mut pace, mut own) = (Pace::default(), None);
    let asks_image = matches!(spec.health.kind, HealthKind::Image { .. });
    loop {
        let began = Instant::now();
        if asks_image && own.is_none() {
            own = container::own(spec, checkers).await.ok();
            let rules =
                |own: &ImageHealthCheck| ImageRules { retries: own.retries, start_period: own.start_period };
            if let Some(Some(own)) = &own
                && events.send(Event::ImageCheck { key: spec.key, rules: rules(own) }).await.is_err()
            {
                return;
            }
        }
        let answer = check_once(spec, checkers, own.as_ref()).await;
        pace.saw(answer.is_ok());
        let event = match answer {
            Ok(()) => Some(Event::CheckPassed(spec.key)),
            // Whoever serves goes on with that while its engine is away.
            Err(_) if is_inside(spec) && checkers.engine_is_away().await => None,
            Err(answer) => Some(Event::CheckFailed { key: spec.key, answer }),
        };
        if let Some(event) = event
            && events.send(event).await.is_err()
        {
            return;
        }
        let own = own.as_ref().and_then(Option::as_ref);
        tokio::time::sleep_until(began + pace.next(&spec.health, own, eager(spec))).await;
    }
}

/// One check; the error is what it answered, such as `503 from /health`. `own`: what the image says, as far as that is known.
async fn check_once(
    spec: &CheckSpec,
    checkers: &Checkers,
    own: Option<&Option<ImageHealthCheck>>,
) -> Result<(), String> {
    let timeout = spec.health.timeout;
    match &spec.health.kind {
        HealthKind::None => Ok(()),
        // A command that is late must be ended with all that it started, so it keeps the time itself.
        HealthKind::Command { command } => match &spec.place {
            Place::Directory(directory) => command::check(command, directory, spec, &checkers.sessions).await,
            Place::Image(_) => container::check(command, spec, checkers).await,
        },
        HealthKind::Image { path } => container::check_own(path.as_deref(), spec, checkers, own).await,
        HealthKind::Tcp => in_time(timeout.duration(), tcp::check(spec.address)).await,
        HealthKind::Http { path } => in_time(timeout.duration(), http::check(spec.address, path)).await,
    }
}

fn eager(spec: &CheckSpec) -> Duration {
    if is_inside(spec) { EAGER_INSIDE } else { EAGER }
}

/// It takes the engine to look.
fn is_inside(spec: &CheckSpec) -> bool {
    let inside = matches!(spec.health.kind, HealthKind::Command { .. } | HealthKind::Image { .. });
    inside && matches!(spec.place, Place::Image(_))
}

async fn in_time(limit: Duration, check: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let answer = tokio::time::timeout(limit, check).await;
    answer.unwrap_or_else(|_| Err(format!("no answer within {}", pando_model::Millis::from(limit))))
}

#[cfg(test)]
mod tests;
