//! Where requests wait that no endpoint may have yet: in the order in which they came.
//!
//! Only who stands first may try. It does so when it is called, which happens whenever a request ends; when it
//! leaves, served or not, the next one is called: there may be more than one free place.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The requests of one pool that wait.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// As many as there are in `places`: told without the lock.
    waiting: AtomicUsize,
    places: Mutex<VecDeque<Arc<Notify>>>,
}

/// One request's place; dropped when it waits no longer.
#[derive(Debug)]
pub(crate) struct Place<'l> {
    line: &'l Line,
    own: Arc<Notify>,
}

impl Line {
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    /// The last place. `None`: there are `most` already.
    pub(crate) fn enter(&self, most: u32) -> Option<Place<'_>> {
        let own = Arc::new(Notify::new());
        let mut places = self.places();
        if places.len() >= usize::try_from(most).unwrap_or(usize::MAX) {
            return None;
        }
        places.push_back(Arc::clone(&own));
        self.waiting.store(places.len(), SeqCst);
        if places.len() == 1 {
            // Between its last try and now a request may have ended, and called nobody.
            own.notify_one();
        }
        Some(Place { line: self, own })
    }

    /// Something has ended: who stands first may try.
    pub(crate) fn call(&self) {
        if self.waiting() > 0
            && let Some(first) = self.places().front()
        {
            first.notify_one();
        }
    }

    fn places(&self) -> MutexGuard<'_, VecDeque<Arc<Notify>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place<'_> {
    /// Waits until it is this one's turn to try. Cancel-safe.
    pub(crate) async fn turn(&self) {
        self.own.notified().await;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut places = self.line.places();
        places.retain(|place| !Arc::ptr_eq(place, &self.own));
        self.line.waiting.store(places.len(), SeqCst);
        drop(places);
        self.line.call();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    async fn is_called(place: &Place<'_>) -> bool {
        place.turn().now_or_never().is_some()
    }

    #[tokio::test]
    async fn they_are_called_in_their_order_and_no_more_than_may() {
        let line = Line::default();
        line.call();
        let first = line.enter(3).unwrap();
        let (second, third) = (line.enter(3).unwrap(), line.enter(3).unwrap());
        assert!(line.enter(3).is_none());
        assert!(is_called(&first).await, "something may have ended meanwhile");
        assert!(!is_called(&first).await && !is_called(&second).await);
        line.call();
        assert!(is_called(&first).await && !is_called(&second).await);
        drop(first);
        assert!(is_called(&second).await && !is_called(&third).await);
        // Who gives up in the middle leaves the order as it is.
        let fourth = line.enter(3).unwrap();
        drop(third);
        drop(second);
        assert!(is_called(&fourth).await);
        drop(fourth);
        assert_eq!(line.waiting(), 0);
    }
}
