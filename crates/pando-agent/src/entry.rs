//! Whether this server takes requests from outside: the load balancer is kept running, or not.
//!
//! What is wanted comes from the assignment; how a load balancer is started and
//! ended is the environment's, by [`EntryKeeper`]. The link to it, and what this
//! server has of certificates and keys, live exactly as long as it does, its last
//! requests included.

use std::error::Error;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use pando_model::assignment::Entry;
use pando_model::name::ServerName;
use pando_rt::backoff::Backoff;
use tokio::sync::{mpsc, watch};

use crate::control::published::Published;
use crate::proxy::LinkOrder;
use crate::reconcile::Event;

/// Starts and ends this server's load balancer.
pub trait EntryKeeper: Debug + Send + Sync + 'static {
    /// Brings it about that the load balancer runs, or that it has ended: the latter the way it ends on SIGTERM, its requests
    /// finished, or cut off after a time that the environment chooses. What is so already stays as it is. Never called twice
    /// at once; may be dropped in its middle when the agent ends, and is called again by the next one. While it is wanted,
    /// called again each second: whatever keeps it running may have been killed.
    ///
    /// # Errors
    /// Why not, for people; it is tried again.
    fn keep(&self, wanted: bool) -> BoxFuture<'_, Result<(), Box<dyn Error + Send + Sync>>>;
}

/// So long nobody starts a load balancer again whose keeper was killed, and it too.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

const TRY_AGAIN: Backoff = Backoff { first: Duration::from_millis(100), most: Duration::from_secs(5) };

pub(crate) struct EntryTask {
    /// `None`: the load balancer is there whatever the assignment says.
    pub(crate) keeper: Option<Arc<dyn EntryKeeper>>,
    /// What is near to the load balancer of this server.
    pub(crate) name: ServerName,
    /// `None`: not known yet.
    pub(crate) wanted: watch::Receiver<Option<Option<Entry>>>,
    pub(crate) link: watch::Sender<LinkOrder>,
    pub(crate) published: Published,
    pub(crate) events: mpsc::Sender<Event>,
}

impl EntryTask {
    /// Runs until it is dropped, or nobody wants anything any more.
    pub(crate) async fn run(mut self) {
        let (mut failures, mut told) = (0, None);
        loop {
            let wanted = *self.wanted.borrow_and_update();
            let done = match wanted {
                Some(entry) => self.bring_about(entry, &mut told).await,
                None => true,
            };
            failures = if done { 0 } else { failures + 1 };
            let pause = match failures {
                0 => (wanted.flatten().is_some() && self.keeper.is_some()).then_some(LOOK_AGAIN),
                more => Some(TRY_AGAIN.nth(more - 1)),
            };
            let again = async {
                match pause {
                    None => std::future::pending().await,
                    Some(pause) => tokio::time::sleep(pause).await,
                }
            };
            tokio::select! {
                // Cancel-safe: a change not yet seen stays so.
                changed = self.wanted.changed() => if changed.is_err() { return },
                () = again => {}
            }
        }
    }

    /// Whether it is so now. What differs from what was told last is told.
    async fn bring_about(&self, entry: Option<Entry>, told: &mut Option<Result<bool, String>>) -> bool {
        let near = locality(entry, &self.name);
        let Some(keeper) = &self.keeper else {
            self.order(|order| order.locality = near);
            return true;
        };
        if entry.is_some() {
            self.order(|order| *order = LinkOrder { on: true, locality: near });
        }
        let kept = keeper.keep(entry.is_some()).await.map_err(|error| said(entry.is_some(), error.as_ref()));
        if kept.is_ok() && entry.is_none() {
            self.order(|order| *order = LinkOrder::default());
            // Whoever becomes an entry point again meanwhile asks for them again.
            self.published.forget_secrets();
        }
        let done = kept.is_ok();
        let news = kept.map(|()| entry.is_some());
        if told.as_ref() != Some(&news) {
            *told = Some(news.clone());
            // Nobody listens any more when the agent is being stopped.
            let _ = self.events.send(Event::EntryKept(news)).await;
        }
        done
    }

    fn order(&self, change: impl FnOnce(&mut LinkOrder)) {
        self.link.send_if_modified(|order| {
            let before = order.clone();
            change(order);
            *order != before
        });
    }
}

/// What is near by such an entry.
pub(crate) fn locality(entry: Option<Entry>, name: &ServerName) -> Option<String> {
    entry.filter(|entry| entry.prefer_local).map(|_| name.to_string())
}

fn said(wanted: bool, error: &(dyn Error + Send + Sync + 'static)) -> String {
    let why = pando_rt::error_chain::error_chain(error);
    let text = if wanted { "start" } else { "end" };
    tracing::warn!("can't {text} the load balancer: {why}");
    format!("can't {text} the load balancer of this server: {why}")
}
