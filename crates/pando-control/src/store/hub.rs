//! Who wants to hear of changes to which keys.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::watch;

use super::Revision;

/// Carries hints from the store to watchers. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hub(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// The newest revision that was told.
    newest: Revision,
    closed: bool,
    watchers: Vec<Weak<Watcher>>,
}

#[derive(Debug)]
struct Watcher {
    prefix: String,
    hint: watch::Sender<Revision>,
}

impl Hub {
    /// A watch that speaks at once when something newer than `from` was told already.
    pub(crate) fn watch(&self, prefix: &str, from: Revision) -> Watch {
        let mut state = self.lock();
        let (hint, receiver) = watch::channel(from);
        if state.newest > from {
            hint.send_replace(state.newest);
        }
        let watcher = Arc::new(Watcher { prefix: prefix.to_owned(), hint });
        // Watchers come and go with each long poll; the dead ones leave when a new one comes.
        state.watchers.retain(|watcher| watcher.strong_count() > 0);
        if !state.closed {
            state.watchers.push(Arc::downgrade(&watcher));
        }
        let held = if state.closed { None } else { Some(watcher) };
        Watch { receiver, told: from, _held: held }
    }

    /// Sets where the store is, before anything is told.
    pub(crate) fn begin_at(&self, revision: Revision) {
        self.lock().newest = revision;
    }

    /// Tells the watchers of `keys`, which changed at `revision`.
    pub(crate) fn tell(&self, revision: Revision, keys: &[String]) {
        let mut state = self.lock();
        state.newest = state.newest.max(revision);
        for watcher in state.watchers.iter().filter_map(Weak::upgrade) {
            if keys.iter().any(|key| key.starts_with(&watcher.prefix)) {
                watcher.hint.send_replace(revision);
            }
        }
    }

    /// Ends every watch.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        for watcher in state.watchers.drain(..).filter_map(|watcher| watcher.upgrade()) {
            watcher.hint.send_replace(Revision::MAX);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete in itself, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hints that some keys changed.
#[derive(Debug)]
pub struct Watch {
    receiver: watch::Receiver<Revision>,
    told: Revision,
    /// Keeps the hub's side alive. `None`: the store is closed.
    _held: Option<Arc<Watcher>>,
}

impl Watch {
    /// Waits for a change that this watch has not told yet; the revision of the newest. `None`: the store is closed, and
    /// will never tell anything. Cancel-safe.
    pub async fn changed(&mut self) -> Option<Revision> {
        self._held.as_ref()?;
        let told = self.told;
        let newest = *self.receiver.wait_for(|revision| *revision > told).await.ok()?;
        self.told = newest;
        (newest < Revision::MAX).then_some(newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(watch: &mut Watch) -> Option<Option<Revision>> {
        use futures_util::FutureExt;
        watch.changed().now_or_never()
    }

    #[test]
    fn a_watch_hears_of_its_keys_once_for_many_changes() {
        let hub = Hub::default();
        let mut watch = hub.watch("/a/", 0);
        assert_eq!(ready(&mut watch), None);
        hub.tell(1, &["/b/x".to_owned()]);
        assert_eq!(ready(&mut watch), None);
        hub.tell(2, &["/b/x".to_owned(), "/a/x".to_owned()]);
        hub.tell(3, &["/a/y".to_owned()]);
        assert_eq!(ready(&mut watch), Some(Some(3)));
        assert_eq!(ready(&mut watch), None);
    }

    #[test]
    fn a_watch_from_the_past_speaks_at_once_and_ends_with_the_store() {
        let hub = Hub::default();
        hub.tell(5, &["/a/x".to_owned()]);
        let mut late = hub.watch("/a/", 4);
        assert_eq!(ready(&mut late), Some(Some(5)));
        hub.close();
        assert_eq!(ready(&mut late), Some(None));
        assert_eq!(ready(&mut hub.watch("/a/", 5)), Some(None));
    }
}
