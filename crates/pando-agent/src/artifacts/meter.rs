//! How much of a release has come, told a few times a second to whoever shows it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pando_model::observed::Fetched;
use tokio::sync::mpsc;

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
        self.change(Instant::now(), |fetched| fetched.bytes = fetched.bytes.saturating_add(bytes));
    }

    /// So much of what came is worth nothing.
    pub(super) fn take_back(&self, bytes: u64) {
        self.change(Instant::now(), |fetched| fetched.bytes = fetched.bytes.saturating_sub(bytes));
    }

    /// So much is still to come, as the source says; unless it was known all along.
    pub(super) fn expect(&self, left: Option<u64>) {
        self.change(Instant::now(), |fetched| {
            fetched.of = fetched.of.or(left.map(|left| fetched.bytes.saturating_add(left)));
        });
    }

    fn change(&self, now: Instant, change: impl FnOnce(&mut Fetched)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state.fetched);
        if now.saturating_duration_since(state.told) >= EVERY {
            state.told = now;
            let event = Event::ReleaseComes { release: self.release.clone(), fetched: state.fetched };
            // Whoever has more to do than to hear this hears the next.
            let _ = self.events.try_send(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_now_and_then_what_has_come() {
        let (events, mut heard) = mpsc::channel(4);
        let release = ("shop".parse().unwrap(), pando_model::release::ReleaseNumber(2));
        let meter = Meter::new(&events, &release, None);
        let start = Instant::now();
        meter.change(start, |fetched| fetched.of = Some(100));
        meter.change(start, |fetched| fetched.bytes = 30);
        assert!(heard.try_recv().is_err(), "what comes at once is not told");
        let told = |bytes| Event::ReleaseComes {
            release: release.clone(),
            fetched: Fetched { bytes, of: Some(100) },
        };
        meter.change(start + 2 * EVERY, |fetched| fetched.bytes = 50);
        assert_eq!(heard.try_recv().unwrap(), told(50));
        meter.change(start + 2 * EVERY, |fetched| fetched.bytes = 60);
        assert!(heard.try_recv().is_err());
        meter.change(start + 3 * EVERY, |fetched| fetched.bytes = 70);
        assert_eq!(heard.try_recv().unwrap(), told(70));
    }

    #[test]
    fn what_is_known_of_the_length_stays() {
        let (events, _heard) = mpsc::channel(4);
        let release = ("shop".parse().unwrap(), pando_model::release::ReleaseNumber(2));
        let meter = Meter::new(&events, &release, None);
        meter.add(30);
        meter.take_back(10);
        meter.expect(None);
        meter.expect(Some(80));
        meter.expect(Some(7));
        let fetched = meter.state.lock().unwrap().fetched;
        assert_eq!(fetched, Fetched { bytes: 20, of: Some(100) });
    }
}
