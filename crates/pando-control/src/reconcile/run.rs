//! The shell of the loop: performs effects, feeds back events.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pando_model::id::Entropy;
use pando_plan::World;
use pando_routing::{Secrets, Table};
use pando_rt::shutdown::Shutdown;
use pando_trust::{Kind, Signed};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use super::state::{Effect, Event, State, step};
use crate::certificates;
use crate::events;
use crate::shared::{Incoming, Published, Shared};
use crate::state::State as Loaded;
use crate::store::StoreError;

/// How often the event log is cut to its length.
const TRIM_EVERY: Duration = Duration::from_secs(600);

/// The loop with everything that it needs.
#[derive(Debug)]
pub struct Reconciler {
    shared: Arc<Shared>,
    reports: mpsc::Receiver<Incoming>,
    /// Each step's seed follows from the one before.
    seed: u64,
    /// What the newest table goes with.
    opened: Option<Secrets>,
}

impl Reconciler {
    /// `reports` is what [`Shared::new`] gave.
    #[must_use]
    pub fn new(shared: Arc<Shared>, reports: mpsc::Receiver<Incoming>, seed: u64) -> Self {
        Self { shared, reports, seed, opened: None }
    }

    /// Runs until the shutdown begins. What is under way then is finished by the next start.
    pub async fn run(mut self, shutdown: Shutdown) {
        let mut state = State::new(self.shared.now());
        let mut changes = self.shared.store.watch("/v1/", 0);
        let mut trim = tokio::time::interval(TRIM_EVERY);
        trim.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut wake = Instant::now();
        loop {
            // Every arm is cancel-safe: a report stays in its queue, a hint is repeated by the next one, timers are made anew.
            let event = tokio::select! {
                () = shutdown.wait() => return,
                Some(Incoming { report, received_at: at, relayed }) = self.reports.recv() => {
                    let report = Box::new(report);
                    if relayed { Event::Relayed { report, at } } else { Event::Reported { report, at } }
                }
                hint = changes.changed() => match hint {
                    Some(revision) if knows(&state, revision) => continue,
                    Some(_) => Event::StoreChanged,
                    None => return,
                },
                () = tokio::time::sleep_until(wake) => Event::Tick,
                _ = trim.tick() => {
                    self.trim().await;
                    continue;
                }
            };
            self.handle(&mut state, event, &mut wake).await;
        }
    }

    /// One event and every event that follows from its effects.
    async fn handle(&mut self, state: &mut State, event: Event, wake: &mut Instant) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let seed = self.next_seed();
            for effect in step(state, event, self.shared.now(), seed) {
                events.extend(self.perform(state, effect, wake).await);
            }
        }
    }

    async fn perform(&mut self, state: &State, effect: Effect, wake: &mut Instant) -> Option<Event> {
        match effect {
            Effect::Load => Some(match Loaded::load(self.shared.store.as_ref()).await {
                Ok(loaded) => Event::Loaded(Box::new(loaded)),
                Err(error) => failed("read", &error),
            }),
            Effect::Commit(txn) => Some(match self.shared.store.txn(txn).await {
                Ok(outcome) => Event::Committed(outcome),
                Err(error) => failed("write", &error),
            }),
            Effect::Publish => {
                self.publish(state);
                None
            }
            Effect::Show => {
                self.shared.observed.send_replace(Arc::new(state.observed.clone()));
                self.shared.report.send_replace(Arc::new(state.report.clone()));
                None
            }
            Effect::Advance(length) => {
                tracing::warn!(
                    "the clock is {} ms behind what is recorded; counting on from there",
                    length.0
                );
                self.shared.advance(length);
                None
            }
            Effect::WakeAt(at) => {
                *wake = Instant::now() + at.since(self.shared.now()).duration();
                None
            }
        }
    }

    /// Tells the agents what was committed; what did not change keeps its `Arc`, so that nobody wakes for nothing.
    fn publish(&mut self, state: &State) {
        let Some(loaded) = &state.loaded else { return };
        let world = &loaded.world;
        self.open_secrets(loaded);
        let (shared, opened) = (&self.shared, &self.opened);
        // A table never goes out with other secrets than it was recorded with: of one version there is one table.
        let secrets = opened.as_ref().filter(|secrets| secrets.mark == world.table_secrets);
        shared.published.send_if_modified(|held| publish(held, shared, world, secrets));
    }

    /// Once for each set of secrets.
    fn open_secrets(&mut self, loaded: &Loaded) {
        let mark = &loaded.world.secrets;
        if self.opened.as_ref().is_some_and(|opened| opened.mark == *mark) {
            return;
        }
        let vault = self.shared.trust.vault();
        let (secrets, faults) = certificates::open(&loaded.certificates, loaded.table_keys.as_ref(), vault);
        for fault in faults {
            tracing::error!("load balancers have to do without: {fault}");
        }
        self.opened = Some(Secrets { mark: mark.clone(), ..secrets });
    }

    async fn trim(&self) {
        if let Err(error) = events::trim(self.shared.store.as_ref()).await {
            tracing::warn!("can't cut the event log: {}", pando_rt::error_chain::error_chain(&error));
        }
    }

    fn next_seed(&mut self) -> u64 {
        self.seed = Entropy::from_seed(self.seed).next_u64();
        self.seed
    }
}

