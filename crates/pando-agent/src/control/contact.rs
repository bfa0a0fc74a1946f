//! The [`Line`] to the control plane as the agent's parts share it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pando_api::ClientError;
use pando_model::time::Millis;
use tokio::sync::{Notify, watch};

use crate::line::{self, Effect, Event, Line};
use crate::moment::Moments;

/// Clones share everything.
#[derive(Clone)]
pub(crate) struct Contact {
    inner: Arc<Inner>,
}

struct Inner {
    moments: Moments,
    line: Mutex<Line>,
    changed: Notify,
    /// How often the control plane came back.
    returns: watch::Sender<u64>,
}

impl Contact {
    pub(crate) fn new(moments: Moments) -> Self {
        let (line, changed) = (Mutex::default(), Notify::new());
        Self { inner: Arc::new(Inner { moments, line, changed, returns: watch::Sender::new(0) }) }
    }

    /// The control plane is about to be called.
    pub(crate) fn called(&self) {
        self.take(Event::Called);
    }

    /// It answered, whatever it said.
    pub(crate) fn answered(&self) {
        self.take(Event::Answered);
    }

    /// A call ended without what it was made for. Who says no is there; others count as called in vain.
    pub(crate) fn failed(&self, error: &ClientError) {
        match error {
            ClientError::Refused(_) | ClientError::Protocol { .. } | ClientError::NotMember { .. } => {
                self.answered()
            }
            _ => self.called(),
        }
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.line().is_cut()
    }

    /// Changes each time the control plane answers after a silence.
    pub(crate) fn returns(&self) -> watch::Receiver<u64> {
        self.inner.returns.subscribe()
    }

    /// Waits until it is time to ask others. Cancel-safe.
    pub(crate) async fn time_to_ask(&self) {
        loop {
            let changed = self.inner.changed.notified();
            if self.take(Event::Tick) == Some(Effect::AskOthers) {
                return;
            }
            let wakes_at = self.line().wakes_at();
            let due = async {
                match wakes_at {
                    // A millisecond is cut off on the way.
                    Some(at) => tokio::time::sleep_until(self.inner.moments.instant(at + Millis(1))).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = changed => {}
                () = due => {}
            }
        }
    }

    fn take(&self, event: Event) -> Option<Effect> {
        let effect = line::step(&mut self.line(), event, self.inner.moments.now());
        if effect == Some(Effect::Back) {
            self.inner.returns.send_modify(|returns| *returns += 1);
        }
        if event != Event::Tick {
            self.inner.changed.notify_one();
        }
        effect
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.inner.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
