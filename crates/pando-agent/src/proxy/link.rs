//! One task that speaks with the proxy: at most one push and one poll under way, each new table at once.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use pando_routing::ProxyStats;
use pando_rt::backoff::Backoff;
use pando_rt::shutdown::Shutdown;
use pando_trust::VerifyingKey;
use tokio::sync::{mpsc, watch};

use super::call::{self, CallError};
use super::kept;
use super::view::{Pushed, Sent, View};
use crate::control::published::Held;
use crate::reconcile::Event;

/// How long a poll waits for a change. Counters don't wake it, so this is also how old they may be.
const WAIT: Duration = Duration::from_millis(500);

/// A proxy that was killed is back within 200 ms; one that is not there costs little to ask.
const TRY_AGAIN: Backoff = Backoff { first: Duration::from_millis(20), most: Duration::from_millis(500) };

/// Whether there is a proxy to speak with, and what is near to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LinkOrder {
    pub(crate) on: bool,
    pub(crate) locality: Option<String>,
}

pub(crate) struct LinkSetup {
    /// `None`: there never is a proxy; tables are only kept.
    pub(crate) socket: Option<PathBuf>,
    pub(crate) orders: watch::Receiver<LinkOrder>,
    pub(crate) directory: PathBuf,
    /// What an earlier agent kept there.
    pub(crate) on_disk: Held,
    /// Newer tables, and what goes with them.
    pub(crate) held: watch::Receiver<Held>,
    pub(crate) traffic: watch::Sender<Option<ProxyStats>>,
    pub(crate) events: mpsc::Sender<Event>,
}

pub(crate) struct Link {
    setup: LinkSetup,
    view: View,
    work: FuturesUnordered<Pin<Box<dyn Future<Output = Done> + Send>>>,
    pushing: bool,
    saving: bool,
    /// Newer than what is being saved.
    unsaved: Option<Held>,
    failures: Failures,
    /// Rises when the link is switched; answers to what was asked before then count no more.
    switched: u64,
}

/// In a row, since it last worked.
#[derive(Debug, Default)]
struct Failures {
    pushes: u32,
    polls: u32,
}

enum Done {
    Pushed { switched: u64, sent: Sent, answer: Pushed },
    Polled { switched: u64, answer: Box<Result<ProxyStats, CallError>> },
    Saved,
}

impl Link {
    /// What is on disk. Blocking.
    pub(crate) fn kept(directory: &Path, key: Option<&VerifyingKey>) -> Held {
        kept::load(directory, key)
    }

    pub(crate) fn new(setup: LinkSetup) -> Self {
        let (work, failures) = (FuturesUnordered::new(), Failures::default());
        let (pushing, saving, unsaved) = (false, false, None);
        Self { setup, view: View::default(), work, pushing, saving, unsaved, failures, switched: 0 }
    }

    /// Runs until the end begins, or until nobody sends tables any more.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        self.take();
        self.follow_orders();
        loop {
            self.push();
            tokio::select! {
                () = shutdown.wait() => return,
                // Cancel-safe: a change not yet seen stays so.
                changed = self.setup.held.changed() => match changed {
                    Ok(()) => self.take(),
                    Err(_) => return,
                },
                // Cancel-safe, too.
                changed = self.setup.orders.changed() => match changed {
                    Ok(()) => self.follow_orders(),
                    Err(_) => return,
                },
                // Cancel-safe: what is done stays in the set until it is taken.
                Some(done) = self.work.next() => self.done(done).await,
            }
        }
    }

    /// The socket, while there is to be somebody behind it.
    fn socket(&self) -> Option<PathBuf> {
        self.setup.socket.clone().filter(|_| self.setup.orders.borrow().on)
    }

    fn follow_orders(&mut self) {
        let order = self.setup.orders.borrow_and_update().clone();
        self.view.set_locality(order.locality);
        let was_on = self.switched % 2 == 1;
        if order.on == was_on {
            return;
        }
        self.switched += 1;
        (self.pushing, self.failures) = (false, Failures::default());
        self.view.forget();
        if order.on {
            self.poll(Duration::ZERO, Duration::ZERO);
        } else {
            self.setup.traffic.send_replace(None);
        }
    }

    /// Pushed at once, kept at the same time: should this program end in between, control sends the table again.
    fn take(&mut self) {
        let held = self.setup.held.borrow_and_update().clone();
        self.view.set_secrets(held.secrets.as_ref().map(|secrets| &secrets.value));
        if let Some(table) = held.table.as_ref().filter(|table| self.view.lacks(table.value.version)) {
            self.view.offer(Arc::new(table.value.clone()));
        }
        self.failures.pushes = 0;
        self.unsaved = Some(held);
        self.save();
    }

    /// One at a time, so that an older one never comes last.
    fn save(&mut self) {
        let Some(held) = self.unsaved.take_if(|_| !self.saving) else { return };
        self.saving = true;
        let before = std::mem::replace(&mut self.setup.on_disk, held.clone());
        let directory = self.setup.directory.clone();
        self.work.push(Box::pin(async move {
            let saved = tokio::task::spawn_blocking(move || kept::save(&directory, &held, &before)).await;
            if let Err(error) = saved {
                tracing::warn!("can't keep the newest table: {error}");
            }
            Done::Saved
        }));
    }

    fn push(&mut self) {
        let Some(socket) = self.socket() else { return };
        let Some(table) = self.view.to_push().filter(|_| !self.pushing) else { return };
        self.pushing = true;
        let (delay, switched) = (delay(self.failures.pushes), self.switched);
        self.work.push(Box::pin(async move {
            tokio::time::sleep(delay).await;
            let answer = call::push(&socket, &table).await;
            Done::Pushed { switched, sent: Sent::of(&table), answer }
        }));
    }

    fn poll(&mut self, delay: Duration, wait: Duration) {
        let Some(socket) = self.socket() else { return };
        let (after, switched) = (self.view.sequence(), self.switched);
        self.work.push(Box::pin(async move {
            tokio::time::sleep(delay).await;
            Done::Polled { switched, answer: Box::new(call::poll(&socket, after, wait).await) }
        }));
    }

    async fn done(&mut self, done: Done) {
        let before = self.view.status().clone();
        let mut first = false;
        match done {
            Done::Pushed { switched, sent, answer } if switched == self.switched => {
                self.pushing = false;
                let failed = matches!(answer, Pushed::Away | Pushed::NotNow(_));
                self.failures.pushes = if failed { self.failures.pushes + 1 } else { 0 };
                self.view.pushed(sent, answer);
            }
            Done::Polled { switched, answer } if switched == self.switched => {
                first = !before.alive;
                self.polled(*answer);
            }
            Done::Saved => {
                self.saving = false;
                self.save();
            }
            Done::Pushed { .. } | Done::Polled { .. } => {}
        }
        // Also that it is still not there is news to who waits for a first word.
        if first || *self.view.status() != before {
            let _ = self.setup.events.send(Event::ProxyChanged(self.view.status().clone())).await;
        }
    }

    fn polled(&mut self, answer: Result<ProxyStats, CallError>) {
        match answer {
            Ok(stats) => {
                self.failures.polls = 0;
                self.view.polled(&stats);
                self.setup.traffic.send_replace(Some(stats));
                self.poll(Duration::ZERO, WAIT);
            }
            Err(error) => {
                tracing::debug!("{}", pando_rt::error_chain::error_chain(&error));
                self.failures.polls += 1;
                self.view.lost();
                self.poll(delay(self.failures.polls), Duration::ZERO);
            }
        }
    }
}

fn delay(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        more => TRY_AGAIN.nth(more - 1),
    }
}