fn publish(held: &mut Arc<Published>, shared: &Shared, world: &World, secrets: Option<&Secrets>) -> bool {
    let same_table =
        held.table.as_ref().map(|held| held.value.version) == world.table.as_ref().map(|t| t.version);
    let (table, secrets) = match (&world.table, secrets) {
        (Some(table), Some(secrets)) if !same_table => with_secrets(held, shared, table, secrets),
        // The one that goes with these secrets is about to be made.
        _ => (held.table.clone(), held.secrets.clone()),
    };
    let mut assignments = BTreeMap::new();
    let mut changed = table.as_ref().map(|table| table.value.version)
        != held.table.as_ref().map(|t| t.value.version)
        || held.assignments.len() != world.assignments.len();
    for (server, assignment) in &world.assignments {
        let kept = held.assignments.get(server).filter(|kept| kept.value == *assignment);
        changed |= kept.is_none();
        let published = kept.cloned().or_else(|| signed(shared, Kind::Assignment, assignment));
        assignments.extend(published.map(|published| (*server, published)));
    }
    if changed {
        *held = Arc::new(Published { assignments, table, secrets });
    }
    changed
}

type Pair = (Option<Arc<Signed<Table>>>, Option<Arc<Signed<Secrets>>>);

/// A table and the secret part that it goes with: both, or what is held of both.
fn with_secrets(held: &Published, shared: &Shared, table: &Table, secrets: &Secrets) -> Pair {
    for (pool, certificate) in table.lacking(secrets) {
        tracing::warn!(
            %pool,
            certificate,
            "there is no certificate for that host to show to replicas; `pando cert import` brings one"
        );
    }
    let kept = held.secrets.clone().filter(|held| held.value.mark == secrets.mark);
    let secrets = kept.or_else(|| signed(shared, Kind::Secrets, secrets));
    let marked = secrets.as_ref().map(|secrets| table.marked(secrets.value.mark.clone()));
    match marked.and_then(|table| signed(shared, Kind::Table, &table)) {
        Some(table) => (Some(table), secrets),
        None => (held.table.clone(), held.secrets.clone()),
    }
}

/// Agents take nothing unsigned: what can't be signed is not published, and the next change tries again.
fn signed<T: Clone + Serialize>(shared: &Shared, kind: Kind, value: &T) -> Option<Arc<Signed<T>>> {
    match shared.trust.sign(kind, value.clone()) {
        Ok(signed) => Some(Arc::new(signed)),
        Err(error) => {
            tracing::error!("can't publish: {}", pando_rt::error_chain::error_chain(&error));
            None
        }
    }
}

/// The change is this loop's own, or was read already.
fn knows(state: &State, revision: u64) -> bool {
    state.loaded.as_ref().is_some_and(|loaded| loaded.revision >= revision)
}

fn failed(what: &str, error: &StoreError) -> Event {
    tracing::error!("can't {what} the store: {}", pando_rt::error_chain::error_chain(error));
    Event::StoreFailed
}
