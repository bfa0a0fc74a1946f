//! How much of a release has come, told a few times a second to whoever shows it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pando_model::observed::Fetched;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::reconcile::{Event, ReleaseKey};

/// Often enough for eyes; what is fetched within the first of these needs no telling.
const EVERY: Duration = Duration::from_millis(400);

/// Counts what is fetched for one release.
pub(super) struct Meter<'a> {
    events: &'a mpsc::Sender<Event>,
    release: &'a ReleaseKey,
    state: Mutex<State>,
}

struct State {
    fetched: Fetched,
    told: Instant,
}

impl<'a> Meter<'a> {
    /// `of`: what there is to come, if that is known.
    pub(super) fn new(events: &'a mpsc::Sender<Event>, release: &'a ReleaseKey, of: Option<u64>) -> Self {
        let state = State { fetched: Fetched { bytes: 0, of }, told: Instant::now() };
        Self { events, release, state: Mutex::new(state) }
    }

    /// So much has come.
    pub(super) fn add(&self, bytes: u64) {
        self.change(|fetched| fetched.bytes = fetched.bytes.saturating_add(bytes));
    }

    /// So much of what came is worth nothing.
    pub(super) fn take_back(&self, bytes: u64) {
        self.change(|fetched| fetched.bytes = fetched.bytes.saturating_sub(bytes));
    }

    /// So much is still to come, as the source says; unless it was known all along.
    pub(super) fn expect(&self, left: Option<u64>) {
        self.change(|fetched| {
            fetched.of = fetched.of.or(left.map(|left| fetched.bytes.saturating_add(left)));
        });
    }

    fn change(&self, change: impl FnOnce(&mut Fetched)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state.fetched);
        if state.told.elapsed() >= EVERY {
            state.told = Instant::now();
            let event = Event::ReleaseComes { release: self.release.clone(), fetched: state.fetched };
            // Whoever has more to do than to hear this hears the next.
            let _ = self.events.try_send(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_tells_now_and_then_what_has_come() {
        let (events, mut heard) = mpsc::channel(4);
        let release = ("shop".parse().unwrap(), pando_model::release::ReleaseNumber(2));
        let meter = Meter::new(&events, &release, None);
        meter.expect(Some(100));
        meter.expect(Some(7));
        meter.add(30);
        assert!(heard.try_recv().is_err(), "what comes at once is not told");
        tokio::time::advance(EVERY).await;
        meter.add(20);
        meter.take_back(10);
        let told = |bytes| Event::ReleaseComes {
            release: release.clone(),
            fetched: Fetched { bytes, of: Some(100) },
        };
        assert_eq!(heard.try_recv().unwrap(), told(50));
        assert!(heard.try_recv().is_err());
        tokio::time::advance(EVERY).await;
        meter.add(1);
        assert_eq!(heard.try_recv().unwrap(), told(41));
    }
}
