//! The loop around [`crate::reconcile::step`]: performs its effects and feeds back what became of them.
//!
//! It never waits for an effect: each is a task of its own that ends in an event.

use std::path::PathBuf;
use std::sync::Arc;

use pando_model::assignment::{Assignment, Entry};
use pando_model::observed::FailureReason;
use pando_model::time::Timestamp;
use pando_rt::error_chain::error_chain;
use pando_rt::shutdown::Shutdown;
use pando_rt::tasks::Tasks;
use pando_runtime::{RunEvent, RunKey, RunSpec, Runtime, StartError};
use tokio::sync::{mpsc, watch};

use crate::artifacts::{ArtifactSource, Order, Releases};
use crate::ledger::{self, Ledger};
use crate::moment::Moments;
use crate::probe::Probes;
use crate::reconcile::{Effect, Event, Facts, State, step};

pub(crate) struct Shell<R, S> {
    pub(crate) state: State,
    pub(crate) moments: Moments,
    pub(crate) runtime: Arc<R>,
    pub(crate) releases: Releases<S>,
    pub(crate) probes: Probes,
    pub(crate) tasks: Tasks,
    pub(crate) ledger: PathBuf,
    pub(crate) sender: mpsc::Sender<Event>,
    pub(crate) facts: watch::Sender<Option<Arc<Facts>>>,
    pub(crate) assignment: watch::Sender<Arc<Assignment>>,
    /// How requests from outside are to be taken; `None`: not known yet.
    pub(crate) entry: watch::Sender<Option<Option<Entry>>>,
    pub(crate) wake: Option<Timestamp>,
}

impl<R: Runtime, S: ArtifactSource> Shell<R, S> {
    /// Runs until the end begins. Runs and checks are left as they are.
    pub(crate) async fn run(
        mut self,
        first: Event,
        mut events: mpsc::Receiver<Event>,
        mut ends: mpsc::Receiver<RunEvent>,
        shutdown: Shutdown,
    ) {
        self.feed(first);
        loop {
            let wake = self.wake;
            let moments = self.moments;
            // All arms are cancel-safe: a message not received stays in its channel.
            tokio::select! {
                () = shutdown.wait() => return,
                Some(event) = events.recv() => self.feed(event),
                Some(RunEvent::Ended { key, exit }) = ends.recv() => {
                    self.feed(Event::RunEnded { key, exit });
                }
                () = sleep_until(&moments, wake) => self.feed(Event::Tick),
            }
        }
    }

    fn feed(&mut self, event: Event) {
        let effects = step(&mut self.state, event, self.moments.now());
        // Before anything is done about it: from now on nobody takes it for a leftover.
        self.releases.hold(self.state.needs());
        for effect in effects {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::SaveLedger(ledger) => self.save(*ledger),
            Effect::Start(spec) => self.start(*spec),
            Effect::Stop { key, timeout } => self.stop(key, timeout),
            Effect::Forget(key) => self.forget(key),
            Effect::EnsureRelease(release) => self.releases.order(Order::Ensure(release)),
            Effect::SealRelease(release) => self.releases.order(Order::Seal(release)),
            Effect::RemoveRelease(key) => self.releases.order(Order::Remove(key)),
            Effect::StartCheck(spec) => self.probes.start(*spec),
            Effect::StopCheck(key) => self.probes.stop(key),
            Effect::Report(facts) => self.report(*facts),
            Effect::InForce(assignment) => self.in_force(*assignment),
            Effect::Entry(entry) => {
                self.entry.send_replace(Some(entry));
            }
            Effect::WakeAt(at) => self.wake = at,
        }
    }

    fn save(&self, ledger: Ledger) {
        let directory = self.ledger.clone();
        self.answer(async move {
            let saved = tokio::task::spawn_blocking(move || ledger::save(&directory, &ledger)).await;
            match saved {
                Ok(Ok(())) => Some(Event::LedgerSaved),
                Ok(Err(error)) => Some(Event::LedgerFailed(error_chain(&error))),
                Err(error) => Some(Event::LedgerFailed(error.to_string())),
            }
        });
    }

    fn start(&self, spec: RunSpec) {
        let (runtime, key) = (Arc::clone(&self.runtime), spec.key);
        self.answer(async move {
            Some(match runtime.start(spec).await {
                Ok(held) => Event::RunStarted(held),
                Err(error) => {
                    let reason = match &error {
                        StartError::PortTaken(_) => FailureReason::PortTaken,
                        StartError::Refused { .. } | StartError::NoImage { .. } | StartError::Io { .. } => {
                            FailureReason::Start
                        }
                    };
                    let image_lost = matches!(error, StartError::NoImage { .. });
                    Event::StartFailed { key, reason, message: error_chain(&error), image_lost }
                }
            })
        });
    }

    fn stop(&self, key: RunKey, timeout: pando_model::Millis) {
        let runtime = Arc::clone(&self.runtime);
        self.answer(async move {
            let stopped = runtime.stop(key, timeout).await;
            stopped.err().map(|error| {
                tracing::warn!("{}", error_chain(&error));
                Event::StopFailed(key)
            })
        });
    }

    fn forget(&self, key: RunKey) {
        let runtime = Arc::clone(&self.runtime);
        self.answer(async move {
            if let Err(error) = runtime.forget(key).await {
                // What is left of it is found, and forgotten, at the next start.
                tracing::warn!("{}", error_chain(&error));
            }
            None
        });
    }

    /// Runs an effect to its end, also while the program is being stopped: a start that is given up halfway helps nobody.
    fn answer(&self, effect: impl Future<Output = Option<Event>> + Send + 'static) {
        let sender = self.sender.clone();
        self.tasks.spawn(async move {
            if let Some(event) = effect.await {
                // Nobody listens any more when the loop has ended; the next agent adopts what was done.
                let _ = sender.send(event).await;
            }
        });
    }

    fn report(&self, mut facts: Facts) {
        facts.warnings.extend(self.runtime.warnings());
        self.facts.send_replace(Some(Arc::new(facts)));
    }

    fn in_force(&self, assignment: Assignment) {
        self.releases.sweep();
        self.assignment.send_replace(Arc::new(assignment));
    }
}

async fn sleep_until(moments: &Moments, wake: Option<Timestamp>) {
    match wake {
        // A millisecond is cut off on the way; to wake before the time would be to wake twice.
        Some(at) => {
            let at = moments.instant(at + pando_model::Millis(1));
            tokio::time::sleep_until(at).await;
        }
        None => std::future::pending().await,
    }
}
